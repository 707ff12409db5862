r"""A many-body model: the prior, and a network that gives each bead an energy from what surrounds it.

    E = prior + Σ_i [e(i, its surroundings) − e(i alone)]

so that beads beyond the cutoff of each other have the energy zero. Beads of one molecule are no surroundings of each
other: the bonds of the prior hold them, and a second network where a model has one.
"""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mobcg.config import NETWORK_SETTINGS, NetworkSettings
from mobcg.errors import InputError
from mobcg.forcematch.field import Field, Neighbours
from mobcg.forcematch.frames import Frames
from mobcg.forcematch.prior import Prior, with_bonds

# What an output of one of the networks means: about kT, so that their weights are of the order of one.
ENERGY_KJ_MOL = 2.5


@dataclass(frozen=True)
class Reached:
    """Pairs of beads within the cutoff, each once.

    Attributes
    ----------
    first, second
        (pairs,): numbers of the beads.
    vectors_nm, distances_nm
        (pairs, 3), (pairs,): from `first` to `second`.
    """

    first: Tensor
    second: Tensor
    vectors_nm: Tensor
    distances_nm: Tensor

    def where(self, chosen: Tensor) -> Reached:
        """Return the pairs for which (pairs,) `chosen` is true."""
        (rows,) = torch.nonzero(chosen, as_tuple=True)
        columns = self.first, self.second, self.vectors_nm, self.distances_nm
        return Reached(*(column.index_select(0, rows) for column in columns))


class Network(torch.nn.Module):
    """Energies of beads, (beads,), in units of `ENERGY_KJ_MOL`, of their kinds and the pairs within the cutoff."""

    def forward(self, kinds: Tensor, pairs: Reached) -> Tensor:
        """Return the energy of each bead, (beads,)."""
        raise NotImplementedError

    def tabulate(self) -> None:
        """Replace what depends on one distance alone by tables, where the network has any."""


class NetworkField(Field):
    """The prior and networks between and, perhaps, within molecules.

    Parameters
    ----------
    name
        Of the model in `NETWORK_SETTINGS`.
    settings
        Its settings, bonds filled in (`mobcg.forcematch.prior.with_bonds`).
    n_kinds
        Kinds of beads that it knows.
    between, within
        Networks of the pairs of different molecules and of one molecule.
    """

    def __init__(
        self, name: str, settings: NetworkSettings, n_kinds: int, between: Network, within: Network | None = None
    ) -> None:
        super().__init__()
        self.name, self.settings, self.n_kinds = name, settings, n_kinds
        self.cutoff_nm = settings.cutoff_nm
        self.prior, self.between, self.within = Prior(settings), between, within
        self.to(getattr(torch, settings.precision))

    def forward(self, neighbours: Neighbours) -> Tensor:
        """Return the energy of each frame, (frames,), in kJ/mol."""
        once = slice(len(neighbours.first) // 2)
        vectors = neighbours.vectors_nm[once]
        pairs = Reached(neighbours.first[once], neighbours.second[once], vectors, vectors.norm(dim=1))
        near, same = pairs.distances_nm < self.cutoff_nm, neighbours.same_molecule[once]
        others = pairs.where(near & ~same)
        energies = self.prior(others.distances_nm, neighbours.frames[others.first], neighbours)
        each = self._beads(self.between, neighbours.kinds, others)
        if self.within is not None:
            each = each + self._beads(self.within, neighbours.kinds, pairs.where(near & same))
        return energies.index_add(0, neighbours.frames, ENERGY_KJ_MOL * each)

    def for_dynamics(self) -> NetworkField:
        """Return the same model, faster and no longer trainable: same forces but for rounding."""
        field = copy.deepcopy(self).requires_grad_(False)
        for network in (field.between, field.within):
            if network is not None:
                network.tabulate()
        return field

    def _beads(self, network: Network, kinds: Tensor, pairs: Reached) -> Tensor:
        alone = torch.arange(self.n_kinds, device=kinds.device)
        energies = network(torch.cat([kinds, alone]), pairs)
        return energies[: len(kinds)] - energies[len(kinds) :].index_select(0, kinds)


def build(name: str, settings: NetworkSettings, sets: Sequence[Frames], seed: int) -> NetworkField:
    """Return an untrained model for the beads of some frames, its weights drawn from a seed.

    Raises
    ------
    InputError
        There is no such model, its library is not installed, or the beads are not for it.
    """
    n_kinds = 1 + max(int(frames.beads.kinds.max()) for frames in sets)
    return rebuild(name, with_bonds(settings, sets), n_kinds, seed)


def rebuild(name: str, settings: NetworkSettings, n_kinds: int, seed: int = 0) -> NetworkField:
    """Return an untrained model of complete settings; raises as `build`."""
    module = _module(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return module.build(settings, n_kinds)


def _module(name: str):
    if name not in NETWORK_SETTINGS:
        raise InputError("force matching", "model", name, " | ".join(NETWORK_SETTINGS))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries' own imports
            return importlib.import_module(f"mobcg.forcematch.{name}")
    except ModuleNotFoundError as error:
        allowed = f"the library {error.name} installed"
        raise InputError("force matching", name, error.msg, allowed, 'pip install "mobcg[forcematch]"') from error
