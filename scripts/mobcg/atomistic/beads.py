"""From atoms to beads: centres of mass and net forces of molecules or of parts of them, whole, unwrapped in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from MDAnalysis.coordinates.TRR import TRRReader
from numpy.typing import ArrayLike, NDArray

from mobcg.errors import SimulationError
from mobcg.units import BOLTZMANN_KJ_MOL_K


@dataclass(frozen=True)
class Beads:
    """A trajectory seen through the centres of mass of its molecules, or of groups of their atoms.

    Attributes
    ----------
    time_ps
        (frames,).
    positions_nm
        (frames, beads, 3), molecule by molecule, unwrapped in time; the beads of a molecule in one periodic image.
    forces_kj_mol_nm
        (frames, beads, 3), net force on each bead.
    temperature_k
        Mean kinetic temperature of the centres of mass of the molecules.
    """

    time_ps: NDArray[np.float64]
    positions_nm: NDArray[np.float32]
    forces_kj_mol_nm: NDArray[np.float32]
    temperature_k: float


def nearest_image(positions_nm: NDArray, reference_nm: NDArray, box_length_nm: float) -> NDArray[np.float64]:
    """Return positions as their periodic images (cubic box) nearest to the reference, in any broadcastable shapes."""
    offset = np.asarray(reference_nm, np.float64) - positions_nm
    return positions_nm + box_length_nm * np.round(offset / box_length_nm)


def whole_molecules(positions_nm: NDArray, box_length_nm: float) -> NDArray[np.float64]:
    """Return atoms as the periodic images nearest to their molecule's first atom.

    Parameters
    ----------
    positions_nm
        (molecules, atoms, 3), wrapped in any way.
    box_length_nm
        Edge of the cubic box.

    Raises
    ------
    SimulationError
        A molecule reaches nearly half a box from its first atom, so that the nearest image may be the wrong one.
    """
    first = positions_nm[:, :1]
    whole = nearest_image(positions_nm, first, box_length_nm)
    if np.abs(whole - first).max() > 0.45 * box_length_nm:
        raise SimulationError(f"a molecule is as long as half the box of {box_length_nm:.3f} nm")
    return whole


def centres_of_mass(positions_nm: NDArray, masses_g_mol: ArrayLike) -> NDArray[np.float64]:
    """Return Σ m_i r_i / Σ m_i of each molecule: (molecules, atoms, 3) and (atoms,) → (molecules, 3)."""
    return np.average(positions_nm, axis=1, weights=np.asarray(masses_g_mol, np.float64))


def scale_molecules(positions_nm: NDArray, masses_g_mol: ArrayLike, factor: float) -> NDArray[np.float64]:
    """Return whole molecules (molecules, atoms, 3) moved as rigid bodies so that their centres scale by `factor`."""
    centres = centres_of_mass(positions_nm, masses_g_mol)
    return positions_nm + (factor - 1) * centres[:, None]


def kinetic_temperature_k(velocities_nm_ps: NDArray, mass_g_mol: float) -> float:
    """Return m Σ v² / (3 (N − 1) k) of N beads, (beads, 3), whose common drift is removed."""
    drifting = velocities_nm_ps - velocities_nm_ps.mean(axis=0)
    degrees_of_freedom = 3 * (len(velocities_nm_ps) - 1)
    return float(mass_g_mol * np.sum(drifting**2) / (degrees_of_freedom * BOLTZMANN_KJ_MOL_K))


def read_beads(
    trr: Path, masses_g_mol: ArrayLike, box_length_nm: float, groups: Sequence[Sequence[int]] | None = None
) -> Beads:
    """Read a GROMACS trajectory of identical molecules: positions and forces in every frame, velocities in some.

    Molecules are unwrapped in time: none moves half a box between two frames.

    Parameters
    ----------
    trr
        The trajectory.
    masses_g_mol
        (atoms of one molecule,).
    box_length_nm
        Edge of the cubic box.
    groups
        The atoms of each bead of a molecule, counted from 0; None for one bead a molecule.
    """
    masses = np.asarray(masses_g_mol, np.float64)
    parts = [slice(None)] if groups is None else [np.array(group) for group in groups]
    times, positions, forces, temperatures = [], [], [], []
    before: NDArray | None = None
    with TRRReader(str(trr), convert_units=False, refresh_offsets=True) as reader:
        for frame in reader:
            whole = whole_molecules(frame.positions.reshape(-1, masses.size, 3), box_length_nm)
            centres = centres_of_mass(whole, masses)
            before = centres if before is None else before
            image = box_length_nm * np.round((before - centres) / box_length_nm)
            before = centres + image
            beads = np.stack([centres_of_mass(whole[:, part], masses[part]) for part in parts], axis=1)
            positions.append((beads + image[:, None]).reshape(-1, 3).astype(np.float32))
            atoms = frame.forces.reshape(-1, masses.size, 3)
            forces.append(np.stack([atoms[:, part].sum(axis=1) for part in parts], axis=1).reshape(-1, 3))
            times.append(frame.time)
            if frame.has_velocities:
                velocities = centres_of_mass(frame.velocities.reshape(-1, masses.size, 3), masses)
                temperatures.append(kinetic_temperature_k(velocities, masses.sum()))
    return Beads(np.array(times), np.array(positions), np.array(forces), float(np.mean(temperatures)))
