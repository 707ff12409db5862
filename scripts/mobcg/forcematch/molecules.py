"""Molecules of several beads: made whole, and their centres of mass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobcg.forcematch.field import Beads


def whole_molecules(positions_nm: NDArray, beads: Beads, box_length_nm: float) -> NDArray[np.float64]:
    """Return (beads, 3) positions with each bead at the image nearest to the first bead of its molecule."""
    positions = np.array(positions_nm, np.float64)
    _, firsts = np.unique(beads.molecules, return_index=True)
    apart = positions - positions[firsts[beads.molecules]]
    return positions - box_length_nm * np.round(apart / box_length_nm)


def centres_of_mass(positions_nm: NDArray, beads: Beads) -> NDArray[np.float64]:
    """Return (…, molecules, 3) centres of mass of whole molecules, (…, beads, 3)."""
    weighted = np.moveaxis(np.asarray(positions_nm, np.float64) * beads.masses_g_mol[:, None], -2, 0)
    sums = np.zeros((beads.n_molecules, *weighted.shape[1:]))
    np.add.at(sums, beads.molecules, weighted)
    masses = np.bincount(beads.molecules, beads.masses_g_mol)
    return np.moveaxis(sums, 0, -2) / masses[:, None]
