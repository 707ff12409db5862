import sys

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mobcg.config import NETWORK_SETTINGS, HipnnSettings, SchNetSettings
from mobcg.errors import InputError
from mobcg.forcematch.network import build, rebuild
from tests.forcematch.networks import (
    BEADS,
    EDGE_NM,
    SMALL,
    dimer_force,
    evaluated,
    scattered,
    singles,
    small,
    toy,
    trimers,
)

MODELS = sorted(SMALL)


@pytest.fixture(scope="module", params=MODELS)
def name(request):
    return request.param


@pytest.fixture(scope="module", params=["one bead a molecule", "three"])
def case(name, request):
    """A field, the beads and two boxes; in the second case two kinds of beads, bonds, networks in and between."""
    positions = scattered(2, BEADS, EDGE_NM, 0.28, seed=5) - 0.3
    beads, n_kinds = (singles(), 1) if request.param.startswith("one") else (trimers(), 2)
    return small(name, n_kinds), beads, positions


def same(one, other, order=slice(None)):
    np.testing.assert_allclose(one.energies_kj_mol, other.energies_kj_mol, rtol=1e-10)
    forces = one.forces_kj_mol_nm[:, order]
    np.testing.assert_allclose(forces, other.forces_kj_mol_nm, rtol=1e-8, atol=1e-8 * float(forces.abs().max()))
    np.testing.assert_allclose(one.virials_kj_mol, other.virials_kj_mol, rtol=1e-8)


def test_forces_are_the_slope_of_the_energy(case):
    field, beads, positions = case
    forces, step = evaluated(field, beads, positions).forces_kj_mol_nm.numpy(), 1e-6
    for bead, axis in ((0, 0), (11, 1), (23, 2)):
        up, down = positions.copy(), positions.copy()
        up[:, bead, axis] += step
        down[:, bead, axis] -= step
        energies = [evaluated(field, beads, moved).energies_kj_mol.numpy() for moved in (up, down)]
        np.testing.assert_allclose(
            forces[:, bead, axis], (energies[1] - energies[0]) / (2 * step), rtol=1e-5, atol=1e-4
        )


def test_a_box_does_not_feel_the_others_in_its_batch(case):
    field, beads, positions = case
    together = evaluated(field, beads, positions)
    assert together.energies_kj_mol.shape == (2,)
    for frame in range(2):
        alone = evaluated(field, beads, positions[frame : frame + 1])
        np.testing.assert_allclose(together.energies_kj_mol[frame], alone.energies_kj_mol[0])
        np.testing.assert_allclose(together.forces_kj_mol_nm[frame], alone.forces_kj_mol_nm[0], atol=1e-8)


def test_wrapping_moving_and_a_skin_change_nothing(case):
    field, beads, positions = case
    plain = evaluated(field, beads, positions)
    for other in (positions % EDGE_NM, positions + np.array([0.77, -2.1, 0.3])):
        same(plain, evaluated(field, beads, other))
    same(plain, evaluated(field, beads, positions, skin_nm=0.15))


def test_for_dynamics_the_forces_are_the_same(case):
    field, beads, positions = case
    plain, quick = (evaluated(one, beads, positions) for one in (field, field.for_dynamics()))
    np.testing.assert_allclose(quick.energies_kj_mol, plain.energies_kj_mol, rtol=1e-6)
    largest = float(plain.forces_kj_mol_nm.abs().max())
    np.testing.assert_allclose(quick.forces_kj_mol_nm, plain.forces_kj_mol_nm, atol=1e-6 * largest)


def test_for_dynamics_filters_are_tables():
    field = small("schnet", 2)
    names = {name for name, _ in field.for_dynamics().named_buffers()}
    assert {"between.blocks.0.filter.powers", "within.blocks.0.filter.powers"} <= names
    assert not any("powers" in name for name, _ in field.named_buffers())


def test_no_net_force(case):
    field, beads, positions = case
    np.testing.assert_allclose(evaluated(field, beads, positions).forces_kj_mol_nm.sum(1), 0, atol=1e-8)


def test_turning_a_cluster_turns_its_forces(case):
    field, beads, positions = case
    turn = Rotation.from_rotvec([0.3, -1.1, 0.8]).as_matrix()
    plain, turned = (evaluated(field, beads, place, 20.0) for place in (positions, positions @ turn.T))
    np.testing.assert_allclose(plain.energies_kj_mol, turned.energies_kj_mol, rtol=1e-10)
    np.testing.assert_allclose(plain.forces_kj_mol_nm.numpy() @ turn.T, turned.forces_kj_mol_nm, rtol=1e-7, atol=1e-6)


def test_molecules_have_no_numbers(case):
    field, beads, positions = case
    size = BEADS // len(np.unique(beads.molecules))
    order = np.random.default_rng(1).permutation(BEADS // size)
    order = (size * order[:, None] + np.arange(size)).ravel()
    same(evaluated(field, beads, positions), evaluated(field, beads, positions[:, order]), order)


def test_the_energy_is_of_many_bodies(name):
    """Three beads in a row are more than their three pairs: the network is no pair potential in disguise."""
    field = small(name)

    def energy(*places: float) -> float:
        positions = np.array([[[place, 0.0, 0.0] for place in places]])
        return float(evaluated(field, singles(len(places)), positions, 20.0).energies_kj_mol[0])

    pairs = 2 * energy(0, 0.35) + energy(0, 0.7)
    assert abs(energy(0, 0.35, 0.7) - pairs) > 1e-3


def test_nothing_beyond_the_cutoff_and_no_step_at_it(name):
    field = small(name)
    beyond, within = field.cutoff_nm + 1e-9, field.cutoff_nm - 1e-4
    far = evaluated(field, singles(2), np.array([[[0.0, 0, 0], [beyond, 0, 0]]]), 20.0, skin_nm=0.2)
    assert float(far.energies_kj_mol[0]) == pytest.approx(0, abs=1e-12)
    assert float(far.forces_kj_mol_nm.abs().max()) == 0
    inside = np.abs(dimer_force(field, np.array([0.5, within])))
    assert inside[1] < 1e-3 * inside[0]


def test_a_third_bead_that_leaves_pulls_ever_less(name):
    field = small(name)
    places = [[[0.0, 0, 0], [0.4, 0, 0], [0.4, field.cutoff_nm + shift, 0]] for shift in (-1e-4, 1e-4)]
    forces = evaluated(field, singles(3), np.array(places), 20.0, skin_nm=0.1).forces_kj_mol_nm
    np.testing.assert_allclose(forces[0], forces[1], atol=1e-3 * float(forces.abs().max()))


def test_in_a_molecule_alone_only_bonds_and_its_own_network_act():
    positions = np.array([[[0.0, 0, 0], [0.22, 0, 0], [0.0, 0.2, 0]]])
    lengths = np.array([0.22, np.hypot(0.22, 0.2), 0.2])
    bonds = 0.5 * 5000.0 * np.sum((lengths - 0.2) ** 2)
    bare = [small("schnet", 2, intra_blocks=0), small("hipnn", 2)]
    for field in bare:
        assert float(evaluated(field, trimers(3), positions, 20.0).energies_kj_mol[0]) == pytest.approx(bonds)
    dressed = evaluated(small("schnet", 2, intra_blocks=1), trimers(3), positions, 20.0)
    assert abs(float(dressed.energies_kj_mol[0]) - bonds) > 1e-3


def test_without_data_two_beads_repel(name):
    field = rebuild(name, NETWORK_SETTINGS[name].model_validate(SMALL[name]), 1)
    assert np.all(dimer_force(field, np.array([0.2, 0.25, 0.3])) > 100)


def test_the_seed_decides_the_weights(name):
    frames, settings = toy(10), NETWORK_SETTINGS[name].model_validate(SMALL[name])
    torch.manual_seed(99)
    first, second, third = (list(build(name, settings, [frames], seed).parameters()) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, third, strict=True))


@pytest.mark.parametrize(("name", "library"), [("schnet", "graph_pes"), ("hipnn", "hippynn")])
def test_a_missing_library_is_named(name, library, monkeypatch):
    for module in list(sys.modules):
        if module.split(".")[0] == library or module == f"mobcg.forcematch.{name}":
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf'{library}.*pip install "mobcg\[forcematch\]"'):
        rebuild(name, NETWORK_SETTINGS[name](), 1)


def test_a_model_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="schnet"):
        rebuild("os", SchNetSettings(), 1)


@pytest.mark.parametrize(
    ("settings", "content"),
    [(HipnnSettings, {"soft_max_nm": 1.2}), (SchNetSettings, {"batch_frames": 1}), (SchNetSettings, {"blocks": 0})],
)
def test_settings_that_cannot_be_are_refused(settings, content):
    with pytest.raises(ValueError, match="validation error"):
        settings.model_validate(content)
