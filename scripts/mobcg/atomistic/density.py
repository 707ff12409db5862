"""When has the density of an NPT run settled, and what is its mean?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

# A block is cut into pieces of 5 to 15 ps, several times the time over which the volume fluctuates.
PIECES_PER_BLOCK = 4
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

    @property
    def precise(self) -> bool:
        """Whether the standard error is small enough to stop (`RELATIVE_ERROR_MAX`)."""
        return self.se_kg_m3 <= RELATIVE_ERROR_MAX * self.mean_kg_m3


def judge_density(density_kg_m3: ArrayLike) -> SettledDensity:
    """Find the longest final part of an NPT run without a drift of the density.

    The first block never counts: it holds the relaxation after the squeeze. A part of two or more blocks has settled
    when the slope of a straight line through its pieces differs from 0 by no more than chance would have it
    (`DRIFT_SIGNIFICANCE`).

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
    pieces = [piece.mean() for block in samples for piece in np.array_split(block, PIECES_PER_BLOCK)]
    error = float(np.std(pieces, ddof=1) / len(pieces) ** 0.5)
    drifts_by_chance = stats.linregress(np.arange(len(pieces)), pieces).pvalue > DRIFT_SIGNIFICANCE
    return SettledDensity(float(samples.mean()), error, bool(judged and drifts_by_chance), first_block)
