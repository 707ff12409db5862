"""A force-matched model on disk, as `mobcg.weights` writes it: weights.safetensors and model.json, no code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mobcg.config import NETWORK_SETTINGS, validate
from mobcg.errors import InputError, SimulationError
from mobcg.forcematch.network import NetworkField, rebuild
from mobcg.forcematch.pair_fm import PairForce
from mobcg.weights import ADVICE, HEADER, WEIGHTS, load_weights, save_weights

Model = NetworkField | PairForce
FAILED = "failed"


def arrays_of(model: Model) -> dict[str, NDArray]:
    """Return all numbers of a model by name."""
    if isinstance(model, PairForce):
        return {
            "start_nm": np.array(model.start_nm),
            "coefficients": model.coefficients,
            "block_coefficients": model.block_coefficients,
        }
    return {key: value.detach().cpu().numpy() for key, value in tensors_of(model).items()}


def tensors_of(field: NetworkField) -> dict[str, torch.Tensor]:
    """Return the tensors of a network by name; hippynn keeps constants of its own among them."""
    return {key: value for key, value in field.state_dict().items() if isinstance(value, torch.Tensor)}


def save(model: Model, directory: Path) -> None:
    """Write a model; the same model gives the same bytes."""
    if isinstance(model, PairForce):
        save_weights(directory, "pair_fm", {}, arrays_of(model))
    else:
        settings = {"n_kinds": model.n_kinds, **model.settings.model_dump()}
        save_weights(directory, model.name, settings, arrays_of(model))


def save_failure(directory: Path, name: str, reason: str) -> None:
    """Write in place of a model that its training diverged: that too is a result, which `load` tells."""
    save_weights(directory, FAILED, {"model": name, "reason": reason}, {})


def load(directory: Path) -> Model:
    """Return the model that `save` wrote, ready for use; nothing in the files is executed.

    Raises
    ------
    InputError
        The directory holds no whole model, its files do not belong together, or its library is not installed.
    SimulationError
        The training diverged.
    """
    name, settings, arrays = load_weights(directory)
    if name == FAILED:
        raise SimulationError(str(settings.get("reason")))
    header, weights = directory / HEADER, directory / WEIGHTS
    if name == "pair_fm":
        if arrays.keys() != {"start_nm", "coefficients", "block_coefficients"}:
            raise InputError(weights, "", sorted(arrays), "the arrays of pair_fm", ADVICE)
        return PairForce(float(arrays["start_nm"]), arrays["coefficients"], arrays["block_coefficients"])
    if name not in NETWORK_SETTINGS:
        raise InputError(header, "model", name, " | ".join(["pair_fm", *NETWORK_SETTINGS]), ADVICE)
    n_kinds = settings.pop("n_kinds", None)
    if type(n_kinds) is not int or not 1 <= n_kinds <= 1000:
        raise InputError(header, "settings.n_kinds", n_kinds, "a whole number from 1 to 1000", ADVICE)
    field = rebuild(name, validate(NETWORK_SETTINGS[name], settings, header), n_kinds)
    try:
        restore(field, {key: torch.from_numpy(value) for key, value in arrays.items()})
    except RuntimeError as error:
        raise InputError(weights, "", str(error), f"the weights of this {name}", ADVICE) from None
    return field.requires_grad_(False)


def restore(field: NetworkField, tensors: dict[str, torch.Tensor]) -> None:
    """Give a network the tensors that `tensors_of` returned.

    Raises
    ------
    RuntimeError
        They are not those of this network.
    """
    field.load_state_dict({**field.state_dict(), **tensors} if tensors.keys() == tensors_of(field).keys() else tensors)
