r"""Pressure of a pair potential from its own g(r), and the tail that brings it to a wanted one.

    p = ρ kT − (2π/3) ρ² ∫ r³ U'(r) g(r) dr                              (virial route, one-component liquid)

A slow ramp added to U changes the pressure at once and the structure hardly: forces from all sides of a dense liquid
cancel, in other words S(k) is small where the ramp has its Fourier components (Wang, Junghans and Kremer, Eur. Phys. J.
E 28, 221 (2009), as `simple` and `wjk` pressure corrections of VOTCA).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from mobcg.pair import CUTOFF_NM, R_NM, core_index, tabulate, taper
from mobcg.units import BAR_PER_KJ_MOL_NM3, thermal_energy_kj_mol

# Bins beyond the edge of the core whose ln(g exp(βU)) is continued into it.
CAVITY_BINS = 6
# exp(−βU) is 0 long before this.
LARGEST_EXPONENT = 500.0


def cavity_logarithm(potential_kj_mol: ArrayLike, rdf: ArrayLike, temperature_k: float) -> NDArray[np.float64]:
    """Return ln y = ln g + βU on the grid, (150,): smooth through contact, continued as a line into the core.

    Raises
    ------
    ValueError
        g(r) is zero everywhere.
    """
    first = core_index(rdf)
    g = np.maximum(np.asarray(rdf, np.float64), 1e-12)
    logarithm = np.log(g) + np.asarray(potential_kj_mol, np.float64) / thermal_energy_kj_mol(temperature_k)
    seen = slice(first, first + CAVITY_BINS)
    slope, intercept = np.polyfit(R_NM[seen], logarithm[seen], 1, w=np.sqrt(g[seen]))
    logarithm[:first] = intercept + slope * R_NM[:first]
    return logarithm


def virial_integral_kj_mol_nm3(
    strength: NDArray, potential_kj_mol: ArrayLike, cavity: ArrayLike, number_density_nm3: float, temperature_k: float
) -> float:
    """Return (2π/3) ρ² ∫ r³ F(r) g(r) dr with g = y exp(−βU), for a force F (`TABLE_POINTS` values of `tabulate`)."""
    r, energy, _ = tabulate(potential_kj_mol)
    exponent = CubicSpline(R_NM, cavity)(r) - energy / thermal_energy_kj_mol(temperature_k)
    g = np.exp(np.clip(exponent, -LARGEST_EXPONENT, 5.0))
    return float(2 * np.pi / 3 * number_density_nm3**2 * np.trapezoid(r**3 * strength * g, r))


def virial_pressure_bar(
    potential_kj_mol: ArrayLike,
    cavity: ArrayLike,
    number_density_nm3: float,
    temperature_k: float,
    n_beads: float = np.inf,
) -> float:
    """Return the pressure (bar) of a liquid of pair potential U and cavity function ln y, as from `cavity_logarithm`.

    A box of N beads whose g(r) is normalised by N − 1 has (N − 1)/N of the pairs that ρ² g counts.
    """
    strength = tabulate(potential_kj_mol)[2]
    pairs = virial_integral_kj_mol_nm3(strength, potential_kj_mol, cavity, number_density_nm3, temperature_k)
    ideal = number_density_nm3 * thermal_energy_kj_mol(temperature_k)
    return (ideal + pairs * (1 - 1 / n_beads)) * BAR_PER_KJ_MOL_NM3


def ramp() -> NDArray[np.float64]:
    """Return the shape of the correction, (1 − r²/r_c²)² with the taper of every potential, (150,).

    Smoother than the straight line of the literature, it moves g(r) less at the same change of pressure: by linear
    response a third to four fifths as much in dense liquids.
    """
    return taper((1 - (R_NM / CUTOFF_NM) ** 2) ** 2)


def pressure_correction_kj_mol(
    change_bar: float,
    potential_kj_mol: ArrayLike,
    cavity: ArrayLike,
    number_density_nm3: float,
    temperature_k: float,
) -> NDArray[np.float64]:
    """Return ΔU (150,) in kJ/mol, a multiple of `ramp`, that changes the pressure by `change_bar` at the same g(r)."""
    strength = tabulate(ramp())[2]
    per_unit = virial_integral_kj_mol_nm3(strength, potential_kj_mol, cavity, number_density_nm3, temperature_k)
    return change_bar / BAR_PER_KJ_MOL_NM3 / per_unit * ramp()
