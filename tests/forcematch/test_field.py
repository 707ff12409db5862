import numpy as np
import pytest
import torch

from mobcg.errors import InputError
from mobcg.forcematch.field import Beads, evaluate, pairs_within
from tests.forcematch.fields import SoftSpheres

EDGE_NM = 2.0


def two_boxes(beads: int = 60) -> np.ndarray:
    return np.random.default_rng(3).uniform(-EDGE_NM, 2 * EDGE_NM, (2, beads, 3))


def pairs_of_beads(beads: int = 60) -> Beads:
    number = np.arange(beads)
    return Beads(number % 2, number // 2, np.full(beads, 40.0), np.column_stack([number[::2], number[1::2]]))


def evaluated(positions: np.ndarray, field=None, skin_nm: float = 0.0, beads: Beads | None = None):
    field = field or SoftSpheres()
    pairs = pairs_within(positions, EDGE_NM, field.cutoff_nm + skin_nm)
    return evaluate(field, beads or pairs_of_beads(), torch.from_numpy(positions), EDGE_NM, pairs)


def test_forces_are_the_slope_of_the_energy():
    positions, step = two_boxes(), 1e-6
    forces = evaluated(positions).forces_kj_mol_nm.numpy()
    for bead, axis in ((0, 0), (17, 1), (59, 2)):
        up, down = positions.copy(), positions.copy()
        up[:, bead, axis] += step
        down[:, bead, axis] -= step
        slope = (evaluated(up).energies_kj_mol - evaluated(down).energies_kj_mol).numpy() / (2 * step)
        np.testing.assert_allclose(forces[:, bead, axis], -slope, rtol=1e-5, atol=1e-4)


def test_a_box_does_not_feel_the_others_in_its_batch():
    positions = two_boxes()
    together = evaluated(positions)
    for frame in range(2):
        alone = evaluated(positions[frame : frame + 1])
        np.testing.assert_allclose(together.energies_kj_mol[frame], alone.energies_kj_mol[0])
        np.testing.assert_allclose(together.forces_kj_mol_nm[frame], alone.forces_kj_mol_nm[0], atol=1e-9)
        np.testing.assert_allclose(together.virials_kj_mol[frame], alone.virials_kj_mol[0])


def test_wrapping_moving_and_a_skin_change_nothing():
    positions = two_boxes()
    plain = evaluated(positions)
    for other in (evaluated(positions % EDGE_NM), evaluated(positions + 0.77), evaluated(positions, skin_nm=0.2)):
        np.testing.assert_allclose(plain.energies_kj_mol, other.energies_kj_mol)
        np.testing.assert_allclose(plain.forces_kj_mol_nm, other.forces_kj_mol_nm, atol=1e-9)


def test_no_net_force():
    np.testing.assert_allclose(evaluated(two_boxes()).forces_kj_mol_nm.sum(1), 0, atol=1e-9)


def test_the_virial_is_the_slope_of_the_energy_when_the_box_grows():
    """W = Σ g·v = dE/d ln L; unwrapped pairs that scale with the box, so all pairs within half the box are given."""
    positions, field, growth = two_boxes() % EDGE_NM, SoftSpheres(), 1e-6
    pairs = pairs_within(positions, EDGE_NM, field.cutoff_nm + 0.1)

    def energy(factor: float) -> np.ndarray:
        box = torch.from_numpy(factor * positions)
        return evaluate(field, pairs_of_beads(), box, factor * EDGE_NM, pairs).energies_kj_mol.numpy()

    slope = (energy(1 + growth) - energy(1 - growth)) / (2 * growth)
    virials = evaluate(field, pairs_of_beads(), torch.from_numpy(positions), EDGE_NM, pairs).virials_kj_mol
    np.testing.assert_allclose(virials, slope, rtol=1e-5)


def test_the_energy_is_the_sum_over_pairs():
    positions, field = two_boxes(), SoftSpheres()
    apart = positions[:, :, None] - positions[:, None]
    apart -= EDGE_NM * np.round(apart / EDGE_NM)
    distance = np.linalg.norm(apart, axis=3)
    number = np.arange(60)
    counted = np.triu(np.ones((60, 60)), 1) * (number[:, None] // 2 != number // 2)
    pair = 10 * np.clip(1 - distance / field.cutoff_nm, 0, None) ** 2 * counted
    bonds = distance[:, number[::2], number[1::2]]
    expected = pair.sum((1, 2)) + 2500 * ((bonds - 0.15) ** 2).sum(1)
    np.testing.assert_allclose(evaluated(positions).energies_kj_mol, expected)


def test_a_reach_beyond_half_the_box_is_refused():
    with pytest.raises(InputError, match="half the box"):
        pairs_within(two_boxes(), EDGE_NM, 1.01)


def test_one_bead_a_molecule():
    beads = Beads.single(60, 78.0)
    assert len(beads) == 60
    assert len(beads.bonds) == 0
    evaluation = evaluated(two_boxes(), beads=beads)
    assert evaluation.energies_kj_mol.shape == (2,)
    assert torch.all(evaluation.energies_kj_mol > 0)
