r"""The potential that integral-equation theory reads from g(r): what is known before anything is learned.

Exactly, βU + ln g = γ + B with γ = h − c: the total correlation h = g − 1, the direct correlation c of Ornstein and
Zernike, and the bridge function B. γ follows from g and ρ; B is approximated by a closure. What is left, the residual,
is several times smaller than that of the potential of mean force (βU + ln g itself).
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.interpolate import CubicSpline

from mobcg.pair import BIN_WIDTH_NM, R_NM

# S(k → 0) = ρ kT κ of molecular liquids near their boiling point: a few hundredths.
LONG_WAVE_STRUCTURE_FACTOR = 0.04
# ρ ĉ near 1 is that of no liquid, and comes from strange input: S(k) stays below 20.
LEAST_INVERSE = 0.05
# Linear systems of 150 unknowns held in memory together: what the cache of a core takes.
AT_ONCE = 16


def infinite_rdf(rdf: ArrayLike, n_beads: ArrayLike) -> NDArray[np.float64]:
    """Return g(r) of the infinite liquid from that of N beads normalised by N − 1, (150,) or (n, 150).

    N does not fluctuate in the box, so its pair density goes to ρ² (1 − S(0)/N), and the N − 1 turns g(r) → 1 into
    1 + (1 − S(0))/N (Lebowitz and Percus, Phys. Rev. 122, 1675 (1961)). Small as it is, this step decides the long
    waves: left in, γ of 1000 beads is off by tenths of kT, and that of 160 beads is useless.
    """
    return np.asarray(rdf, np.float64) * (1 - (1 - LONG_WAVE_STRUCTURE_FACTOR) / np.asarray(n_beads)[..., None])


def direct_correlation(rdf: ArrayLike, number_density_nm3: ArrayLike) -> NDArray[np.float64]:
    r"""Return the direct correlation function c(r) of a g(r) that is known to 1.5 nm only, (150,) or (n, 150).

    Baxter's factorisation for a c(r) that ends at R (Aust. J. Phys. 21, 563 (1968)) closes on 0 < r < R:

        r h(r) = −Q'(r) + 2πρ ∫₀ᴿ Q(t) (r − t) h(|r − t|) dt,    Q(R) = 0
        r c(r) = −Q'(r) + 2πρ ∫ᵣᴿ Q'(t) Q(t − r) dt

    so g beyond 1.5 nm is neither needed nor cut, as a Fourier transform would (Dixon and Hutchinson, Mol. Phys. 33,
    1663 (1977)). The first is a linear system of 150 unknowns.

    Parameters
    ----------
    rdf
        (150,) or (n, 150) on the common grid, of the infinite liquid; see `infinite_rdf`.
    number_density_nm3
        Beads per nm³, one number or (n,).
    """
    h = np.asarray(rdf, np.float64) - 1
    density = np.asarray(number_density_nm3, np.float64)
    if h.ndim == 1:
        return _direct_correlation(h, density)
    density = np.broadcast_to(density, len(h))
    parts = (slice(first, first + AT_ONCE) for first in range(0, len(h), AT_ONCE))
    return np.concatenate([_direct_correlation(h[part], density[part]) for part in parts])


def _direct_correlation(h: NDArray, number_density_nm3: NDArray) -> NDArray[np.float64]:
    strength = 2 * np.pi * BIN_WIDTH_NM * number_density_nm3[..., None]
    n, step = R_NM.size, BIN_WIDTH_NM
    at_edges = CubicSpline(R_NM, h, axis=-1)(np.arange(n) * step)
    at_edges[..., 0] = -1.0
    # (r − t) h(|r − t|) at all lags, −(n − 1) to n − 1, seen as the matrix of r and t without a copy.
    odd = np.arange(n) * step * at_edges
    lags = np.concatenate([-odd[..., :0:-1], odd], axis=-1)
    kernel = sliding_window_view(lags, n, axis=-1)[..., ::-1]
    # Q = −∫ᵣᴿ Q' at the bin centres: half of the own bin, all of those beyond.
    matrix = np.cumsum(kernel, axis=-1)
    matrix -= kernel / 2
    matrix *= strength[..., None] * step
    matrix[..., np.arange(n), np.arange(n)] += 1
    slope = np.linalg.solve(matrix, (-R_NM * h)[..., None])[..., 0]
    factor_at_edges = -np.cumsum(slope[..., ::-1], axis=-1)[..., ::-1] * step
    # ∫ᵣᴿ Q'(t) Q(t − r) dt at all r at once, by transform; trapezoidal: half weight at t = r.
    size = next_fast_len(2 * n, real=True)
    product = rfft(slope, size, axis=-1) * np.conj(rfft(factor_at_edges, size, axis=-1))
    tail = irfft(product, size, axis=-1)[..., :n] - slope * factor_at_edges[..., :1] / 2
    return (-slope + strength * tail) / R_NM


def indirect_correlation(rdf: ArrayLike, number_density_nm3: ArrayLike) -> NDArray[np.float64]:
    """Return γ(r) = h(r) − c(r), (150,) or (n, 150); see `direct_correlation`."""
    return np.asarray(rdf, np.float64) - 1 - direct_correlation(rdf, number_density_nm3)


def radial_transform(wave_numbers_1_nm: ArrayLike) -> NDArray[np.float64]:
    """Return the matrix (waves, 150) of the Fourier transform 4π ∫ f(r) r sin(kr)/k dr of a function on the grid."""
    waves = np.asarray(wave_numbers_1_nm, np.float64)[:, None]
    return 4 * np.pi * BIN_WIDTH_NM * np.sin(waves * R_NM) * R_NM / waves


def structure_factor(direct: ArrayLike, number_density_nm3: ArrayLike, transform: NDArray) -> NDArray[np.float64]:
    """Return S(k) = 1/(1 − ρ ĉ(k)), (n, waves), of direct correlations (n, 150), ρ (n,) and a `radial_transform`."""
    density = np.asarray(number_density_nm3, np.float64)[..., None]
    return 1 / np.maximum(1 - density * (np.asarray(direct, np.float64) @ transform.T), LEAST_INVERSE)


def closure(gamma: ArrayLike) -> NDArray[np.float64]:
    """Return γ + B of a closure, the estimate of βU + ln g; same shape.

    B = −γ²/(2 (1 + 0.8 γ)) where γ > 0 (Verlet, Mol. Phys. 41, 183 (1980)) and 0, the hypernetted chain, where γ < 0:
    beyond contact, where γ is negative, the bridge function of our liquids is a few hundredths.
    """
    positive = np.maximum(gamma, 0.0)
    return np.asarray(gamma, np.float64) - positive**2 / (2 * (1 + 0.8 * positive))
