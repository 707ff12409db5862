import numpy as np
import pytest

from mobcg.atomistic.beads import (
    centres_of_mass,
    kinetic_temperature_k,
    nearest_image,
    scale_molecules,
    whole_molecules,
)
from mobcg.errors import SimulationError
from mobcg.units import thermal_energy_kj_mol

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
