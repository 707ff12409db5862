r"""A Gaussian process for curves: exact, with whole groups of rows left out in closed form.

    y = f(x, t) + noise,    k = (1 + s + s²/3) exp(−s) + 1 + κ t·t',    s = √5 |x − x'| / ℓ

a Matérn kernel of order 5/2, an unknown constant of the same variance and perhaps a linear trend in the terms t. All
columns of y share kernel and noise, and have a variance of their own. Length scale ℓ and noise are those with the
smallest error when each group in turn is left out: what is asked of the model later is a liquid whose relatives it
never saw (Rasmussen and Williams, Gaussian Processes for Machine Learning, chapter 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve

# The predictive variance is that given the nearest rows alone: never less than that given all, and quick.
NEIGHBOURS = 48
# κ: the terms are of order one, and a trend of several times the signal is nothing unusual; or there is none.
TREND_VARIANCES = (0.0, 10.0)
# Rows on which length scale and noise are chosen: a trial costs their number to the third power.
SEARCH_ROWS = 1000
ARRAYS = ("inputs", "terms", "weights", "error_scale", "relative_noise")


@dataclass(frozen=True)
class Process:
    """A trained process.

    Attributes
    ----------
    inputs, terms
        (n, d) and (n, p) of the rows that it learned from; p may be 0.
    weights
        (n, k): the mean is kernel @ weights.
    error_scale
        (k,) scale of the error of each column, from the errors of left-out groups.
    relative_noise
        (n,) noise variance of each row, as a multiple of `noise`.
    length_scale, noise, trend
        ℓ, in units of the inputs; the noise variance and κ in units of the signal variance.
    """

    inputs: NDArray
    terms: NDArray
    weights: NDArray
    error_scale: NDArray
    relative_noise: NDArray
    length_scale: float
    noise: float
    trend: float

    def mean(self, inputs: ArrayLike, terms: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the predicted mean, (m, k), for inputs (m, d) and terms (m, p)."""
        to_rows = kernel((inputs, terms), (self.inputs, self.terms), self.length_scale, self.trend)
        return to_rows @ self.weights.astype(np.float64)

    def standard_error(self, inputs: ArrayLike, terms: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the predicted standard error, (m, k): scaled such that left-out groups have errors of this size."""
        return np.sqrt(self.variance(inputs, terms))[:, None] * self.error_scale

    def variance(
        self, inputs: ArrayLike, terms: ArrayLike | None = None, exclude: NDArray | None = None
    ) -> NDArray[np.float64]:
        """Return the variance of f at each input given the `NEIGHBOURS` nearest rows, in units of the signal, (m,).

        `exclude` (m, n) is true where a row must not be used.
        """
        asked, t = _pair(inputs, terms)
        squared = squared_distances(asked, self.inputs)
        usable = np.ones(squared.shape, bool) if exclude is None else ~exclude
        count = min(NEIGHBOURS, squared.shape[1])
        nearest = np.argpartition(np.where(usable, squared, np.inf), count - 1, axis=1)[:, :count]
        near, near_terms = self.inputs[nearest].astype(np.float64), self.terms[nearest].astype(np.float64)
        used = np.take_along_axis(usable, nearest, axis=1)
        between = _matern(_squared_between(near), self.length_scale)
        between += self.trend * near_terms @ near_terms.transpose(0, 2, 1)
        between += self.noise * self.relative_noise[nearest][:, :, None] * np.eye(count)
        # A row that must not be used becomes one that nothing depends on.
        between = np.where(used[:, :, None] & used[:, None, :], between, np.eye(count))
        to_near = _matern(np.take_along_axis(squared, nearest, axis=1), self.length_scale)
        to_near = np.where(used, to_near + self.trend * np.einsum("mp,mip->mi", t, near_terms), 0.0)
        explained = np.einsum("mi,mi->m", to_near, np.linalg.solve(between, to_near[:, :, None])[:, :, 0])
        return np.maximum(2.0 + self.trend * np.sum(t**2, axis=1) - explained, 1e-9)

    def with_errors_times(self, factor: ArrayLike) -> Process:
        """Return the process with its standard errors multiplied by a factor, one number or (k,)."""
        return replace(self, error_scale=(self.error_scale * factor).astype(np.float32))

    def arrays(self, name: str) -> dict[str, NDArray]:
        """Return what is to be kept on disk, under names that begin with `name`."""
        numbers = np.array([self.length_scale, self.noise, self.trend])
        return {f"{name}.{key}": getattr(self, key) for key in ARRAYS} | {f"{name}.numbers": numbers}

    @classmethod
    def restore(cls, name: str, arrays: Mapping[str, NDArray]) -> Process:
        """Return the process that `arrays` were made from."""
        length_scale, noise, trend = arrays[f"{name}.numbers"].tolist()
        kept = {key: arrays[f"{name}.{key}"] for key in ARRAYS}
        return cls(**kept, length_scale=length_scale, noise=noise, trend=trend)


@dataclass(frozen=True)
class LeftOut:
    """How well a process does with each group left out.

    Attributes
    ----------
    score
        Mean over rows of the weighted root mean square error.
    errors, standard_errors
        (n, k): target minus prediction, and what the process says of its size.
    """

    score: float
    errors: NDArray
    standard_errors: NDArray


def squared_distances(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Return |a_i − b_j|², (n, m)."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T, 0.0)


def kernel(
    a: tuple[ArrayLike, ArrayLike | None],
    b: tuple[ArrayLike, ArrayLike | None],
    length_scale: float,
    trend: float = 0.0,
) -> NDArray[np.float64]:
    """Return k(a_i, b_j), (n, m), of rows given as (inputs, terms)."""
    (a_inputs, a_terms), (b_inputs, b_terms) = _pair(*a), _pair(*b)
    return _matern(squared_distances(a_inputs, b_inputs), length_scale) + trend * a_terms @ b_terms.T


def fit(
    inputs: NDArray,
    targets: NDArray,
    groups: NDArray,
    settings: Mapping[str, Sequence[float]],
    *,
    terms: NDArray | None = None,
    weights: NDArray | None = None,
    relative_noise: NDArray | None = None,
) -> tuple[Process, LeftOut]:
    """Return the process with the best length scale and noise, and its errors with each group left out.

    Among equals the largest noise wins, so that a single group, which can be left out of nothing, teaches little. Of
    many rows the first groups, `SEARCH_ROWS` in all, make the choice.

    Parameters
    ----------
    inputs, targets
        (n, d) and (n, k).
    groups
        (n,) integers from 0, in an order that means nothing.
    settings
        `length_scales` and `noises`: what to choose from.
    terms
        (n, p) of the linear trend, of order one; None: no trend.
    weights
        (n, k) weights of the errors; None: all alike.
    relative_noise
        (n,) noise variance of each row relative to the others; None: all alike.
    """
    rows = _pair(inputs, terms)
    relative = np.ones(len(rows[0])) if relative_noise is None else np.asarray(relative_noise, np.float64)
    importance = np.ones_like(targets) if weights is None else weights

    few = _first_groups(groups)

    def matrix(length_scale: float, noise: float, trend: float, chosen: NDArray | slice) -> NDArray:
        some = rows[0][chosen], rows[1][chosen]
        return kernel(some, some, length_scale, trend) + noise * np.diag(relative[chosen])

    def score(trial: tuple[float, float, float]) -> tuple[float, float]:
        errors = leave_groups_out(matrix(*trial, few), targets[few], groups[few])
        return weighted_rms(errors, importance[few]), -trial[1]

    trends = TREND_VARIANCES if rows[1].size else TREND_VARIANCES[:1]
    length_scale, noise, trend = min(product(settings["length_scales"], settings["noises"], trends), key=score)
    best = matrix(length_scale, noise, trend, slice(None))
    process = Process(
        inputs=rows[0].astype(np.float32),
        terms=rows[1].astype(np.float32),
        weights=np.ascontiguousarray(cho_solve(cho_factor(best), targets), np.float32),
        error_scale=np.ones(targets.shape[1], np.float32),
        relative_noise=relative.astype(np.float32),
        length_scale=float(length_scale),
        noise=float(noise),
        trend=float(trend),
    )
    errors = leave_groups_out(best, targets, groups)
    variance = process.variance(*rows, exclude=groups[:, None] == groups[None, :])[:, None]
    scale = np.sqrt(np.mean(errors**2 / variance, axis=0))
    return process.with_errors_times(scale), LeftOut(
        weighted_rms(errors, importance), errors, np.sqrt(variance) * scale
    )


def _first_groups(groups: NDArray) -> NDArray[np.intp]:
    """Return the rows of the first whole groups, `SEARCH_ROWS` at most, or of all where they are fewer."""
    sizes = np.bincount(groups)
    count = max(2, int(np.searchsorted(np.cumsum(sizes), SEARCH_ROWS, side="right")))
    return np.flatnonzero(groups < count)


def leave_groups_out(matrix: NDArray, targets: NDArray, groups: NDArray) -> NDArray[np.float64]:
    """Return the errors (n, k), target minus prediction, of each row when its whole group is left out.

    With A = K⁻¹ the error of group I is (A_II)⁻¹ (A y)_I (Rasmussen and Williams, eq. 5.12, in blocks). A single group
    is left out of nothing: its error is that of the mean-zero prior.
    """
    inverse = cho_solve(cho_factor(matrix), np.eye(len(matrix)))
    solved = inverse @ targets
    errors = np.empty_like(solved)
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        errors[rows] = np.linalg.solve(inverse[np.ix_(rows, rows)], solved[rows])
    return errors


def weighted_rms(errors: NDArray, weights: NDArray) -> float:
    """Return the mean over rows of the weighted root mean square error of each."""
    return float(np.mean(np.sqrt((weights * errors**2).sum(axis=1) / weights.sum(axis=1))))


def state(process: Process) -> dict[str, Any]:
    """Return what a training record says of a process."""
    numbers = {name: getattr(process, name) for name in ("length_scale", "noise", "trend")}
    return {"rows": len(process.inputs), **numbers}


def _pair(inputs: ArrayLike, terms: ArrayLike | None) -> tuple[NDArray, NDArray]:
    rows = np.asarray(inputs, np.float64)
    return rows, np.zeros((len(rows), 0)) if terms is None else np.asarray(terms, np.float64)


def _squared_between(rows: NDArray) -> NDArray[np.float64]:
    """Return the squared distances within each set of rows: (m, j, d) → (m, j, j)."""
    norms = np.einsum("mid,mid->mi", rows, rows)
    return np.maximum(norms[:, :, None] + norms[:, None, :] - 2 * rows @ rows.transpose(0, 2, 1), 0.0)


def _matern(squared: NDArray, length_scale: float) -> NDArray[np.float64]:
    s = np.sqrt(5 * squared) / length_scale
    return (1 + s + s**2 / 3) * np.exp(-s) + 1.0
