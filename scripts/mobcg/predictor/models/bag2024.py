"""bag2024: the published networks (Bag, Meinel and Müller-Plathe, JCTC 2024) on our common grid, the seed to beat.

As published: inputs [mass in g/mol, D in nm²/ns, g(r)], unscaled; dense 585-490-411-345 with LeakyReLU 0.05 and a
linear output U in kcal/mol; L2 1.0791e-6 on the weights; mean squared error; Adam from 3.5293e-3 down in a straight
line to 5e-5 over 200 epochs; batches of 32 and Glorot-uniform weights (the defaults of Keras); ten networks, each
trained on all but one of ten folds, and their mean. A second network of 499-453-411-373-338 (L2 1.4280e-6, Adam from
1.1018e-3) takes the U of the first and gives U inside, standardised output by output, shifted to meet the first at
0.5 nm. Source: the scripts deposited with the paper (github.com/saientan/database_and_ML_CG_Mobi).

Adapted to our grid, and nothing else on purpose:

- g enters on 0.105–1.495 nm (140 bins of 0.01 nm; published 0.1–2.5 nm, 481 of 0.005 nm), because g of the release
  ends at 1.5 nm; U leaves on 0.505–1.495 nm (100 bins; published 0.5–1.55 nm, 1050 of 0.001 nm) and, from the second
  network, on 0.305–0.495 nm (20 bins; published 200).
- The folds part parent potentials, not rows: the published random folds had copies of each potential on both sides.
- Inside contact (g < 0.005) the wall is that of `mobcg.pair`, like every potential of the release, and not the
  published line of 1000 kcal/mol/Å below 0.3 nm, which no bead reaches.
- The raw output is jagged; it is smoothed and cut off by `mobcg.predictor.shaping` before it becomes a table. The
  published tables were run as they came.
- With few rows, fewer folds (`folds`) and epochs (`epochs`) may be asked for.
- Weights are kept as whole numbers of −127 to 127 and one scale for each output of a layer: a quarter of the space, and
  U moves by less than 0.01 kT. A release has `RELEASED["networks"]` of the ten networks, 6 MB: U is then that of the
  ten within a third of their spread (0.02 kT in the mean, 0.05 at most, on liquids of the scale quick). Scores come
  from all.

U of the training rows is in the core a hundred times that outside it; the second network is trained on it as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobcg.pair import R_NM
from mobcg.predictor.dataset import Liquids, States, structure_rows
from mobcg.predictor.shaping import shape
from mobcg.units import KJ_PER_KCAL

# Training needs torch and scikit-learn, which take seconds to import; a prediction needs neither.
if TYPE_CHECKING:
    import torch
    from torch import nn

CARD = (
    "The published network of Bag, Meinel and Müller-Plathe (2024): pair potential from bead mass, self-diffusion "
    "coefficient and g(r), unscaled, with the second network for the core. It is given the D of the atomistic liquid, "
    "as published, and so is asked for a potential that may not exist."
)
FORMAT = 1
DEFAULTS: dict[str, Any] = {
    "folds": 10,
    "networks": 10,
    "epochs": 200,
    "batch": 32,
    "outer": {"layers": [585, 490, 411, 345], "l2": 1.0791229413615787e-06, "rate": 0.0035292103726574675},
    "inner": {"layers": [499, 453, 411, 373, 338], "l2": 1.4280078163203768e-06, "rate": 0.0011017540366192419},
    "last_rate": 5e-5,
    "leak": 0.05,
}
# What differs in the model of a release, which is trained on every molecule.
RELEASED: dict[str, Any] = {"networks": 4}
LARGEST_WHOLE = 127
INPUT_BINS = R_NM > 0.1
OUTER_BINS = R_NM > 0.5
INNER_BINS = (R_NM > 0.3) & (R_NM < 0.5)
REPORT_EVERY_S = 5.0
PARTS = ("weight", "scale", "bias")


@dataclass(frozen=True)
class Model:
    """Trained networks: `<outer|inner>.<network>.<weight|scale|bias>.<layer>`, and the scaler of the inner ones."""

    settings: dict[str, Any]
    arrays: dict[str, NDArray]
    history: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def restore(cls, settings: dict[str, Any], arrays: dict[str, NDArray]) -> Model:
        """Return the model that `settings` and `arrays` were saved from."""
        return cls(settings, arrays)

    def predict(self, states: States) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return U and its standard error, (n, 150) each, in kJ/mol.

        The standard error is the spread of the networks: it knows nothing of what all of them have in common.

        Raises
        ------
        ValueError
            A g(r) has no liquid in it, or U falls nowhere.
        """
        raw = np.zeros((self.settings["networks"], len(states), R_NM.size))
        outer = self._ensemble("outer", _inputs(states))
        raw[:, :, OUTER_BINS] = outer
        inner = self._ensemble("inner", outer.mean(axis=0)) * self.arrays["inner_scale"] + self.arrays["inner_mean"]
        # The published join: the core is shifted, as a whole, to where the outer part begins.
        mean_inner = inner.mean(axis=0)
        inner += (outer.mean(axis=0)[:, :1] - mean_inner[:, -1:])[None]
        raw[:, :, INNER_BINS] = inner
        mean, spread = raw.mean(axis=0) * KJ_PER_KCAL, raw.std(axis=0) * KJ_PER_KCAL
        return shape(mean, states.rdf), spread

    def _ensemble(self, part: str, inputs: NDArray) -> NDArray[np.float64]:
        """Return the outputs (networks, n, bins) of all networks of one part."""
        depth = len(self.settings[part]["layers"]) + 1
        outputs = []
        for network in range(self.settings["networks"]):
            x = np.asarray(inputs, np.float32)
            for layer in range(depth):
                whole, scale, bias = (self.arrays[f"{part}.{network}.{name}.{layer}"] for name in PARTS)
                x = (x @ whole.T.astype(np.float32)) * scale + bias
                x = np.where(x > 0, x, self.settings["leak"] * x) if layer < depth - 1 else x
            outputs.append(x)
        return np.array(outputs, np.float64)


def _inputs(states: States) -> NDArray[np.float64]:
    return np.column_stack([states.mass_g_mol, states.diffusion_nm2_ns, states.rdf[:, INPUT_BINS]])


def train(liquids: Liquids, settings: dict[str, Any], seed: int, report: Callable[[str], None]) -> Model:
    """Return the ensemble of both networks, trained on every row without friction (masses and D are inputs).

    Where all rows share one parent potential there is nothing to leave out: one network learns from all of them.
    """
    import torch
    from torch import nn

    liquids = structure_rows(liquids)
    groups = np.unique(liquids.parent_potential_id, return_inverse=True)[1]
    folds = min(settings["folds"], int(groups.max()) + 1)
    potentials = liquids.potential_kj_mol / KJ_PER_KCAL
    outer, inner = potentials[:, OUTER_BINS], potentials[:, INNER_BINS]
    mean, scale = inner.mean(axis=0), inner.std(axis=0)
    scale[scale == 0] = 1.0
    parts = {"outer": (_inputs(liquids), outer), "inner": (outer, (inner - mean) / scale)}
    arrays: dict[str, NDArray] = {"inner_mean": mean, "inner_scale": scale}
    history: dict[str, Any] = {"rows": len(liquids), "parent_potentials": int(groups.max()) + 1}
    device = _device()
    clock = _Clock((2 * min(folds, settings["networks"]) + 1) * settings["epochs"], report)
    for part, (inputs, targets) in parts.items():
        losses, left_out = [], []
        for fold, (learn, check) in enumerate(_splits(groups, folds)[: settings["networks"]]):
            generator = torch.Generator().manual_seed(seed + fold + (1000 if part == "inner" else 0))
            network = _network(inputs.shape[1], settings[part]["layers"], targets.shape[1], settings["leak"], generator)
            network.to(device)
            tensors = [torch.tensor(values, dtype=torch.float32, device=device) for values in (inputs, targets)]
            losses.append(_fit(network, *(t[learn] for t in tensors), settings, part, generator, clock))
            if check.size:
                with torch.no_grad():
                    deviation = network(tensors[0][check]) - tensors[1][check]
                left_out.append(float(deviation.abs().mean()))
            for layer, dense in enumerate(module for module in network if isinstance(module, nn.Linear)):
                values = (*whole_numbers(dense.weight.detach().cpu().numpy()), dense.bias.detach().cpu().numpy())
                arrays |= {f"{part}.{fold}.{name}.{layer}": value for name, value in zip(PARTS, values, strict=True)}
        unit = "kcal_mol" if part == "outer" else "standardised"
        history[f"{part}_loss_per_epoch"] = np.mean(losses, axis=0).tolist()
        history[f"{part}_left_out_mae_{unit}"] = float(np.mean(left_out)) if left_out else None
    history["outer_random_rows_mae_kcal_mol"] = _random_rows_mae(*parts["outer"], settings, seed, clock)
    return Model({**settings, "folds": folds, "networks": min(folds, settings["networks"])}, arrays, history)


def _device() -> torch.device:
    """Return the GPU where there is one: random numbers are drawn on the CPU, so only rounding differs."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def whole_numbers(weight: NDArray) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return (out, in) whole numbers and (out,) scales whose product is nearest to the weights of a layer."""
    scale = np.maximum(np.abs(weight).max(axis=1), 1e-12) / LARGEST_WHOLE
    return np.rint(weight / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def _random_rows_mae(
    inputs: NDArray, targets: NDArray, settings: dict[str, Any], seed: int, clock: _Clock
) -> float | None:
    """Return the mean absolute error (kcal/mol) of one network on a tenth of the rows, drawn at random as published.

    The copies of each potential with other masses stay among the rows that it learns from: what this number hides is
    its distance to the error with whole parents left out.
    """
    import torch

    generator = torch.Generator().manual_seed(seed + 2000)
    order = torch.randperm(len(inputs), generator=generator)
    check, learn = order[: len(inputs) // 10], order[len(inputs) // 10 :]
    if not len(check):
        return None
    network = _network(inputs.shape[1], settings["outer"]["layers"], targets.shape[1], settings["leak"], generator)
    network.to(_device())
    x, y = (torch.tensor(values, dtype=torch.float32, device=_device()) for values in (inputs, targets))
    _fit(network, x[learn], y[learn], settings, "outer", generator, clock)
    with torch.no_grad():
        return float((network(x[check]) - y[check]).abs().mean())


def _splits(groups: NDArray, folds: int) -> list[tuple[NDArray, NDArray]]:
    """Return the rows that each network learns from and those left out to check it."""
    if folds < 2:
        return [(np.arange(groups.size), np.array([], int))]
    from sklearn.model_selection import GroupKFold

    return list(GroupKFold(folds).split(groups, groups=groups))


def _network(inputs: int, layers: list[int], outputs: int, leak: float, generator: torch.Generator) -> nn.Sequential:
    from torch import nn

    modules: list[nn.Module] = []
    widths = [inputs, *layers, outputs]
    for here, there in pairwise(widths):
        dense = nn.Linear(here, there)
        nn.init.xavier_uniform_(dense.weight, generator=generator)
        nn.init.zeros_(dense.bias)
        modules += [dense, nn.LeakyReLU(leak)]
    return nn.Sequential(*modules[:-1])


def _fit(
    network: nn.Sequential,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    settings: dict[str, Any],
    part: str,
    generator: torch.Generator,
    clock: _Clock,
) -> list[float]:
    """Train one network in place and return its mean squared error in each epoch."""
    import torch
    from torch import nn

    weights = [module.weight for module in network if isinstance(module, nn.Linear)]
    first, last, epochs = settings[part]["rate"], settings["last_rate"], settings["epochs"]
    optimizer = torch.optim.Adam(network.parameters(), lr=first, eps=1e-7)
    losses = []
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = first - (first - last) / epochs * epoch
        total = 0.0
        for rows in torch.randperm(len(inputs), generator=generator).split(settings["batch"]):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(network(inputs[rows]), targets[rows])
            penalty = settings[part]["l2"] * sum(weight.square().sum() for weight in weights)
            (loss + penalty).backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        losses.append(total / len(inputs))
        clock.tick(part, epoch + 1, losses[-1])
    return losses


class _Clock:
    """Reports epoch, loss and the time left, every few seconds."""

    def __init__(self, epochs_in_all: int, report: Callable[[str], None]) -> None:
        self.total, self.done, self.report = epochs_in_all, 0, report
        self.start = self.last = time.monotonic()

    def tick(self, part: str, epoch: int, loss: float) -> None:
        """Count one epoch."""
        self.done += 1
        now = time.monotonic()
        if now - self.last >= REPORT_EVERY_S or self.done == self.total:
            left_s = (now - self.start) / self.done * (self.total - self.done)
            self.report(
                f"{part} network, epoch {epoch}, loss {loss:.4g}; {self.done}/{self.total}, {left_s:.0f} s left"
            )
            self.last = now
