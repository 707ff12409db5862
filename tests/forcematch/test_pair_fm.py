import dataclasses
import subprocess

import numpy as np
import pytest
from scipy.interpolate import BSpline

from mobcg.errors import InputError, SimulationError
from mobcg.forcematch.frames import frames_of, share_explained
from mobcg.forcematch.pair_fm import DEGREE, KNOT_SPACING_NM, fit, knots, residuals
from mobcg.observables import BeadTrajectory
from mobcg.pair import CUTOFF_NM, R_NM
from mobcg.units import ANGSTROM_PER_NM, KJ_PER_KCAL, thermal_energy_kj_mol
from tests.forcematch.cases import known_frames
from tests.inversion.cases import TEMPERATURE_K, known_potential

KT = thermal_energy_kj_mol(TEMPERATURE_K)
NOISE = 60.0


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return known_frames(tmp_path_factory.mktemp("known"))


@pytest.fixture(scope="module")
def noisy(exact):
    forces = exact.forces_kj_mol_nm + NOISE * np.random.default_rng(5).standard_normal(exact.forces_kj_mol_nm.shape)
    return dataclasses.replace(exact, forces_kj_mol_nm=forces)


def explained(force, frames) -> float:
    return share_explained([residuals(force, frames)])[0]


def seen(force) -> np.ndarray:
    return (force.start_nm + 0.02 < R_NM) & (R_NM < CUTOFF_NM - 0.1)


def test_a_pair_force_is_found_again(exact):
    train, validation, test = exact.split()
    assert len(train) + len(validation) + len(test) == len(exact)
    force = fit(train)
    assert min(explained(force, part) for part in (train, validation, test)) > 0.9999
    potential, _ = force.potential_kj_mol()
    assert np.abs(potential - known_potential())[seen(force)].max() < 0.01 * KT


def test_of_noisy_forces_as_much_is_explained_as_there_is_to_explain(exact, noisy):
    force = fit(noisy)
    signal = np.mean(exact.forces_kj_mol_nm**2)
    assert explained(force, noisy) == pytest.approx(signal / (signal + NOISE**2), abs=0.01)
    assert explained(force, exact) > 0.99


def test_the_error_bars_hold(noisy):
    force = fit(noisy)
    potential, error = force.potential_kj_mol()
    z = (potential - known_potential())[seen(force)] / error[seen(force)]
    assert 0.2 < np.sqrt(np.mean(z**2)) < 2.5


def test_a_force_that_attracts_where_it_begins_is_no_model(exact):
    pulling = dataclasses.replace(exact, forces_kj_mol_nm=-exact.forces_kj_mol_nm)
    with pytest.raises(SimulationError, match="it takes more frames"):
        fit(pulling).potential_kj_mol()


def test_frames_of_a_run_that_failed_are_refused_with_its_reason():
    failed = BeadTrajectory(np.zeros((0, 5, 3)), np.nan, 1.0, 78.0, 298.0, metadata={"reason": "evaporated"})
    with pytest.raises(SimulationError, match="failed: evaporated"):
        frames_of(failed)


def test_where_the_box_is_cut_does_not_matter(exact):
    few = exact.part(slice(6))
    moved = dataclasses.replace(few, positions_nm=(few.positions_nm + np.array([0.7, -1.9, 5.0])) % few.box_length_nm)
    np.testing.assert_allclose(fit(moved).coefficients, fit(few).coefficients, rtol=1e-4, atol=1e-2)


def test_votca_finds_the_same_force(noisy, tmp_path):
    """csg_fmatch, unconstrained splines with the same knots; at the ends, where pairs are few, the two differ."""
    n, edge = noisy.positions_nm.shape[1], noisy.box_length_nm * ANGSTROM_PER_NM
    bounds = "".join(f"0 {edge:.8f} {axis}lo {axis}hi\n" for axis in "xyz")
    atoms = "".join(f"{i} 1 0 0 0\n" for i in range(1, n + 1))
    (tmp_path / "start.data").write_text(
        f"beads\n\n{n} atoms\n1 atom types\n\n{bounds}\nMasses\n\n1 100\n\nAtoms\n\n{atoms}"
    )
    with (tmp_path / "trajectory.dump").open("w") as stream:
        for step, (positions, forces) in enumerate(zip(noisy.positions_nm, noisy.forces_kj_mol_nm, strict=True)):
            stream.write(f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{n}\nITEM: BOX BOUNDS pp pp pp\n")
            stream.write(f"0 {edge:.8f}\n" * 3 + "ITEM: ATOMS id type x y z fx fy fz\n")
            rows = np.column_stack([positions * ANGSTROM_PER_NM, forces / KJ_PER_KCAL / ANGSTROM_PER_NM])
            stream.writelines(f"{i} 1 {' '.join(f'{x:.9g}' for x in row)}\n" for i, row in enumerate(rows, 1))
    force = fit(noisy)
    spacing = np.diff(np.unique(knots(force.start_nm)))[0]
    assert spacing == pytest.approx(KNOT_SPACING_NM, rel=0.05)
    block = f"<frames_per_block>{len(noisy)}</frames_per_block><constrainedLS>false</constrainedLS>"
    spline = f"<min>{force.start_nm}</min><max>{CUTOFF_NM}</max><step>{spacing}</step><out_step>0.01</out_step>"
    pair = f"<name>pair</name><type1>Bead1</type1><type2>Bead1</type2><fmatch>{spline}</fmatch>"
    (tmp_path / "options.xml").write_text(f"<cg><fmatch>{block}</fmatch><non-bonded>{pair}</non-bonded></cg>")
    command = ["csg_fmatch", "--top", "start.data", "--trj", "trajectory.dump", "--options", "options.xml", "--no-map"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    r_nm, theirs = np.loadtxt(tmp_path / "pair.force", usecols=(0, 1)).T
    inside = (r_nm > force.start_nm + 0.05) & (r_nm < CUTOFF_NM - 0.1)
    ours = BSpline(knots(force.start_nm), np.append(force.coefficients, 0.0), DEGREE)(r_nm)
    assert np.abs(ours - theirs)[inside].max() < 2.0  # of forces up to some hundred kJ/mol/nm
    assert np.corrcoef(ours[inside], theirs[inside])[0, 1] > 0.999


def test_a_trajectory_without_forces_is_refused():
    trajectory = BeadTrajectory(np.zeros((20, 5, 3)), 3.2, 1.0, 78.0, 298.15)
    with pytest.raises(InputError, match="keep_trajectories"):
        frames_of(trajectory)


def test_frames_are_at_least_so_far_apart_and_in_the_box():
    positions = np.random.default_rng(1).uniform(-9, 9, (21, 4, 3))
    trajectory = BeadTrajectory(positions, 3.2, 0.5, 78.0, 298.15, forces_kj_mol_nm=np.ones((21, 4, 3), np.float32))
    frames = frames_of(trajectory, every_ps=1.2)
    assert len(frames) == 7
    assert frames.positions_nm.min() >= 0
    assert frames.positions_nm.max() < 3.2
    with pytest.raises(InputError, match="10 and more"):
        frames.split()


def test_frames_of_several_state_points_add_up(exact):
    one, two = exact.part(slice(0, 12)), exact.part(slice(12, 24))
    # Blocks of both sets are paired by time, so that errors differ from those of one long set, but not the fit.
    np.testing.assert_allclose(fit([one, two]).coefficients, fit(exact.part(slice(0, 24))).coefficients, rtol=1e-6)
    assert not np.allclose(fit([one, two]).coefficients, fit(one).coefficients, rtol=1e-3)


def test_several_beads_a_molecule_are_refused(exact):
    beads = dataclasses.replace(exact.beads, molecules=exact.beads.molecules // 2)
    with pytest.raises(InputError, match="one bead a molecule"):
        fit(dataclasses.replace(exact, beads=beads))


def test_energies_come_with_their_frames():
    positions = np.zeros((20, 4, 3))
    energies = {"potential_kj_mol": np.arange(20.0).tolist()}
    forces = np.ones((20, 4, 3), np.float32)
    frames = frames_of(BeadTrajectory(positions, 3.2, 0.5, 78.0, 298.15, forces, energies), every_ps=1.0)
    np.testing.assert_array_equal(frames.energies_kj_mol, np.arange(0.0, 20, 2))
    np.testing.assert_array_equal(frames.split()[2].energies_kj_mol, [18.0])
    assert len(frames.beads) == 4
