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
from mobcg.predictor.closure import direct_correlation, radial_transform, structure_factor

# The response reaches further than U: the waves are those of twice the grid.
REACH_NM = 2 * R_NM.size * BIN_WIDTH_NM
# Beyond these 67/nm S(k) of a liquid of molecules is 1: more waves would change Δg by a thousandth at most.
WAVE_NUMBERS: NDArray[np.float64] = (np.arange(64) + 0.5) * np.pi / REACH_NM


@cache
def _transforms() -> tuple[NDArray, NDArray, NDArray]:
    """Return the matrices of the Fourier transform of a radial function, of its inverse, and of how h couples waves.

    (64, 150), (150, 64) and (128, 150).
    """
    forward = radial_transform(WAVE_NUMBERS)
    inverse = np.sin(WAVE_NUMBERS[:, None] * R_NM).T * WAVE_NUMBERS / R_NM[:, None] / (2 * np.pi * REACH_NM)
    cosines = np.cos(np.arange(2 * WAVE_NUMBERS.size)[:, None] * np.pi * R_NM / REACH_NM) * BIN_WIDTH_NM / REACH_NM
    return forward, inverse, cosines


def rdf_response(
    rdf: ArrayLike, number_density_nm3: ArrayLike, change_kt: ArrayLike, indirect: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return Δg on the grid, (150,) or (n, 150), of changes βΔU, as many, of the potentials of liquids with these g(r).

    Parameters
    ----------
    rdf
        (150,) or (n, 150), of the infinite liquid (`mobcg.predictor.closure.infinite_rdf`).
    number_density_nm3
        Beads per nm³, one number or (n,).
    change_kt
        βΔU, of the shape of `rdf`.
    indirect
        γ = h − c, of the shape of `rdf`, where it is known already; None: it is worked out.
    """
    forward, inverse, cosines = _transforms()
    g, change = np.asarray(rdf, np.float64), np.asarray(change_kt, np.float64)
    direct = direct_correlation(g, number_density_nm3) if indirect is None else g - 1 - indirect
    spread = structure_factor(direct, number_density_nm3, forward) ** 2 - 1
    # h couples the waves j and l by Σ h sin sin, which depends on j − l and j + l only.
    coupling = (g - 1) @ cosines.T
    j = np.arange(WAVE_NUMBERS.size)
    between = coupling[..., np.abs(j[:, None] - j)] - coupling[..., j[:, None] + j + 1]
    matrix = np.eye(j.size) - between * spread[..., None, :] * (WAVE_NUMBERS / WAVE_NUMBERS[:, None])
    waves = np.linalg.solve(matrix, ((-g * change) @ forward.T)[..., None])[..., 0]
    return g * ((spread * waves) @ inverse.T - change)
