r"""How g(r) answers to a small change of the pair potential: linear response in the hypernetted-chain approximation.

    Δc = −g βΔU + h Δγ,    Δγ̂(k) = (S(k)² − 1) Δĉ(k),    Δg = Δc + Δγ

the derivative of the Ornstein-Zernike equation and of the closure, h and S(k) being those of the liquid itself. It
turns an error of U into the error of g that molecular dynamics would show, without a run.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobcg.pair import BIN_WIDTH_NM, R_NM
from mobcg.predictor.closure import direct_correlation

# The response reaches further than U: twice the grid.
BINS = 300
DISTANCES: NDArray[np.float64] = (np.arange(BINS) + 0.5) * BIN_WIDTH_NM
WAVE_NUMBERS: NDArray[np.float64] = (np.arange(BINS) + 0.5) * np.pi / (BINS * BIN_WIDTH_NM)


@cache
def _transforms() -> tuple[NDArray, NDArray]:
    """Return the matrices of the three-dimensional Fourier transform of a radial function and of its inverse."""
    sines = np.sin(WAVE_NUMBERS[:, None] * DISTANCES[None, :])
    forward = 4 * np.pi * BIN_WIDTH_NM * sines * DISTANCES[None, :] / WAVE_NUMBERS[:, None]
    step = WAVE_NUMBERS[1] - WAVE_NUMBERS[0]
    inverse = step * sines.T * WAVE_NUMBERS[None, :] / DISTANCES[:, None] / (2 * np.pi**2)
    return forward, inverse


def rdf_response(rdf: ArrayLike, number_density_nm3: float, change_kt: ArrayLike) -> NDArray[np.float64]:
    """Return Δg on the grid, (150,), of a change βΔU (150,) of the potential of a liquid with this g(r).

    `rdf` is that of the infinite liquid (`mobcg.predictor.closure.infinite_rdf`).
    """
    forward, inverse = _transforms()
    n = R_NM.size
    g = np.ones(BINS)
    g[:n] = rdf
    direct = np.zeros(BINS)
    direct[:n] = direct_correlation(rdf, number_density_nm3)
    change = np.zeros(BINS)
    change[:n] = change_kt
    structure = 1 / (1 - number_density_nm3 * (forward @ direct))
    spread = inverse @ ((structure**2 - 1)[:, None] * forward)
    gamma = np.linalg.solve(np.eye(BINS) - spread * (g - 1), spread @ (-g * change))
    return (-g * change + (g - 1) * gamma + gamma)[:n]
