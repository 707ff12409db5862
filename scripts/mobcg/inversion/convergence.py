"""When an inversion has reached what its sampling can tell, and which potential it then gives.

Everything here is a function of arrays; curves are (150,) on the common grid `mobcg.pair.R_NM`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# g(r) settles within 5 to 8 iterations; the pressure and the tail of U need some more.
LEAST_ITERATIONS = 10
# Iterations that are judged together, and whose potentials are averaged.
WINDOW = 4
DEVIATION_OVER_NOISE = 1.2
# 25 bar change the density of a molecular liquid (compressibility 1e-4 per bar) by a quarter of a percent.
PRESSURE_TOLERANCE_BAR = 25.0
# An iteration that deviates this many times more than the median of its window stays out of the average.
OUTLIER = 1.5


@dataclass(frozen=True)
class Iteration:
    """What one iteration sampled with the potential that went into it.

    Attributes
    ----------
    potential_kj_mol
        (150,) potential that was run.
    rdf, rdf_variance
        (150,) g(r), normalised by N−1, and the variance of that mean, from time blocks.
    pressure_bar, pressure_bar_se
        Mean pressure and its standard error.
    """

    potential_kj_mol: NDArray[np.float64]
    rdf: NDArray[np.float64]
    rdf_variance: NDArray[np.float64]
    pressure_bar: float
    pressure_bar_se: float


@dataclass(frozen=True)
class Target:
    """What the inversion aims at: g(r) with the variance of its mean, and the pressure (None: left alone)."""

    rdf: NDArray[np.float64]
    rdf_variance: NDArray[np.float64]
    pressure_bar: float | None


@dataclass(frozen=True)
class Verdict:
    """Where an inversion stands, seen over its last `WINDOW` iterations.

    Attributes
    ----------
    deviation
        Σ|g − g_target| over the bins, mean of the window.
    noise
        What that sum would be from sampling alone, once the potential is right.
    pressure_bar, pressure_bar_se
        Mean pressure of the window and its standard error.
    structure, pressure
        Whether each is within its limit.
    """

    deviation: float
    noise: float
    pressure_bar: float
    pressure_bar_se: float
    structure: bool
    pressure: bool


def mean_target(rdf: ArrayLike, rdf_se: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean g(r) of replicas and the variance of that mean; both arguments (replicas, 150)."""
    g, error = np.atleast_2d(rdf), np.atleast_2d(rdf_se)
    return g.mean(axis=0), (error**2).sum(axis=0) / len(g) ** 2


def deviation(rdf: ArrayLike, reference: ArrayLike) -> float:
    """Return Σ|g − g_ref| over the bins."""
    return float(np.abs(np.asarray(rdf) - np.asarray(reference)).sum())


def expected_deviation(*variances: ArrayLike) -> float:
    r"""Return the Σ|Δg| to expect of two curves that differ by Gaussian noise alone, ⟨|x|⟩ = σ sqrt(2/π) in each bin.

    The variance of a bin is itself known from a few blocks only, and the root of an uncertain number is too small on
    average; g is smooth, so the variances of five neighbouring bins are averaged first.

    Parameters
    ----------
    *variances
        (150,) each: variances of the means of the curves.
    """
    total = np.sum([np.asarray(variance, np.float64) for variance in variances], axis=0)
    padded = np.pad(total, 2, mode="edge")
    smooth = np.convolve(padded, np.full(5, 0.2), mode="valid")
    return float(np.sqrt(2 / np.pi) * np.sqrt(smooth).sum())


def judge(iterations: Sequence[Iteration], target: Target) -> Verdict:
    """Return where an inversion stands after some iterations (at least one).

    The sampling noise of an iteration counts twice: in its own g, and, since the update turns it into a change of the
    potential, in the g of the next. The same feedback makes the pressure scatter from one iteration to the next by more
    than the blocks of one run tell, so its error is the larger of the two.
    """
    window = iterations[-WINDOW:]
    found = float(np.mean([deviation(each.rdf, target.rdf) for each in window]))
    sampling = np.mean([each.rdf_variance for each in window], axis=0)
    noise = expected_deviation(target.rdf_variance, sampling, sampling)
    pressures = np.array([each.pressure_bar for each in window])
    pressure = float(pressures.mean())
    within = np.mean([each.pressure_bar_se**2 for each in window])
    between = pressures.var(ddof=1) if len(window) > 1 else 0.0
    error = float(np.sqrt(max(within, between) / len(window)))
    limit = max(PRESSURE_TOLERANCE_BAR, error)
    return Verdict(
        found,
        noise,
        pressure,
        error,
        structure=found <= DEVIATION_OVER_NOISE * noise,
        pressure=target.pressure_bar is None or abs(pressure - target.pressure_bar) <= limit,
    )


def is_converged(iterations: Sequence[Iteration], target: Target) -> bool:
    """Return whether g and the pressure of the last iterations are within their limits, after the least number."""
    verdict = judge(iterations, target)
    return len(iterations) >= LEAST_ITERATIONS and verdict.structure and verdict.pressure


def average_potential(iterations: Sequence[Iteration], target: Target) -> NDArray[np.float64]:
    """Return the mean of the potentials of the last iterations, (150,) in kJ/mol, outliers left out."""
    window = iterations[-WINDOW:]
    found = np.array([deviation(each.rdf, target.rdf) for each in window])
    kept = found <= OUTLIER * np.median(found)
    return np.mean([each.potential_kj_mol for each, keep in zip(window, kept, strict=True) if keep], axis=0)
