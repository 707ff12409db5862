"""Reduced quantities: a liquid in units of its mean distance ρ^(-1/3), of kT and of m.

In them g(r), U/kT and D·sqrt(m/kT)·ρ^(1/3) of a classical liquid do not change when lengths, masses or energies and
temperature are scaled together. A model that sees nothing else is exact under those scalings, without augmentation:
the copy of a liquid with r → λr, ρ → ρ/λ³ has the same reduced curves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from mobcg.units import NM2_NS_PER_NM2_PS, reduced_time_ps

# Reduced distances r ρ^(1/3). The grid of 1.5 nm reaches 2.2 to 2.9 for molecular liquids; as far as 2.4 is needed to
# hold the second shell, and beyond the reach of a liquid its curves are continued with their limit.
X_SPACING = 0.015
X: NDArray[np.float64] = (np.arange(160) + 0.5) * X_SPACING


def to_reduced(
    r_nm: ArrayLike, values: ArrayLike, number_density_nm3: ArrayLike, outside: float
) -> NDArray[np.float64]:
    """Return functions of r (nm) on the reduced grid `X`, (160,) or (n, 160), by cubic spline.

    Parameters
    ----------
    r_nm, values
        (k,), equally spaced, and (k,) or (n, k).
    number_density_nm3
        Beads per nm³, one number or (n,).
    outside
        Value beyond the last r: 1 for g(r), 0 for what decays to nothing.
    """
    r = np.asarray(r_nm, np.float64)
    wanted = X / np.cbrt(np.asarray(number_density_nm3, np.float64))[..., None]
    return np.where(wanted <= r[-1], _splines(r, values, wanted), outside)


def from_reduced(
    r_nm: ArrayLike, values: ArrayLike, number_density_nm3: ArrayLike, *, continued: bool = False
) -> NDArray[np.float64]:
    """Return functions on the reduced grid `X`, (160,) or (n, 160), at the distances r (nm), (k,) or (n, k).

    Beyond the grid 0, as of what decays to nothing, or where `continued` the last value, as of its error. Densities as
    in `to_reduced`.
    """
    wanted = np.asarray(r_nm, np.float64) * np.cbrt(np.asarray(number_density_nm3, np.float64))[..., None]
    found = _splines(X, values, wanted)
    return found if continued else np.where(wanted <= X[-1], found, 0.0)


def _splines(grid: NDArray, values: ArrayLike, wanted: NDArray) -> NDArray[np.float64]:
    """Return the cubic splines through (n, k) values on an even grid, each at its own (n, m) points clipped to it.

    One banded system serves all; SciPy would evaluate every spline at every point.
    """
    values = np.asarray(values, np.float64)
    coefficients = CubicSpline(grid, values, axis=-1).c
    points = np.clip(wanted, grid[0], grid[-1])
    interval = np.clip(((points - grid[0]) / (grid[1] - grid[0])).astype(int), 0, grid.size - 2)
    offset = points - grid[interval]
    flat = coefficients.reshape(4, grid.size - 1, -1)
    place = interval if values.ndim == 1 else (interval, np.arange(len(values))[:, None])
    cubic, square, slope, value = flat[:, :, 0][:, place] if values.ndim == 1 else flat[:, *place]
    return ((cubic * offset + square) * offset + slope) * offset + value


def reduced_diffusion(
    diffusion_nm2_ns: float, mass_g_mol: float, temperature_k: float, number_density_nm3: float
) -> float:
    """Return D* = D sqrt(m/kT) ρ^(1/3), dimensionless (Rosenfeld, Phys. Rev. A 15, 2545 (1977))."""
    tau_ps = reduced_time_ps(mass_g_mol, temperature_k, number_density_nm3)
    return diffusion_nm2_ns / NM2_NS_PER_NM2_PS * tau_ps * number_density_nm3 ** (2 / 3)
