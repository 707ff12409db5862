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


def to_reduced(r_nm: ArrayLike, values: ArrayLike, number_density_nm3: float, outside: float) -> NDArray[np.float64]:
    """Return a function of r (nm) on the reduced grid `X`, (160,), by cubic spline.

    Parameters
    ----------
    r_nm, values
        (k,) each.
    number_density_nm3
        Beads per nm³.
    outside
        Value beyond the last r: 1 for g(r), 0 for what decays to nothing.
    """
    x = np.asarray(r_nm) * number_density_nm3 ** (1 / 3)
    reduced = CubicSpline(x, values)(np.clip(X, x[0], x[-1]))
    reduced[x[-1] < X] = outside
    return reduced


def from_reduced(r_nm: ArrayLike, values: ArrayLike, number_density_nm3: float) -> NDArray[np.float64]:
    """Return a function on the reduced grid `X` at the distances r (nm), same shape as r; 0 beyond the grid."""
    x = np.asarray(r_nm) * number_density_nm3 ** (1 / 3)
    return np.where(x <= X[-1], CubicSpline(X, values)(np.clip(x, X[0], X[-1])), 0.0)


def reduced_diffusion(
    diffusion_nm2_ns: float, mass_g_mol: float, temperature_k: float, number_density_nm3: float
) -> float:
    """Return D* = D sqrt(m/kT) ρ^(1/3), dimensionless (Rosenfeld, Phys. Rev. A 15, 2545 (1977))."""
    tau_ps = reduced_time_ps(mass_g_mol, temperature_k, number_density_nm3)
    return diffusion_nm2_ns / NM2_NS_PER_NM2_PS * tau_ps * number_density_nm3 ** (2 / 3)
