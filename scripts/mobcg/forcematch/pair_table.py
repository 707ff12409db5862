"""A pair potential on the common grid as a field: the same dynamics run it as run the networks."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from scipy.interpolate import CubicHermiteSpline
from torch import Tensor

from mobcg.forcematch.field import Field, Neighbours
from mobcg.pair import CUTOFF_NM, tabulate


class PairTable(Field):
    """U(r) of each pair of molecules, from the spline of `mobcg.pair.tabulate`; nothing from 1.5 nm on.

    Parameters
    ----------
    potential_kj_mol
        (150,) on the common grid.
    """

    def __init__(self, potential_kj_mol: ArrayLike):
        super().__init__()
        self.cutoff_nm = CUTOFF_NM
        r_nm, energy, force = tabulate(potential_kj_mol)
        # The knots of the spline are among the points, so that the cubics between them are the spline itself.
        pieces = CubicHermiteSpline(r_nm, energy, -force).c.T.copy()
        self.start_nm, self.spacing_nm = float(r_nm[0]), float(r_nm[1] - r_nm[0])
        self.pieces = torch.nn.Parameter(torch.from_numpy(pieces), requires_grad=False)

    def forward(self, neighbours: Neighbours) -> Tensor:
        """Return the energy of each frame, (frames,), in kJ/mol."""
        distance = neighbours.vectors_nm.norm(dim=1)
        piece = ((distance.detach() - self.start_nm) / self.spacing_nm).long().clamp(0, len(self.pieces) - 1)
        beyond = distance - (self.start_nm + self.spacing_nm * piece.to(distance))
        a, b, c, d = self.pieces[piece].T
        energy = ((a * beyond + b) * beyond + c) * beyond + d
        counted = (distance < self.cutoff_nm) & ~neighbours.same_molecule
        frames = neighbours.frames[neighbours.first]
        # Each pair is seen from both its ends.
        return energy.new_zeros(neighbours.n_frames).index_add(0, frames, torch.where(counted, energy / 2, 0))
