r"""mobcg: integral-equation theory plus a Gaussian process on what it leaves, everything in reduced quantities.

    βU(x) = −ln g(x) + closure(γ(x)) + δ(x),    x = r ρ^(1/3)

γ is exact (Ornstein and Zernike), the closure is a guess at the bridge function (`mobcg.predictor.closure`), and δ is
learned: a Gaussian process with mean 0 from the reduced curves of h and γ to the residual curve. Where there are few
data, or none near, δ goes to 0 and the closure remains; with more data δ takes over. D of the liquid is no input: g
and ρ fix U (Henderson), and the D of the atomistic liquid would ask for a potential that does not exist. The mass is
none either, and temperature enters through kT alone, so scaling of lengths, masses and energies is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from mobcg.pair import CUTOFF_NM, R_NM, TAPER_WIDTH_NM, core_index
from mobcg.predictor.closure import closure, indirect_correlation, infinite_rdf
from mobcg.predictor.dataset import Liquids, States, merge_masses
from mobcg.predictor.reduced import X_SPACING, X, from_reduced, to_reduced
from mobcg.predictor.shaping import shape
from mobcg.units import thermal_energy_kj_mol

CARD = (
    "Pair potential of a one-bead liquid from g(r), number density and temperature: integral-equation closure plus a "
    "Gaussian process on its residual, in reduced quantities. Mass and D are not used: structure alone fixes U."
)
# Chosen among these by leaving out parent potentials: length scale of the Matérn kernel, noise over signal variance.
DEFAULTS: dict[str, Any] = {"length_scales": [0.6, 1.2, 2.4, 4.8, 9.6], "noises": [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0]}
# γ in the core grows to tens; the features hold what matters between contact and the tail.
GAMMA_RANGE = (-2.0, 3.0)
# Bins with g below this carry no information on U, and weigh nothing in errors.
FLOOR_RDF = 1e-9


@dataclass(frozen=True)
class Model:
    """A trained model: features and weights of the training liquids, and the scale of its error at each x."""

    settings: dict[str, Any]
    arrays: dict[str, NDArray]
    history: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def restore(cls, settings: dict[str, Any], arrays: dict[str, NDArray]) -> Model:
        """Return the model that `settings` and `arrays` were saved from."""
        return cls(settings, arrays)

    @cached_property
    def _factor(self) -> tuple[NDArray, bool]:
        """Return the Cholesky factor of the training kernel: quick to make again, and too large to keep on disk."""
        features = self.arrays["features"].astype(np.float64)
        kernel = _kernel(features, features, self.settings["length_scale"])
        return cho_factor(kernel + self.settings["noise"] * np.eye(len(kernel)))

    def predict(self, states: States) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return U and its standard error, (n, 150) each, in kJ/mol.

        Raises
        ------
        ValueError
            A g(r) has no liquid in it.
        """
        theory = [_theory(rdf, rho, n) for rdf, rho, n in _structure(states)]
        features = _features(theory, states.number_density_nm3)
        kernel = _kernel(features, self.arrays["features"], self.settings["length_scale"])
        residual = kernel @ self.arrays["weights"]
        explained = np.sum(kernel * cho_solve(self._factor, kernel.T).T, axis=1)
        spread = np.sqrt(np.maximum(2.0 - explained, 0.0))[:, None] * self.arrays["error_scale"]
        potentials, errors = [], []
        for i, (rdf, rho, _) in enumerate(_structure(states)):
            energy = thermal_energy_kj_mol(states.temperature_k[i])
            reduced = theory[i].estimate + from_reduced(R_NM, residual[i], rho)
            potentials.append(shape(energy * reduced, rdf))
            errors.append(energy * from_reduced(R_NM, spread[i], rho))
        return np.array(potentials), np.array(errors)


@dataclass(frozen=True)
class _Theory:
    """γ(r), −ln g + closure(γ), the first trusted bin and the g(r) of the infinite liquid, on the common grid."""

    gamma: NDArray
    estimate: NDArray
    first: int
    rdf: NDArray


def _structure(states: States):
    return zip(states.rdf, states.number_density_nm3, states.n_beads, strict=True)


def _theory(rdf: NDArray, number_density_nm3: float, n_beads: float) -> _Theory:
    rdf_infinite = infinite_rdf(rdf, n_beads)
    gamma = indirect_correlation(rdf_infinite, number_density_nm3)
    return _Theory(gamma, closure(gamma) - np.log(np.maximum(rdf_infinite, FLOOR_RDF)), core_index(rdf), rdf_infinite)


def _features(theory: list[_Theory], number_density_nm3: NDArray) -> NDArray[np.float64]:
    """Return (n, 320): x h(x) and x γ(x), γ clipped, so that distances between rows are integrals over space."""
    rows = []
    for t, rho in zip(theory, number_density_nm3, strict=True):
        h = to_reduced(R_NM, t.rdf - 1, rho, 0.0)
        gamma = np.clip(to_reduced(R_NM, t.gamma, rho, 0.0), *GAMMA_RANGE)
        rows.append(np.concatenate([X * h, X * gamma]) * X_SPACING**0.5)
    return np.array(rows)


def _kernel(a: NDArray, b: NDArray, length_scale: float) -> NDArray[np.float64]:
    """Return the Matérn kernel of order 5/2 plus 1 (an unknown constant curve of the same variance), (n, m)."""
    squared = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T, 0.0)
    s = np.sqrt(5 * squared) / length_scale
    return (1 + s + s**2 / 3) * np.exp(-s) + 1.0


def train(liquids: Liquids, settings: dict[str, Any], seed: int, report: Callable[[str], None]) -> Model:
    """Return the Gaussian process on the residuals of the liquids; nothing in it is random, `seed` is not used.

    Length scale and noise are those with the smallest error when each parent potential in turn is left out (in closed
    form), and the largest noise among equals: a single parent says nothing of others, and leaves the closure alone.
    Errors are of U/kT, weighted by x² g.
    """
    merged = merge_masses(liquids)
    features, residuals, weights = _training_curves(merged)
    groups = np.unique(merged.parent_potential_id, return_inverse=True)[1]
    trials = [(length, noise) for length in settings["length_scales"] for noise in settings["noises"]]
    scored = []
    for length_scale, noise in trials:
        kernel = _kernel(features, features, length_scale)
        left_out, variance = _leave_groups_out(kernel + noise * np.eye(len(kernel)), residuals, groups)
        scored.append((_weighted_rms(left_out, weights), length_scale, noise, left_out, variance))
    error, length_scale, noise, left_out, variance = min(scored, key=lambda trial: (trial[0], -trial[2]))
    closure_error = _weighted_rms(residuals, weights)
    report(
        f"{len(merged)} liquids of {groups.max() + 1} parent potentials; error of U with its parent left out "
        f"{error:.4f} kT (closure alone {closure_error:.4f} kT); length scale {length_scale:g}, noise {noise:g}"
    )
    kernel = _kernel(features, features, length_scale) + noise * np.eye(len(features))
    arrays = {
        "features": features.astype(np.float32),
        "weights": cho_solve(cho_factor(kernel), residuals).astype(np.float32),
        "error_scale": np.sqrt(np.mean(left_out**2 / variance[:, None], axis=0)),
    }
    history = {
        "liquids": len(merged),
        "parent_potentials": int(groups.max() + 1),
        "left_out_error_kt": error,
        "closure_error_kt": closure_error,
    }
    return Model({"length_scale": length_scale, "noise": noise}, arrays, history)


def _training_curves(liquids: Liquids) -> tuple[NDArray, NDArray, NDArray]:
    """Return features (n, 320), residual curves and weights x² g (n, 160 each) on the reduced grid."""
    theory = [_theory(rdf, rho, n) for rdf, rho, n in _structure(liquids)]
    residuals, weights = [], []
    for t, rho, potential, temperature in zip(
        theory, liquids.number_density_nm3, liquids.potential_kj_mol, liquids.temperature_k, strict=True
    ):
        residual = potential / thermal_energy_kj_mol(temperature) - t.estimate
        # No pair was ever in the core: the residual there is that of the first bin seen.
        residual[: t.first] = residual[t.first]
        seen = (np.arange(R_NM.size) >= t.first) & (R_NM < CUTOFF_NM - TAPER_WIDTH_NM)
        residuals.append(to_reduced(R_NM, residual, rho, 0.0))
        weights.append(np.maximum(to_reduced(R_NM, np.where(seen, t.rdf, 0.0), rho, 0.0), 0.0) * X**2)
    return _features(theory, liquids.number_density_nm3), np.array(residuals), np.array(weights)


def _leave_groups_out(kernel: NDArray, targets: NDArray, groups: NDArray) -> tuple[NDArray, NDArray]:
    """Return the errors (n, k) and predictive variances (n,) of each row when its whole group is left out.

    With A = K⁻¹ the error of group I is (A_II)⁻¹ (A y)_I and its covariance (A_II)⁻¹ (Rasmussen and Williams, eq. 5.12,
    in blocks). A single group is left out of nothing: its error is that of the mean-zero prior.
    """
    inverse = cho_solve(cho_factor(kernel), np.eye(len(kernel)))
    solved = inverse @ targets
    errors, variance = np.empty_like(targets), np.empty(len(targets))
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        block = np.linalg.inv(inverse[np.ix_(rows, rows)])
        errors[rows], variance[rows] = block @ solved[rows], np.diag(block)
    return errors, variance


def _weighted_rms(errors: NDArray, weights: NDArray) -> float:
    """Return the mean over liquids of the weighted root mean square error of each."""
    return float(np.mean(np.sqrt((weights * errors**2).sum(axis=1) / weights.sum(axis=1))))
