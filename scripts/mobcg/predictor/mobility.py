r"""How fast a coarse-grained liquid is: D of a potential from its structure, and the friction that slows it down.

Without friction D* = D sqrt(m/kT) ρ^(1/3) is a function of the reduced structure, ln D* close to linear in the pair
excess entropy (Rosenfeld, Phys. Rev. A 15, 2545 (1977); Dzugutov, Nature 381, 137 (1996)) and in ln(1 + A), A the
friction that fluctuations of the density add to that of single collisions (`Structure.slowing`); a Gaussian process
learns the rest. With friction D = (kT/m)/(ν₀ + cγ), as in `mobcg.predictor.friction`; c depends on the liquid and,
weakly, on how much the friction is asked to do, ν/ν₀. ln c is learned, for each thermostat on its own, from runs with
friction and their twins without.

All D here are those of a box of `REFERENCE_BEADS`: a smaller box slows a liquid by a known factor. A Langevin friction
screens the flow that the factor is made for, so under it D does not depend on the box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobcg.observables import finite_size_factor
from mobcg.predictor.dataset import Liquids, States, state_keys
from mobcg.predictor.features import Structure
from mobcg.predictor.friction import friction_constant, total_friction_1_ps, usual_constant
from mobcg.predictor.process import LeftOut, Process, fit
from mobcg.predictor.reduced import reduced_diffusion
from mobcg.units import thermal_energy_kj_mol

THERMOSTATS = ("langevin", "dpd")
REFERENCE_BEADS = 1000
# A friction that changes ν by less than this, or by less than it is uncertain, says nothing about c.
LEAST_EXCESS = 0.05
LARGEST_ERROR = 0.3
# Errors of ln D and ln c from sampling are counted as no smaller than this.
LEAST_NOISE = 0.01
# Of a gas; a g(r) of zeros has none.
LEAST_SHEAR = 1e-3
# Between a glass and a gas; ln c of any liquid, less what is usual. Only strange input leaves them.
LOG_MOBILITY = (-12.0, 3.0)
LOG_CONSTANT = (-2.0, 2.0)
# Errors of ln D₀ that are followed through the friction: with a larger one nothing is known anyway.
LARGEST_SHIFT = 1.0
LENGTH_SCALES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
NOISES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
SETTINGS: dict[str, Sequence[float]] = {"length_scales": LENGTH_SCALES, "noises": NOISES}


def box_factor(n_beads: ArrayLike) -> NDArray[np.float64]:
    """Return D(box of `REFERENCE_BEADS`) / D(box of N beads); 1 where N is not known (inf)."""
    beads = np.asarray(n_beads, np.float64)
    known = np.where(np.isfinite(beads), beads, REFERENCE_BEADS)
    return finite_size_factor(known) / finite_size_factor(REFERENCE_BEADS)


def logarithm_of_mobility(states: States) -> NDArray[np.float64]:
    """Return ln D* in the reference box, (n,), of liquids under Nosé-Hoover dynamics whose D is known."""
    d_star = reduced_diffusion(
        states.diffusion_nm2_ns, states.mass_g_mol, states.temperature_k, states.number_density_nm3
    )
    return np.log(d_star * box_factor(states.n_beads))


def mobility_features(scores: NDArray, structure: Structure) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return inputs and the terms that ln D* is nearly linear in: s₂, its square and ln(1 + A), of order one."""
    s, slowing = structure.entropy / 2 + 1, 3 * np.log1p(structure.slowing) - 2
    return np.column_stack([scores, slowing]), np.column_stack([s, s**2, slowing])


def predict_mobility(
    process: Process, scores: NDArray, structure: Structure
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ln D* in the reference box and its standard error, (n,) each; ln D* stays in `LOG_MOBILITY`."""
    features = mobility_features(scores, structure)
    mean, error = process.mean(*features)[:, 0], process.standard_error(*features)[:, 0]
    return np.clip(mean, *LOG_MOBILITY), error


def train_mobility(scores: NDArray, structure: Structure, liquids: Liquids, groups: NDArray) -> tuple[Process, LeftOut]:
    """Return the process for ln D* of liquids without friction.

    `scores` are their coordinates in `mobcg.predictor.features.Basis.levelled` of their correlation.
    """
    relative = np.maximum(liquids.diffusion_nm2_ns_se / liquids.diffusion_nm2_ns, LEAST_NOISE) ** 2
    inputs, terms = mobility_features(scores, structure)
    return fit(
        inputs,
        logarithm_of_mobility(liquids)[:, None],
        groups,
        SETTINGS,
        terms=terms,
        relative_noise=relative / np.median(relative),
    )


def friction_terms(
    log_mobility: NDArray, log_ratio: NDArray, structure: Structure, states: States, thermostat: str
) -> NDArray[np.float64]:
    """Return the terms that ln c is nearly linear in, (n, 3 or 5), of order one.

    They are ln D₀*, ln ν/ν₀, s₂ and for DPD the reduced cutoff and the logarithm of what its viscosity goes with.
    """
    columns = [(log_mobility + 2) / 2, (log_ratio - 1) / 2, structure.entropy / 2 + 1]
    if thermostat == "dpd":
        columns += [(states.number_density_nm3 ** (1 / 3) - 1.7) * 5, np.log(np.maximum(structure.shear, LEAST_SHEAR))]
    return np.column_stack(columns)


def largest_log_ratio(process: Process) -> float:
    """Return the largest ln ν/ν₀ that a friction process learned from."""
    return float(2 * process.terms[:, 1].max() + 1)


def train_friction(
    liquids: Liquids, merged: Liquids, scores: NDArray, structure: Structure, groups: NDArray, thermostat: str
) -> tuple[Process, LeftOut] | None:
    """Return the process for ln c of one thermostat, None where no run with it has a twin without.

    Parameters
    ----------
    liquids
        All rows, those with friction among them.
    merged, scores, structure, groups
        The liquids without friction (see `merge_masses`), their coordinates in `mobcg.predictor.features.Basis` of
        their curves, their features and the groups that are left out together.
    """
    twin = {key: index for index, key in enumerate(state_keys(merged))}
    with_friction = liquids.take((liquids.thermostat == thermostat) & (liquids.friction_1_ps > 0))
    rows = [
        found
        for row, key in enumerate(state_keys(with_friction))
        if key in twin and (found := _constant(with_friction, row, merged, twin[key], thermostat)) is not None
    ]
    if not rows:
        return None
    index, log_c, log_ratio, error = (np.array(column) for column in zip(*rows, strict=True))
    near = _take(structure, index)
    states = merged.take(index)
    terms = friction_terms(logarithm_of_mobility(states), log_ratio, near, states, thermostat)
    inputs = np.column_stack([scores[index], terms])
    expected = usual_constant(logarithm_of_mobility(states), near.neighbours, thermostat)
    targets = (log_c - np.log(expected))[:, None]
    relative = np.maximum(error, LEAST_NOISE) ** 2
    return fit(inputs, targets, groups[index], SETTINGS, terms=terms, relative_noise=relative / np.median(relative))


def _constant(
    rows: Liquids, row: int, merged: Liquids, twin: int, thermostat: str
) -> tuple[int, float, float, float] | None:
    """Return the twin's index, ln c, ln ν/ν₀ and the error of ln c; None where the run says too little."""
    mass, temperature = float(rows.mass_g_mol[row]), float(rows.temperature_k[row])
    factor = float(box_factor(rows.n_beads[row]))
    slow = float(rows.diffusion_nm2_ns[row]) * (factor if thermostat == "dpd" else 1.0)
    # The mass law takes the twin's D to the mass of this run.
    fast = float(merged.diffusion_nm2_ns[twin] * math.sqrt(merged.mass_g_mol[twin] / mass)) * factor
    own, total = (total_friction_1_ps(d, mass, temperature) for d in (fast, slow))
    if total < own * (1 + LEAST_EXCESS):
        return None
    slow_error = rows.diffusion_nm2_ns_se[row] / rows.diffusion_nm2_ns[row]
    fast_error = merged.diffusion_nm2_ns_se[twin] / merged.diffusion_nm2_ns[twin]
    error = math.hypot(slow_error * total, fast_error * own) / (total - own)
    if not error < LARGEST_ERROR:
        return None
    constant = friction_constant(fast, slow, float(rows.friction_1_ps[row]), mass, temperature)
    return twin, math.log(constant), math.log(total / own), error


def _take(structure: Structure, rows: NDArray) -> Structure:
    return Structure(**{name: values[rows] for name, values in vars(structure).items()})


def predict_friction(
    process: Process,
    log_mobility: NDArray,
    log_mobility_se: NDArray,
    scores: NDArray,
    structure: Structure,
    states: States,
    thermostat: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return γ (1/ps), the standard error of the ln D that results, and ln ν/ν₀, (n,) each.

    γ = (ν − ν₀)/c, with ν of the wanted D, and 0 where D is low enough without. An error of ln D₀ changes ν₀ and, as c
    depends on D₀, what the friction does: both in the same direction.
    """
    kt = thermal_energy_kj_mol(1.0) * states.temperature_k
    wanted = logarithm_of_mobility(states)
    if thermostat == "langevin":
        wanted = wanted - np.log(box_factor(states.n_beads))

    def constant(log_d0: NDArray) -> tuple[NDArray, NDArray]:
        terms = friction_terms(log_d0, np.maximum(log_d0 - wanted, 0.0), structure, states, thermostat)
        inputs = np.column_stack([scores, terms])
        log_c = np.clip(process.mean(inputs, terms)[:, 0], *LOG_CONSTANT)
        log_c += np.log(usual_constant(log_d0, structure.neighbours, thermostat))
        return log_c, process.standard_error(inputs, terms)[:, 0]

    # ν = (kT/m)/D, in units of 1/τ: 1/D*
    per_tau = np.sqrt(kt / states.mass_g_mol) * states.number_density_nm3 ** (1 / 3)
    asked = np.maximum(np.exp(-wanted) - np.exp(-log_mobility), 0.0)
    log_c, log_c_se = constant(log_mobility)
    faster = log_mobility + np.minimum(log_mobility_se, LARGEST_SHIFT)
    total = np.exp(-faster) + asked * np.exp(constant(faster)[0] - log_c)
    own_se = np.abs(np.log(total) + np.where(asked > 0, wanted, log_mobility))
    own_share = np.exp(-np.maximum(log_mobility - wanted, 0.0))
    return asked * per_tau / np.exp(log_c), np.hypot((1 - own_share) * log_c_se, own_se), log_mobility - wanted
