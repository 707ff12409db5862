"""Functions of the pair distance on the common grid, and the tables that simulation programs read.

A pair potential lives on `R_NM` (150 bin centres, 0.005 to 1.495 nm) in kJ/mol. What happens inside the core, where
no pair was ever seen, and at the cutoff is decided here, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from mobcg.records import atomic_path
from mobcg.units import ANGSTROM_PER_NM, KJ_PER_KCAL, thermal_energy_kj_mol

BIN_WIDTH_NM = 0.01
R_EDGES_NM: NDArray[np.float64] = np.arange(151) * BIN_WIDTH_NM
R_NM: NDArray[np.float64] = (R_EDGES_NM[:-1] + R_EDGES_NM[1:]) / 2
CUTOFF_NM = 1.5
TAPER_WIDTH_NM = 0.1
# Below this g(r) the core has too few pairs for its logarithm to mean anything.
CORE_RDF = 5e-3
# The innermost distance of a table and its number of points; LAMMPS stops when two beads come closer.
TABLE_START_NM = 0.05
TABLE_POINTS = 2901
# Where a wall is higher than about this, a perturbation fades out.
PERTURBED_WALL_KJ_MOL = 10.0


def core_index(rdf: ArrayLike) -> NDArray[np.intp]:
    """Return the index of the first bin of the grid from which on g(r) can be trusted: the end of the last core bin.

    One number for g(r) of shape (150,), (n,) for (n, 150).

    Raises
    ------
    ValueError
        A g(r) never rises above `CORE_RDF`.
    """
    g = np.asarray(rdf)
    peak = np.argmax(g, axis=-1, keepdims=True)
    if np.any(np.take_along_axis(g, peak, -1) <= CORE_RDF):
        raise ValueError("g(r) is zero everywhere: there is no liquid in it")
    bins = np.arange(g.shape[-1])
    return np.max(np.where((g < CORE_RDF) & (bins <= peak), bins + 1, 0), axis=-1)


def potential_of_mean_force(rdf: ArrayLike, temperature_k: float) -> NDArray[np.float64]:
    """Return W(r) = −kT ln g(r) in kJ/mol, (150,), with the core extrapolated and the tail tapered to zero."""
    g = np.asarray(rdf, np.float64)
    first = core_index(g)
    potential = np.zeros_like(g)
    potential[first:] = -thermal_energy_kj_mol(temperature_k) * np.log(np.maximum(g[first:], 1e-12))
    return taper(extrapolate_core(potential, first))


def extrapolate_core(potential_kj_mol: ArrayLike, first: ArrayLike, n_fit: int = 4) -> NDArray[np.float64]:
    """Return the potential with its core, bins before `first`, replaced by U = U₁ exp(−(r − r₁)/λ) + const.

    The exponential continues value and slope of the first trusted bins; its decay length is a fifth of the distance to
    contact, short enough to be a wall and long enough for a time step of a few fs. Shapes: (150,) and one number, or
    (n, 150) and (n,).

    Raises
    ------
    ValueError
        A potential does not fall with r at the edge of the core, so there is no wall to continue.
    """
    potential, first = np.array(potential_kj_mol, np.float64), np.asarray(first)[..., None]
    start = np.minimum(first, R_NM.size - n_fit)
    slope = np.take_along_axis(slopes(potential, n_fit), start, -1)
    rising = (slope >= 0) & (first > 0)
    if np.any(rising):
        where = R_NM[first[rising][0]]
        raise ValueError(
            f"the potential rises from {where:.3f} nm on: it has no repulsive wall to continue into the core"
        )
    decay_nm = R_NM[first] / 5
    growth = np.exp((R_NM[first] - R_NM) / decay_nm)
    inner = np.take_along_axis(potential, first, -1) - slope * decay_nm * (growth - 1)
    return np.where(np.arange(R_NM.size) < first, inner, potential)


def slopes(values: ArrayLike, n_fit: int) -> NDArray[np.float64]:
    """Return the slopes of the straight lines fitted to `n_fit` neighbouring bins each, from each bin on.

    (150 − n_fit + 1,) for a curve of shape (150,), or (n, …) for (n, 150); per nm.
    """
    steps = np.arange(n_fit) - (n_fit - 1) / 2
    return sliding_window_view(np.asarray(values, np.float64), n_fit, axis=-1) @ (
        steps / (steps @ steps * BIN_WIDTH_NM)
    )


def taper(potential_kj_mol: ArrayLike) -> NDArray[np.float64]:
    """Return the potential brought smoothly to zero over the last `TAPER_WIDTH_NM` before the cutoff, (150,).

    The factor 1 − 10x³ + 15x⁴ − 6x⁵, x from 0 to 1 over the taper, has zero slope and curvature at both ends.
    """
    x = np.clip((R_NM - (CUTOFF_NM - TAPER_WIDTH_NM)) / TAPER_WIDTH_NM, 0, 1)
    return np.asarray(potential_kj_mol, np.float64) * (1 - x**3 * (10 - 15 * x + 6 * x**2))


def perturb(potential_kj_mol: ArrayLike, perturbation: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
    r"""Return U(r) + w(r) Σ_k a_k exp(−(r − c_k)²/2s_k²), (150,): a smooth change outside the core.

    w = 1/(1 + (U⁺/10 kJ/mol)²), U⁺ = max(U, 0), leaves the wall as it is; the sum is tapered at the cutoff.

    Parameters
    ----------
    potential_kj_mol
        (150,) on the common grid.
    perturbation
        `amplitude_kj_mol` a, `centre_nm` c and `width_nm` s, (k,) each.
    """
    potential = np.asarray(potential_kj_mol, np.float64)
    amplitude, centre, width = (
        np.asarray(perturbation[name], np.float64)[:, None] for name in ("amplitude_kj_mol", "centre_nm", "width_nm")
    )
    gaussians = (amplitude * np.exp(-(((R_NM - centre) / width) ** 2) / 2)).sum(axis=0)
    return potential + taper(gaussians / (1 + (np.maximum(potential, 0) / PERTURBED_WALL_KJ_MOL) ** 2))


def derive(parent_kj_mol: ArrayLike, potential: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the potential of a coarse spec, (150,), from its parent's: times a constant, and perturbed if so asked.

    `potential` holds `scale_factor` and, of a perturbed potential, `perturbation`, as `perturb` takes it.
    """
    scaled = potential["scale_factor"] * np.asarray(parent_kj_mol, np.float64)
    return perturb(scaled, potential["perturbation"]) if "perturbation" in potential else scaled


def _spline(potential_kj_mol: ArrayLike) -> CubicSpline:
    # The table ends at the cutoff with U = F = 0.
    knots, values = np.append(R_NM, CUTOFF_NM), np.append(potential_kj_mol, 0.0)
    return CubicSpline(knots, values, bc_type=("not-a-knot", (1, 0.0)))


def force(potential_kj_mol: ArrayLike) -> NDArray[np.float64]:
    """Return F(r) = −dU/dr in kJ/mol/nm on the common grid, (150,), from the cubic spline through U."""
    return -_spline(potential_kj_mol)(R_NM, 1)


def tabulate(potential_kj_mol: ArrayLike, points: int = TABLE_POINTS) -> tuple[NDArray, NDArray, NDArray]:
    """Return r (nm), U (kJ/mol) and F = −dU/dr (kJ/mol/nm), each (points,), equally spaced up to the cutoff.

    Force and energy come from one cubic spline, so that F is the exact derivative of the tabulated U.
    """
    spline = _spline(potential_kj_mol)
    r = np.linspace(TABLE_START_NM, CUTOFF_NM, points)
    return r, spline(r), -spline(r, 1)


def write_lammps_table(path: Path, potential_kj_mol: ArrayLike, keyword: str = "MOBCG") -> None:
    """Write a `pair_style table` file in LAMMPS real units (Å, kcal/mol), at least 2000 points, tagged with them."""
    r, energy, strength = tabulate(potential_kj_mol)
    r, energy = r * ANGSTROM_PER_NM, energy / KJ_PER_KCAL
    strength = strength / KJ_PER_KCAL / ANGSTROM_PER_NM
    with atomic_path(path) as temporary, temporary.open("w") as stream:
        stream.write(f"# UNITS: real\n\n{keyword}\nN {r.size} R {r[0]:.10g} {r[-1]:.10g}\n\n")
        rows = np.column_stack([np.arange(1, r.size + 1), r, energy, strength])
        np.savetxt(stream, rows, fmt=["%d", "%.8f", "%.12e", "%.12e"])
