r"""What every force-matched potential is: an energy of bead positions in a cubic box; torch differentiates it.

A field sees no positions but the vectors between neighbours, v = r_second − r_first (nearest images), so that its
energy does not change when the box is moved, wrapped or turned. With g = ∂E/∂v the forces are

    F_first += g,    F_second −= g,    so that  Σ F = 0,    and the virial is  W = Σ g · v  (P V = N kT − W/3).

Boxes of one liquid are evaluated together: (frames, beads, 3) in, one energy a frame out. Energies in kJ/mol, lengths
in nm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from mobcg.errors import InputError


def accelerator() -> torch.device:
    """Return where networks run: on the GPU where there is one, else on the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Beads:
    """The beads of a box, whatever their positions.

    Attributes
    ----------
    kinds, molecules
        (beads,): kind of each bead (0, 1, …) and number of its molecule.
    masses_g_mol
        (beads,).
    bonds
        (bonds, 2): beads of one molecule that a harmonic bond holds together; empty for one bead a molecule.
    """

    kinds: NDArray[np.int64]
    molecules: NDArray[np.int64]
    masses_g_mol: NDArray[np.float64]
    bonds: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of beads."""
        return len(self.kinds)

    @property
    def n_molecules(self) -> int:
        """Number of molecules."""
        return int(self.molecules.max()) + 1

    @classmethod
    def single(cls, n_molecules: int, mass_g_mol: float) -> Beads:
        """Return one bead a molecule."""
        number = np.arange(n_molecules)
        return cls(np.zeros_like(number), number, np.full(n_molecules, mass_g_mol), np.zeros((0, 2), np.int64))


@dataclass(frozen=True)
class Pairs:
    """Pairs of beads within reach in some frames, each pair once.

    Attributes
    ----------
    first, second
        (pairs,): bead numbers counted through all frames, frame · beads + bead.
    """

    first: Tensor
    second: Tensor


@dataclass(frozen=True)
class Neighbours:
    """What a field sees.

    Attributes
    ----------
    kinds, frames
        (frames · beads,): kind of each bead, and the frame that it is in.
    n_frames
        Frames.
    first, second, vectors_nm, same_molecule
        (edges,), (edges, 3): from `first` to `second`; the second half of the edges are those of the first half in the
        same order the other way round. Edges may be longer than the cutoff (a skin), where a field must give nothing.
    bond_vectors_nm, bond_frames
        (bonds, 3), (bonds,): each bond once.
    """

    kinds: Tensor
    frames: Tensor
    n_frames: int
    first: Tensor
    second: Tensor
    vectors_nm: Tensor
    same_molecule: Tensor
    bond_vectors_nm: Tensor
    bond_frames: Tensor


class Field(torch.nn.Module):
    """An energy. `forward` takes `Neighbours` and returns the energy of each frame, (frames,), in kJ/mol."""

    cutoff_nm: float

    def forward(self, neighbours: Neighbours) -> Tensor:
        """Return the energy of each frame, (frames,), in kJ/mol."""
        raise NotImplementedError


@dataclass(frozen=True)
class Evaluation:
    """Energies (frames,) in kJ/mol, forces (frames, beads, 3) in kJ/mol/nm, virials (frames,) in kJ/mol."""

    energies_kj_mol: Tensor
    forces_kj_mol_nm: Tensor
    virials_kj_mol: Tensor


def pairs_within(positions_nm: NDArray, box_length_nm: float, reach_nm: float) -> Pairs:
    """Return the pairs of (frames, beads, 3) within reach, nearest images.

    Raises
    ------
    InputError
        The reach is more than half the box, so that nearest images are not all there is.
    """
    if reach_nm > box_length_nm / 2:
        allowed = f"at most half the box, {box_length_nm / 2:.3f} nm"
        raise InputError("force matching", "cutoff_nm + skin", f"{reach_nm:g}", allowed, "Take a larger box.")
    found = []
    for frame, positions in enumerate(positions_nm):
        wrapped = positions - box_length_nm * np.floor(positions / box_length_nm)
        wrapped[wrapped >= box_length_nm] = 0.0  # a tiny negative number wraps to the edge itself
        tree = cKDTree(wrapped, boxsize=box_length_nm)
        found.append(tree.query_pairs(reach_nm, output_type="ndarray") + frame * len(positions))
    first, second = torch.from_numpy(np.concatenate(found).astype(np.int64)).T.contiguous()
    return Pairs(first, second)


def smallest_distance_nm(positions_nm: NDArray, beads: Beads, box_length_nm: float, reach_nm: float) -> float:
    """Return the smallest distance between beads (beads, 3) of two molecules, infinite where none are within reach."""
    pairs = pairs_within(positions_nm[None], box_length_nm, reach_nm)
    first, second = pairs.first.numpy(), pairs.second.numpy()
    apart = positions_nm[first] - positions_nm[second]
    apart -= box_length_nm * np.round(apart / box_length_nm)
    squared = (apart**2).sum(axis=1)[beads.molecules[first] != beads.molecules[second]]
    return float(np.sqrt(squared.min(initial=np.inf)))


def evaluate(
    field: Field, beads: Beads, positions_nm: Tensor, box_length_nm: float, pairs: Pairs, graph: bool = False
) -> Evaluation:
    """Return energies, forces and virials of a field, in the precision of its parameters.

    Parameters
    ----------
    positions_nm
        (frames, beads, 3), wrapped or not, in double precision: nearest images are found before it is given up.
    pairs
        All pairs within the field's cutoff, and perhaps more (`pairs_within` with a skin).
    graph
        Keep what it takes to differentiate the result by the field's parameters: for training.
    """
    n_frames, n_beads = positions_nm.shape[:2]
    flat = positions_nm.reshape(-1, 3)
    kinds, molecules = (torch.from_numpy(column).to(flat.device) for column in (beads.kinds, beads.molecules))
    bonds = torch.from_numpy(beads.bonds).to(flat.device)
    offsets = n_beads * torch.arange(n_frames, device=flat.device)
    bond_first, bond_second = (bonds[None] + offsets[:, None, None]).reshape(-1, 2).T
    precision = next(field.parameters()).dtype

    def apart(first: Tensor, second: Tensor) -> Tensor:
        vectors = flat[second] - flat[first]
        return (vectors - box_length_nm * torch.round(vectors / box_length_nm)).to(precision).requires_grad_()

    vectors, bond_vectors = apart(pairs.first, pairs.second), apart(bond_first, bond_second)
    first, second = torch.cat([pairs.first, pairs.second]), torch.cat([pairs.second, pairs.first])
    frames = torch.repeat_interleave(torch.arange(n_frames, device=flat.device), n_beads)
    seen = Neighbours(
        kinds.repeat(n_frames),
        frames,
        n_frames,
        first,
        second,
        torch.cat([vectors, -vectors]),
        molecules[first % n_beads] == molecules[second % n_beads],
        bond_vectors,
        frames[bond_first],
    )
    energies = field(seen)
    slopes = torch.autograd.grad(
        energies.sum(), (vectors, bond_vectors), create_graph=graph, allow_unused=True, materialize_grads=True
    )
    forces, virials = vectors.new_zeros(len(flat), 3), vectors.new_zeros(n_frames)
    ends = (pairs.first, pairs.second, vectors), (bond_first, bond_second, bond_vectors)
    for slope, (begin, end, between) in zip(slopes, ends, strict=True):
        forces = forces.index_add(0, begin, slope).index_add(0, end, -slope)
        virials = virials.index_add(0, frames[begin], (slope * between).sum(1))
    results = energies, forces.reshape(n_frames, n_beads, 3), virials
    return Evaluation(*(results if graph else (result.detach() for result in results)))
