r"""SchNet (Schütt et al., J. Chem. Phys. 148, 241722 (2018)) of parts of graph-pes.

    x_i ← x_i + MLP(Σ_j (A x_j) ∘ W(r_ij)),    W(r) = MLP(Gaussians of r) · (1 + cos(π r/r_c))/2,    e_i = MLP(x_i)

graph-pes' own interaction has no cutoff function, so that its forces jump at the cutoff; ours has that of the paper's
code. Lengths enter in units of the cutoff only, so nm are as good as any.
"""

from __future__ import annotations

import copy

import torch
from graph_pes.models.components.distances import CosineEnvelope, GaussianSmearing
from graph_pes.utils.nn import MLP, ShiftedSoftplus
from torch import Tensor

from mobcg.config import SchNetSettings
from mobcg.forcematch.network import Network, NetworkField, Reached

ACTIVATIONS = {"softplus": ShiftedSoftplus, "tanh": torch.nn.Tanh}
TABLE_POINTS = 1000


class Filter(torch.nn.Module):
    """W(r), (pairs, filters), of distances (pairs,) in nm."""

    def __init__(self, settings: SchNetSettings, activation: torch.nn.Module) -> None:
        super().__init__()
        self.cutoff_nm = settings.cutoff_nm
        self.expansion = GaussianSmearing(settings.gaussians, settings.cutoff_nm)
        self.weights = MLP([settings.gaussians, settings.filters, settings.filters], activation)
        self.envelope = CosineEnvelope(settings.cutoff_nm)

    def forward(self, distances_nm: Tensor) -> Tensor:
        """Return W(r), (pairs, filters)."""
        return self.weights(self.expansion(distances_nm[:, None])) * self.envelope(distances_nm)[:, None]


class FilterTable(torch.nn.Module):
    """W(r) of a trained filter, cubic between `TABLE_POINTS` distances with the filter's own values and slopes there.

    Its first derivative is continuous, and is that of the energy: dynamics conserves what it should.
    """

    def __init__(self, trained: Filter, cutoff_nm: float) -> None:
        super().__init__()
        self.step_nm = cutoff_nm / TABLE_POINTS
        distances = torch.linspace(0, cutoff_nm, TABLE_POINTS + 1, dtype=torch.float64)
        exact = copy.deepcopy(trained).to("cpu", torch.float64)
        values, slopes = torch.autograd.functional.jvp(exact, distances, torch.ones_like(distances))
        rise, before, after = values[1:] - values[:-1], self.step_nm * slopes[:-1], self.step_nm * slopes[1:]
        powers = torch.cat([values[:-1], before, 3 * rise - 2 * before - after, before + after - 2 * rise], dim=1)
        self.register_buffer("powers", powers.to(next(trained.parameters())))

    def forward(self, distances_nm: Tensor) -> Tensor:
        """Return W(r), (pairs, filters)."""
        place = distances_nm / self.step_nm
        interval = place.detach().long().clamp(max=TABLE_POINTS - 1)
        t = (place - interval)[:, None]
        one, two, three, four = self.powers.index_select(0, interval).chunk(4, dim=1)
        return one + t * (two + t * (three + t * four))


class Interaction(torch.nn.Module):
    """One block: what it adds to the features of the beads."""

    def __init__(self, settings: SchNetSettings, activation: torch.nn.Module) -> None:
        super().__init__()
        self.before = torch.nn.Linear(settings.features, settings.filters, bias=False)
        self.filter = Filter(settings, activation)
        self.after = MLP([settings.filters, settings.features, settings.features], activation)

    def forward(self, features: Tensor, pairs: Reached) -> Tensor:
        """Return (beads, features)."""
        # The filter of a pair is the same both ways, and nearly all of the cost: graph-pes' CFConv would take it twice.
        filters, sent = self.filter(pairs.distances_nm), self.before(features)
        received = torch.zeros_like(sent).index_add(0, pairs.first, sent.index_select(0, pairs.second) * filters)
        return self.after(received.index_add(0, pairs.second, sent.index_select(0, pairs.first) * filters))


class SchNet(Network):
    """Energies of beads from `blocks` interactions."""

    def __init__(self, settings: SchNetSettings, n_kinds: int, blocks: int) -> None:
        super().__init__()
        activation = ACTIVATIONS[settings.activation]()
        self.embedding = torch.nn.Embedding(n_kinds, settings.features)
        self.blocks = torch.nn.ModuleList(Interaction(settings, activation) for _ in range(blocks))
        self.energy = MLP([settings.features, max(1, settings.features // 2), 1], activation)

    def forward(self, kinds: Tensor, pairs: Reached) -> Tensor:
        """Return the energy of each bead, (beads,)."""
        features = self.embedding(kinds)
        for block in self.blocks:
            features = features + block(features, pairs)
        return self.energy(features).squeeze(1)

    def tabulate(self) -> None:
        """Replace the filters, most of the cost, by tables."""
        for block in self.blocks:
            block.filter = FilterTable(block.filter, block.filter.cutoff_nm)


def build(settings: SchNetSettings, n_kinds: int) -> NetworkField:
    """Return an untrained model."""
    between = SchNet(settings, n_kinds, settings.blocks)
    within = SchNet(settings, n_kinds, settings.intra_blocks) if settings.intra_blocks else None
    return NetworkField("schnet", settings, n_kinds, between, within)
