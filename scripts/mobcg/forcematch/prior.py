r"""What a network need not learn: that molecules exclude each other, and that a molecule holds together.

    U = Σ_pairs ε [(σ/r)^n − (σ/r_c)^n + n (σ/r_c)^n (r/r_c − 1)] + Σ_bonds k/2 (r − r_0)²

over the pairs of beads of different molecules; energy and force of a pair vanish at the cutoff r_c. Data hold no pairs
closer than first contact, and there a network alone may attract.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mobcg.config import NetworkSettings
from mobcg.errors import InputError
from mobcg.forcematch.field import Neighbours
from mobcg.forcematch.frames import Frames
from mobcg.units import thermal_energy_kj_mol


class Prior(torch.nn.Module):
    """Excluded volume and bonds; `settings` with bonds that `with_bonds` filled in, where there are bonds."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, distances_nm: Tensor, frames: Tensor, neighbours: Neighbours) -> Tensor:
        """Return the energy of each frame, (frames,), in kJ/mol.

        Parameters
        ----------
        distances_nm, frames
            (pairs,): of beads of different molecules within the cutoff, each pair once, and the frame they are in.
        neighbours
            For the bonds.
        """
        chosen = self.settings
        at_cutoff = (chosen.sigma_nm / chosen.cutoff_nm) ** chosen.power
        line = 1 - chosen.power * (distances_nm / chosen.cutoff_nm - 1)
        each = chosen.epsilon_kj_mol * ((chosen.sigma_nm / distances_nm) ** chosen.power - at_cutoff * line)
        energies = each.new_zeros(neighbours.n_frames).index_add(0, frames, each)
        if not len(neighbours.bond_vectors_nm):
            return energies
        stretch = neighbours.bond_vectors_nm.norm(dim=1) - chosen.bond_length_nm
        return energies.index_add(0, neighbours.bond_frames, 0.5 * chosen.bond_kj_mol_nm2 * stretch**2)


def with_bonds(settings: NetworkSettings, sets: Sequence[Frames]) -> NetworkSettings:
    r"""Return settings with the bond length and constant that they leave out, by Boltzmann inversion of the data.

    A bond of energy k/2 (r − r_0)² has lengths distributed as r² exp(−k (r − r_0)²/2kT): to first order in the
    variance, k = kT/var(r) and r_0 = mean(r) − 2 var(r)/mean(r). All bonds of a molecule are taken as alike.

    Raises
    ------
    InputError
        The bonds join different kinds of beads, so that one length does not do.
    """
    bonded = [frames for frames in sets if len(frames.beads.bonds)]
    if not bonded:
        return settings
    kinds = {tuple(sorted(ends)) for frames in bonded for ends in frames.beads.kinds[frames.beads.bonds].tolist()}
    if len(kinds) > 1:
        raise InputError(
            "force matching", "bonds", sorted(kinds), "bonds of one pair of kinds", "Choose another mapping."
        )
    lengths, constants = [], []
    for frames in bonded:
        first, second = frames.positions_nm[:, frames.beads.bonds].transpose(2, 0, 1, 3)
        apart = second - first
        apart -= frames.box_length_nm * np.round(apart / frames.box_length_nm)
        length = np.linalg.norm(apart, axis=-1)
        lengths.append(length.mean() - 2 * length.var() / length.mean())
        constants.append(thermal_energy_kj_mol(frames.temperature_k) / length.var())
    found = {"bond_length_nm": float(np.mean(lengths)), "bond_kj_mol_nm2": float(np.mean(constants))}
    return settings.model_copy(update={key: value for key, value in found.items() if getattr(settings, key) is None})
