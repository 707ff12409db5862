"""The beads of a trajectory's box, from what its header says of one molecule."""

from __future__ import annotations

import numpy as np

from mobcg.forcematch.field import Beads
from mobcg.observables import BeadTrajectory


def beads_of(trajectory: BeadTrajectory) -> Beads:
    """Return kinds, molecules, masses and bonds of the beads of a trajectory, in its order."""
    n_beads, molecule = trajectory.positions_nm.shape[1], trajectory.molecule
    if molecule is None:
        return Beads.single(n_beads, trajectory.mass_g_mol)
    n_molecules = n_beads // len(molecule)
    bonds = np.array(molecule.bonds, np.int64).reshape(-1, 2)
    first = len(molecule) * np.arange(n_molecules)
    return Beads(
        np.tile(np.array(molecule.kinds, np.int64), n_molecules),
        np.repeat(np.arange(n_molecules), len(molecule)),
        np.tile(np.array(molecule.masses_g_mol), n_molecules),
        (first[:, None, None] + bonds).reshape(-1, 2),
    )
