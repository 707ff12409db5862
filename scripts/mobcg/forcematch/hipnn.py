"""HIP-NN-TS (Chigaev et al., J. Chem. Phys. 158, 184108 (2023)) of hippynn.

Distances enter through sensitivities whose widths go with the first midpoint, so nm are as good as any unit. Beads of
one molecule are held by the bonds of the prior alone.
"""

from __future__ import annotations

import warnings

import hippynn
import torch
from hippynn.networks.hipnn import HipnnQuad, HipnnVec
from torch import Tensor

from mobcg.config import HipnnSettings
from mobcg.forcematch.network import Network, NetworkField, Reached

ACTIVATIONS = {"softplus": torch.nn.Softplus, "tanh": torch.nn.Tanh}
ORDERS = {1: HipnnVec, 2: HipnnQuad}

# Plain torch operations: on one core none of hippynn's compiled kernels is faster for one interaction layer, and these
# need no compiler, keep to torch's threads and give the same bits every time.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # hippynn's list of usual kernels leaves them out
    hippynn.set_custom_kernels("_pytorch_raw")
hippynn.settings.WARN_LOW_DISTANCES = False  # below the sensitivities the prior acts, which hippynn cannot know


class HipNN(Network):
    """Energies of beads, linear in the features after each block."""

    def __init__(self, settings: HipnnSettings, n_kinds: int) -> None:
        super().__init__()
        self.n_kinds = n_kinds
        self.network = ORDERS[settings.order](
            n_features=settings.features,
            n_sensitivities=settings.sensitivities,
            dist_soft_min=settings.soft_min_nm,
            dist_soft_max=settings.soft_max_nm,
            dist_hard_max=settings.cutoff_nm,
            n_atom_layers=settings.atom_layers,
            n_interaction_layers=settings.blocks,
            n_input_features=n_kinds,
            activation=ACTIVATIONS[settings.activation],
        )
        self.energies = torch.nn.ModuleList(torch.nn.Linear(settings.features, 1) for _ in range(settings.blocks))

    def forward(self, kinds: Tensor, pairs: Reached) -> Tensor:
        """Return the energy of each bead, (beads,)."""
        vectors, distances = torch.cat([pairs.vectors_nm, -pairs.vectors_nm]), pairs.distances_nm.repeat(2)
        first, second = torch.cat([pairs.first, pairs.second]), torch.cat([pairs.second, pairs.first])
        inputs = torch.nn.functional.one_hot(kinds, self.n_kinds).to(distances.dtype)
        _, *blocks = self.network(inputs, first, second, distances, vectors)
        return sum(linear(features) for linear, features in zip(self.energies, blocks, strict=True)).squeeze(1)


def build(settings: HipnnSettings, n_kinds: int) -> NetworkField:
    """Return an untrained model."""
    return NetworkField("hipnn", settings, n_kinds, HipNN(settings, n_kinds))
