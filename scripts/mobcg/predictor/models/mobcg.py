r"""mobcg: what a one-bead model of a liquid should be, from its g(r) and D in one shot, in reduced quantities.

Potential. Integral-equation theory plus a Gaussian process on what it leaves:

    βU(x) = −ln g(x) + closure(γ(x)) + δ(x),    x = r ρ^(1/3)

γ is exact (Ornstein and Zernike), the closure is a guess at the bridge function (`mobcg.predictor.closure`), and δ is
learned: a Gaussian process with mean 0 from the reduced curves of h and γ to the residual curve. Where there are few
data, or none near, δ goes to 0 and the closure remains; with more data δ takes over. D of the liquid is no input: g
and ρ fix U (Henderson), and the D of the atomistic liquid would ask for a potential that does not exist. The mass is
none either, and temperature enters through kT alone, so scaling of lengths, masses and energies is exact.

Mobility. D of that potential (`mobcg.predictor.mobility`), and either the friction that slows it to the D of the
atomistic liquid, or the multiple of U that is the best compromise (`mobcg.predictor.knob`).

Pressure. The virial of the potential with the g(r) it was made for; a slow tail takes it to the wanted pressure
(`mobcg.predictor.virial`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobcg.observables import rdf_error
from mobcg.pair import CUTOFF_NM, R_NM, TAPER_WIDTH_NM
from mobcg.predictor.dataset import Liquids, States, merge_masses, structure_rows
from mobcg.predictor.features import Basis, Structure, describe
from mobcg.predictor.knob import train_knob
from mobcg.predictor.mobility import THERMOSTATS, train_friction, train_mobility
from mobcg.predictor.process import LeftOut, Process, fit, kernel, leave_groups_out, squared_distances, state
from mobcg.predictor.reduced import X, from_reduced, to_reduced
from mobcg.predictor.response import rdf_response
from mobcg.predictor.shaping import shape
from mobcg.predictor.virial import ideal_pressure_bar, pressure_response_bar
from mobcg.units import thermal_energy_kj_mol

CARD = (
    "Pair potential, mobility, friction and pressure of a one-bead liquid from g(r), number density, temperature, "
    "mass and D: integral-equation closure plus Gaussian processes, in reduced quantities. The potential follows from "
    "structure alone; D enters through the friction (mobcg_dpd, mobcg_langevin), or the multiple of U (mobcg)."
)
# Raised when weights of before no longer mean the same.
FORMAT = 5
# Chosen among these by leaving out parent potentials: length scale of the Matérn kernel, noise over signal variance.
DEFAULTS: dict[str, Any] = {"length_scales": [0.6, 1.2, 2.4, 4.8, 9.6], "noises": [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0]}
# Of the distances of held-out liquids to the nearest training liquid: the one that counts as distance 1.
DISTANCE_QUANTILE = 0.95
# Liquids whose errors of U are turned into errors of g and pressure together: 0.1 MB each.
RESPONSES_AT_ONCE = 500
CURVE_FRACTIONS = (0.0625, 0.125, 0.25, 0.5, 1.0)
RELIABILITY_BINS = 8
# Rows, whole parents of them, on which the honest and the random split are compared.
SPLIT_ROWS = 800


@dataclass(frozen=True)
class Model:
    """A trained model: a basis for structures, and a process for each thing that is predicted.

    `arrays` holds the bases, the processes and three numbers of the calibration; see `processes`.
    """

    settings: dict[str, Any]
    arrays: dict[str, NDArray]
    history: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def restore(cls, settings: dict[str, Any], arrays: dict[str, NDArray]) -> Model:
        """Return the model that `settings` and `arrays` were saved from."""
        return cls(settings, arrays)

    @cached_property
    def basis(self) -> Basis:
        """Principal components of the structures that were learned from."""
        return Basis(self.arrays["basis.centre"], self.arrays["basis.axes"])

    @cached_property
    def levels(self) -> Basis:
        """Components of the correlation, for the mobility."""
        return Basis(self.arrays["levels.centre"], self.arrays["levels.axes"])

    @cached_property
    def processes(self) -> dict[str, Process]:
        """Name → process: structure, mobility and, where there were rows for them, langevin, dpd and knob."""
        return {name: Process.restore(name, self.arrays) for name in self.settings["processes"]}

    def predict(self, states: States) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return U for the structure and its standard error, (n, 150) each, in kJ/mol.

        The error is that of what was learned, from contact to the taper; U in the core is extrapolated.

        Raises
        ------
        ValueError
            A g(r) has no liquid in it.
        """
        structure = describe(states)
        raw, error = self.raw_potential(structure, states, *self.residual(structure))
        return shape(raw, states.rdf), error

    def residual(self, structure: Structure) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what the closure leaves of βU and its standard error, (n, 160) each, on the reduced grid."""
        scores = self.basis.scores(structure.curves)
        return self.processes["structure"].mean(scores), self.processes["structure"].standard_error(scores)

    def raw_potential(
        self, structure: Structure, states: States, residual: NDArray, residual_se: NDArray
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return U as theory and process give it, unshaped, and its standard error, (n, 150) each, in kJ/mol.

        Beyond the reduced grid theory is left alone; its error does not end there.
        """
        kt = thermal_energy_kj_mol(1.0) * states.temperature_k[:, None]
        learned = from_reduced(R_NM, residual, states.number_density_nm3)
        spread = from_reduced(R_NM, residual_se, states.number_density_nm3, continued=True)
        return kt * (structure.estimate + learned), kt * spread

    def distance(self, structure: Structure) -> NDArray[np.float64]:
        """Return the distance (n,) to the nearest liquid that was learned from; 1 holds 95 % of held-out liquids.

        What lies outside the principal components counts too.
        """
        squared = squared_distances(self.basis.scores(structure.curves), self.processes["structure"].inputs).min(axis=1)
        return np.sqrt(squared + self.basis.strangeness(structure.curves) ** 2) / float(self.arrays["distance_scale"])

    def own_errors(
        self, structure: Structure, states: States, residual_se: NDArray
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what the error of the potential for the structure makes of g(r) and of the pressure, (n,) each.

        The `rdf_error` to expect, sampling noise apart, and the standard error (bar) of a pressure that is worked out
        with the g(r) asked for; nan of a model that was trained before it told that.
        """
        error_kt = _rms(residual_se, potential_weights(structure, states.number_density_nm3))
        ideal_bar = ideal_pressure_bar(states.number_density_nm3, states.temperature_k)
        per_kt = float(self.arrays.get("pressure_error_per_kt", np.nan))
        return float(self.arrays["rdf_error_per_kt"]) * error_kt, per_kt * error_kt * ideal_bar


@dataclass(frozen=True)
class Lesson:
    """What is learned from n liquids: the residual of the closure, as a function of their curves.

    Attributes
    ----------
    liquids, structure
        One row for each potential at each state, and its features.
    basis, scores
        Principal components, and (n, c) coordinates in them.
    groups
        (n,): number of the parent potential.
    residuals, weights
        (n, 160) on the reduced grid: the residual of U/kT, and how much an error of it matters.
    """

    liquids: Liquids
    structure: Structure
    basis: Basis
    scores: NDArray[np.float64]
    groups: NDArray[np.int64]
    residuals: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, liquids: Liquids) -> Lesson:
        """Return the lesson of some liquids, rows that differ in mass merged."""
        merged = merge_masses(liquids)
        structure = describe(merged)
        basis = Basis.of(structure.curves)
        return cls(
            merged,
            structure,
            basis,
            basis.scores(structure.curves),
            np.unique(merged.parent_potential_id, return_inverse=True)[1],
            _residuals(merged, structure),
            potential_weights(structure, merged.number_density_nm3),
        )

    def learn(self, settings: dict[str, Any]) -> tuple[Process, LeftOut]:
        """Return the process of the residual, and its errors with each parent potential left out."""
        return fit(self.scores, self.residuals, self.groups, settings, weights=self.weights)


def train(liquids: Liquids, settings: dict[str, Any], seed: int, report: Callable[[str], None]) -> Model:
    """Return the model of the liquids.

    Errors of U/kT are weighted by x² g; every choice is made by leaving out parent potentials. `seed` only draws the
    liquids of the learning curve and of the compared splits, which the history tells: no array depends on it.
    """
    lesson = Lesson.of(liquids)
    merged, structure, basis, scores = lesson.liquids, lesson.structure, lesson.basis, lesson.scores
    groups, residuals, weights = lesson.groups, lesson.residuals, lesson.weights
    levels = Basis.levelled(structure.correlation)
    fits: dict[str, tuple[Process, LeftOut] | None] = {
        "structure": lesson.learn(settings),
        "mobility": train_mobility(levels.scores(structure.correlation), structure, merged, groups),
        **{name: train_friction(liquids, merged, scores, structure, groups, name) for name in THERMOSTATS},
        "knob": train_knob(merged, structure, groups),
    }
    found = {name: result for name, result in fits.items() if result is not None}
    potential = found["structure"][1]
    closure_error = _mean_weighted_rms(residuals, weights)
    report(
        f"{len(merged)} liquids of {groups.max() + 1} parent potentials; error of U with its parent left out "
        f"{potential.score:.4f} kT (closure alone {closure_error:.4f} kT)"
    )
    for name, (process, left_out) in found.items():
        report(f"{name}: {state(process)}, error with its parent left out {left_out.score:.4f}")
    # Each x has a scale of its own; this one makes the error bar of the whole curve, weighted as errors are, right too.
    whole = np.sqrt(
        np.sum(_rms(potential.errors, weights) ** 2) / np.sum(_rms(potential.standard_errors, weights) ** 2)
    )
    found["structure"] = found["structure"][0].with_errors_times(whole), potential
    spread = whole * _rms(potential.standard_errors, weights)
    rdf_errors, pressure_errors = _errors_of_runs(merged, structure, potential.errors)
    arrays = {
        "basis.centre": basis.centre,
        "basis.axes": basis.axes,
        "levels.centre": levels.centre,
        "levels.axes": levels.axes,
        "distance_scale": np.array(_distance_scale(scores, groups)),
        # Root mean squares, as a standard error is: few liquids have most of these errors.
        "rdf_error_per_kt": np.array(np.sqrt(np.sum(rdf_errors**2) / np.sum(spread**2))),
        "pressure_error_per_kt": np.array(np.sqrt(np.sum(pressure_errors**2) / np.sum(spread**2))),
    }
    for name, (process, _) in found.items():
        arrays |= process.arrays(name)
    history = {
        "liquids": len(merged),
        "parent_potentials": int(groups.max() + 1),
        "left_out_error_kt": potential.score,
        "closure_error_kt": closure_error,
        "left_out_rdf_error_linear_response": float(np.mean(rdf_errors)),
        "left_out_pressure_error_linear_response": float(np.sqrt(np.mean(pressure_errors**2))),
        "processes": {
            name: {**state(process), "left_out_rms": float(np.sqrt(np.mean(left_out.errors**2)))}
            for name, (process, left_out) in found.items()
        },
        "learning_curve": _learning_curve(found["structure"][0], scores, residuals, weights, groups, seed),
        "splits": _compare_splits(found["structure"][0], basis, liquids, seed),
        "reliability": {
            "potential_kt": _reliability(_rms(potential.errors, weights), spread),
            **{
                name: _reliability(np.abs(left_out.errors[:, 0]), left_out.standard_errors[:, 0])
                for name, (_, left_out) in found.items()
                if name in ("mobility", *THERMOSTATS)
            },
        },
    }
    return Model({"processes": list(found)}, arrays, history)


def _residuals(liquids: Liquids, structure: Structure) -> NDArray[np.float64]:
    """Return what the closure leaves of βU, (n, 160), on the reduced grid."""
    kt = thermal_energy_kj_mol(1.0) * liquids.temperature_k[:, None]
    residual = liquids.potential_kj_mol / kt - structure.estimate
    # No pair was ever in the core: the residual there is that of the first bin seen.
    first = structure.first[:, None]
    at_contact = np.take_along_axis(residual, first, axis=1)
    residual = np.where(np.arange(R_NM.size) < first, at_contact, residual)
    return to_reduced(R_NM, residual, liquids.number_density_nm3, 0.0)


def potential_weights(structure: Structure, number_density_nm3: NDArray) -> NDArray[np.float64]:
    """Return x² g where g was seen and U is not tapered, (n, 160): how much an error of U matters."""
    seen = (np.arange(R_NM.size) >= structure.first[:, None]) & (R_NM < CUTOFF_NM - TAPER_WIDTH_NM)
    curves = np.where(seen, structure.rdf, 0.0)
    return np.maximum(to_reduced(R_NM, curves, number_density_nm3, 0.0), 0.0) * X**2


def _rms(errors: NDArray, weights: NDArray) -> NDArray[np.float64]:
    return np.sqrt((weights * errors**2).sum(axis=1) / weights.sum(axis=1))


def _mean_weighted_rms(errors: NDArray, weights: NDArray) -> float:
    return float(np.mean(_rms(errors, weights)))


def _distance_scale(scores: NDArray, groups: NDArray) -> float:
    """Return the distance that holds most held-out liquids: to the nearest liquid of another parent potential."""
    squared = squared_distances(scores, scores)
    other = groups[:, None] != groups[None, :]
    if not other.any():
        return 1.0
    nearest = np.sqrt(np.where(other, squared, np.inf).min(axis=1))
    return float(np.quantile(nearest[np.isfinite(nearest)], DISTANCE_QUANTILE)) or 1.0


def _errors_of_runs(
    liquids: Liquids, structure: Structure, errors: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the `rdf_error` and the error of p/(ρkT) that left-out errors of βU make, (n,) each.

    By linear response: a run with the error has another g(r), and with it another pressure than the virial with the
    g(r) asked for tells.
    """
    rho, g = liquids.number_density_nm3, structure.rdf
    change = from_reduced(R_NM, errors, rho)
    parts = [slice(first, first + RESPONSES_AT_ONCE) for first in range(0, len(liquids), RESPONSES_AT_ONCE)]
    moved = np.concatenate([rdf_response(g[part], rho[part], change[part], structure.indirect[part]) for part in parts])
    rdf_errors = [rdf_error(curve + difference, curve) for curve, difference in zip(g, moved, strict=True)]
    pressure = pressure_response_bar(liquids.potential_kj_mol, moved, rho)
    return np.array(rdf_errors), pressure / ideal_pressure_bar(rho, liquids.temperature_k)


def _learning_curve(
    process: Process, scores: NDArray, residuals: NDArray, weights: NDArray, groups: NDArray, seed: int
) -> list[dict[str, float]]:
    """Return the error of U/kT with its parent left out when only part of the parent potentials is there.

    Parts are nested, drawn at random; length scale and noise are those of all.
    """
    parents = np.random.default_rng(seed).permutation(groups.max() + 1)
    curve = []
    for fraction in CURVE_FRACTIONS:
        rows = np.flatnonzero(np.isin(groups, parents[: max(2, round(fraction * parents.size))]))
        matrix = kernel((scores[rows], None), (scores[rows], None), process.length_scale)
        errors = leave_groups_out(matrix + process.noise * np.eye(rows.size), residuals[rows], groups[rows])
        found = _mean_weighted_rms(errors, weights[rows])
        if not curve or rows.size > curve[-1]["liquids"]:
            curve.append({"parents": int(np.unique(groups[rows]).size), "liquids": int(rows.size), "error_kt": found})
    return curve


def _compare_splits(process: Process, basis: Basis, liquids: Liquids, seed: int) -> dict[str, float]:
    """Return the error of U/kT with each parent left out, and with each single row left out, as published splits do.

    Rows that differ in mass only stand beside each other here: left out one by one, each leaves its copies behind.
    """
    rows = structure_rows(liquids)
    parents = np.unique(rows.parent_potential_id)
    drawn, kept = np.random.default_rng(seed).permutation(parents), np.zeros(len(rows), bool)
    for parent in drawn:
        more = kept | (rows.parent_potential_id == parent)
        if more.sum() > SPLIT_ROWS and kept.any():
            break
        kept = more
    rows = rows.take(kept)
    structure = describe(rows)
    scores, residuals = basis.scores(structure.curves), _residuals(rows, structure)
    weights = potential_weights(structure, rows.number_density_nm3)
    matrix = kernel((scores, None), (scores, None), process.length_scale) + process.noise * np.eye(len(rows))
    by_parent = np.unique(rows.parent_potential_id, return_inverse=True)[1]
    return {
        "rows": len(rows),
        "parents_left_out_kt": _mean_weighted_rms(leave_groups_out(matrix, residuals, by_parent), weights),
        "rows_left_out_kt": _mean_weighted_rms(leave_groups_out(matrix, residuals, np.arange(len(rows))), weights),
    }


def _reliability(errors: NDArray, standard_errors: NDArray) -> dict[str, Any]:
    """Return the predicted and the found error, root mean square, of equal parts of the rows sorted by the former."""
    order = np.argsort(standard_errors, kind="stable")
    parts = [part for part in np.array_split(order, RELIABILITY_BINS) if part.size]
    return {
        "predicted": [float(np.sqrt(np.mean(standard_errors[part] ** 2))) for part in parts],
        "found": [float(np.sqrt(np.mean(errors[part] ** 2))) for part in parts],
        "rows": [int(part.size) for part in parts],
    }
