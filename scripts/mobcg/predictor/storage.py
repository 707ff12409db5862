"""A trained model on disk: numbers in weights.safetensors, the rest in model.json. Loading executes nothing."""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mobcg.database.manifest import CHECKSUMS, read_checksums
from mobcg.errors import InputError
from mobcg.predictor import models
from mobcg.records import atomic_path

HEADER, WEIGHTS = "model.json", "weights.safetensors"
# No model of ours is near these: what is larger was not made by us and need not be read.
MAX_HEADER_BYTES, MAX_WEIGHTS_BYTES = 10**6, 10**8
ADVICE = "Do not use this model; get the release again."
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
    """Write weights.safetensors and then model.json, atomically; the same model gives the same bytes.

    Arrays keep their type: a model that is to be small on disk holds float16 itself, and predicts with it.
    model.json comes last and holds the SHA-256 of the weights, so that a directory that a killed run left behind is
    not taken for a model.
    """
    content = save({key: np.asarray(value, order="C") for key, value in model.arrays.items()})
    with atomic_path(directory / WEIGHTS) as temporary:
        temporary.write_bytes(content)
    header = {"model": name, "settings": model.settings, "weights_sha256": hashlib.sha256(content).hexdigest()}
    write_json(directory / HEADER, header)


def load_model(directory: Path):
    """Return the model that `save_model` wrote; nothing in the files is executed.

    The weights are read once, compared with the SHA-256 in model.json, and parsed from the same bytes. Where the
    directory is `<release>/models/<model>`, both files must be what SHA256SUMS of the release says.

    Raises
    ------
    InputError
        The directory holds no whole model, its files are not the ones that belong together or to the release, or what
        they hold is not of this model.
    """
    header_path, weights_path = directory / HEADER, directory / WEIGHTS
    header_bytes = read_model_file(header_path, MAX_HEADER_BYTES)
    weights_bytes = read_model_file(weights_path, MAX_WEIGHTS_BYTES)
    header = _read_header(header_path, header_bytes)
    digest = hashlib.sha256(weights_bytes).hexdigest()
    if digest != header["weights_sha256"]:
        allowed = f"{header['weights_sha256'][:16]}… of {HEADER}"
        raise InputError(weights_path, "", f"SHA-256 {digest[:16]}…", allowed, ADVICE)
    try:
        arrays = load(weights_bytes)
    except (SafetensorError, ValueError, KeyError) as error:  # ValueError, KeyError: a type that NumPy does not have
        raise InputError(weights_path, "", str(error), "a safetensors file", ADVICE) from None
    return model_module(header["model"], header_path).Model.restore(header["settings"], arrays)


def _read_header(path: Path, content: bytes) -> dict[str, Any]:
    try:
        header = json.loads(content)
        texts = [header["model"], header["weights_sha256"]]
        if not all(isinstance(text, str) for text in texts) or not isinstance(header["settings"], dict):
            raise TypeError("a value of the wrong type")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        allowed = "JSON with the keys model, settings and weights_sha256"
        raise InputError(path, "", f"{type(error).__name__}: {error}", allowed, ADVICE) from None
    return header


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
    if not path.is_file():
        allowed = f"{HEADER}, {WEIGHTS} and training.json, as `mobcg.predictor.train` writes them"
        raise InputError(path.parent, "", f"no model: no {path.name}", allowed)
    if path.stat().st_size > max_bytes:
        raise InputError(path, "", f"{path.stat().st_size} bytes", f"at most {max_bytes} bytes", ADVICE)
    content = path.read_bytes()
    directory = path.resolve().parent
    checksums = directory.parent.parent / CHECKSUMS
    if directory.parent.name == "models" and checksums.is_file():
        sums, digest = read_checksums(checksums), hashlib.sha256(content).hexdigest()
        promised = sums.get(f"models/{directory.name}/{path.name}", "a file that it lists")
        if digest != promised:
            raise InputError(path, "", f"SHA-256 {digest[:16]}…", f"{promised[:20]}… of {checksums}", ADVICE)
    return content
