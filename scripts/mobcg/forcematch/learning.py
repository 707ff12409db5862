r"""How a many-body model learns: forces, and with a weight λ energies, by Adam.

    loss = ⟨|F_CG − F_AA|²⟩ / ⟨|F_AA|²⟩ + λ var(u_CG − u_AA) / var(u_AA),    u = U / molecules

Both terms are 1 for a model that says nothing, so that λ means the same for every liquid, size and temperature. The
variances are taken within a state point, of u_CG − u_AA within the frames of one step: an energy is free up to a
constant, and what a molecule's own degrees of freedom hold differs from state point to state point.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from mobcg.config import NetworkSettings
from mobcg.errors import InputError, SimulationError
from mobcg.forcematch.field import Pairs, accelerator, evaluate, pairs_within
from mobcg.forcematch.frames import Frames, Residuals, share_explained, time_blocks
from mobcg.forcematch.network import NetworkField, build
from mobcg.forcematch.storage import restore, tensors_of
from mobcg.records import atomic_path

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Scales:
    """Mean square of a component of the net forces, (kJ/mol/nm)², and variance of u, (kJ/mol)², None without it."""

    force: float
    energy: float | None


@dataclass(frozen=True)
class Progress:
    """How far a training is: a line an epoch, core-seconds in all, and the tensors of the epoch that did best."""

    history: list[dict[str, float]] = field(default_factory=list)
    core_s: float = 0.0
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best_epoch(self) -> int:
        """Epoch, from 1, with the best validation R²; 0 before the first."""
        return 1 + int(np.argmax([line["validation_r2"] for line in self.history])) if self.history else 0


class Sample:
    """Frames where the network is, their pairs found once.

    Parameters
    ----------
    frames, cutoff_nm
        Frames, and the reach of the model.
    device
        Where the network is.
    """

    def __init__(self, frames: Frames, cutoff_nm: float, device: torch.device) -> None:
        self.frames = frames
        self.positions = torch.from_numpy(frames.positions_nm).to(device)
        self.forces = torch.from_numpy(frames.forces_kj_mol_nm).to(device)
        self.n_molecules = len(np.unique(frames.beads.molecules))
        self.molecules = torch.from_numpy(frames.beads.molecules).to(device)
        energies = frames.energies_kj_mol
        self.energies = None if energies is None else torch.from_numpy(energies).to(device) / self.n_molecules
        self.pairs = []
        for positions in frames.positions_nm:
            found = pairs_within(positions[None], frames.box_length_nm, cutoff_nm)
            self.pairs.append(torch.stack([found.first, found.second]).to(device, torch.int32))

    def predict(self, model: NetworkField, rows: NDArray, graph: bool = False) -> tuple[Tensor, Tensor]:
        """Return forces (rows, beads, 3) and energies per molecule (rows,) of some frames."""
        n_beads = len(self.frames.beads)
        joined = torch.cat([self.pairs[row].long() + place * n_beads for place, row in enumerate(rows)], dim=1)
        positions = self.positions[torch.from_numpy(rows)]
        pairs = Pairs(joined[0], joined[1])
        found = evaluate(model, self.frames.beads, positions, self.frames.box_length_nm, pairs, graph)
        return found.forces_kj_mol_nm, found.energies_kj_mol / self.n_molecules


def scales_of(sets: Sequence[Frames], energy_weight: float) -> Scales:
    """Return what makes forces and energies of the train frames numbers of the order of one.

    Raises
    ------
    InputError
        The energy is to be learned, and frames are without energies.
    """
    squares = np.concatenate([frames.forces_kj_mol_nm.ravel() for frames in sets]) ** 2
    if energy_weight == 0:
        return Scales(float(squares.mean()), None)
    variances = []
    for frames in sets:
        if frames.energies_kj_mol is None:
            advice = "Set energy_weight: 0, or run the atomistic leg again with a newer mobcg."
            raise InputError("force matching", "potential_kj_mol", None, "an energy of each frame", advice)
        variances.append(np.var(frames.energies_kj_mol / len(np.unique(frames.beads.molecules)), ddof=1))
    return Scales(float(squares.mean()), float(np.mean(variances)))


def errors_of(model: NetworkField, sample: Sample, rows: NDArray, scales: Scales) -> tuple[Tensor, Tensor]:
    """Return the two terms of the loss, without λ, of some frames of one box; differentiable by the weights."""
    forces, energies = sample.predict(model, rows, graph=True)
    index = torch.from_numpy(rows)
    force = torch.mean((forces - sample.forces[index].to(forces)) ** 2) / scales.force
    if scales.energy is None:
        return force, torch.zeros_like(force)
    assert sample.energies is not None
    return force, torch.var(energies - sample.energies[index].to(energies)) / scales.energy


def steps_of(sets: Sequence[int], batch_frames: int, seed: int, epoch: int) -> Iterator[tuple[int, NDArray]]:
    """Yield (set, frames) of each step of an epoch: every frame once, each step in one box, in an order of the seed.

    Parameters
    ----------
    sets
        Frames in each set.
    """
    rng = np.random.default_rng([seed, epoch])
    steps = []
    for number, frames in enumerate(sets):
        # No step gets fewer than batch_frames, of which two may be needed for a variance.
        steps += [(number, rows) for rows in np.array_split(rng.permutation(frames), max(1, frames // batch_frames))]
    yield from (steps[place] for place in rng.permutation(len(steps)))


@dataclass(frozen=True)
class Measured:
    """What a model leaves of the squared forces on beads and of the net ones on molecules, and energies per molecule.

    Residuals are in blocks of time, energies (frames,) in kJ/mol. Of one bead a molecule both residuals are the same.
    """

    beads: Residuals
    molecules: Residuals
    energies_kj_mol: NDArray[np.float64]


def measured(model: NetworkField, sample: Sample, batch_frames: int) -> Measured:
    """Return what a model says of some frames, and what of their forces it leaves."""
    left, squared, energies = [], [], []
    start = 0
    for block in time_blocks(sample.frames):
        rows = np.arange(start, start + len(block))
        start += len(block)
        totals, wholes = np.zeros(2), np.zeros(2)
        for few in np.array_split(rows, -(-len(rows) // batch_frames)):
            forces, energy = sample.predict(model, few)
            known = sample.forces[torch.from_numpy(few)]
            totals += _squares(forces.double() - known, sample)
            wholes += _squares(known, sample)
            energies.append(energy.double().cpu().numpy())
        left.append(totals)
        squared.append(wholes)
    residuals = (Residuals(*columns) for columns in zip(np.transpose(left), np.transpose(squared), strict=True))
    return Measured(*residuals, np.concatenate(energies))


def _squares(forces: Tensor, sample: Sample) -> tuple[float, float]:
    """Return Σ |F|² of forces (frames, beads, 3) over beads, and of their sums in each molecule over molecules."""
    net = forces.new_zeros(len(forces), sample.n_molecules, 3).index_add(1, sample.molecules, forces)
    return float(torch.sum(forces**2)), float(torch.sum(net**2))


def accuracy(model: NetworkField, sets: Sequence[Frames], batch_frames: int) -> dict[str, Any]:
    """Return R² of the forces of all sets and of each, with standard errors, and how energies go with the atoms'.

    `molecules` is the same of the net forces on molecules, where these are several beads: a stiff bond is most of the
    force on each, and says nothing of the liquid. `energy_correlation` is Pearson's, of each set; None where the frames
    have no energies.
    """
    device = next(model.parameters()).device
    found, correlations = [], []
    for frames in sets:
        one = measured(model, Sample(frames, model.cutoff_nm, device), batch_frames)
        found.append(one)
        known = frames.energies_kj_mol is not None and len(frames) > 1
        correlations.append(float(np.corrcoef(one.energies_kj_mol, frames.energies_kj_mol)[0, 1]) if known else None)
    several = any(len(np.unique(frames.beads.molecules)) < len(frames.beads) for frames in sets)
    of_molecules = {"molecules": r2_of([one.molecules for one in found])} if several else {}
    return {**r2_of([one.beads for one in found]), **of_molecules, "energy_correlation": correlations}


def r2_of(residuals: Sequence[Residuals]) -> dict[str, Any]:
    """Return `share_explained` of all sets, and of each, as a record holds it."""
    r2, error = share_explained(residuals)
    each = [dict(zip(("r2", "r2_se"), share_explained([one]), strict=True)) for one in residuals]
    return {"r2": r2, "r2_se": error, "sets": each}


def data_sha256(sets: Sequence[Frames]) -> str:
    """Return the SHA-256 of all that is learned from."""
    digest = hashlib.sha256()
    for frames in sets:
        arrays = [frames.positions_nm, frames.forces_kj_mol_nm, *asdict(frames.beads).values()]
        arrays += [np.array([frames.box_length_nm, frames.temperature_k])]
        arrays += [] if frames.energies_kj_mol is None else [frames.energies_kj_mol]
        for array in arrays:
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def train(
    name: str,
    settings: NetworkSettings,
    sets: Sequence[Frames],
    seed: int,
    checkpoint: Path | None = None,
    report: Callable[[str], None] = print,
) -> tuple[NetworkField, dict[str, Any]]:
    """Return a trained model and the record of its training.

    Each set is parted by time into train, validation and test frames (`Frames.split`). The model is the one of the
    epoch with the best force on the validation frames; test frames are looked at once, at the end. On one thread of
    one machine the same data, settings and seed give the same weights to the bit, interrupted or not.

    Parameters
    ----------
    name, settings
        A model of `mobcg.config.NETWORK_SETTINGS` and its settings.
    sets
        Frames of one or more state points; boxes and numbers of beads may differ.
    seed
        Of the first weights and of the order of the frames.
    checkpoint
        File that holds the state of the training after each epoch; a training of the same data, settings and seed that
        was interrupted goes on from it.
    report
        Called with a line each epoch.

    Raises
    ------
    InputError
        Model, settings or frames are wrong, or a library is missing.
    SimulationError
        The loss is no longer a number.
    """
    parts = dict(zip(PARTS, zip(*(frames.split() for frames in sets), strict=True), strict=True))
    scales = scales_of(parts["train"], settings.energy_weight)
    device = accelerator()
    model = build(name, settings, parts["train"], seed).to(device)
    key = {"model": name, "settings": model.settings.model_dump(), "seed": seed, "data_sha256": data_sha256(sets)}
    optimizer = torch.optim.Adam(model.parameters(), settings.learning_rate)
    progress = _resume(checkpoint, key, model, optimizer, report)
    learn, validate = (
        [Sample(frames, model.cutoff_nm, device) for frames in parts[part]] for part in ("train", "validation")
    )
    while len(progress.history) < min(settings.epochs, progress.best_epoch + settings.patience):
        progress = _epoch(model, optimizer, learn, validate, scales, seed, progress)
        report(_line(progress, settings.epochs))
        if checkpoint is not None:
            _write(checkpoint, key, model, optimizer, progress)
    restore(model, progress.best)
    model.requires_grad_(False)
    record = {
        **key,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "scales": asdict(scales),
        "sets": [described(frames) for frames in sets],
        "accuracy": {part: accuracy(model, frames, settings.batch_frames) for part, frames in parts.items()},
        "history": progress.history,
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch,
        "core_s": progress.core_s,
    }
    return model.cpu(), record


def described(frames: Frames) -> dict[str, Any]:
    """Return how much data there is, and of which state point."""
    return {
        "frames": len(frames),
        "beads": len(frames.beads),
        "molecules": len(np.unique(frames.beads.molecules)),
        "box_length_nm": frames.box_length_nm,
        "temperature_k": frames.temperature_k,
    }


def _epoch(
    model: NetworkField,
    optimizer: torch.optim.Adam,
    learn: list[Sample],
    validate: list[Sample],
    scales: Scales,
    seed: int,
    progress: Progress,
) -> Progress:
    begun_s, settings, epoch = time.process_time(), model.settings, len(progress.history)
    fall = (settings.last_learning_rate / settings.learning_rate) ** (epoch / max(1, settings.epochs - 1))
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * fall
    totals, frames = np.zeros(2), 0
    for number, rows in steps_of([len(sample.frames) for sample in learn], settings.batch_frames, seed, epoch):
        force, energy = errors_of(model, learn[number], rows, scales)
        optimizer.zero_grad()
        (force + settings.energy_weight * energy).backward()
        optimizer.step()
        totals += len(rows) * np.array([force.item(), energy.item()])
        frames += len(rows)
    if not np.isfinite(totals).all():
        raise SimulationError(f"the loss of epoch {epoch + 1} is {totals[0] / frames:g}: try a smaller learning_rate")
    r2, _ = share_explained([measured(model, sample, settings.batch_frames).beads for sample in validate])
    line = {
        "train_force_error": totals[0] / frames,
        "train_energy_error": None if scales.energy is None else totals[1] / frames,
        "validation_r2": r2,
        "learning_rate": settings.learning_rate * fall,
    }
    better = r2 > max((old["validation_r2"] for old in progress.history), default=-np.inf)
    best = {key: value.clone() for key, value in tensors_of(model).items()} if better else progress.best
    return Progress([*progress.history, line], progress.core_s + time.process_time() - begun_s, best)


def _line(progress: Progress, epochs: int) -> str:
    done, last = len(progress.history), progress.history[-1]
    each = progress.core_s / done / torch.get_num_threads()
    energy = last["train_energy_error"]
    return (
        f"epoch {done} of {epochs}: force error {last['train_force_error']:.4f}"
        + ("" if energy is None else f", energy error {energy:.3f}")
        + f", validation R² {last['validation_r2']:.4f} (best: epoch {progress.best_epoch}), {each:.2f} s an epoch, "
        f"at most {(epochs - done) * each / 60:.1f} min left"
    )


def _write(
    path: Path, key: dict[str, Any], model: NetworkField, optimizer: torch.optim.Adam, progress: Progress
) -> None:
    adam = optimizer.state_dict()["state"]
    tensors = {f"now/{name}": value for name, value in tensors_of(model).items()}
    tensors |= {f"best/{name}": value for name, value in progress.best.items()}
    tensors |= {f"adam/{number}/{name}": value for number, one in adam.items() for name, value in one.items()}
    text = {"key": json.dumps(key, sort_keys=True), "history": json.dumps(progress.history)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, text | {"core_s": repr(progress.core_s)})


def _resume(
    path: Path | None,
    key: dict[str, Any],
    model: NetworkField,
    optimizer: torch.optim.Adam,
    report: Callable[[str], None],
) -> Progress:
    if path is None or not path.is_file():
        return Progress()
    try:
        with safetensors.safe_open(path, "pt") as stream:
            text = stream.metadata()
            # It is no dictionary: only keys() lists them.
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise InputError(path, "", str(error), "the checkpoint of a training", "Delete it and start again.") from None
    if text["key"] != json.dumps(key, sort_keys=True):
        report(f"{path} is of another training: this one starts from the beginning")
        return Progress()
    device = next(model.parameters()).device
    below: dict[str, dict[str, Tensor]] = {"now": {}, "best": {}, "adam": {}}
    for name, value in tensors.items():
        group, rest = name.split("/", 1)
        below[group][rest] = value.to(device)
    restore(model, below["now"])
    state = optimizer.state_dict()
    for name, value in below["adam"].items():
        number, what = name.split("/")
        state["state"].setdefault(int(number), {})[what] = value.cpu() if what == "step" else value
    optimizer.load_state_dict(state)
    history = json.loads(text["history"])
    report(f"{path}: going on after epoch {len(history)}")
    return Progress(history, float(text["core_s"]), below["best"])
