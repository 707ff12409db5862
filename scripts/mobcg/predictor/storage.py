"""A trained model on disk, as `mobcg.weights` writes it; what lies in a release must be what the release says."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from pathlib import Path
from typing import Any

from mobcg.database.manifest import CHECKSUMS, read_checksums
from mobcg.errors import InputError
from mobcg.predictor import models
from mobcg.weights import ADVICE, HEADER, WEIGHTS, load_weights, read_file, save_weights

MODELS = tuple(sorted(module.name for module in pkgutil.iter_modules(models.__path__)))


def model_module(name: str, where: object = "--model"):
    """Return the module of a model; see `mobcg.predictor.models` for what is in it.

    Raises
    ------
    InputError
        There is no such model.
    """
    if name not in MODELS:
        raise InputError(where, "model", name, " | ".join(MODELS))
    return importlib.import_module(f"{models.__name__}.{name}")


def save_model(directory: Path, name: str, model: Any) -> None:
    """Write weights.safetensors and then model.json, see `mobcg.weights.save_weights`.

    Arrays keep their type: a model that is to be small on disk holds float16 itself, and predicts with it.
    """
    save_weights(directory, name, {**model.settings, "format": model_module(name).FORMAT}, model.arrays)


def load_model(directory: Path):
    """Return the model that `save_model` wrote; nothing in the files is executed.

    Where the directory is `<release>/models/<model>`, both files must be what SHA256SUMS of the release says.

    Raises
    ------
    InputError
        The directory holds no whole model, its files are not the ones that belong together or to the release, or what
        they hold is not of this model as this mobcg knows it.
    """
    name, settings, arrays = load_weights(directory, read_model_file)
    module = model_module(name, directory / HEADER)
    found = settings.pop("format", 1)
    if found != module.FORMAT:
        advice = "Another mobcg wrote this model: use that one, or a release that this one made."
        raise InputError(directory / HEADER, "settings.format", found, module.FORMAT, advice)
    return module.Model.restore(settings, arrays)


def read_model_file(path: Path, max_bytes: int) -> bytes:
    """Return a file of a model; where it lies in a release, only if it is what SHA256SUMS of the release says.

    Raises
    ------
    InputError
        There is no such file, it is larger than `max_bytes`, or it is another.
    """
    if not path.is_file() and path.with_name("weights.npz").is_file():
        advice = "Name a release that a newer mobcg made, or make it again."
        raise InputError(path.parent, "", "weights.npz of an older mobcg", WEIGHTS, advice)
    content = read_file(path, max_bytes)
    directory = path.resolve().parent
    checksums = directory.parent.parent / CHECKSUMS
    if directory.parent.name == "models" and checksums.is_file():
        sums, digest = read_checksums(checksums), hashlib.sha256(content).hexdigest()
        promised = sums.get(f"models/{directory.name}/{path.name}", "a file that it lists")
        if digest != promised:
            raise InputError(path, "", f"SHA-256 {digest[:16]}…", f"{promised[:20]}… of {checksums}", ADVICE)
    return content
