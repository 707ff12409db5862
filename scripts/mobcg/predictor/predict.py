"""One shot: what a trained model proposes for liquids it never saw: potential, friction, mobility and pressure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobcg.errors import InputError, SimulationError
from mobcg.pair import R_NM, core_index
from mobcg.predictor.dataset import States
from mobcg.predictor.features import Structure, describe
from mobcg.predictor.knob import FACTORS, LEAST_MOBILITY, LIMITS, Start, best_factor, compressibility_factor, respond
from mobcg.predictor.mobility import (
    THERMOSTATS,
    box_factor,
    largest_log_ratio,
    logarithm_of_mobility,
    predict_friction,
    predict_mobility,
)
from mobcg.predictor.process import Process
from mobcg.predictor.reduced import reduced_diffusion
from mobcg.predictor.response import rdf_response
from mobcg.predictor.shaping import shape
from mobcg.predictor.virial import (
    cavity_logarithm,
    ideal_pressure_bar,
    pressure_correction_kj_mol,
    pressure_response_bar,
    virial_pressure_bar,
)
from mobcg.units import BAR_PER_ATM, thermal_energy_kj_mol

# Distances to the training data, in units of that which holds 95 % of held-out liquids.
INSIDE_DISTANCE, EDGE_DISTANCE = 1.0, 2.0
# ln(ν/ν₀) beyond that of the training rows by more than this: the friction is an extrapolation; and one so far that
# D is hardly that of this liquid.
RATIO_MARGIN, FAR_RATIO_MARGIN = 0.3, float(np.log(10))
# Pressures that may be asked for: a liquid far below zero cavitates, and no ramp for one above was ever run.
PRESSURES_BAR = (-500.0, 20000.0)
# A ramp that is higher than this at contact is on the edge. Our liquids of molecules at 1 atm need up to 1.3 kT, which
# moves g(r) by less than a hundredth (`rdf_error`). Linear response holds longer: a run of benzene at 20,000 bar, 5 kT,
# had the error of 0.018 that was expected.
LARGEST_RAMP_KT = 2.0
# Errors of ln α to expect, before any multiple of U: one beyond those of our eight molecules when held out, as a g(r)
# beside half of its density has, and one with which next to nothing is known.
ALPHA_ERRORS = (0.25, 1.0)
# Multiples of g(r) that a wrong normalisation may call for. The distance has narrow minima: first the whole range, then
# around the best. A change by TAIL_ERROR costs as much as a distance of 1: half of the range. One of up to
# TAIL_TOLERANCE is what the sampling of a nanosecond leaves open.
TAIL_SCANS: tuple[NDArray[np.float64], ...] = (0.0015 * np.arange(-10, 11.0), 0.0003 * np.arange(-4, 5.0))
TAIL_REACH = float(sum(scan[-1] for scan in TAIL_SCANS))
TAIL_ERROR = 0.008
TAIL_TOLERANCE = 3e-3
INSIDE, EDGE, OUTSIDE = "inside", "edge", "outside"
VERDICTS = (INSIDE, EDGE, OUTSIDE)
WITHOUT = "nose_hoover"


@dataclass(frozen=True)
class Proposal:
    """What is proposed for n liquids.

    Attributes
    ----------
    potential_kj_mol, potential_kj_mol_se
        (n, 150): the pair potential, ready for molecular dynamics, and the standard error of what was learned of it,
        from contact to 1.4 nm. In the core, where U is extrapolated, and in its taper it does not hold.
    diffusion_nm2_ns, diffusion_nm2_ns_se
        (n,): D of the potential without friction, in a box of as many beads as the state says, and its standard
        error; nan where the model learned nothing of mobility.
    friction_1_ps
        (n,): friction under which D becomes that of the state, 0 where it is below that without; None without a
        thermostat of that kind.
    alpha, alpha_se
        (n,): expected D/D_AA, 1 with friction unless the liquid is too slow without, and its standard error.
    rdf_error
        (n,): expected error of g(r), sampling noise apart; what the ramp for the pressure does to g(r) counts.
    scale_factor
        (n,): multiple of the potential for the structure; 1 with friction.
    pressure_bar
        (n,): expected pressure of the potential at the density of the state: the one asked for, else that of the
        virial; None where nothing is known of it.
    pressure_bar_se
        (n,): its standard error: what the expected errors of U and the ramp make of it by way of g(r), and the error
        of the knob's response; nan where nothing is known of it.
    distance
        (n,): distance to the training data; 1 holds 95 % of held-out liquids.
    rdf_factor
        (n,): what g(r) was multiplied by, 1 but for curves whose tail no liquid has; see `consistent_tail`.
    verdict
        (n,) text: inside, edge or outside of what the model learned from.
    reasons
        For each liquid, why it is not inside.
    """

    potential_kj_mol: NDArray[np.float64]
    potential_kj_mol_se: NDArray[np.float64]
    diffusion_nm2_ns: NDArray[np.float64]
    diffusion_nm2_ns_se: NDArray[np.float64]
    friction_1_ps: NDArray[np.float64] | None
    alpha: NDArray[np.float64]
    alpha_se: NDArray[np.float64]
    rdf_error: NDArray[np.float64]
    scale_factor: NDArray[np.float64]
    pressure_bar: NDArray[np.float64] | None
    pressure_bar_se: NDArray[np.float64]
    distance: NDArray[np.float64]
    rdf_factor: NDArray[np.float64]
    verdict: NDArray[np.str_]
    reasons: list[list[str]]


def propose(
    model: Any,
    states: States,
    thermostat: str,
    *,
    pressure_bar: float | None = BAR_PER_ATM,
    knob: float = 1.0,
) -> Proposal:
    """Return what a trained model proposes for some liquids.

    Parameters
    ----------
    model
        As `mobcg.predictor.storage.load_model` returns it: a `mobcg` model gives all of the proposal, any other model
        the potential alone.
    states
        n liquids; `check_states` says what is allowed.
    thermostat
        `nose_hoover`: the potential alone, multiplied by what promises the best compromise between g and D; `dpd` or
        `langevin`: the potential for the structure, and the friction that brings D to that of the state.
    pressure_bar
        Pressure that a tail of the potential aims at, by default 1 atm, within `PRESSURES_BAR`; None: the potential is
        left as it is.
    knob
        Multiplies the multiple of U that is proposed without friction: below 1 towards structure, above towards
        mobility.

    Raises
    ------
    InputError
        A state, the thermostat, the pressure or the knob is not allowed, the model learned from no run with the
        thermostat, or a knob other than 1 is wanted of a model without one or beside a friction.
    SimulationError
        What the model proposes has no repulsive wall.
    """
    check_states(states)
    check_wishes(thermostat, pressure_bar, knob)
    try:
        return _propose(model, states, thermostat, pressure_bar, knob)
    except ValueError as problem:
        raise SimulationError(f"the model gives no usable potential: {problem}") from None


def _propose(model: Any, states: States, thermostat: str, pressure_bar: float | None, knob: float) -> Proposal:
    learned = getattr(model, "processes", ())
    if thermostat in THERMOSTATS and thermostat not in learned:
        allowed = " | ".join((WITHOUT, *(name for name in THERMOSTATS if name in learned)))
        advice = f"Train a model that knows frictions, on a release that has runs with {thermostat} friction."
        raise InputError("predict", "thermostat", thermostat, allowed, advice)
    if knob != 1 and (thermostat != WITHOUT or "knob" not in learned):
        advice = "Multiples of U are proposed without friction, by a model that learned from runs of them."
        raise InputError("predict", "knob", knob, "1, where there is no knob", advice)
    if not learned:
        return _potential_alone(*model.predict(states))
    states, structure, rdf_factor = consistent_tail(model, states)
    residual, residual_se = model.residual(structure)
    raw, potential_se = model.raw_potential(structure, states, residual, residual_se)
    potential = shape(raw, states.rdf)
    mobility, mobility_se = predict_mobility(
        model.processes["mobility"], model.levels.scores(structure.correlation), structure
    )
    cavity = cavity_logarithm(raw, states.rdf, states.temperature_k)
    fluid = potential, cavity, states.number_density_nm3, states.temperature_k
    pressure = virial_pressure_bar(*fluid, states.n_beads)
    own_error, own_bar = model.own_errors(structure, states, residual_se)
    own_error = np.hypot(own_error, rdf_factor - 1)
    wanted, zeros = logarithm_of_mobility(states), np.zeros(len(states))
    compromise = _Compromise(zeros + 1, mobility, zeros, own_error, pressure, zeros)
    friction, log_alpha_se, log_ratio = None, mobility_se, zeros
    if thermostat in THERMOSTATS:
        friction, log_alpha_se, log_ratio = predict_friction(
            model.processes[thermostat],
            mobility,
            mobility_se,
            model.basis.scores(structure.curves),
            structure,
            states,
            thermostat,
        )
    elif "knob" in model.processes:
        at_rest = potential + pressure_correction_kj_mol(-pressure, *fluid)
        start = Start.of(mobility, at_rest, structure, states, own_error)
        compromise = _turn_knob(model.processes["knob"], start, pressure, states, wanted, knob)
        log_alpha_se = np.hypot(mobility_se, compromise.log_mobility_se)
    scaled, expected_bar = potential * compromise.factor[:, None], compromise.pressure_bar
    ramp = _Ramp(zeros, zeros, zeros)
    if pressure_bar is not None:
        correction = pressure_correction_kj_mol(pressure_bar - expected_bar, *fluid)
        scaled, expected_bar = scaled + correction, np.full(len(states), float(pressure_bar))
        ramp = _ramp(correction, scaled, structure, states)
    # A liquid that needs no friction is run without, whatever the thermostat.
    log_alpha = np.where(zeros if friction is None else friction > 0, 0.0, compromise.log_mobility - wanted)
    diffusion = _diffusion(compromise.log_mobility, states)
    distance = model.distance(structure)
    # What a multiple of U adds to the error of α is a choice, and no sign of a strange liquid; nor does a friction that
    # leaves the liquid little of its own mobility make it less strange.
    doubt = mobility_se if friction is None else np.maximum(mobility_se, log_alpha_se)
    friction_process = model.processes.get(thermostat)
    # A multiple of 1 freezes nothing: the liquid has its g(r).
    slowed_to = np.where(compromise.factor > 1, np.exp(compromise.log_mobility), np.inf)
    verdict, reasons = _verdict(
        distance, rdf_factor, log_ratio, ramp.contact_kt, doubt, compromise.factor, slowed_to, friction_process
    )
    return Proposal(
        potential_kj_mol=scaled,
        potential_kj_mol_se=potential_se * compromise.factor[:, None],
        diffusion_nm2_ns=diffusion,
        diffusion_nm2_ns_se=diffusion * np.hypot(mobility_se, compromise.log_mobility_se),
        friction_1_ps=friction,
        alpha=np.exp(log_alpha),
        alpha_se=np.exp(log_alpha) * log_alpha_se,
        rdf_error=np.hypot(compromise.rdf_error, ramp.rdf_error),
        scale_factor=compromise.factor,
        pressure_bar=expected_bar,
        # U times s makes an error that is s times as large, felt by forces that are, too.
        pressure_bar_se=np.linalg.norm(
            [own_bar * compromise.factor**2, compromise.pressure_bar_se, ramp.pressure_bar], axis=0
        ),
        distance=distance,
        rdf_factor=rdf_factor,
        verdict=verdict,
        reasons=reasons,
    )


@dataclass(frozen=True)
class _Compromise:
    """The multiple of the potential for the structure that is proposed, and what it is expected to do; (n,) each.

    The errors are those of what the multiple changes.
    """

    factor: NDArray
    log_mobility: NDArray
    log_mobility_se: NDArray
    rdf_error: NDArray
    pressure_bar: NDArray
    pressure_bar_se: NDArray


def _turn_knob(
    process: Process,
    start: Start,
    pressure: NDArray,
    states: States,
    wanted: NDArray,
    knob: float,
) -> _Compromise:
    factor = np.clip(best_factor(process, start, wanted) * knob, *LIMITS)
    response = respond(process, start, compressibility_factor(pressure, states), factor[:, None])
    ideal_bar = ideal_pressure_bar(states.number_density_nm3, states.temperature_k)
    return _Compromise(
        factor,
        response.log_mobility[:, 0],
        np.hypot(response.log_mobility_se, response.own_log_mobility_se)[:, 0],
        np.hypot(response.rdf_error, response.own_rdf_error)[:, 0],
        response.compressibility_factor[:, 0] * ideal_bar,
        response.compressibility_factor_se[:, 0] * ideal_bar,
    )


@dataclass(frozen=True)
class _Ramp:
    """The ramp that takes the pressure to the one asked for, and what it does by linear response; (n,) each.

    Its height at contact in kT, how far it moves g(r) (as `rdf_error`), and what that does to the pressure.
    """

    contact_kt: NDArray
    rdf_error: NDArray
    pressure_bar: NDArray


def _ramp(correction: NDArray, potential: NDArray, structure: Structure, states: States) -> _Ramp:
    change_kt = correction / (thermal_energy_kj_mol(1.0) * states.temperature_k)[:, None]
    moved = rdf_response(structure.rdf, states.number_density_nm3, change_kt, structure.indirect)
    return _Ramp(
        np.take_along_axis(change_kt, structure.first[:, None], axis=1)[:, 0],
        np.abs(moved).sum(axis=1) / structure.rdf.sum(axis=1),
        pressure_response_bar(potential, moved, states.number_density_nm3),
    )


def _diffusion(log_mobility: NDArray, states: States) -> NDArray[np.float64]:
    """Return D (nm²/ns) in the box of the states, from ln D* in the reference box."""
    unit = reduced_diffusion(1.0, states.mass_g_mol, states.temperature_k, states.number_density_nm3)
    return np.exp(log_mobility) / unit / box_factor(states.n_beads)


def consistent_tail(model: Any, states: States) -> tuple[States, Structure, NDArray[np.float64]]:
    """Return the states with a g(r) that tends to what it must at large r, described, and its multiple of g(r), (n,).

    The long waves of a dense liquid hang on the third and fourth decimal of g at large r: a curve that was normalised
    by another N, or by the mean density of a box that changed, is half a percent off there and is that of no liquid.
    Where a g(r) is not inside of what was learned from, the multiple f of it within 1.6 % is taken that has the least
    d² + ((f − 1)/`TAIL_ERROR`)²: near to what was learned from, d its distance, and not far from what was given.
    """
    structure = describe(states)
    factor, distance = np.ones(len(states)), model.distance(structure)
    for row in np.flatnonzero(distance > INSIDE_DISTANCE):
        for changes in TAIL_SCANS:
            trials = factor[row] + changes
            copies = states.take(np.full(trials.size, row))
            found = model.distance(describe(replace(copies, rdf=copies.rdf * trials[:, None])))
            factor[row] = trials[np.argmin(found**2 + ((trials - 1) / TAIL_ERROR) ** 2)]
    if np.all(factor == 1):
        return states, structure, factor
    changed = replace(states, rdf=states.rdf * factor[:, None])
    return changed, describe(changed), factor


def _verdict(
    distance: NDArray,
    rdf_factor: NDArray,
    log_ratio: NDArray,
    ramp_kt: NDArray,
    log_alpha_se: NDArray,
    factor: NDArray,
    slowed_to: NDArray,
    friction: Process | None,
) -> tuple[NDArray[np.str_], list[list[str]]]:
    """Return the verdict on each liquid, (n,), and the reasons where it is not inside."""
    rescaled = np.abs(rdf_factor - 1)
    largest = np.inf if friction is None else largest_log_ratio(friction)
    objections = (
        (
            distance,
            (INSIDE_DISTANCE, EDGE_DISTANCE),
            distance,
            "{:.3g} times as far from the training data as most held-out liquids",
        ),
        (
            rescaled,
            (TAIL_TOLERANCE, TAIL_REACH - 1e-9),
            rdf_factor,
            f"g(r) was rescaled by {{:.4f}} (at most {TAIL_REACH:.2%} is tried), which brings it much nearer to the "
            "training data: check its normalisation and the number of molecules",
        ),
        (
            log_ratio,
            (largest + RATIO_MARGIN, largest + FAR_RATIO_MARGIN),
            np.exp(log_ratio),
            f"a friction is to slow it {{:.3g}} times, {np.exp(largest):.3g} times at most in the training data",
        ),
        (
            np.abs(ramp_kt),
            (LARGEST_RAMP_KT, np.inf),
            ramp_kt,
            f"its pressure takes a ramp of {{:.2g}} kT at contact, {LARGEST_RAMP_KT:g} kT at most in ordinary liquids",
        ),
        (
            log_alpha_se,
            ALPHA_ERRORS,
            log_alpha_se,
            f"ln α is known to {{:.2g}} only, {ALPHA_ERRORS[0]:g} in ordinary liquids: do g(r), density and "
            "temperature belong together?",
        ),
        (
            np.maximum(factor / FACTORS[-1], FACTORS[0] / factor) - 1,
            (1e-9, np.inf),
            factor,
            f"U × {{:.3g}} is beyond the multiples that were learned from, {FACTORS[0]:g} to {FACTORS[-1]:g}",
        ),
        (
            LEAST_MOBILITY - slowed_to,
            (0.0, np.inf),
            slowed_to,
            f"this multiple of U slows it to D* = {{:.2g}}, and liquids freeze near {LEAST_MOBILITY:g}",
        ),
    )
    level, reasons = np.zeros(len(distance), int), [[] for _ in distance]
    for size, limits, told, text in objections:
        found = np.searchsorted(limits, size)
        level = np.maximum(level, found)
        for row in np.flatnonzero(found):
            reasons[row].append(text.format(told[row]))
    return np.array(VERDICTS)[level], reasons


def _potential_alone(potential: NDArray, error: NDArray) -> Proposal:
    unknown = np.full(len(potential), np.nan)
    return Proposal(
        potential_kj_mol=potential,
        potential_kj_mol_se=error,
        diffusion_nm2_ns=unknown,
        diffusion_nm2_ns_se=unknown,
        friction_1_ps=None,
        alpha=unknown,
        alpha_se=unknown,
        rdf_error=unknown,
        scale_factor=np.ones(len(potential)),
        pressure_bar=None,
        pressure_bar_se=unknown,
        distance=unknown,
        rdf_factor=np.ones(len(potential)),
        verdict=np.full(len(potential), EDGE),
        reasons=[["this model cannot tell how far from its training data a liquid is"] for _ in potential],
    )


def check_wishes(thermostat: str, pressure_bar: float | None, knob: float) -> None:
    """Check what is wanted of the liquids; arguments as in `propose`.

    Raises
    ------
    InputError
        The thermostat is none, the pressure is not within `PRESSURES_BAR`, or the knob is no finite number above 0.
    """
    if thermostat not in (WITHOUT, *THERMOSTATS):
        raise InputError("predict", "thermostat", thermostat, " | ".join((WITHOUT, *THERMOSTATS)))
    low, high = PRESSURES_BAR
    if pressure_bar is not None and not low <= pressure_bar <= high:
        raise InputError("predict", "pressure_bar", pressure_bar, f"{low:g} to {high:g}", "Is it in bar?")
    if not 0 < knob < np.inf:
        raise InputError("predict", "knob", knob, "a finite number above 0")


def check_states(states: States) -> None:
    """Check that states can be asked about.

    Raises
    ------
    InputError
        A value is not finite or not positive, or a g(r) has the wrong shape or no liquid in it.
    """
    shape_expected = (len(states), R_NM.size)
    if states.rdf.shape != shape_expected or not np.all(np.isfinite(states.rdf)) or states.rdf.min() < 0:
        raise InputError("predict", "rdf", f"shape {states.rdf.shape}", "150 finite values ≥ 0 on the common grid")
    for name in ("number_density_nm3", "temperature_k", "mass_g_mol", "diffusion_nm2_ns"):
        values = getattr(states, name)
        wrong = ~(np.isfinite(values) & (values > 0))
        if wrong.any():
            raise InputError("predict", name, float(values[wrong][0]), "a finite number above 0")
    if not np.all(states.n_beads >= 2):
        raise InputError("predict", "n_beads", float(states.n_beads.min()), "at least 2, or inf")
    try:
        core_index(states.rdf)
    except ValueError as problem:
        raise InputError(
            "predict", "rdf", str(problem), "the g(r) of a liquid, core and first shell included"
        ) from None


def one_state(
    rdf: ArrayLike,
    number_density_nm3: float,
    temperature_k: float,
    mass_g_mol: float,
    diffusion_nm2_ns: float,
    n_beads: float = np.inf,
) -> States:
    """Return the state of one liquid.

    Parameters
    ----------
    rdf
        (150,) on `mobcg.pair.R_NM`, normalised by N − 1.
    number_density_nm3, temperature_k, mass_g_mol, diffusion_nm2_ns
        The liquid; D is that of the atomistic liquid.
    n_beads
        Molecules of the box in which g(r) and D were measured; inf: no correction for its size.
    """
    numbers = (number_density_nm3, temperature_k, mass_g_mol, diffusion_nm2_ns, n_beads)
    return States(np.asarray(rdf, np.float64)[None], *(np.array([value], np.float64) for value in numbers))
