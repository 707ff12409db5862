import dataclasses

import numpy as np
import pytest

from mobcg.config import SchNetSettings
from mobcg.errors import InputError
from mobcg.forcematch.field import Beads
from mobcg.forcematch.frames import Frames
from mobcg.forcematch.prior import with_bonds
from mobcg.units import thermal_energy_kj_mol
from tests.forcematch.networks import dimer_force, small, toy


def dimers(length_nm: float, constant: float, temperature_k: float, frames: int = 400, pairs: int = 50) -> Frames:
    """Molecules of two beads whose lengths have the density r² exp(−k (r − r0)²/2kT), some across the boundary."""
    rng = np.random.default_rng(1)
    width = (thermal_energy_kj_mol(temperature_k) / constant) ** 0.5
    grid = np.linspace(length_nm - 6 * width, length_nm + 6 * width, 20001)
    density = grid**2 * np.exp(-0.5 * ((grid - length_nm) / width) ** 2)
    length = np.interp(rng.uniform(size=(frames, pairs)), np.cumsum(density) / density.sum(), grid)
    direction = rng.standard_normal((frames, pairs, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    first = rng.uniform(0, 2.0, (frames, pairs, 3))
    positions = np.stack([first, first + length[..., None] * direction], axis=2).reshape(frames, 2 * pairs, 3) % 2.0
    number = np.arange(2 * pairs)
    beads = Beads(np.zeros_like(number), number // 2, np.full(2 * pairs, 39.0), number.reshape(-1, 2))
    return Frames(positions, np.zeros_like(positions), 2.0, temperature_k, beads)


def test_bonds_come_from_the_data_where_settings_leave_them_out():
    settings = with_bonds(SchNetSettings(), [dimers(0.2, 4000.0, 280.0), dimers(0.2, 4000.0, 350.0)])
    assert settings.bond_length_nm == pytest.approx(0.2, abs=4e-4)  # the mean is 0.2063 nm
    assert settings.bond_kj_mol_nm2 == pytest.approx(4000.0, rel=0.05)
    given = with_bonds(SchNetSettings(bond_kj_mol_nm2=7.0), [dimers(0.2, 4000.0, 280.0)])
    assert given.bond_kj_mol_nm2 == 7.0
    assert given.bond_length_nm is not None
    assert with_bonds(SchNetSettings(), [toy(10)]) == SchNetSettings()


def test_bonds_of_two_kinds_are_refused():
    frames = dimers(0.2, 4000.0, 280.0, frames=2, pairs=3)
    mixed = dataclasses.replace(frames.beads, kinds=np.array([0, 0, 0, 1, 1, 1]))
    with pytest.raises(InputError, match="one pair of kinds"):
        with_bonds(SchNetSettings(), [dataclasses.replace(frames, beads=mixed)])


def test_the_excluded_volume_is_the_power_law_shifted_to_end_at_the_cutoff():
    field = small("schnet", sigma_nm=0.4, power=9, epsilon_kj_mol=3.0)
    for parameter in field.parameters():
        parameter.zero_()
    r, cutoff = np.array([0.25, 0.4, 0.6]), field.cutoff_nm
    expected = 3.0 * 9 * ((0.4 / r) ** 9 / r - (0.4 / cutoff) ** 9 / cutoff)
    np.testing.assert_allclose(dimer_force(field, r), expected, rtol=1e-9)
