"""From what a model says bin by bin to a potential that molecular dynamics can run: smooth, walled and cut off."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import make_lsq_spline

from mobcg.pair import BIN_WIDTH_NM, CUTOFF_NM, R_NM, core_index, extrapolate_core, taper

# Knots of the smoothing spline: dense enough for the wall and the first well, wider where only noise would be followed.
KNOT_SPACING_NM = (0.03, 0.06)
WIDE_FROM_NM = 0.8
# Bins at the edge of the core whose slope is continued.
FIT_BINS = 4


def shape(potential_kj_mol: ArrayLike, rdf: ArrayLike) -> NDArray[np.float64]:
    """Return a potential ready for molecular dynamics, (150,) in kJ/mol.

    Smoothed over the bins that g(r) has seen, continued as an exponential wall into the core and tapered at the cutoff.
    Where what the model says turns down again on the way in, the core begins there: a prediction that is poor where few
    pairs are can still be run, and be seen to be poor in what it does.

    Raises
    ------
    ValueError
        g(r) is zero everywhere, or U falls nowhere.
    """
    first = core_index(rdf)
    smoothed = smooth(potential_kj_mol, rdf, first)
    return taper(extrapolate_core(smoothed, _wall_index(smoothed, first, int(np.argmax(rdf))), FIT_BINS))


def smooth(potential_kj_mol: ArrayLike, rdf: ArrayLike, first: int) -> NDArray[np.float64]:
    """Return the least-squares cubic spline through U from bin `first` on, (150,); the bins before are left alone.

    Bins weigh r² g(r), as pairs do. The knots (`KNOT_SPACING_NM`) let through what is wider than about 0.06 nm, and
    remove the bin-to-bin noise of ln g or of a network, which would heat a run.
    """
    potential = np.array(potential_kj_mol, np.float64)
    r, values = R_NM[first:], potential[first:]
    near, wide = KNOT_SPACING_NM
    inner = np.concatenate([np.arange(r[0], WIDE_FROM_NM, near), np.arange(WIDE_FROM_NM, CUTOFF_NM, wide)])
    inner = inner[(inner > r[0] + 2 * BIN_WIDTH_NM) & (inner < r[-1] - 2 * BIN_WIDTH_NM)]
    knots = np.concatenate([np.full(4, r[0]), inner, np.full(4, r[-1])])
    # Sparse bins of the wall must still hold the spline: the floor on g keeps their weight from vanishing.
    weights = r * np.sqrt(np.clip(np.asarray(rdf)[first:], 0.05, 2.0))
    potential[first:] = make_lsq_spline(r, values, knots, k=3, w=weights)(r)
    return potential


def _wall_index(potential: NDArray, first: int, peak: int) -> int:
    """Return the innermost bin from which U falls without a break to its minimum before the first peak of g(r).

    Where U does not fall there at all, the first bin beyond from which it does: a bad model, but one that can be run.
    """
    index = first + int(np.argmin(potential[first : peak + 1]))
    while index > first and potential[index - 1] > potential[index]:
        index -= 1
    for edge in range(index, R_NM.size - FIT_BINS):
        if np.polyfit(R_NM[edge : edge + FIT_BINS], potential[edge : edge + FIT_BINS], 1)[0] < 0:
            return edge
    raise ValueError("the potential rises with r everywhere: there is no repulsive wall in it")
