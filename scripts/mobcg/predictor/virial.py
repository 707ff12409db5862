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

from mobcg.pair import BIN_WIDTH_NM, CUTOFF_NM, R_NM, core_index, taper
from mobcg.units import BAR_PER_KJ_MOL_NM3, thermal_energy_kj_mol

# Bins beyond the edge of the core whose ln(g exp(βU)) is continued into it.
CAVITY_BINS = 6
# Where the integral is summed: fine enough for the steepest wall.
FINE_NM: NDArray[np.float64] = np.linspace(0.1, CUTOFF_NM, 701)
# exp(−βU) is 0 long before this.
LARGEST_EXPONENT = 500.0


def cavity_logarithm(potential_kj_mol: ArrayLike, rdf: ArrayLike, temperature_k: ArrayLike) -> NDArray[np.float64]:
    """Return ln y = ln g + βU on the grid: smooth through contact, continued as a line into the core.

    Shapes: (n, 150) twice and (n,).

    Raises
    ------
    ValueError
        A g(r) is zero everywhere.
    """
    first = core_index(rdf)[:, None]
    g = np.maximum(np.asarray(rdf, np.float64), 1e-12)
    logarithm = np.log(g) + np.asarray(potential_kj_mol, np.float64) / _kt(temperature_k)[:, None]
    bins = np.minimum(first + np.arange(CAVITY_BINS), R_NM.size - 1)
    r, values = R_NM[bins], np.take_along_axis(logarithm, bins, 1)
    weights = np.take_along_axis(g, bins, 1)
    weights /= weights.sum(axis=1, keepdims=True)
    r_mean, mean = (np.sum(weights * x, axis=1, keepdims=True) for x in (r, values))
    slope = np.sum(weights * (r - r_mean) * (values - mean), axis=1, keepdims=True)
    slope /= np.sum(weights * (r - r_mean) ** 2, axis=1, keepdims=True)
    return np.where(np.arange(R_NM.size) < first, mean + slope * (R_NM - r_mean), logarithm)


def virial_pressure_bar(
    potential_kj_mol: ArrayLike,
    cavity: ArrayLike,
    number_density_nm3: ArrayLike,
    temperature_k: ArrayLike,
    n_beads: ArrayLike,
) -> NDArray[np.float64]:
    """Return the pressures (bar), (n,), of liquids of pair potentials U and cavity functions ln y, (n, 150) each.

    ln y as from `cavity_logarithm`; the rest (n,). A box of N beads whose g(r) is normalised by N − 1 has (N − 1)/N of
    the pairs that ρ² g counts; N may be inf.
    """
    density, n = np.asarray(number_density_nm3, np.float64), np.asarray(n_beads, np.float64)
    strength = -_spline(potential_kj_mol)(FINE_NM, 1)
    pairs = _virial(strength, fine_rdf(potential_kj_mol, cavity, temperature_k), density)
    return (density * _kt(temperature_k) + pairs * (1 - 1 / n)) * BAR_PER_KJ_MOL_NM3


def ideal_pressure_bar(number_density_nm3: ArrayLike, temperature_k: ArrayLike) -> NDArray[np.float64]:
    """Return ρkT in bar, (n,)."""
    return np.asarray(number_density_nm3, np.float64) * _kt(temperature_k) * BAR_PER_KJ_MOL_NM3


def pressure_response_bar(
    potential_kj_mol: ArrayLike, rdf_change: ArrayLike, number_density_nm3: ArrayLike
) -> NDArray[np.float64]:
    """Return the changes of pressure (bar), (n,), where g(r) changes by Δg and U does not: (2π/3) ρ² ∫ r³ F Δg dr.

    Summed over bins, which is enough for the size of an error: U and Δg (n, 150), the density (n,).
    """
    strength = -_spline(potential_kj_mol)(R_NM, 1)
    density = np.asarray(number_density_nm3, np.float64)
    pairs = np.sum(R_NM**3 * strength * np.asarray(rdf_change), axis=-1) * BIN_WIDTH_NM
    return 2 * np.pi / 3 * density**2 * pairs * BAR_PER_KJ_MOL_NM3


def ramp() -> NDArray[np.float64]:
    """Return the shape of the correction, (1 − r²/r_c²)² with the taper of every potential, (150,).

    Smoother than the straight line of the literature, it moves g(r) less at the same change of pressure: by linear
    response a third to four fifths as much in dense liquids.
    """
    return taper((1 - (R_NM / CUTOFF_NM) ** 2) ** 2)


def pressure_correction_kj_mol(
    change_bar: ArrayLike,
    potential_kj_mol: ArrayLike,
    cavity: ArrayLike,
    number_density_nm3: ArrayLike,
    temperature_k: ArrayLike,
) -> NDArray[np.float64]:
    """Return ΔU (n, 150) in kJ/mol, multiples of `ramp` that change pressures by `change_bar` (n,) at the same g(r)."""
    strength = -_spline(ramp())(FINE_NM, 1)
    per_unit = _virial(strength, fine_rdf(potential_kj_mol, cavity, temperature_k), np.asarray(number_density_nm3))
    return (np.asarray(change_bar) / BAR_PER_KJ_MOL_NM3 / per_unit)[:, None] * ramp()


def fine_rdf(potential_kj_mol: ArrayLike, cavity: ArrayLike, temperature_k: ArrayLike) -> NDArray[np.float64]:
    """Return g = y exp(−βU) at `FINE_NM`, (n, 701)."""
    energy = _spline(potential_kj_mol)(FINE_NM) / _kt(temperature_k)[:, None]
    exponent = CubicSpline(R_NM, cavity, axis=-1)(FINE_NM) - energy
    return np.exp(np.clip(exponent, -LARGEST_EXPONENT, 5.0))


def _virial(strength: NDArray, rdf: NDArray, density: NDArray) -> NDArray[np.float64]:
    """Return (2π/3) ρ² ∫ r³ F g dr in kJ/mol/nm³, (n,)."""
    return 2 * np.pi / 3 * density**2 * np.trapezoid(FINE_NM**3 * strength * rdf, FINE_NM, axis=-1)


def _spline(potential_kj_mol: ArrayLike) -> CubicSpline:
    """Return the cubic spline that a table is made from: through U, and to U = F = 0 at the cutoff."""
    potential = np.asarray(potential_kj_mol, np.float64)
    values = np.concatenate([potential, np.zeros((*potential.shape[:-1], 1))], axis=-1)
    return CubicSpline(
        np.append(R_NM, CUTOFF_NM), values, axis=-1, bc_type=("not-a-knot", (1, np.zeros(potential.shape[:-1])))
    )


def _kt(temperature_k: ArrayLike) -> NDArray[np.float64]:
    return thermal_energy_kj_mol(1.0) * np.asarray(temperature_k, np.float64)
