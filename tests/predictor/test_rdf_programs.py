"""The same frames through the programs that users have: what is read must be our own g(r) of them."""

import warnings

import freud
import MDAnalysis
import numpy as np
import pytest
from MDAnalysis.analysis.rdf import InterRDF

from mobcg import programs
from mobcg.coarse.simulate import simulate
from mobcg.observables import radial_distribution
from mobcg.pair import R_EDGES_NM
from mobcg.predictor.rdf_files import read_rdf
from tests.coarse.cases import SOFT, SOFT_STATE

DENSITY, N = SOFT_STATE["number_density_nm3"], SOFT_STATE["n_beads"]
TOPOLOGY = f"""<topology>
  <molecules><molecule name="M" nmols="{N}" nbeads="1"><bead name="A" type="A" mass="100" q="0"/></molecule></molecules>
</topology>
"""
SETTINGS = """<cg><non-bonded><name>A-A</name><type1>A</type1><type2>A</type2>
<min>0</min><max>1.55</max><step>0.01</step></non-bonded></cg>
"""


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """A directory with conf.gro and traj.xtc of a short run, and our own g(r) of it."""
    directory = tmp_path_factory.mktemp("frames")
    trajectory = simulate(SOFT, **SOFT_STATE, directory=directory / "run").trajectory
    box = trajectory.box_length_nm
    positions = np.mod(trajectory.positions_nm, box)
    universe = MDAnalysis.Universe.empty(N, n_residues=N, atom_resindex=np.arange(N), trajectory=True)
    universe.add_TopologyAttr("name", ["A"] * N)
    universe.add_TopologyAttr("resname", ["M"] * N)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names and masses that a bead does not have
        with MDAnalysis.Writer(str(directory / "traj.xtc"), N) as writer:
            for frame in positions:
                universe.atoms.positions = 10 * frame
                universe.dimensions = [10 * box] * 3 + [90] * 3
                writer.write(universe.atoms)
        universe.atoms.write(str(directory / "conf.gro"))
        return (
            directory,
            radial_distribution(positions, box).rdf,
            MDAnalysis.Universe(str(directory / "conf.gro"), str(directory / "traj.xtc")),
        )


def check(path, expected, program):
    """The positions of the files have 0.001 nm: bins differ by a few pairs."""
    found = read_rdf(path, DENSITY, n_molecules=N)
    assert found.program == program
    # The bins of csg_stat lie half a bin aside: what is between them is interpolated noise.
    np.testing.assert_allclose(found.rdf, expected, atol=0.1)
    assert abs(np.mean((found.rdf - expected)[R_EDGES_NM[:-1] > 0.6])) < 5e-4


def test_gmx_rdf(frames):
    directory, expected, _ = frames
    command = ["gmx", "rdf", "-f", "traj.xtc", "-s", "conf.gro", "-o", "rdf.xvg", "-bin", "0.002"]
    programs.run([*command, "-ref", "resname M", "-sel", "resname M"], directory, directory / "gmx.log")
    check(directory / "rdf.xvg", expected, "gmx")


def test_votca_csg_stat(frames):
    directory, expected, _ = frames
    (directory / "topology.xml").write_text(TOPOLOGY)
    (directory / "settings.xml").write_text(SETTINGS)
    command = ["csg_stat", "--top", "topology.xml", "--trj", "traj.xtc", "--options", "settings.xml", "--nt", "1"]
    programs.run(command, directory, directory / "csg.log")
    check(directory / "A-A.dist.new", expected, "VOTCA")


@pytest.mark.parametrize("excluded", [{}, {"exclusion_block": (1, 1)}], ids=["with itself", "without itself"])
def test_mdanalysis(excluded, frames):
    directory, expected, universe = frames
    analysis = InterRDF(universe.atoms, universe.atoms, nbins=155, range=(0, 15.5), **excluded).run()
    np.savez(directory / "rdf.npz", bins=analysis.results.bins, rdf=analysis.results.rdf)
    check(directory / "rdf.npz", expected, "MDAnalysis")


@pytest.mark.parametrize(("mode", "normalisation"), [("exact", None), ("finite_size", "N-1")])
def test_freud(mode, normalisation, frames):
    directory, expected, universe = frames
    found = freud.density.RDF(bins=155, r_max=1.55, normalization_mode=mode)
    for frame in universe.trajectory:
        box = freud.box.Box.cube(frame.dimensions[0] / 10)
        found.compute((box, box.wrap(frame.positions / 10)), reset=False)
    np.savez(directory / "freud.npz", bin_centers=found.bin_centers, rdf=found.rdf)
    read = read_rdf(directory / "freud.npz", DENSITY, None, normalisation, N)
    assert (read.program, read.normalisation) == ("freud", normalisation or "N")
    np.testing.assert_allclose(read.rdf, expected, atol=0.1)
    assert abs(np.mean((read.rdf - expected)[R_EDGES_NM[:-1] > 0.6])) < 5e-4
