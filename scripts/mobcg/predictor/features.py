r"""What a model sees of a liquid: its reduced curves h(x) and γ(x), x = r ρ^(1/3), and a few numbers made from them.

Nothing here knows the mass, and temperature and lengths enter through reduced quantities alone, so that what is learned
from these features scales exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from mobcg.coarse.simulate import DPD_CUTOFF_NM
from mobcg.pair import BIN_WIDTH_NM, R_NM, core_index
from mobcg.predictor.closure import closure, indirect_correlation, infinite_rdf, radial_transform, structure_factor
from mobcg.predictor.dataset import States
from mobcg.predictor.reduced import X_SPACING, X, to_reduced

# γ in the core grows to tens; the features hold what matters between contact and the tail.
GAMMA_RANGE = (-2.0, 3.0)
# Bins with g below this carry no information on U, and weigh nothing in errors.
FLOOR_RDF = 1e-9
# Waves of the structure factor: S(k) of a c(r) that ends at 1.5 nm is smooth between them, and 1 beyond.
WAVE_STEP_1_NM = 0.5
WAVE_NUMBERS_1_NM: NDArray[np.float64] = (np.arange(128) + 0.5) * WAVE_STEP_1_NM
TO_WAVES = radial_transform(WAVE_NUMBERS_1_NM)
# Principal components of the features that are kept: what lies outside them is noise, or a liquid of another kind.
COMPONENTS = 40
# Of x h(x) alone, for the mobility: γ says what the potential is, and little of how fast a liquid is.
MOBILITY_COMPONENTS = 24


@dataclass(frozen=True)
class Structure:
    """n liquids as a model sees them.

    Attributes
    ----------
    rdf
        (n, 150): g(r) of the infinite liquid.
    first
        (n,): first bin of g(r) that can be trusted.
    indirect
        (n, 150): indirect correlation γ(r) = h − c.
    estimate
        (n, 150): βU of the closure, −ln g + closure(γ).
    curves
        (n, 320): x h(x) and x γ(x), γ clipped, so that distances between rows are integrals over space.
    entropy
        (n,): pair excess entropy s₂/k.
    neighbours
        (n,): beads within `DPD_CUTOFF_NM` of a bead, ρ ∫ 4πr² g dr.
    slowing
        (n,): by how much, over the friction without, the structure around a bead slows it:
        1/(6π²ρ) ∫ k² (S − 1)²/(1 + S) dk (Medina-Noyola, Phys. Rev. Lett. 60, 2705 (1988)).
    shear
        (n,): what is proportional to the viscosity of a DPD friction, ρ r_c³ ∫ y⁴ g dy over y = r/r_c < 1, r_c its
        cutoff (Marsh, Backx and Ernst, Phys. Rev. E 56, 1676 (1997)).
    """

    rdf: NDArray[np.float64]
    first: NDArray[np.int64]
    indirect: NDArray[np.float64]
    estimate: NDArray[np.float64]
    curves: NDArray[np.float64]
    entropy: NDArray[np.float64]
    neighbours: NDArray[np.float64]
    slowing: NDArray[np.float64]
    shear: NDArray[np.float64]

    @property
    def correlation(self) -> NDArray[np.float64]:
        """x h(x) alone, (n, 160)."""
        return self.curves[:, : X.size]


def describe(states: States) -> Structure:
    """Return the features of some liquids.

    Raises
    ------
    ValueError
        A g(r) has no liquid in it.
    """
    density = states.number_density_nm3
    infinite = infinite_rdf(states.rdf, states.n_beads)
    gamma = indirect_correlation(infinite, density)
    h = to_reduced(R_NM, infinite - 1, density, 0.0)
    clipped = np.clip(to_reduced(R_NM, gamma, density, 0.0), *GAMMA_RANGE)
    excess = xlogy(infinite, infinite) - infinite + 1
    near = (R_NM < DPD_CUTOFF_NM) * BIN_WIDTH_NM
    s = structure_factor(infinite - 1 - gamma, density, TO_WAVES)
    return Structure(
        rdf=infinite,
        first=core_index(states.rdf),
        indirect=gamma,
        estimate=closure(gamma) - np.log(np.maximum(infinite, FLOOR_RDF)),
        curves=np.concatenate([X * h, X * clipped], axis=1) * X_SPACING**0.5,
        # s₂/k = −2πρ ∫ (g ln g − g + 1) r² dr
        entropy=-2 * np.pi * density * (excess @ R_NM**2) * BIN_WIDTH_NM,
        neighbours=density * 4 * np.pi * (infinite @ (near * R_NM**2)),
        slowing=((s - 1) ** 2 / (1 + s)) @ WAVE_NUMBERS_1_NM**2 * WAVE_STEP_1_NM / (6 * np.pi**2 * density),
        shear=density * (infinite @ (near * R_NM**4)) / DPD_CUTOFF_NM**2,
    )


@dataclass(frozen=True)
class Basis:
    """Principal components of curves of the liquids that were learned from: centre (k,) and axes (k, c)."""

    centre: NDArray
    axes: NDArray

    @classmethod
    def of(cls, curves: NDArray) -> Basis:
        """Return the basis of some curves, (n, k)."""
        centre = curves.mean(axis=0)
        _, _, axes = np.linalg.svd(curves - centre, full_matrices=False)
        return cls(centre.astype(np.float32), np.ascontiguousarray(axes[:COMPONENTS].T, np.float32))

    @classmethod
    def levelled(cls, curves: NDArray) -> Basis:
        """Return a basis of fewer components, of variance 1, λ₂^½, …: the variance λ of each, the largest 1, to the ½.

        Small features of a structure decide about its mobility more than they add to the distance between curves.
        """
        plain = cls.of(curves)
        axes = plain.axes[:, :MOBILITY_COMPONENTS].astype(np.float64)
        spread = ((curves - plain.centre) @ axes).std(axis=0)
        kept = spread > 1e-6 * max(spread[0], 1e-300)
        return cls(plain.centre, np.ascontiguousarray(axes[:, kept] / np.sqrt(spread[kept] * spread[0]), np.float32))

    def scores(self, curves: NDArray) -> NDArray[np.float64]:
        """Return the coordinates (n, c) of curves; of a plain basis, distances between rows are kept."""
        return (curves - self.centre) @ self.axes

    def strangeness(self, curves: NDArray) -> NDArray[np.float64]:
        """Return the distance (n,) of curves from the space that the components span."""
        centred = curves - self.centre
        return np.sqrt(np.maximum(np.sum(centred**2, axis=1) - np.sum(self.scores(curves) ** 2, axis=1), 0.0))
