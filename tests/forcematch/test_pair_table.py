import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from mobcg.coarse.simulate import simulate as simulate_lammps
from mobcg.coarse.simulate import start_positions
from mobcg.forcematch.dynamics import simulate
from mobcg.forcematch.field import Beads, evaluate, pairs_within
from mobcg.forcematch.pair_table import PairTable
from mobcg.observables import radial_distribution, rdf_error
from mobcg.pair import CUTOFF_NM, tabulate
from tests.forcematch.boxes import dimers
from tests.forcematch.cases import pair_forces
from tests.inversion.cases import BOX_LENGTH_NM, N_BEADS, NUMBER_DENSITY_NM3, TEMPERATURE_K, known_potential


def evaluated(positions, beads=None, edge=BOX_LENGTH_NM):
    beads = beads or Beads.single(len(positions), 100.0)
    pairs = pairs_within(positions[None], edge, CUTOFF_NM)
    return evaluate(PairTable(known_potential()), beads, torch.from_numpy(positions[None]), edge, pairs)


def test_energy_and_forces_are_those_of_the_table():
    positions = start_positions(N_BEADS, BOX_LENGTH_NM, 3)
    positions += np.random.default_rng(0).normal(0, 0.05, positions.shape)
    found = evaluated(positions)
    expected = pair_forces(positions, BOX_LENGTH_NM, known_potential())
    np.testing.assert_allclose(found.forces_kj_mol_nm[0], expected, atol=1e-3 * np.abs(expected).max())
    apart = positions[:, None] - positions[None]
    distances = np.linalg.norm(apart - BOX_LENGTH_NM * np.round(apart / BOX_LENGTH_NM), axis=2)
    distances = distances[np.triu_indices(N_BEADS, 1)]
    r_nm, energy, _ = tabulate(known_potential())
    total = CubicSpline(r_nm, energy)(distances[distances < CUTOFF_NM]).sum()
    assert float(found.energies_kj_mol[0]) == pytest.approx(total, abs=1e-4 * abs(total))


def test_the_spline_is_continued_between_the_points_of_the_table():
    fine_nm, energy, _ = tabulate(known_potential(), points=40001)
    chosen = (fine_nm > 0.4) & (fine_nm < 1.49)
    for r_nm, value in list(zip(fine_nm[chosen], energy[chosen], strict=True))[::1999]:
        found = evaluated(np.array([[0.0, 0.0, 0.0], [r_nm, 0.0, 0.0]]))
        assert float(found.energies_kj_mol[0]) == pytest.approx(value, abs=1e-9)


def test_beads_of_one_molecule_do_not_feel_it():
    beads, positions, edge = dimers(120)
    whole = evaluated(positions, beads, edge).energies_kj_mol
    parted = evaluated(positions, Beads.single(240, 40.0), edge).energies_kj_mol
    assert float(parted - whole) > 100 * abs(known_potential()[15])


def test_the_known_liquid_is_that_of_lammps(tmp_path):
    """Two engines, two thermostats' code, one table: g and pressure agree within their errors."""
    state = {"temperature_k": TEMPERATURE_K, "number_density_nm3": NUMBER_DENSITY_NM3, "n_beads": N_BEADS}
    theirs = simulate_lammps(
        known_potential(),
        mass_g_mol=100.0,
        thermostat="nose_hoover",
        friction_1_ps=0.0,
        equilibration_ps_100=20,
        production_ps_100=300,
        seed=1,
        directory=tmp_path,
        **state,
    )
    ours = simulate(
        PairTable(known_potential()),
        Beads.single(N_BEADS, 100.0),
        theirs.trajectory.positions_nm[-1],
        BOX_LENGTH_NM,
        temperature_k=TEMPERATURE_K,
        ensemble="nvt",
        equilibration_ps=2,
        production_ps=35,
        seed=3,
    )
    assert ours.time_step_fs == theirs.time_step_fs
    edge = ours.trajectory.box_length_nm
    g, reference = (radial_distribution(run.trajectory.positions_nm, edge) for run in (ours, theirs))
    assert rdf_error(g.rdf, reference.rdf) < 0.02
    pressure, error = ours.pressure_bar
    assert abs(pressure - theirs.pressure_bar) < 4 * np.hypot(error, theirs.pressure_bar_se)
