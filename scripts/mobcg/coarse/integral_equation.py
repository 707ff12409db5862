r"""Structure of a one-component liquid from its pair potential in milliseconds, by an integral equation.

Ornstein-Zernike, γ̂ = ρ ĉ²/(1 − ρ ĉ) in Fourier space, and the hypernetted chain with a bridge function,
g = exp(−βU + γ + B): γ = h − c the indirect, c the direct and h = g − 1 the total correlation. With the plain chain,
B = 0, cohesive liquids near their vapour pressure, which is where molecular liquids at 1 bar are, are too compressible,
and some have no solution; Verlet's B = −γ²/(2 (1 + 0.8 γ)) (Mol. Phys. 41, 183 (1980)), here where γ > 0, is closer to
simulation. Good to a few per cent of g, so fit to choose what is simulated and to replace no simulation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dst

from mobcg.pair import BIN_WIDTH_NM, R_NM

# The common grid, continued to where all correlation has died out.
POINTS = 1024
DISTANCE_NM = (np.arange(POINTS) + 0.5) * BIN_WIDTH_NM
WAVE_STEP_1_NM = np.pi / (POINTS * BIN_WIDTH_NM)
WAVE_1_NM = (np.arange(POINTS) + 0.5) * WAVE_STEP_1_NM
# The attraction is switched on in these steps at the density asked for: any path of growing density would pass through
# the two-phase region, where there is no solution.
ATTRACTION_STEPS = ((0.0, 1e-2), (0.5, 1e-2), (1.0, 1e-4))  # share of the attraction, largest error of γ
MAX_ITERATIONS = 150
MIXING = 0.25
MEMORY = 6
LARGEST_STEP = 1.0
# ρ ĉ may come near 1 on the way to a solution that it is far from; a solution with S(k) above 20 is none of a liquid.
LEAST_DENOMINATOR = 0.05


class NoSolutionError(Exception):
    """The iteration does not converge: near or inside a two-phase region, or a solid."""


@dataclass(frozen=True)
class Structure:
    """Pair structure of a liquid.

    Attributes
    ----------
    rdf
        g(r) on the common grid, (150,).
    wave_1_nm, structure_factor
        k in 1/nm and S(k) = 1/(1 − ρ ĉ), (1024,) each; k begins at 0.15.
    """

    rdf: NDArray[np.float64]
    wave_1_nm: NDArray[np.float64]
    structure_factor: NDArray[np.float64]


def solve(potential_kt: ArrayLike, number_density_nm3: float, *, bridge: float = 1.0) -> Structure:
    """Return the structure of a liquid.

    Parameters
    ----------
    potential_kt
        U/kT on the common grid, (150,), zero beyond it.
    number_density_nm3
        Beads per nm³.
    bridge
        Multiplies Verlet's bridge function; 0 is the plain hypernetted chain.

    Raises
    ------
    NoSolutionError
        None is found.
    """
    potential = np.concatenate([potential_kt, np.zeros(POINTS - R_NM.size)])
    gamma = np.zeros(POINTS)
    for share, tolerance in ATTRACTION_STEPS:
        energy = np.where(potential > 0, potential, share * potential)
        gamma = _converged(gamma, energy, number_density_nm3, bridge, tolerance)
    rdf = _rdf(gamma, potential, bridge)
    inverse = 1 - number_density_nm3 * _to_waves(rdf - gamma - 1)
    if inverse.min() <= LEAST_DENOMINATOR:
        raise NoSolutionError(f"no solution at {number_density_nm3:g} beads per nm³ that is stable")
    return Structure(rdf[: R_NM.size], WAVE_1_NM, 1 / inverse)


def _rdf(gamma: NDArray, energy_kt: NDArray, bridge: float) -> NDArray[np.float64]:
    positive = np.maximum(gamma, 0)
    exponent = gamma - bridge * positive**2 / (2 * (1 + 0.8 * positive)) - energy_kt
    return np.exp(np.minimum(exponent, 5.0))  # far from the solution it would overflow


def _converged(start: NDArray, energy_kt: NDArray, density_nm3: float, bridge: float, tolerance: float) -> NDArray:
    """Return the fixed point γ = OZ(closure(γ)) by Anderson's mixing (J. ACM 12, 547 (1965)), in the norm of r γ."""
    gamma, past, changes = start, [], []
    for _ in range(MAX_ITERATIONS):
        direct = _to_waves(_rdf(gamma, energy_kt, bridge) - gamma - 1)
        screened = np.maximum(1 - density_nm3 * direct, LEAST_DENOMINATOR)
        change = _to_distances(density_nm3 * direct**2 / screened) - gamma
        error = np.abs(change).max()
        if not np.isfinite(error):
            break
        if error < tolerance:
            return gamma
        past, changes = [*past[1 - MEMORY :], gamma], [*changes[1 - MEMORY :], change]
        step = MIXING * change
        if len(past) > 1:
            differences = change - np.array(changes[:-1])
            weighted = differences * DISTANCE_NM
            normal = weighted @ weighted.T
            normal[np.diag_indices_from(normal)] *= 1 + 1e-8
            weights = np.linalg.solve(normal, weighted @ (change * DISTANCE_NM))
            step = step - weights @ (gamma - np.array(past[:-1]) + MIXING * differences)
        gamma = gamma + step * min(1.0, LARGEST_STEP / np.abs(step).max())
    raise NoSolutionError(f"no solution at {density_nm3:g} beads per nm³")


def _to_waves(function: NDArray) -> NDArray[np.float64]:
    """Return f̂(k) = (4π/k) ∫ r f(r) sin(kr) dr on the half-integer grids, by the sine transform of type IV."""
    return 2 * np.pi * BIN_WIDTH_NM / WAVE_1_NM * dst(DISTANCE_NM * function, type=4)


def _to_distances(function: NDArray) -> NDArray[np.float64]:
    """Return f(r) = (1/2π²r) ∫ k f̂(k) sin(kr) dk, the inverse of `_to_waves`."""
    return WAVE_STEP_1_NM / (4 * np.pi**2 * DISTANCE_NM) * dst(WAVE_1_NM * function, type=4)
