import numpy as np
import pytest

from mobcg.forcematch.dynamics import simulate
from mobcg.forcematch.molecules import whole_molecules
from mobcg.forcematch.motion import Forces
from mobcg.forcematch.starts import relaxed, repeated_beads, resized
from mobcg.observables import radial_distribution
from tests.forcematch.boxes import TEMPERATURE_K, dimers, lattice
from tests.forcematch.fields import SoftSpheres


@pytest.mark.parametrize("n_molecules", [12, 30, 100, 240])
def test_another_number_of_molecules_at_the_same_density(n_molecules):
    beads, positions, edge = dimers()
    new, new_beads, new_edge = resized(positions, beads, edge, n_molecules, seed=3)
    assert new.shape == (2 * n_molecules, 3)
    assert n_molecules / new_edge**3 == pytest.approx(30 / edge**3)
    np.testing.assert_allclose(np.linalg.norm(np.diff(new.reshape(-1, 2, 3), axis=1), axis=2), 0.15)
    np.testing.assert_array_equal(new_beads.bonds, np.arange(2 * n_molecules).reshape(-1, 2))
    assert new_beads.masses_g_mol.sum() == 80 * n_molecules


def test_eight_boxes_are_the_box_eight_times():
    beads, positions, edge = dimers()
    new, new_beads, new_edge = resized(positions, beads, edge, 240, seed=3)
    field = SoftSpheres()
    energies = [Forces(field, *box)(x)[0] for x, box in ((positions, (beads, edge)), (new, (new_beads, new_edge)))]
    assert energies[1] == pytest.approx(8 * energies[0])


def test_molecules_that_do_not_follow_each_other_are_refused():
    beads, positions, edge = dimers()
    mixed = np.roll(np.arange(60), 1)
    shuffled = type(beads)(beads.kinds, beads.molecules[mixed], beads.masses_g_mol, beads.bonds)
    with pytest.raises(ValueError, match="follow each other"):
        resized(positions, shuffled, edge, 10, seed=1)


def test_beads_of_one_molecule_are_repeated():
    beads, _, _ = dimers()
    assert len(repeated_beads(beads, 3)) == 6
    np.testing.assert_array_equal(repeated_beads(beads, 30).bonds, beads.bonds)
    np.testing.assert_array_equal(repeated_beads(beads, 2).molecules, [0, 0, 1, 1])


def test_relaxing_takes_overlaps_away():
    beads, positions, edge = dimers()
    squeezed = positions + 0.1 * np.sin(20 * positions[:, ::-1])
    found = relaxed(SoftSpheres(), beads, squeezed, edge)
    find = Forces(SoftSpheres(), beads, edge)
    assert find(found)[0] < 0.3 * find(whole_molecules(squeezed, beads, edge))[0]


def test_energy_and_structure_do_not_depend_on_the_number_of_molecules():
    beads, positions, edge = lattice(200, 6.0)
    length = {"temperature_k": TEMPERATURE_K, "ensemble": "nvt", "equilibration_ps": 3, "seed": 1}
    small = simulate(SoftSpheres(), beads, positions, edge, production_ps=10, **length)
    last = small.trajectory.positions_nm[-1]
    new, new_beads, new_edge = resized(last, beads, edge, 400, seed=3)
    start = relaxed(SoftSpheres(), new_beads, new, new_edge)
    large = simulate(SoftSpheres(), new_beads, start, new_edge, production_ps=5, **length)
    (one, one_se), (other, other_se) = (found.molecule_energy_kj_mol for found in (small, large))
    assert one == pytest.approx(other, abs=4 * np.hypot(one_se, other_se))
    g, reference = (
        radial_distribution(found.trajectory.positions_nm, found.trajectory.box_length_nm).rdf
        for found in (small, large)
    )
    assert np.abs((g - reference).reshape(15, 10).mean(axis=1))[2:].max() < 0.06
