"""A trained model on disk: numbers as .npy arrays in a zip, the rest as JSON. Loading executes nothing."""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

import numpy as np

from mobcg.errors import InputError
from mobcg.predictor import models
from mobcg.records import atomic_path

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


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def save_model(directory: Path, name: str, model: Any) -> None:
    """Write weights.npz and then model.json, atomically; the same model gives the same bytes.

    model.json comes last and holds the SHA-256 of the weights, so that a directory that a killed run left behind is
    not taken for a model.
    """
    with atomic_path(directory / "weights.npz") as temporary:
        with temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **{key: model.arrays[key] for key in sorted(model.arrays)})
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    write_json(directory / "model.json", {"model": name, "settings": model.settings, "weights_sha256": digest})


def load_model(directory: Path):
    """Return the model that `save_model` wrote; nothing in the files is executed.

    Raises
    ------
    InputError
        The directory holds no whole model, or its weights are not the ones that belong to it.
    """
    header_path, weights_path = directory / "model.json", directory / "weights.npz"
    if not header_path.is_file() or not weights_path.is_file():
        raise InputError(
            directory, "", "no model", "model.json and weights.npz, as `mobcg.predictor.train` writes them"
        )
    header = json.loads(header_path.read_text())
    digest = hashlib.sha256(weights_path.read_bytes()).hexdigest()
    if digest != header["weights_sha256"]:
        raise InputError(weights_path, "", f"SHA-256 {digest[:16]}…", f"{header['weights_sha256'][:16]}… of model.json")
    with np.load(weights_path, allow_pickle=False) as arrays:
        return model_module(header["model"], header_path).Model.restore(
            header["settings"], {key: arrays[key] for key in arrays.files}
        )
