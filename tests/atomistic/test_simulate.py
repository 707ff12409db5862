import gzip
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from MDAnalysis.coordinates.XTC import XTCReader

from mobcg.atomistic.beads import Beads, whole_molecules
from mobcg.atomistic.density import SettledDensity
from mobcg.atomistic.force_field import molecule_files
from mobcg.atomistic.gromacs import Machine
from mobcg.atomistic.observe import record
from mobcg.atomistic.simulate import (
    EXIT_UNFINISHED,
    bring_to_density,
    collect,
    main,
    mapped_molecule,
    planned_stages,
    rescale,
    rescaled_gro,
    simulate,
)
from mobcg.errors import InputError, SimulationError
from mobcg.observables import BeadTrajectory
from mobcg.plan import run_id
from mobcg.units import mass_density_kg_m3

from .conftest import SMALL

THREE_BEADS = [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
WHOLE = SMALL | {
    "n_molecules": 210,
    "lengths": {"squeeze_ps": 6, "npt_block_ps": 4, "npt_max_ps": 12, "nvt_equilibration_ps": 2, "nvt_ps": 10},
    "frame_ps": 1.0,
}


def command(spec, directory, *options: str) -> list[str]:
    return [
        "--spec",
        json.dumps(spec),
        "--work",
        str(directory / "work"),
        "--out",
        str(directory / "beads.npz"),
        *options,
    ]


@pytest.fixture(scope="module")
def too_small(tmp_path_factory):
    """The small liquid through the command line: its box is too small for g(r), so it fails as a result."""
    directory = tmp_path_factory.mktemp("too_small")
    assert main(command(SMALL, directory)) == 0
    return directory


def test_a_box_too_small_is_a_result_with_a_reason(too_small):
    result = BeadTrajectory.load(too_small / "beads.npz")
    assert result.metadata["status"] == "failed"
    assert result.metadata["retries"] == 0
    assert re.search(r"box of 64 molecules came out as 2\.\d+ nm", result.metadata["reason"])
    assert result.positions_nm.shape == (0, 64, 3)
    assert result.mass_g_mol == pytest.approx(78.11, abs=0.01)


def test_a_second_start_repeats_no_stage(too_small):
    stages = sorted(set(too_small.glob("work/step_*/*.gro")) - set(too_small.glob("work/step_*/molecule.gro")))
    before = {path: path.stat().st_mtime_ns for path in stages}
    assert {"squeeze.gro", "npt_00.gro", "npt_01.gro"} <= {path.name for path in stages}
    reason = BeadTrajectory.load(too_small / "beads.npz").metadata["reason"]
    assert simulate(SMALL, too_small / "work", Machine()).metadata["reason"] == reason
    assert {path: path.stat().st_mtime_ns for path in stages} == before


def test_attempts_found_unstable_are_counted_and_not_repeated(tmp_path):
    for step in ("2", "1", "0.5"):
        (tmp_path / f"step_{step}_fs").mkdir()
        (tmp_path / f"step_{step}_fs/failed").write_text("npt_00: Too many LINCS warnings")
    known = simulate(SMALL, tmp_path, Machine()).metadata
    assert (known["status"], known["retries"]) == ("failed", 2)
    assert "down to 0.5 fs" in known["reason"]
    assert not list(tmp_path.glob("step_*/*.gro"))


def test_a_result_that_was_removed_is_there_again_without_a_simulation(too_small):
    result, kept = too_small / "beads.npz", too_small / "work/beads.npz"
    before = result.read_bytes()
    assert not kept.exists()
    assert main(command(SMALL, too_small, "--keep-beads")) == 0
    assert kept.samefile(result)
    result.unlink()
    made = kept.stat().st_ino
    assert main(command(SMALL, too_small, "--keep-beads")) == 0
    assert result.stat().st_ino == made
    kept.write_bytes(before[:200])
    assert main(command(SMALL, too_small)) == 0
    assert result.read_bytes() == before
    assert not kept.exists()


def test_when_the_time_is_up_the_exit_status_asks_for_another_start(tmp_path, capsys):
    assert main(command(SMALL, tmp_path, "--max-hours", "0")) == EXIT_UNFINISHED
    assert "start the same command again" in capsys.readouterr().err
    assert not (tmp_path / "beads.npz").exists()


def test_a_wrong_molecule_is_told_without_a_traceback(tmp_path, capsys):
    wrong = SMALL | {"molecule": {"id": "ethanol", "smiles": "CCO"}}
    assert main(command(wrong, tmp_path)) == 2
    assert "It holds O" in capsys.readouterr().err


def test_seeds_differ_between_stages_and_replicas():
    seeds = [
        stage.thermostat_seed
        for replica in (0, 1)
        for stage in planned_stages(SMALL | {"replica": replica}, 2.0).values()
    ]
    assert len(set(seeds)) == len(seeds) == 8


def test_rescaling_reaches_the_box_and_keeps_velocities(too_small):
    gro = (too_small / "work/step_2_fs/npt_01.gro").read_text()
    scaled = rescaled_gro(gro, molecule_files(SMALL).masses_g_mol, 2.5)
    assert scaled.split("\n")[-2].split() == ["2.50000"] * 3
    assert [line[44:] for line in scaled.split("\n")[2:-2]] == [line[44:] for line in gro.split("\n")[2:-2]]
    assert all(len(a) == len(b) for a, b in zip(gro.split("\n")[2:-2], scaled.split("\n")[2:-2], strict=True))


def test_a_gas_is_a_failure(too_small):
    last = too_small / "work/step_2_fs/npt_01.gro"
    with pytest.raises(SimulationError, match="evaporated"):
        rescale(last.parent, last, 300.0, SMALL, molecule_files(SMALL))


DENSE = SMALL | {"n_molecules": 240, "density_kg_m3": 950.0, "mapping": THREE_BEADS}


@pytest.mark.parametrize("density_kg_m3", [0.0, -5.0, float("nan"), float("inf"), None])
def test_a_density_that_is_none_is_told(tmp_path, density_kg_m3):
    with pytest.raises(InputError, match=r"density_kg_m3: found .* allowed: a density in kg/m3"):
        simulate(DENSE | {"density_kg_m3": density_kg_m3}, tmp_path, Machine())
    assert not list(tmp_path.iterdir())


def test_a_density_whose_box_is_too_small_is_told_before_anything_runs(tmp_path, capsys):
    assert main(command(DENSE | {"density_kg_m3": 1200.0}, tmp_path)) == 2
    assert re.search(r"240 molecules a box of 2\.960 nm.*Take more molecules", capsys.readouterr().err)
    assert not list(tmp_path.glob("work/step_*"))


def test_a_mapping_that_does_not_fit_is_told_before_anything_runs(tmp_path, capsys):
    assert main(command(DENSE | {"mapping": THREE_BEADS[:2]}, tmp_path)) == 2
    assert "mapping: found 'atom 4 in no group'" in capsys.readouterr().err
    own = DENSE | {"force_field": {"kind": "file", "itp": "a.itp"}}
    with pytest.raises(InputError, match=r"mapping: found 'a\.itp'; allowed: molecules without a topology"):
        mapped_molecule(own, molecule_files(SMALL))


def test_at_a_given_density_there_is_no_npt_and_equilibration_takes_its_time():
    free, given = (planned_stages(SMALL | more, 2.0) for more in ({}, {"density_kg_m3": 900.0}))
    assert free.keys() - given.keys() == {"npt"}
    assert free["nvt_equilibration"].velocity_seed is None
    assert given["nvt_equilibration"].velocity_seed is not None
    assert given["nvt_equilibration"].duration_ps == free["nvt_equilibration"].duration_ps + 2


@pytest.mark.parametrize("density_kg_m3", [700.0, 860.0])
def test_a_box_is_brought_to_a_density_and_its_molecules_stay_whole(liquid, tmp_path, density_kg_m3):
    for name in ("molecule.itp", "system.top", "squeeze.gro"):
        shutil.copy(liquid / name, tmp_path)
    files, spec = molecule_files(SMALL), SMALL | {"density_kg_m3": density_kg_m3}
    last, edge_nm = bring_to_density(tmp_path, tmp_path / "squeeze.gro", spec, files, Machine())
    assert mass_density_kg_m3(64 / edge_nm**3, files.masses_g_mol.sum()) == pytest.approx(density_kg_m3, rel=1e-4)
    assert last.read_text().split("\n")[-2].split() == [f"{edge_nm:.5f}"] * 3
    names = ["squeeze.gro", *sorted(path.name for path in tmp_path.glob("scaled_*.gro"))]
    edges = np.array([float((tmp_path / name).read_text().split()[-1]) for name in names])
    assert len(list(tmp_path.glob("relaxed_*.gro"))) == len(edges) - 1
    assert edges[-1] == edge_nm
    assert np.abs(np.diff(np.log(edges))).max() < 0.0199
    atoms = np.array([[float(line[a : a + 8]) for a in (20, 28, 36)] for line in last.read_text().split("\n")[2:-2]])
    whole = whole_molecules(atoms.reshape(-1, 12, 3), edge_nm)
    assert np.linalg.norm(whole - whole[:, :1], axis=2).max() < 0.55
    made = last.stat().st_mtime_ns
    assert bring_to_density(tmp_path, tmp_path / "squeeze.gro", spec, files, Machine()) == (last, edge_nm)
    assert last.stat().st_mtime_ns == made


PROGRAM = (sys.executable, "-m", "mobcg.atomistic.simulate")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a finished run that nobody disturbed."""
    directory = tmp_path_factory.mktemp("whole")
    subprocess.run([*PROGRAM, *command(WHOLE, directory, "--keep-atoms")], check=True)
    return directory


@pytest.mark.workflow
def test_a_run_killed_again_and_again_is_the_run_that_was_not(whole, tmp_path):
    for after_s in (3, 6, 12, 20):
        child = subprocess.Popen([*PROGRAM, *command(WHOLE, tmp_path)])
        time.sleep(after_s)
        child.send_signal(signal.SIGKILL)
        child.wait()
    subprocess.run([*PROGRAM, *command(WHOLE, tmp_path)], check=True)
    whole, killed = (BeadTrajectory.load(directory / "beads.npz") for directory in (whole, tmp_path))
    assert whole.metadata == killed.metadata
    assert np.array_equal(whole.positions_nm, killed.positions_nm)
    assert np.array_equal(whole.forces_kj_mol_nm, killed.forces_kj_mol_nm)
    assert not list(tmp_path.glob("work/step_*/*.trr"))

    known = whole.metadata
    assert known["status"] == "ok"
    assert whole.positions_nm.shape == (11, 210, 3)
    assert len(known["potential_kj_mol"]) == 11
    assert known["density_kg_m3"] == pytest.approx(870, rel=0.05)
    assert known["density_kg_m3"] == pytest.approx(mass_density_kg_m3(whole.number_density_nm3, whole.mass_g_mol))
    # The centres of mass are as warm as the thermostat: vibrations and translation are in equilibrium.
    assert known["temperature_centres_k"] == pytest.approx(298.15, rel=0.08)


@pytest.mark.workflow
def test_a_finished_run_is_repeated_from_its_directory(whole, tmp_path):
    first = BeadTrajectory.load(whole / "beads.npz")
    shutil.copytree(whole / "work", tmp_path / "work")
    spec = json.loads((tmp_path / "work/spec.json").read_text())
    assert spec == WHOLE
    assert json.loads((tmp_path / "work/versions.json").read_text()) == first.metadata["versions"]
    subprocess.run([*PROGRAM, *command(spec, tmp_path)], check=True)
    again = BeadTrajectory.load(tmp_path / "beads.npz")
    assert again.metadata == first.metadata
    assert np.array_equal(again.positions_nm, first.positions_nm)
    # Only the production was run again: nothing of the stages before it but what it starts from.
    assert not list(tmp_path.glob("work/step_*/npt_*.tpr"))


@pytest.mark.workflow
def test_a_finished_run_keeps_what_repeats_it_and_not_more(whole):
    (directory,) = whole.glob("work/step_*")
    files = {path.name: path.stat().st_size for path in directory.iterdir()}
    assert {"system.top", "molecule.itp", "box.gro", "squeeze.mdp", "nvt.mdp", "nvt.gro", "nvt.log.gz"} <= files.keys()
    assert not [name for name in files if name.endswith((".trr", ".tpr", ".edr", ".xvg", ".log", ".part"))]
    assert b"GROMACS version" in gzip.decompress((directory / "nvt.log.gz").read_bytes())
    n_atoms = int((directory / "nvt.gro").read_text().split("\n")[1])
    frames = files.pop("nvt.xtc") / n_atoms / 11
    kept = sum(files.values())
    print(f"{n_atoms} atoms: {kept / n_atoms:.0f} bytes an atom; .xtc {frames:.2f} bytes an atom and frame")
    assert kept < 300 * n_atoms
    positions = XTCReader(str(directory / "nvt.xtc"))
    assert (positions.n_frames, positions.n_atoms) == (11, n_atoms)


@pytest.mark.parametrize(("frame_ps", "length_ps"), [(1.0, 134.0), (5.0, 134.0), (0.3, 10.0)])
def test_a_frame_has_the_energy_of_its_own_time(frame_ps, length_ps, tmp_path, monkeypatch):
    time_ps = np.arange(round(length_ps / 0.1) + 1) * 0.1
    samples = np.column_stack([time_ps, time_ps, np.full_like(time_ps, 298.15), np.zeros_like(time_ps)])
    monkeypatch.setattr("mobcg.atomistic.simulate.stage_energies", lambda *_: samples)
    frames_ps = np.arange(int(length_ps / frame_ps) + 1) * frame_ps
    beads = Beads(frames_ps, *np.zeros((2, len(frames_ps), 64, 3)), 298.15)
    spec = SMALL | {"frame_ps": frame_ps}
    density = SettledDensity(870.0, 1.0, settled=True, first_block=0)
    production = planned_stages(spec, 2.0)["nvt"]
    found = collect(spec, molecule_files(spec), tmp_path, 3.2, production, density, beads)
    np.testing.assert_allclose(found.metadata["potential_kj_mol"], frames_ps, atol=1e-9)


@pytest.mark.workflow
def test_a_run_of_several_beads_at_a_given_density(tmp_path):
    lengths = {"squeeze_ps": 2, "npt_block_ps": 1, "npt_max_ps": 4, "nvt_equilibration_ps": 1, "nvt_ps": 4}
    spec = DENSE | {"lengths": lengths, "frame_ps": 0.5, "temperature_k": 320.0}
    subprocess.run([*PROGRAM, *command(spec, tmp_path)], check=True)
    mapped = BeadTrajectory.load(tmp_path / "beads.npz")
    known = mapped.metadata
    assert (known["status"], known["reason"], known["density_settled"]) == ("ok", None, None)
    assert known["density_kg_m3"] == pytest.approx(950, rel=1e-4)
    assert known["density_kg_m3_se"] == 0
    # Ten per cent denser than the liquid at this temperature: thousands of bar.
    assert known["pressure_measured_bar"] > 500
    assert (known["run_id"], known["spec"], known["units"]["positions_nm"]) == (run_id(spec), spec, "nm")
    assert mapped.positions_nm.shape == mapped.forces_kj_mol_nm.shape == (9, 720, 3)
    assert mapped.mass_g_mol == pytest.approx(sum(mapped.molecule.masses_g_mol))

    assert (mapped.molecule.kinds, mapped.molecule.bonds) == ((0, 0, 0), ((0, 1), (0, 2), (1, 2)))
    corners = mapped.positions_nm.reshape(9, 240, 3, 3)
    apart = corners - np.roll(corners, 1, axis=2)
    # Centres of two carbons and their hydrogens each, at the corners of a triangle.
    assert np.linalg.norm(apart, axis=3).mean() == pytest.approx(0.225, abs=0.01)
    assert np.linalg.norm(apart, axis=3).std() < 0.01

    row = record(spec, mapped)
    assert row["status"] == "failed"
    assert "lengths.nvt_ps 4" in row["reason"]
    assert not list(tmp_path.glob("work/step_*/npt_*"))
