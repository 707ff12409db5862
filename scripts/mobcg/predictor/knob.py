r"""The knob of a conservative model, from "structure" to "mobility": how far to multiply U, knowing what it does.

A pair potential cannot keep g and D both. Multiplying U by s > 1 slows the liquid and sharpens its structure, and no
better front than that of s is known. What s does is learned from rows whose potentials are multiples of each other:
with τ = ln s, the changes per τ of ln D*, of g (as `rdf_error`) and of the virial part of the pressure, from the
mobility, structure and energy of the liquid that one starts from. The default is the s with the smallest expected

    S(s) = sqrt((e(s)/0.1)² + (ln α(s)/ln 2)²),   e(s)² = e(1)² + (τ e')²,   ln α(s) = ln α(1) + τ (ln D*)'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from mobcg.observables import rdf_error
from mobcg.predictor.dataset import Liquids, States
from mobcg.predictor.features import Structure, excess_energy
from mobcg.predictor.mobility import SETTINGS, logarithm_of_mobility
from mobcg.predictor.process import LeftOut, Process, fit
from mobcg.units import BAR_PER_KJ_MOL_NM3, thermal_energy_kj_mol

# Multiples of U that are considered, and those for which the response is worked out: it is smooth in between. What is
# learned starts at multiples from 0.7 on and ends at 2.2.
FACTORS: NDArray[np.float64] = np.round(np.arange(0.7, 2.21, 0.02), 2)
COARSE_FACTORS: NDArray[np.float64] = np.geomspace(FACTORS[0], FACTORS[-1], 9)
LEAST_LOG_FACTOR = 0.15
# Two potentials are multiples of each other when this share of one is the other times a constant.
SAME_SHAPE = 1e-6
# Multiples slower than this are about to freeze (D* of freezing liquids is near 0.03), and are not proposed.
LEAST_MOBILITY = 0.025


@dataclass(frozen=True)
class Response:
    """What multiplying U by k factors does to n liquids: (n, k) each.

    Attributes
    ----------
    log_mobility
        ln D*.
    rdf_error
        Change of g(r), as `rdf_error` of the scaled against the unscaled liquid.
    compressibility_factor
        Z = p/(ρkT).
    """

    log_mobility: NDArray[np.float64]
    rdf_error: NDArray[np.float64]
    compressibility_factor: NDArray[np.float64]


def knob_inputs(
    log_mobility: NDArray, entropy: NDArray, energy: NDArray, compressibility: NDArray, log_factor: NDArray
) -> NDArray[np.float64]:
    """Return what the response depends on, (n, 5), of order one."""
    return np.column_stack(
        [(log_mobility + 2) / 2, entropy / 2 + 1, energy / 3 + 1, (compressibility - 1) / 10, log_factor]
    )


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
    """Return the process for the response per ln s: (ln D*)', e' and the change of the virial part of Z.

    None where no two rows have potentials that are multiples of each other. `liquids` are merged (`merge_masses`).
    """
    pairs = scaled_pairs(liquids)
    if not pairs:
        return None
    a, b, log_factor = (np.array(column) for column in zip(*pairs, strict=True))
    mobility, z = logarithm_of_mobility(liquids), compressibility_factor(liquids.pressure_bar, liquids)
    energy = excess_energy(liquids.potential_kj_mol, structure, liquids)
    moved = np.array([rdf_error(liquids.rdf[j], liquids.rdf[i]) for i, j in zip(a, b, strict=True)])
    targets = (
        np.column_stack([mobility[b] - mobility[a], moved, (z[b] - 1) / np.exp(log_factor) - (z[a] - 1)])
        / log_factor[:, None]
    )
    usable = np.isfinite(targets).all(axis=1)
    inputs = knob_inputs(mobility[a], structure.entropy[a], energy[a], z[a], log_factor)[usable]
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


def respond(
    process: Process,
    log_mobility: NDArray,
    entropy: NDArray,
    energy: NDArray,
    compressibility: NDArray,
    factors: NDArray,
) -> Response:
    """Return what multiplying U by each factor (n, k) does to liquids, each described by four numbers (n,)."""
    log_factor = np.log(factors)
    start = [np.repeat(values, factors.shape[1]) for values in (log_mobility, entropy, energy, compressibility)]
    inputs = knob_inputs(*start, log_factor.ravel())
    slopes = process.mean(inputs, inputs).reshape(*factors.shape, 3)
    # A stronger potential never makes a dense liquid faster; where data are few, the process may think so.
    slopes[:, :, 0] = np.minimum(slopes[:, :, 0], 0.0)
    change = slopes * log_factor[:, :, None]
    virial = (compressibility[:, None] - 1 + change[:, :, 2]) * factors
    return Response(log_mobility[:, None] + change[:, :, 0], np.abs(change[:, :, 1]), 1 + virial)


def best_factor(
    process: Process, start: tuple[NDArray, NDArray, NDArray, NDArray], wanted: NDArray, own_error: NDArray
) -> NDArray[np.float64]:
    """Return the one of `FACTORS` with the smallest expected S for each liquid, (n,).

    Parameters
    ----------
    process
        As `train_knob` returns it.
    start
        What `respond` needs to know of the liquids.
    wanted
        (n,) ln D* of the atomistic liquid.
    own_error
        (n,) `rdf_error` of the unscaled potential.
    """
    coarse = respond(process, *start, np.broadcast_to(COARSE_FACTORS, (len(wanted), COARSE_FACTORS.size)))
    # The change of g is e' |τ|: smooth as a signed quantity, with a kink at τ = 0.
    signed = coarse.rdf_error * np.sign(np.log(COARSE_FACTORS))
    log_mobility, moved = (
        CubicSpline(np.log(COARSE_FACTORS), values, axis=1)(np.log(FACTORS)) for values in (coarse.log_mobility, signed)
    )
    error = np.hypot(moved, own_error[:, None]) / 0.1
    score = np.hypot(error, (log_mobility - wanted[:, None]) / np.log(2))
    # The unscaled potential always may be: a liquid has its g(r).
    slowest = np.minimum(np.log(LEAST_MOBILITY), start[0])
    return FACTORS[np.argmin(np.where((log_mobility >= slowest[:, None]) | (FACTORS <= 1), score, np.inf), axis=1)]
