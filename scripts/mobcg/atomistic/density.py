"""When has the density of an NPT run settled, and what is its mean?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

# A block is cut into parts of 8 to 15 ps, several times the time over which the volume fluctuates.
PARTS_PER_BLOCK = 4
# D of a molecular liquid changes by 5 to 10 % for 1 % of density; this keeps the error from the density below 3 %.
RELATIVE_ERROR_MAX = 0.003
DRIFT_SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class SettledDensity:
    """Mean density (kg/m³) of the settled part of an NPT run, its standard error, and whether there is such a part.

    `first_block` is where that part begins.
    """

    mean_kg_m3: float
    se_kg_m3: float
    settled: bool
    first_block: int


def judge_density(density_kg_m3: ArrayLike) -> SettledDensity:
    """Find the longest final part of an NPT run without a drift of the density.

    The first block never counts: it holds the relaxation after the squeeze. A part of two or more blocks has settled
    when the slope of a straight line through its parts differs from 0 by less than chance would have it
    (`DRIFT_SIGNIFICANCE`) and the standard error of its mean is below `RELATIVE_ERROR_MAX` of the mean.

    Parameters
    ----------
    density_kg_m3
        (blocks, samples), in the order of time.

    Returns
    -------
    SettledDensity
        Of the last two blocks, not settled, where no part passes.
    """
    blocks = np.asarray(density_kg_m3, np.float64)
    candidates = [_part(blocks, first) for first in range(1, len(blocks) - 1)]
    settled = [part for part in candidates if part.settled]
    return settled[0] if settled else _part(blocks, max(0, len(blocks) - 2), judged=False)


def _part(blocks: np.ndarray, first_block: int, judged: bool = True) -> SettledDensity:
    samples = blocks[first_block:]
    parts = [part.mean() for block in samples for part in np.array_split(block, PARTS_PER_BLOCK)]
    mean, error = float(samples.mean()), float(np.std(parts, ddof=1) / len(parts) ** 0.5)
    drift_by_chance = stats.linregress(np.arange(len(parts)), parts).pvalue
    quiet = bool(drift_by_chance > DRIFT_SIGNIFICANCE and error <= RELATIVE_ERROR_MAX * mean)
    return SettledDensity(mean, error, judged and quiet, first_block)
