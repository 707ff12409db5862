"""Liquids of the tests of this room: pair potentials whose values are known in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobcg.pair import CUTOFF_NM, R_NM, TAPER_WIDTH_NM, extrapolate_core, taper

TEMPERATURE_K = 298.15
# The core of the grid is continued by an exponential from here inwards (kJ/mol).
CORE_KJ_MOL = 40.0


def lennard_jones_kj_mol(r_nm: ArrayLike, epsilon_kj_mol: float, sigma_nm: float) -> NDArray[np.float64]:
    x = (sigma_nm / np.asarray(r_nm)) ** 6
    return 4 * epsilon_kj_mol * (x**2 - x)


def tapered_lennard_jones_kj_mol(r_nm: ArrayLike, epsilon_kj_mol: float, sigma_nm: float) -> NDArray[np.float64]:
    """Return what `lennard_jones` tabulates, outside its core, at any distance."""
    x = np.clip((np.asarray(r_nm) - CUTOFF_NM + TAPER_WIDTH_NM) / TAPER_WIDTH_NM, 0, 1)
    return lennard_jones_kj_mol(r_nm, epsilon_kj_mol, sigma_nm) * (1 - x**3 * (10 - 15 * x + 6 * x**2))


def lennard_jones(epsilon_kj_mol: float, sigma_nm: float) -> NDArray[np.float64]:
    potential = lennard_jones_kj_mol(R_NM, epsilon_kj_mol, sigma_nm)
    return taper(extrapolate_core(potential, int(np.flatnonzero(potential < CORE_KJ_MOL)[0])))


# A soft dense liquid: 0.6 kT deep, 0.61 σ³ dense.
SOFT = lennard_jones(1.5, 0.5)
SOFT_STATE = {
    "mass_g_mol": 100.0,
    "temperature_k": TEMPERATURE_K,
    "number_density_nm3": 4.9,
    "n_beads": 160,
    "thermostat": "nose_hoover",
    "friction_1_ps": 0.0,
    "equilibration_ps_100": 5.0,
    "production_ps_100": 140.0,
    "seed": 1,
}
# No wall: beads fall into each other, and LAMMPS stops below the innermost distance of its table.
BOTTOMLESS = -30 * np.exp(-((R_NM / 0.3) ** 2))
