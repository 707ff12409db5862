"""Is this a liquid that one spherical bead with a smooth pair potential can be? What theory says, no data.

Each test is a number of the curve or the state with a range that simple liquids keep; one of the curve that is far
outside means that a potential will be found, and will not be this liquid; one of the state, that its unit may be
another. `mobcg.predictor.predict` adds the distance to the training data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mobcg.pair import BIN_WIDTH_NM, CORE_RDF, R_NM
from mobcg.predictor.dataset import States
from mobcg.predictor.reduced import reduced_diffusion

# Numbers of each liquid: (name, what it is, lowest and highest of simple liquids, lowest and highest that is taken).
# Neighbours in the first shell: 12 to 14 of a dense simple liquid, 4.4 of water, whose bonds point somewhere.
# First minimum over first maximum: 0.2 at freezing (Raveché, Mountain and Streett, J. Chem. Phys. 61, 1970 (1974)),
# a third and more in a liquid, a few hundredths in a crystal.
# Rise of g from a tenth of its peak to the peak, over the distance of the peak: 0.1 and more with a smooth wall, one
# bin with a hard one.
# Noise: root mean square deviation of g beyond 1 nm from a smooth curve.
# Core: no two molecules come within half the distance of the first peak; smoothing, or a background, puts g there.
# D: 0.007 (mesitylene) to 0.03 (3-methylpentane) at room temperature, 0.03 in simple liquids that freeze and 0.2 in hot
# ones; in cm²/s, nm²/ps or Å²/ps most leave the range.
# Temperature: in °C most liquids are below 150.
TESTS = (
    ("first_shell", "molecules in the first shell", (9.0, 16.0), (7.0, 18.0)),
    ("minimum_over_maximum", "first minimum over first maximum of g", (0.15, 1.0), (0.09, 1.0)),
    ("rise", "width of the rise of g to its first peak, over the peak's distance", (0.055, 0.5), (0.035, 0.6)),
    ("noise", "scatter of g beyond 1 nm", (0.0, 0.02), (0.0, 0.06)),
    ("core", "largest g within half the distance of its first peak", (0.0, CORE_RDF), (0.0, np.inf)),
    ("reduced_diffusion", "D sqrt(m/kT) ρ^(1/3), D taken to be in nm²/ns", (0.003, 0.3), (0.0, np.inf)),
    ("temperature_k", "temperature, taken to be in K", (150.0, np.inf), (0.0, np.inf)),
)
# Value in the middle of the parabola through 11 bins (Savitzky and Golay, Anal. Chem. 36, 1627 (1964)).
SMOOTHING: NDArray[np.float64] = np.array([-36, 9, 44, 69, 84, 89, 84, 69, 44, 9, -36]) / 429
NOISE_FROM_NM = 1.0
# The first minimum lies between the first peak and this many times its distance (first shell of a simple liquid: 1.45).
MINIMUM_WITHIN = 1.75


@dataclass(frozen=True)
class Screening:
    """What `screen` found: `numbers` by name, (n,) each, and for each liquid `verdict` and `reasons`."""

    numbers: dict[str, NDArray[np.float64]]
    verdict: NDArray[np.str_]
    reasons: list[list[str]]


def screen(states: States) -> Screening:
    """Return whether each liquid is a simple one: `inside`, `edge` or `outside` of what is tolerated."""
    rdf, density, temperature = states.rdf, states.number_density_nm3, states.temperature_k
    numbers = {
        **_first_shell(rdf, density),
        "rise": _rise(rdf),
        "noise": _noise(rdf),
        "core": _core(rdf),
        "reduced_diffusion": reduced_diffusion(states.diffusion_nm2_ns, states.mass_g_mol, temperature, density),
        "temperature_k": temperature,
    }
    level, reasons = np.zeros(len(rdf), int), [[] for _ in rdf]
    for name, text, (low, high), (lowest, highest) in TESTS:
        value = numbers[name]
        found = np.where((value < lowest) | (value > highest), 2, np.where((value < low) | (value > high), 1, 0))
        level = np.maximum(level, found)
        usual = f"{low:g} to {high:g}" if high < np.inf else f"at least {low:g}"
        for row in np.flatnonzero(found):
            reasons[row].append(f"{text}: {value[row]:.3g}, usually {usual}")
    return Screening(numbers, np.array(["inside", "edge", "outside"])[level], reasons)


def _first_shell(rdf: NDArray, density: NDArray) -> dict[str, NDArray[np.float64]]:
    """Return n = 4πρ ∫ g r² dr up to the first minimum, and g there over g at the peak; g is smoothed to find it."""
    smooth = _smooth(rdf)
    peak = np.argmax(rdf, axis=1)
    ahead = (np.arange(R_NM.size) > peak[:, None]) & (R_NM / R_NM[peak][:, None] <= MINIMUM_WITHIN)
    minimum = np.argmin(np.where(ahead, smooth, np.inf), axis=1)
    rows = np.arange(len(rdf))
    within = np.cumsum(rdf * R_NM**2, axis=1)[rows, minimum]
    return {
        "first_shell": 4 * np.pi * density * within * BIN_WIDTH_NM,
        "minimum_over_maximum": np.maximum(smooth[rows, minimum], 0.0) / rdf[rows, peak],
    }


def _rise(rdf: NDArray) -> NDArray[np.float64]:
    """Return (r_peak − r(g = g_peak/10)) / r_peak, both ends between bins by straight lines and a parabola."""
    rows, peak = np.arange(len(rdf)), np.argmax(rdf, axis=1)
    tenth = rdf[rows, peak] / 10
    below = (rdf < tenth[:, None]) & (np.arange(R_NM.size) < peak[:, None])
    last = np.where(below.any(axis=1), R_NM.size - 1 - np.argmax(below[:, ::-1], axis=1), 0)
    here, there = rdf[rows, last], rdf[rows, last + 1]
    contact = R_NM[last] + BIN_WIDTH_NM * np.clip((tenth - here) / np.maximum(there - here, 1e-12), 0.0, 1.0)
    return (R_NM[peak] - contact) / R_NM[peak]


def _noise(rdf: NDArray) -> NDArray[np.float64]:
    """Return the root mean square of g minus g smoothed, corrected for what the smoothing follows."""
    far = R_NM > NOISE_FROM_NM
    deviation = (rdf - _smooth(rdf))[:, far]
    # Of white noise the smoothing keeps the share of its middle coefficient.
    return np.sqrt(np.mean(deviation**2, axis=1) / (1 - SMOOTHING[SMOOTHING.size // 2]))


def _core(rdf: NDArray) -> NDArray[np.float64]:
    """Return the largest g at less than half the distance of the peak."""
    half = R_NM[np.argmax(rdf, axis=1)][:, None] / 2
    return np.max(np.where(half > R_NM, rdf, 0.0), axis=1)


def _smooth(rdf: NDArray) -> NDArray[np.float64]:
    ends = ((0, 0), (SMOOTHING.size // 2, SMOOTHING.size // 2))
    return sliding_window_view(np.pad(rdf, ends, mode="edge"), SMOOTHING.size, axis=1) @ SMOOTHING
