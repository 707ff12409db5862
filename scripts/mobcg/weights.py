"""A model on disk: numbers in weights.safetensors, the rest in model.json. Loading executes nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mobcg.errors import InputError
from mobcg.records import atomic_path, write_json

HEADER, WEIGHTS = "model.json", "weights.safetensors"
# No model of ours is near these: what is larger was not made by us and need not be read.
MAX_HEADER_BYTES, MAX_WEIGHTS_BYTES = 10**6, 10**8
ADVICE = "Do not use this model; get the release again."


def weights_bytes(arrays: Mapping[str, NDArray]) -> bytes:
    """Return arrays as a safetensors file; the same arrays give the same bytes."""
    return save({key: np.asarray(value, order="C") for key, value in arrays.items()})


def save_weights(directory: Path, name: str, settings: dict[str, Any], arrays: Mapping[str, NDArray]) -> None:
    """Write weights.safetensors and then model.json, atomically; the same model gives the same bytes.

    model.json comes last and holds the SHA-256 of the weights, so that a directory that a killed run left behind is
    not taken for a model.
    """
    content = weights_bytes(arrays)
    with atomic_path(directory / WEIGHTS) as temporary:
        temporary.write_bytes(content)
    header = {"model": name, "settings": settings, "weights_sha256": hashlib.sha256(content).hexdigest()}
    write_json(directory / HEADER, header)


def load_weights(
    directory: Path, read: Callable[[Path, int], bytes] | None = None
) -> tuple[str, dict[str, Any], dict[str, NDArray]]:
    """Return name, settings and arrays that `save_weights` wrote; nothing in the files is executed.

    The weights are read once, compared with the SHA-256 in model.json, and parsed from the same bytes.

    Parameters
    ----------
    read
        Returns the content of a file of at most so many bytes; `read_file` where nothing else is asked of it.

    Raises
    ------
    InputError
        The directory holds no whole model, or its files are not the ones that belong together.
    """
    read = read or read_file
    header_path, weights_path = directory / HEADER, directory / WEIGHTS
    header_bytes = read(header_path, MAX_HEADER_BYTES)
    content = read(weights_path, MAX_WEIGHTS_BYTES)
    header = _read_header(header_path, header_bytes)
    digest = hashlib.sha256(content).hexdigest()
    if digest != header["weights_sha256"]:
        allowed = f"{header['weights_sha256'][:16]}… of {HEADER}"
        raise InputError(weights_path, "", f"SHA-256 {digest[:16]}…", allowed, ADVICE)
    try:
        arrays = load(content)
    except (SafetensorError, ValueError, KeyError) as error:  # ValueError, KeyError: a type that NumPy does not have
        raise InputError(weights_path, "", str(error), "a safetensors file", ADVICE) from None
    return header["model"], header["settings"], arrays


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return a file of a model.

    Raises
    ------
    InputError
        There is no such file, or it is larger than `max_bytes`.
    """
    if not path.is_file():
        raise InputError(
            path.parent, "", f"no model: no {path.name}", f"{HEADER} and {WEIGHTS}, as training writes them"
        )
    if path.stat().st_size > max_bytes:
        raise InputError(path, "", f"{path.stat().st_size} bytes", f"at most {max_bytes} bytes", ADVICE)
    return path.read_bytes()


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
