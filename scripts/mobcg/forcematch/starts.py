"""Where runs start: another number of molecules at the same density, and overlaps pushed apart."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from mobcg.forcematch.field import Beads, Field
from mobcg.forcematch.molecules import centres_of_mass, whole_molecules
from mobcg.forcematch.motion import Forces


def resized(
    positions_nm: NDArray, beads: Beads, box_length_nm: float, n_molecules: int, seed: int
) -> tuple[NDArray[np.float64], Beads, float]:
    """Return positions, beads and edge of a box of another number of molecules at the same density.

    The box is repeated until it holds enough, molecules are taken out at random, and what is left moves together,
    molecules as they are. Relax it (`relaxed`) and equilibrate it.

    Parameters
    ----------
    positions_nm
        (beads, 3), wrapped or not; the beads of a molecule follow each other, molecules are equal.
    """
    present = beads.n_molecules
    size = len(beads) // present
    if not np.array_equal(beads.molecules, np.repeat(np.arange(present), size)):
        raise ValueError("the beads of a molecule must follow each other, as many in each")
    repeats = math.ceil((n_molecules / present) ** (1 / 3) - 1e-9)
    whole = whole_molecules(positions_nm, beads, box_length_nm)
    shifts = box_length_nm * np.stack(np.meshgrid(*[np.arange(repeats)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    molecules = (whole + shifts).reshape(-1, size, 3)
    kept = np.sort(np.random.default_rng(seed).permutation(len(molecules))[:n_molecules])
    edge_nm = box_length_nm * (n_molecules / present) ** (1 / 3)
    new = repeated_beads(beads, n_molecules)
    positions = molecules[kept].reshape(-1, 3)
    centres = centres_of_mass(positions, new)
    moved = (edge_nm / (repeats * box_length_nm) - 1) * centres
    return positions + moved[new.molecules], new, edge_nm


def repeated_beads(beads: Beads, n_molecules: int) -> Beads:
    """Return the beads of so many molecules, each like the first."""
    size = int(np.sum(beads.molecules == 0))
    bonds = beads.bonds[np.all(beads.bonds < size, axis=1)]
    repeated = (bonds[None] + size * np.arange(n_molecules)[:, None, None]).reshape(-1, 2)
    kinds, masses = np.tile(beads.kinds[:size], n_molecules), np.tile(beads.masses_g_mol[:size], n_molecules)
    return Beads(kinds, np.repeat(np.arange(n_molecules), size), masses, repeated)


def relaxed(
    model: Field, beads: Beads, positions_nm: NDArray, box_length_nm: float, iterations: int = 30
) -> NDArray[np.float64]:
    """Return positions after some steps downhill (L-BFGS): overlaps are gone, the structure is nearly what it was."""
    find = Forces(model, beads, box_length_nm)
    start = whole_molecules(positions_nm, beads, box_length_nm)

    def downhill(flat: NDArray) -> tuple[float, NDArray]:
        energy, forces, _ = find(flat.reshape(start.shape))
        return energy, -forces.ravel()

    return minimize(downhill, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": iterations}).x.reshape(
        start.shape
    )
