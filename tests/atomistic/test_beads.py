import MDAnalysis
import numpy as np
import pytest
from MDAnalysis.coordinates.TRR import TRRWriter

from mobcg.atomistic.beads import (
    centres_of_mass,
    kinetic_temperature_k,
    nearest_image,
    read_beads,
    scale_molecules,
    whole_molecules,
)
from mobcg.errors import SimulationError
from mobcg.units import ANGSTROM_PER_NM, thermal_energy_kj_mol

BOX_NM = 3.0
MASSES = np.array([12.0, 1.0, 16.0])


@pytest.fixture
def molecules():
    random = np.random.default_rng(0)
    first = random.uniform(0, BOX_NM, (50, 1, 3))
    return first + np.concatenate([np.zeros((50, 1, 3)), random.uniform(-0.5, 0.5, (50, 2, 3))], axis=1)


def test_wrapped_atoms_become_whole_molecules(molecules):
    whole = whole_molecules(molecules % BOX_NM, BOX_NM)
    np.testing.assert_allclose(whole - whole[:, :1], molecules - molecules[:, :1], atol=1e-12)


def test_a_molecule_of_half_a_box_is_refused(molecules):
    molecules[0, 1] = molecules[0, 0] + [1.4, 0, 0]
    with pytest.raises(SimulationError, match="half the box"):
        whole_molecules(molecules, BOX_NM)


def test_centre_of_mass_is_weighted():
    centre = centres_of_mass(np.array([[[0.0, 0, 0], [1, 0, 0], [0, 2, 0]]]), MASSES)
    np.testing.assert_allclose(centre, [[1 / 29, 32 / 29, 0]])


def test_following_the_nearest_image_gives_a_wrapped_walk_back():
    walk = np.cumsum(np.random.default_rng(1).normal(0, 0.3, (200, 20, 3)), axis=0)
    followed = [walk[0]]
    for wrapped in walk[1:] % BOX_NM:
        followed.append(nearest_image(wrapped, followed[-1], BOX_NM))
    np.testing.assert_allclose(followed, walk, atol=1e-9)


def test_scaling_moves_centres_and_keeps_molecules_rigid(molecules):
    scaled = scale_molecules(molecules, MASSES, 1.02)
    np.testing.assert_allclose(centres_of_mass(scaled, MASSES), 1.02 * centres_of_mass(molecules, MASSES))
    np.testing.assert_allclose(scaled - scaled[:, :1], molecules - molecules[:, :1], atol=1e-12)


def test_kinetic_temperature_of_a_maxwell_distribution_without_its_drift():
    mass, temperature = 78.0, 298.15
    sigma = np.sqrt(thermal_energy_kj_mol(temperature) / mass)
    velocities = np.random.default_rng(2).normal(5.0, sigma, (20_000, 3))
    assert kinetic_temperature_k(velocities, mass) == pytest.approx(temperature, rel=0.02)


GROUPS = [[0, 3], [1], [2, 4, 5]]
GROUP_MASSES = np.array([12.0, 1.0, 16.0, 1.0, 1.0, 12.0])


@pytest.fixture
def trajectory(tmp_path):
    """Forty molecules of six atoms that walk through the faces of the box; their atoms and forces, and the .trr."""
    random = np.random.default_rng(3)
    centres = random.uniform(0, BOX_NM, (1, 40, 1, 3)) + np.cumsum(random.normal(0, 0.2, (30, 40, 1, 3)), axis=0)
    atoms = centres + random.uniform(-0.3, 0.3, (30, 40, 6, 3))
    forces = random.normal(0, 500, atoms.shape)
    universe = MDAnalysis.Universe.empty(240, trajectory=True, forces=True, velocities=True)
    with TRRWriter(str(tmp_path / "atoms.trr"), 240) as writer:
        for number in range(30):
            frame = universe.trajectory.ts
            frame.dimensions = [ANGSTROM_PER_NM * BOX_NM] * 3 + [90] * 3
            frame.positions = ANGSTROM_PER_NM * (atoms[number].reshape(-1, 3) % BOX_NM)
            frame.forces = forces[number].reshape(-1, 3) / ANGSTROM_PER_NM
            frame.velocities = ANGSTROM_PER_NM * random.normal(0, 0.3, (240, 3))
            frame.data["time"] = float(number)
            writer.write(universe.atoms)
    return atoms, forces, tmp_path / "atoms.trr"


def test_groups_of_atoms_are_beads_whose_centre_is_that_of_the_molecule(trajectory):
    atoms, forces, trr = trajectory
    single, mapped = (read_beads(trr, GROUP_MASSES, BOX_NM, groups) for groups in (None, GROUPS))
    beads, net = mapped.positions_nm.reshape(30, 40, 3, 3), mapped.forces_kj_mol_nm.reshape(30, 40, 3, 3)
    for number, group in enumerate(GROUPS):
        expected = np.average(atoms[:, :, group], axis=2, weights=GROUP_MASSES[group])
        # As walked: in one image with the rest of the molecule, and unwrapped from the first frame on.
        moved = beads[:, :, number] - expected
        np.testing.assert_allclose(moved, np.broadcast_to(moved[:1], moved.shape), atol=1e-5)
        np.testing.assert_allclose(net[:, :, number], forces[:, :, group].sum(axis=2), rtol=1e-4, atol=0.01)
    weights = [GROUP_MASSES[group].sum() for group in GROUPS]
    np.testing.assert_allclose(np.average(beads, axis=2, weights=weights), single.positions_nm, atol=1e-5)
    np.testing.assert_allclose(net.sum(axis=2), single.forces_kj_mol_nm, rtol=1e-4, atol=0.01)
    assert mapped.temperature_k == single.temperature_k
