"""What force matching learns from: frames of beads with the net force on each, parted by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from mobcg.errors import InputError, SimulationError
from mobcg.forcematch.beads_of import beads_of
from mobcg.forcematch.field import Beads
from mobcg.observables import BeadTrajectory

# Shares of the frames, in the order of time: a frame is like the one before it, so they are not drawn at random.
TRAIN, VALIDATION = 0.8, 0.1
# Blocks of time whose scatter gives standard errors.
BLOCKS = 5
CHUNK = 256  # columns that are transformed at once


@dataclass(frozen=True)
class Frames:
    """Frames of beads in a cubic box.

    Attributes
    ----------
    positions_nm, forces_kj_mol_nm
        (frames, beads, 3); positions wrapped into the box, net force on each bead.
    box_length_nm, temperature_k
        Of the run.
    beads
        What the beads are.
    energies_kj_mol
        (frames,): potential energy of the atoms, where it is known.
    """

    positions_nm: NDArray[np.float64]
    forces_kj_mol_nm: NDArray[np.float64]
    box_length_nm: float
    temperature_k: float
    beads: Beads
    energies_kj_mol: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.positions_nm)

    def part(self, rows: slice) -> Frames:
        """Return some of the frames."""
        energies = None if self.energies_kj_mol is None else self.energies_kj_mol[rows]
        positions, forces = self.positions_nm[rows], self.forces_kj_mol_nm[rows]
        return replace(self, positions_nm=positions, forces_kj_mol_nm=forces, energies_kj_mol=energies)

    def split(self) -> tuple[Frames, Frames, Frames]:
        """Return train, validation and test frames, each one stretch of time.

        Raises
        ------
        InputError
            There are fewer than ten frames.
        """
        if len(self) < 10:
            raise InputError("force matching", "frames", len(self), "10 and more", "Run longer, or keep more frames.")
        first, second = round(TRAIN * len(self)), round((TRAIN + VALIDATION) * len(self))
        return self.part(slice(first)), self.part(slice(first, second)), self.part(slice(second, None))


def frames_of(trajectory: BeadTrajectory, every_ps: float = 1.0) -> Frames:
    """Return frames of a trajectory at least `every_ps` apart.

    Raises
    ------
    SimulationError
        The trajectory has no frames: the run that it is of failed.
    InputError
        It has no forces.
    """
    if not len(trajectory.positions_nm):
        raise SimulationError(f"an atomistic run to learn from failed: {trajectory.metadata.get('reason')}")
    if trajectory.forces_kj_mol_nm is None:
        advice = "Keep them with keep_trajectories: beads."
        raise InputError("force matching", "forces_kj_mol_nm", None, "a bead trajectory with net forces", advice)
    step = max(1, int(np.ceil(every_ps / trajectory.frame_ps - 1e-9)))
    edge = trajectory.box_length_nm
    positions = np.asarray(trajectory.positions_nm[::step], np.float64)
    energies = trajectory.metadata.get("potential_kj_mol")
    return Frames(
        positions - edge * np.floor(positions / edge),
        np.asarray(trajectory.forces_kj_mol_nm[::step], np.float64),
        edge,
        trajectory.temperature_k,
        beads_of(trajectory),
        None if energies is None else np.asarray(energies[::step], np.float64),
    )


@dataclass(frozen=True)
class Residuals:
    """Σ |F − F_model|² and Σ |F|² of the net forces of some frames, (blocks,) in blocks of time, (kJ/mol/nm)²."""

    left: NDArray[np.float64]
    squared: NDArray[np.float64]


def time_blocks(frames: Frames) -> list[Frames]:
    """Return frames in `BLOCKS` stretches of time; fewer where there are fewer frames."""
    rows = np.array_split(np.arange(len(frames)), min(BLOCKS, len(frames)))
    return [frames.part(slice(block[0], block[-1] + 1)) for block in rows]


def share_explained(sets: Sequence[Residuals]) -> tuple[float, float]:
    r"""Return R² = 1 − Σ |F − F_model|² / Σ |F|² of all frames (net forces have no mean) and its standard error.

    The error comes from the scatter of the blocks of time, of all sets together.
    """
    count = min(len(one.left) for one in sets)  # sets of few frames have fewer blocks
    left, squared = (
        np.sum([[block.sum() for block in np.array_split(values, count)] for values in columns], axis=0)
        for columns in ([one.left for one in sets], [one.squared for one in sets])
    )
    each = 1 - left / squared
    error = np.std(each, ddof=1) / len(each) ** 0.5 if len(each) > 1 else np.nan
    return float(1 - left.sum() / squared.sum()), float(error)


def force_autocorrelation(forces_kj_mol_nm: ArrayLike) -> NDArray[np.float64]:
    """Return C(t) = ⟨F(0) · F(t)⟩ / ⟨F²⟩ over beads and origins, (frames,); (frames, beads, 3), not less its mean."""
    forces = np.asarray(forces_kj_mol_nm, np.float64).reshape(len(forces_kj_mol_nm), -1)
    n_frames, products = len(forces), np.zeros(len(forces))
    for columns in np.array_split(forces, max(1, forces.shape[1] // CHUNK), axis=1):
        spectrum = fft.rfft(columns, 2 * n_frames, axis=0)  # zeros behind, so that the end is not before the beginning
        products += fft.irfft(np.abs(spectrum) ** 2, axis=0)[:n_frames].sum(axis=1)
    products /= np.arange(n_frames, 0, -1)
    return products / products[0]


def decorrelation_ps(trajectory: BeadTrajectory) -> float:
    r"""Return the time between two frames whose net forces are as good as independent (ps).

    The statistical inefficiency of the forces on a bead times the time between frames, g Δt with
    g = 1 + 2 Σ_k (1 − k/n) C(k Δt), summed until C first falls to 0 (Chodera et al., J. Chem. Theory Comput. 3, 26
    (2007)). A correlation that is over within one frame gives g ≈ 1, which is the time between frames itself.

    Raises
    ------
    InputError
        The trajectory has no forces.
    """
    if trajectory.forces_kj_mol_nm is None:
        advice = "Keep them with keep_trajectories: beads."
        raise InputError("force matching", "forces_kj_mol_nm", None, "a bead trajectory with net forces", advice)
    return statistical_inefficiency(force_autocorrelation(trajectory.forces_kj_mol_nm)) * trajectory.frame_ps


def statistical_inefficiency(correlation: ArrayLike) -> float:
    """Return g = 1 + 2 Σ_k (1 − k/n) C_k until C first falls to 0; C from lag 0 on, (frames,), C_0 = 1."""
    values = np.asarray(correlation, np.float64)
    below = np.flatnonzero(values <= 0)
    end = int(below[0]) if below.size else len(values)
    lags = np.arange(1, end)
    return float(1 + 2 * np.sum((1 - lags / len(values)) * values[1:end]))
