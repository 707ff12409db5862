"""From what a model says bin by bin to a potential that molecular dynamics can run: smooth, walled and cut off."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline

from mobcg.pair import BIN_WIDTH_NM, CUTOFF_NM, R_NM, core_index, extrapolate_core, slopes, taper

# Knots of the smoothing spline: dense enough for the wall and the first well, wider where only noise would be followed.
KNOT_SPACING_NM = (0.03, 0.06)
WIDE_FROM_NM = 0.8
# Bins at the edge of the core whose slope is continued.
FIT_BINS = 4


def shape(potential_kj_mol: ArrayLike, rdf: ArrayLike) -> NDArray[np.float64]:
    """Return potentials ready for molecular dynamics, (150,) or (n, 150) as given, in kJ/mol.

    Smoothed over the bins that g(r) has seen, continued as an exponential wall into the core and tapered at the cutoff.
    Where what the model says turns down again on the way in, the core begins there: a prediction that is poor where few
    pairs are can still be run, and be seen to be poor in what it does.

    Raises
    ------
    ValueError
        A g(r) is zero everywhere, or a U falls nowhere.
    """
    g = np.atleast_2d(np.asarray(rdf, np.float64))
    first = core_index(g)
    smoothed = smooth(np.atleast_2d(potential_kj_mol), g, first)
    wall = _wall_index(smoothed, first, np.argmax(g, axis=1))
    return taper(extrapolate_core(smoothed, wall, FIT_BINS)).reshape(np.shape(potential_kj_mol))


def smooth(potential_kj_mol: ArrayLike, rdf: ArrayLike, first: ArrayLike) -> NDArray[np.float64]:
    """Return the least-squares cubic splines through U from bin `first` on, (n, 150); bins before are left alone.

    Bins weigh r² g(r), as pairs do. The knots (`KNOT_SPACING_NM`) let through what is wider than about 0.06 nm, and
    remove the bin-to-bin noise of ln g or of a network, which would heat a run. Shapes: (n, 150) twice and (n,).
    """
    potential, g = np.array(potential_kj_mol, np.float64), np.asarray(rdf, np.float64)
    # Sparse bins of the wall must still hold the spline: the floor on g keeps their weight from vanishing.
    weights = R_NM**2 * np.clip(g, 0.05, 2.0)
    # Curves that begin in one bin share their splines, and are fitted together by their normal equations.
    for start in np.unique(first):
        rows = np.flatnonzero(first == start)
        basis, squares = _basis(int(start))
        weight = weights[rows, start:]
        matrix = (weight @ squares).reshape(rows.size, basis.shape[1], -1)
        right = (weight * potential[rows, start:]) @ basis
        potential[rows, start:] = np.linalg.solve(matrix, right[..., None])[..., 0] @ basis.T
    return potential


@cache
def _basis(first: int) -> tuple[NDArray, NDArray]:
    """Return the B-splines on the bins from `first` on, (bins, k), and their products with each other, (bins, k²)."""
    r = R_NM[first:]
    near, wide = KNOT_SPACING_NM
    inner = np.concatenate([np.arange(r[0], WIDE_FROM_NM, near), np.arange(WIDE_FROM_NM, CUTOFF_NM, wide)])
    inner = inner[(inner > r[0] + 2 * BIN_WIDTH_NM) & (inner < r[-1] - 2 * BIN_WIDTH_NM)]
    basis = BSpline.design_matrix(r, np.concatenate([np.full(4, r[0]), inner, np.full(4, r[-1])]), 3).toarray()
    return basis, (basis[:, :, None] * basis[:, None, :]).reshape(r.size, -1)


def _wall_index(potential: NDArray, first: NDArray, peak: NDArray) -> NDArray[np.intp]:
    """Return the innermost bins from which U falls without a break to its minimum before the first peak of g(r).

    Where U does not fall there at all, the first bin beyond from which it does: a bad model, but one that can be run.
    """
    bins = np.arange(R_NM.size)
    core_edge = np.asarray(first)[:, None]
    minimum = np.argmin(np.where((bins >= core_edge) & (bins <= peak[:, None]), potential, np.inf), axis=1)[:, None]
    falls = np.diff(potential, axis=1, prepend=np.inf) < 0
    index = np.max(np.where((bins <= minimum) & (~falls | (bins <= core_edge)), bins, 0), axis=1)
    edges = bins[: R_NM.size - FIT_BINS]
    walled = (slopes(potential, FIT_BINS)[:, : edges.size] < 0) & (edges >= index[:, None])
    if not np.all(walled.any(axis=1)):
        raise ValueError("the potential rises with r everywhere: there is no repulsive wall in it")
    return np.argmax(walled, axis=1)
