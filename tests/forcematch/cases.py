"""A liquid of known pair force: positions from a LAMMPS run, forces by a direct sum."""

import numpy as np
from scipy.interpolate import CubicSpline

from mobcg.forcematch.field import Beads
from mobcg.forcematch.frames import Frames
from mobcg.pair import CUTOFF_NM, tabulate
from tests.inversion.cases import BOX_LENGTH_NM, TEMPERATURE_K, known_potential, sample


def pair_forces(positions_nm: np.ndarray, box_nm: float, potential_kj_mol: np.ndarray) -> np.ndarray:
    """Return the net forces (beads, 3) of one frame."""
    r_nm, _, strength = tabulate(potential_kj_mol)
    apart = positions_nm[:, None] - positions_nm[None]
    apart -= box_nm * np.round(apart / box_nm)
    distance = np.linalg.norm(apart, axis=2)
    np.fill_diagonal(distance, np.inf)
    value = np.where(distance < CUTOFF_NM, CubicSpline(r_nm, strength)(np.minimum(distance, CUTOFF_NM)), 0.0)
    return np.sum((value / distance)[..., None] * apart, axis=1)


def known_frames(where) -> Frames:
    positions = sample(where, known_potential(), 60.0, seed=7)[::4]
    forces = np.array([pair_forces(frame, BOX_LENGTH_NM, known_potential()) for frame in positions])
    return Frames(
        positions % BOX_LENGTH_NM, forces, BOX_LENGTH_NM, TEMPERATURE_K, Beads.single(positions.shape[1], 100.0)
    )
