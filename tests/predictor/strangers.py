"""The g(r) of what no smooth one-bead liquid is, each from its definition; all return (rdf, number density)."""

from __future__ import annotations

import numpy as np
from scipy.fft import dst
from scipy.interpolate import PchipInterpolator

from mobcg.pair import R_NM


def hard_spheres(packing: float = 0.45, diameter_nm: float = 0.5) -> tuple[np.ndarray, float]:
    """Percus and Yevick's g(r) of hard spheres, from Wertheim's c(r) (Phys. Rev. Lett. 10, 321 (1963)).

    c(x) = −a − 6η b x − η a x³/2 for x = r/σ < 1, a = (1 + 2η)²/(1 − η)⁴, b = −(1 + η/2)²/(1 − η)⁴; then h by Fourier.
    """
    eta = packing
    a, b = (1 + 2 * eta) ** 2 / (1 - eta) ** 4, -((1 + eta / 2) ** 2) / (1 - eta) ** 4
    x = (np.arange(2**14) + 0.5) * 0.002
    direct = np.where(x < 1, -a - 6 * eta * b * x - eta * a * x**3 / 2, 0.0)
    density = 6 * eta / np.pi
    k = (np.arange(2**14) + 0.5) * np.pi / (x.size * 0.002)
    transformed = 4 * np.pi * 0.002 * dst(x * direct, type=4) / 2 / k
    structure = 1 / (1 - density * transformed)
    total = (k[1] - k[0]) / (2 * np.pi**2) * dst(k * (structure - 1) / density, type=4) / 2 / x
    rdf = np.where(x < 1, 0.0, 1 + total)
    return np.maximum(np.interp(R_NM / diameter_nm, x, rdf), 0.0), density / diameter_nm**3


def crystal(number_density_nm3: float = 6.5, spread_nm: float = 0.045) -> tuple[np.ndarray, float]:
    """A face-centred cubic Einstein crystal: each shell of neighbours a Gaussian, its width about a tenth of the first.

    g(r) = Σ_shells n exp(−(r − r_s)²/2w²) / (sqrt(2π) w 4πρ r²); w² = 2 × 〈u²〉 of one direction.
    """
    edge = (4 / number_density_nm3) ** (1 / 3)
    cells = np.stack(np.meshgrid(*[np.arange(-8, 9)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    distances = np.linalg.norm(((cells + basis) * edge).reshape(-1, 3), axis=1)
    distances = distances[(distances > 0) & (distances < 2.5)]
    gaussians = np.exp(-((R_NM[:, None] - distances) ** 2) / (2 * spread_nm**2)) / (np.sqrt(2 * np.pi) * spread_nm)
    return gaussians.sum(axis=1) / (4 * np.pi * number_density_nm3 * R_NM**2), number_density_nm3


def water() -> tuple[np.ndarray, float]:
    """The shape of the oxygen–oxygen g(r) of water at 298 K: a tetrahedral network, not a packing of spheres.

    Maxima and minima as in experiment (Skinner et al., J. Chem. Phys. 138, 074506 (2013)): 2.57 at 0.280, 0.84 at
    0.345, 1.12 at 0.450 and 0.88 at 0.558 nm; a damped wave beyond. 33.4 molecules/nm³.
    """
    knots = np.array([0.235, 0.25, 0.265, 0.28, 0.295, 0.32, 0.345, 0.40, 0.45, 0.50, 0.558, 0.61, 0.67, 0.75, 0.83])
    values = np.array([0.0, 0.35, 1.8, 2.57, 1.9, 1.05, 0.84, 0.97, 1.12, 1.02, 0.88, 0.97, 1.05, 1.0, 0.98])
    curve = PchipInterpolator(np.append(knots, 1.0), np.append(values, 1.0))(np.clip(R_NM, 0.235, 1.0))
    return curve, 33.4


def noise(seed: int = 1) -> tuple[np.ndarray, float]:
    """A core, and beyond it nothing but noise of mean 1."""
    generator = np.random.default_rng(seed)
    return np.where(R_NM < 0.45, 0.0, generator.uniform(0.4, 1.6, R_NM.size)), 6.5
