r"""The knob of a conservative model, from "structure" to "mobility": how far to multiply U, knowing what it does.

A pair potential cannot keep g and D both. Multiplying U by s > 1 slows the liquid and sharpens its structure, and no
better front than that of s is known. What s does is learned from rows whose potentials are multiples of each other,
relative to what linear response makes of g: with τ = ln s, the changes per τ of g (as `rdf_error`) and of −ln D* over
its size, and that of the virial part of the pressure less its own. They depend on mobility, entropy and τ alone, so
that a liquid that answers to a multiple less than any that was learned from is still known. One starts from the liquid
at no pressure, as those learned from nearly are: at another U has a slow ramp, which these hardly feel. The default is
the s with the smallest mean square

    S(s)² = (e(s)/0.1)² + (ln α(s)/ln 2)²,   e(s)² = (s e(1))² + (τ e')²,   ln α(s) = ln α(1) + τ (ln D*)'

the variances of e' and (ln D*)' counted: the less is known of a multiple, the nearer the default is to 1. What is wrong
with U, e(1) of g, is multiplied too, and changes ln D* as a multiple would that moves g as far by linear response.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from mobcg.observables import rdf_error
from mobcg.pair import CORE_RDF
from mobcg.predictor.dataset import Liquids, States
from mobcg.predictor.features import Structure
from mobcg.predictor.mobility import SETTINGS, logarithm_of_mobility
from mobcg.predictor.process import LeftOut, Process, fit
from mobcg.predictor.response import rdf_response
from mobcg.predictor.virial import ideal_pressure_bar, pressure_response_bar
from mobcg.units import BAR_PER_KJ_MOL_NM3, thermal_energy_kj_mol

# Multiples of U that are considered, and those for which the response is worked out: it is smooth in between. What is
# learned starts at multiples from 0.7 on and ends at 2.2: no factor between two of them is larger than `LIMITS` allow.
FACTORS: NDArray[np.float64] = np.round(np.arange(0.7, 2.21, 0.02), 2)
COARSE_FACTORS: NDArray[np.float64] = np.geomspace(FACTORS[0], FACTORS[-1], 5)
LIMITS = (0.5, 3.1)
LEAST_LOG_FACTOR = 0.15
# Two potentials are multiples of each other when this share of one is the other times a constant.
SAME_SHAPE = 1e-6
# Multiples slower than this are about to freeze (D* of freezing liquids is near 0.03), and are not proposed: by a
# margin, as what is proposed is found by interpolation.
LEAST_MOBILITY = 0.025
MOBILITY_MARGIN = 1.02
# Changes of g and of −ln D* per ln s, and their logarithms over what linear response makes of g: only strange input
# leaves them. A multiple never makes a dense liquid faster: rows that say so do by their noise.
LEAST_RESPONSE = 1e-3
LEAST_SLOWING = 0.02
LOG_RDF_RATIO = (-2.0, 2.0)
LOG_SLOWING_RATIO = (0.0, 5.0)
LARGEST_LOG_ERROR = 2.0


@dataclass(frozen=True)
class Start:
    """What is known of n liquids before their potentials are multiplied; (n,) each.

    Attributes
    ----------
    log_mobility, entropy
        ln D* and s₂/k.
    rdf_response, virial_response
        What linear response makes of the first multiples, per ln s: `rdf_error`, and the change of p/(ρkT) that comes
        of the change of g alone.
    rdf_error
        Of the potential itself, to expect; 0 for one that was run.
    """

    log_mobility: NDArray[np.float64]
    entropy: NDArray[np.float64]
    rdf_response: NDArray[np.float64]
    virial_response: NDArray[np.float64]
    rdf_error: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        log_mobility: NDArray,
        potential_kj_mol: NDArray,
        structure: Structure,
        states: States,
        own_error: NDArray | float = 0.0,
    ) -> Start:
        """Return it for potentials (n, 150) with these structures."""
        kt = thermal_energy_kj_mol(1.0) * states.temperature_k[:, None]
        felt = np.where(structure.rdf > CORE_RDF, potential_kj_mol / kt, 0.0)
        moved = rdf_response(structure.rdf, states.number_density_nm3, felt, structure.indirect)
        # Of a gas or a strange input it may be next to nothing, and the response has its logarithm.
        linear = np.abs(moved).sum(axis=1) / np.maximum(structure.rdf.sum(axis=1), 1.0)
        virial = pressure_response_bar(potential_kj_mol, moved, states.number_density_nm3)
        ideal = ideal_pressure_bar(states.number_density_nm3, states.temperature_k)
        own_error = np.broadcast_to(np.asarray(own_error, np.float64), log_mobility.shape)
        return cls(log_mobility, structure.entropy, np.maximum(linear, LEAST_RESPONSE), virial / ideal, own_error)

    def inputs(self, log_factor: NDArray) -> NDArray[np.float64]:
        """Return what the response to ln s (n,), relative to the linear one, depends on, (n, 3), of order one."""
        return np.column_stack([(self.log_mobility + 2) / 2, self.entropy / 2 + 1, log_factor])

    def take(self, rows: NDArray) -> Start:
        """Return the given rows, in that order."""
        return Start(*(values[rows] for values in vars(self).values()))


@dataclass(frozen=True)
class Response:
    """What multiplying U by k factors does to n liquids, and the standard errors of that: (n, k) each.

    Attributes
    ----------
    log_mobility, log_mobility_se
        ln D*.
    rdf_error, rdf_error_se
        Change of g(r), as `rdf_error` of the scaled against the unscaled liquid.
    own_rdf_error, own_log_mobility_se
        What becomes of the error of the potential itself.
    compressibility_factor, compressibility_factor_se
        Z = p/(ρkT).
    """

    log_mobility: NDArray[np.float64]
    log_mobility_se: NDArray[np.float64]
    rdf_error: NDArray[np.float64]
    rdf_error_se: NDArray[np.float64]
    own_rdf_error: NDArray[np.float64]
    own_log_mobility_se: NDArray[np.float64]
    compressibility_factor: NDArray[np.float64]
    compressibility_factor_se: NDArray[np.float64]


def compressibility_factor(pressure_bar: NDArray, states: States) -> NDArray[np.float64]:
    """Return Z = p/(ρkT), (n,)."""
    kt = thermal_energy_kj_mol(1.0) * states.temperature_k
    return pressure_bar / BAR_PER_KJ_MOL_NM3 / (states.number_density_nm3 * kt)


def scaled_pairs(liquids: Liquids) -> list[tuple[int, int, float]]:
    """Return (row, row of a multiple of its potential at the same state, ln s > 0) of all such pairs."""
    state = np.column_stack([liquids.temperature_k, liquids.number_density_nm3, liquids.n_beads]).round(6)
    groups: dict[tuple, list[int]] = {}
    for row, (parent, key) in enumerate(zip(liquids.parent_potential_id.tolist(), state.tolist(), strict=True)):
        groups.setdefault((parent, *key), []).append(row)
    pairs = []
    for rows in groups.values():
        for a in rows:
            for b in rows:
                factor = multiple(liquids.potential_kj_mol[a], liquids.potential_kj_mol[b])
                if factor is not None and np.log(factor) > LEAST_LOG_FACTOR:
                    pairs.append((a, b, float(np.log(factor))))
    return pairs


def multiple(potential: NDArray, other: NDArray) -> float | None:
    """Return s where `other` is s times `potential`, else None."""
    # Equal weight for wall and well: the wall is hundreds of kT high.
    a, b = np.arcsinh(potential), np.arcsinh(other)
    s = float(other @ potential / (potential @ potential))
    if s <= 0 or np.sum((np.arcsinh(s * potential) - b) ** 2) > SAME_SHAPE * np.sum(a**2):
        return None
    return s


def train_knob(liquids: Liquids, structure: Structure, groups: NDArray) -> tuple[Process, LeftOut] | None:
    """Return the process for the response per ln s relative to the linear one, of −ln D*, of g and of the virial.

    The first two are logarithms of ratios, the third is a difference of the virial part of Z.

    None where no two rows have potentials that are multiples of each other. `liquids` are merged (`merge_masses`).
    """
    pairs = scaled_pairs(liquids)
    if not pairs:
        return None
    a, b, log_factor = (np.array(column) for column in zip(*pairs, strict=True))
    mobility, z = logarithm_of_mobility(liquids), compressibility_factor(liquids.pressure_bar, liquids)
    start = Start.of(mobility, liquids.potential_kj_mol, structure, liquids).take(a)
    moved = np.array([rdf_error(liquids.rdf[j], liquids.rdf[i]) for i, j in zip(a, b, strict=True)])
    slowing = np.maximum((mobility[a] - mobility[b]) / log_factor, LEAST_SLOWING)
    virial = ((z[b] - 1) / np.exp(log_factor) - (z[a] - 1)) / log_factor
    targets = np.column_stack(
        [
            np.log(slowing / start.rdf_response),
            np.log(moved / (log_factor * start.rdf_response)),
            virial - start.virial_response,
        ]
    )
    usable = np.isfinite(targets).all(axis=1)
    inputs = start.inputs(log_factor)[usable]
    noise = 1 / log_factor[usable] ** 2
    spread = targets[usable].std(axis=0) + 1e-12
    return fit(
        inputs,
        targets[usable],
        groups[a[usable]],
        SETTINGS,
        terms=inputs,
        relative_noise=noise / np.median(noise),
        weights=np.broadcast_to(1 / spread**2, (usable.sum(), 3)),
    )


def respond(process: Process, start: Start, compressibility: NDArray, factors: NDArray) -> Response:
    """Return what multiplying U by each factor (n, k) does to liquids of compressibility factors Z, (n,)."""
    log_factor = np.log(factors)
    inputs = start.take(np.repeat(np.arange(len(factors)), factors.shape[1])).inputs(log_factor.ravel())
    mean, error = (
        np.moveaxis(values.reshape(*factors.shape, 3), -1, 0)
        for values in (process.mean(inputs, inputs), process.standard_error(inputs, inputs))
    )
    size, linear = np.abs(log_factor), start.rdf_response[:, None]
    slowing = linear * np.exp(np.clip(mean[0], *LOG_SLOWING_RATIO))
    moved = size * linear * np.exp(np.clip(mean[1], *LOG_RDF_RATIO))
    own_error = start.rdf_error[:, None] * factors
    virial = (compressibility[:, None] - 1 + (start.virial_response[:, None] + mean[2]) * log_factor) * factors
    return Response(
        log_mobility=start.log_mobility[:, None] - slowing * log_factor,
        log_mobility_se=size * slowing * _relative_error(error[0]),
        rdf_error=moved,
        rdf_error_se=moved * _relative_error(error[1]),
        own_rdf_error=own_error,
        own_log_mobility_se=slowing / linear * own_error,
        compressibility_factor=1 + virial,
        compressibility_factor_se=size * error[2] * factors,
    )


def _relative_error(log_error: NDArray) -> NDArray[np.float64]:
    """Return the standard deviation of exp(x) over exp(mean of x), for a normal x of this standard error."""
    return np.sqrt(np.expm1(np.minimum(log_error, LARGEST_LOG_ERROR) ** 2))


def best_factor(process: Process, start: Start, wanted: NDArray) -> NDArray[np.float64]:
    """Return the one of `FACTORS` with the smallest expected S² for each liquid, (n,).

    Parameters
    ----------
    process
        As `train_knob` returns it.
    start
        The liquids before their potentials are multiplied.
    wanted
        (n,) ln D* of the atomistic liquid.
    """
    response = respond(
        process, start, np.ones(len(wanted)), np.broadcast_to(COARSE_FACTORS, (len(wanted), COARSE_FACTORS.size))
    )
    # What goes with |τ| has a kink at τ = 0, but is smooth as a signed quantity.
    signs = np.sign(np.log(COARSE_FACTORS))
    log_mobility, own_se, mobility_se, moved, moved_se = (
        CubicSpline(np.log(COARSE_FACTORS), values, axis=1)(np.log(FACTORS))
        for values in (
            response.log_mobility,
            response.own_log_mobility_se,
            response.log_mobility_se * signs,
            response.rdf_error * signs,
            response.rdf_error_se * signs,
        )
    )
    error_squares = moved**2 + moved_se**2 + (start.rdf_error[:, None] * FACTORS) ** 2
    mobility_squares = (log_mobility - wanted[:, None]) ** 2 + mobility_se**2 + own_se**2
    score_squares = error_squares / 0.1**2 + mobility_squares / np.log(2) ** 2
    # The unscaled potential always may be: a liquid has its g(r).
    slowest = np.minimum(np.log(MOBILITY_MARGIN * LEAST_MOBILITY), start.log_mobility)
    allowed = (log_mobility >= slowest[:, None]) | (FACTORS <= 1)
    return FACTORS[np.argmin(np.where(allowed, score_squares, np.inf), axis=1)]
