r"""What became of a run: stable, unstable, frozen or collapsed, and why, in a sentence with the numbers.

The loss of a field does not tell how its dynamics end. The bounds below are stated, not fitted:

- unstable: the run blew up, or is too hot or too cold, or its conserved energy drifts;
- collapsed, before the latter two, which may be its effects: molecules crowd where the atomistic liquid has none, or
  leave voids: the variance of the number of molecules in a cell over its mean is 1 in an ideal gas, less in a liquid;
- frozen: the mean squared displacement grows less than that of any liquid, D* = D sqrt(m/kT) ρ^(1/3). A glass that was
  quenched a short while ago still ages, and its beads move: a run of less than some 50 τ may take it for a liquid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobcg.forcematch.dynamics import Run
from mobcg.forcematch.field import pairs_within
from mobcg.observables import FIT_WINDOW_TAU, mean_squared_displacement
from mobcg.units import FS_PER_PS, reduced_time_ps, thermal_energy_kj_mol

TEMPERATURE_TOLERANCE = 0.05
# In kT per bead and ns: what heats beads with a heat capacity of 3k by 5 % in a nanosecond.
DRIFT_TOLERANCE_KT_NS = 0.15
# In kT per bead over the run: so far the conserved energy strays with the time step, without a drift.
DRIFT_SEEN_KT = 0.005
# Neighbours per bead, of other molecules, closer than any two of the atomistic liquid.
CROWD_TOLERANCE = 0.1
UNEVEN_TOLERANCE = 1.5  # variance over mean of the numbers in cells
CELL_MOLECULES = 8
# Simple liquids have D* ≈ 0.03 where they freeze (0.58 exp(0.8 s) at an excess entropy s ≈ −4 k: Rosenfeld, J. Phys.:
# Condens. Matter 11, 5415 (1999)); the slowest atomistic liquid here, mesitylene, has 0.006.
FROZEN_DIFFUSION = 0.002
FRAMES_LOOKED_AT = 50


@dataclass(frozen=True)
class Verdict:
    """What became of a run: `status`, and the `reason` as a sentence."""

    status: str
    reason: str


def judge(run: Run, closest_nm: float | None = None) -> Verdict:
    """Return the verdict on a run.

    Parameters
    ----------
    closest_nm
        Smallest distance between beads of two molecules in the atomistic liquid; None where it is not known, and
        crowding is then not looked for.
    """
    if run.failure is not None:
        return Verdict("unstable", f"It blew up: {run.failure}.")
    crowd = 0.0 if closest_nm is None else crowding(run, closest_nm)
    if crowd > CROWD_TOLERANCE:
        where = f"within {closest_nm:.3f} nm, where the atomistic liquid has none"
        return Verdict("collapsed", f"A bead has {crowd:.2g} neighbours of other molecules {where}.")
    uneven = unevenness(run)
    if uneven > UNEVEN_TOLERANCE:
        against = f"{UNEVEN_TOLERANCE:g} and more times that of an ideal gas"
        return Verdict(
            "collapsed", f"The numbers of molecules in cells have {uneven:.2g} times the variance: {against}."
        )
    asked, measured = run.trajectory.temperature_k, float(run.temperatures_k.mean())
    if not abs(measured / asked - 1) <= TEMPERATURE_TOLERANCE:
        return Verdict("unstable", f"The temperature is {measured:.1f} K instead of {asked:g} K.")
    drift = energy_drift_kt_ns(run)
    least = max(DRIFT_TOLERANCE_KT_NS, DRIFT_SEEN_KT * FS_PER_PS / run.times_ps[-1])
    if not abs(drift) <= least:
        bound = f"more than {least:.2g}"
        return Verdict("unstable", f"The conserved energy drifts by {drift:+.2g} kT per bead and ns, {bound}.")
    diffusion = reduced_diffusion(run)
    if diffusion < FROZEN_DIFFUSION:
        against = f"less than {FROZEN_DIFFUSION:g}: the mean squared displacement has stopped growing"
        return Verdict("frozen", f"D in reduced units is {diffusion:.2g}, {against}.")
    sound = f"{measured:.1f} K, drift {drift:+.1g} kT per bead and ns, D in reduced units {diffusion:.2g}"
    return Verdict("stable", f"Nothing is wrong: {sound}, smallest distance {run.smallest_nm.min():.3f} nm.")


def energy_drift_kt_ns(run: Run) -> float:
    """Return the slope of the conserved energy, in kT per bead and nanosecond."""
    slope = np.polyfit(run.times_ps, run.conserved_kj_mol, 1)[0]
    return float(slope * FS_PER_PS / len(run.beads) / thermal_energy_kj_mol(run.trajectory.temperature_k))


def crowding(run: Run, distance_nm: float) -> float:
    """Return the mean number of beads of other molecules within a distance of a bead."""
    frames, molecules = _some(run.trajectory.positions_nm), np.tile(run.beads.molecules, FRAMES_LOOKED_AT)
    pairs = pairs_within(frames, run.trajectory.box_length_nm, distance_nm)
    strangers = molecules[pairs.first.numpy()] != molecules[pairs.second.numpy()]
    return 2 * float(strangers.sum()) / len(frames) / len(run.beads)


def unevenness(run: Run) -> float:
    """Return the variance over the mean of the number of molecules in a cell, in the second half of the run.

    Cells are cubes of `CELL_MOLECULES` molecules on the mean, or the next larger that fill the box.
    """
    centres, edge = run.centres.positions_nm, run.trajectory.box_length_nm
    per_edge = max(2, int((run.n_molecules / CELL_MOLECULES) ** (1 / 3) + 1e-9))
    ratios = []
    for frame in _some(centres[len(centres) // 2 :]):
        cells = np.floor(frame / edge * per_edge).astype(int) % per_edge
        counts = np.bincount(cells @ (per_edge**2, per_edge, 1), minlength=per_edge**3)
        ratios.append(counts.var(ddof=1) / counts.mean())
    return float(np.mean(ratios))


def reduced_diffusion(run: Run) -> float:
    """Return D* = D sqrt(m/kT) ρ^(1/3) of the centres of mass, from two lags: also of runs too short for a D.

    The lags are the ends of the window in which D is fitted, or as much less as half the run is shorter.
    """
    centres = run.centres
    tau_ps = reduced_time_ps(centres.mass_g_mol, centres.temperature_k, centres.number_density_nm3)
    msd = mean_squared_displacement(centres.positions_nm)
    last = max(2, min(round(FIT_WINDOW_TAU[1] * tau_ps / centres.frame_ps), (len(msd) - 1) // 2))
    first = max(1, round(last * FIT_WINDOW_TAU[0] / FIT_WINDOW_TAU[1]))
    slope = (msd[last] - msd[first]) / (last - first) / centres.frame_ps / 6
    return float(slope * tau_ps * centres.number_density_nm3 ** (2 / 3))


def _some(frames: NDArray) -> NDArray[np.float64]:
    """Return at most `FRAMES_LOOKED_AT` frames, evenly spaced."""
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), FRAMES_LOOKED_AT)).round().astype(int)
    return frames[chosen]
