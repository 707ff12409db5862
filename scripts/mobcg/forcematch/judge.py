r"""What became of a run: stable, unstable, frozen or collapsed, and why, in a sentence with the numbers.

The loss of a field does not tell how its dynamics end. The bounds below are stated, not fitted:

- unstable: the run blew up, or is too hot or too cold, or its conserved energy drifts;
- collapsed, before the latter two, which may be its effects: molecules crowd where the atomistic liquid has none, or
  leave voids: the variance of the number of molecules in a cell over its mean, 1 in an ideal gas, is several times that
  of the atomistic liquid;
- frozen: the mean squared displacement grows less than that of any liquid, D* = D sqrt(m/kT) ρ^(1/3). A glass that was
  quenched a short while ago still ages, and its beads move: a run of less than some 50 τ may take it for a liquid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobcg.forcematch.dynamics import Run
from mobcg.forcematch.field import Beads, pairs_within, smallest_distance_nm
from mobcg.forcematch.molecules import centres_of_mass, whole_molecules
from mobcg.observables import FIT_WINDOW_TAU, BeadTrajectory, mean_squared_displacement
from mobcg.units import FS_PER_PS, reduced_time_ps, thermal_energy_kj_mol

TEMPERATURE_TOLERANCE = 0.05
# In kT per bead and ns: what heats beads with a heat capacity of 3k by 5 % in a nanosecond.
DRIFT_TOLERANCE_KT_NS = 0.15
# In kT per bead over the run: so far the conserved energy strays with the time step, without a drift.
DRIFT_SEEN_KT = 0.005
# Neighbours per bead, of other molecules, closer than any two of the atomistic liquid.
CROWD_TOLERANCE = 0.1
# Variance over mean of the numbers in cells, in units of that of the atomistic liquid.
UNEVEN_TOLERANCE = 3.0
CELL_MOLECULES = 8
# Simple liquids have D* ≈ 0.03 where they freeze (0.58 exp(0.8 s) at an excess entropy s ≈ −4 k: Rosenfeld, J. Phys.:
# Condens. Matter 11, 5415 (1999)); the slowest atomistic liquid here, mesitylene, has 0.006.
FROZEN_DIFFUSION = 0.002
FRAMES_LOOKED_AT = 50
REACH_NM = 1.0  # within which every liquid has neighbours


@dataclass(frozen=True)
class Verdict:
    """What became of a run: `status`, and the `reason` as a sentence."""

    status: str
    reason: str


@dataclass(frozen=True)
class Liquid:
    """What the atomistic liquid is like that a run is judged against.

    Attributes
    ----------
    closest_nm
        Smallest distance between beads of two molecules.
    unevenness
        Variance over mean of the number of molecules in a cell.
    """

    closest_nm: float
    unevenness: float

    @classmethod
    def of(cls, frames_nm: NDArray, beads: Beads, box_length_nm: float) -> Liquid:
        """Return that of some frames (frames, beads, 3), wrapped or not."""
        frames = _some(frames_nm)
        whole = np.stack([whole_molecules(frame, beads, box_length_nm) for frame in frames])
        reach_nm = min(REACH_NM, box_length_nm / 2)
        closest = min(smallest_distance_nm(frame, beads, box_length_nm, reach_nm) for frame in frames)
        return cls(closest, unevenness(centres_of_mass(whole, beads), box_length_nm))


def judge(run: Run, liquid: Liquid) -> Verdict:
    """Return the verdict on a run of a many-body field."""
    if run.failure is not None:
        return Verdict("unstable", f"It blew up: {run.failure}.")
    collapse = collapsed(run.trajectory, run.beads, liquid)
    if collapse is not None:
        return Verdict("collapsed", collapse)
    off = wrong_temperature(run.temperatures_k, run.trajectory.temperature_k)
    if off is not None:
        return Verdict("unstable", off)
    drift = energy_drift_kt_ns(run)
    least = max(DRIFT_TOLERANCE_KT_NS, DRIFT_SEEN_KT * FS_PER_PS / run.times_ps[-1])
    if not abs(drift) <= least:
        bound = f"more than {least:.2g}"
        return Verdict("unstable", f"The conserved energy drifts by {drift:+.2g} kT per bead and ns, {bound}.")
    found = moving(run.centres)
    if found.status == "frozen":
        return found
    return Verdict(
        "stable", f"{found.reason} {run.temperatures_k.mean():.1f} K, drift {drift:+.1g} kT per bead and ns."
    )


def wrong_temperature(temperatures_k: NDArray, asked_k: float) -> str | None:
    """Return by how much the mean of a series is off the temperature asked for, or None where it is not."""
    measured = float(temperatures_k.mean())
    if abs(measured / asked_k - 1) <= TEMPERATURE_TOLERANCE:
        return None
    return f"The temperature is {measured:.1f} K instead of {asked_k:g} K."


def moving(centres: BeadTrajectory) -> Verdict:
    """Return whether the molecules of a run that did not collapse still diffuse: `frozen` or `stable`."""
    diffusion = reduced_diffusion(centres)
    if diffusion < FROZEN_DIFFUSION:
        against = f"less than {FROZEN_DIFFUSION:g}: the mean squared displacement has stopped growing"
        return Verdict("frozen", f"D in reduced units is {diffusion:.2g}, {against}.")
    return Verdict("stable", f"Nothing is wrong: D in reduced units {diffusion:.2g}.")


def collapsed(trajectory: BeadTrajectory, beads: Beads, liquid: Liquid) -> str | None:
    """Return how the molecules of a run crowd or leave voids, or None where they do not."""
    edge_nm, frames = trajectory.box_length_nm, trajectory.positions_nm
    crowd = crowding(_some(frames), beads, edge_nm, liquid.closest_nm)
    if crowd > CROWD_TOLERANCE:
        where = f"within {liquid.closest_nm:.3f} nm, where the atomistic liquid has none"
        return f"A bead has {crowd:.2g} neighbours of other molecules {where}."
    uneven = unevenness(centres_of_mass(frames[len(frames) // 2 :], beads), edge_nm)
    if uneven > UNEVEN_TOLERANCE * liquid.unevenness:
        against = f"{liquid.unevenness:.2g} in the atomistic liquid, 1 in an ideal gas"
        return f"The variance over the mean of the number of molecules in a cell is {uneven:.2g}: {against}."
    return None


def energy_drift_kt_ns(run: Run) -> float:
    """Return the slope of the conserved energy, in kT per bead and nanosecond."""
    slope = np.polyfit(run.times_ps, run.conserved_kj_mol, 1)[0]
    return float(slope * FS_PER_PS / len(run.beads) / thermal_energy_kj_mol(run.trajectory.temperature_k))


def crowding(frames_nm: NDArray, beads: Beads, box_length_nm: float, distance_nm: float) -> float:
    """Return the mean number of beads of other molecules within a distance of a bead; frames (frames, beads, 3)."""
    molecules = np.tile(beads.molecules, len(frames_nm))
    pairs = pairs_within(frames_nm, box_length_nm, distance_nm)
    strangers = molecules[pairs.first.numpy()] != molecules[pairs.second.numpy()]
    return 2 * float(strangers.sum()) / len(frames_nm) / len(beads)


def unevenness(centres_nm: NDArray, box_length_nm: float) -> float:
    """Return the variance over the mean of the number of molecules in a cell; centres (frames, molecules, 3).

    Cells are cubes of `CELL_MOLECULES` molecules on the mean, or the next larger that fill the box, put down anew in
    each frame, so that no void hides on their faces.
    """
    per_edge = max(2, int((centres_nm.shape[1] / CELL_MOLECULES) ** (1 / 3) + 1e-9))
    random, ratios = np.random.default_rng(0), []
    for frame in _some(centres_nm):
        shifted = frame / box_length_nm + random.random(3)
        cells = np.floor(shifted % 1.0 * per_edge).astype(int) % per_edge
        counts = np.bincount(cells @ (per_edge**2, per_edge, 1), minlength=per_edge**3)
        ratios.append(counts.var(ddof=1) / counts.mean())
    return float(np.mean(ratios))


def reduced_diffusion(centres: BeadTrajectory) -> float:
    """Return D* = D sqrt(m/kT) ρ^(1/3) of centres of mass, from two lags: also of runs too short for a D.

    The lags are the ends of the window in which D is fitted, or as much less as half the run is shorter.
    """
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
