"""One shot: the potential that a trained model proposes for a liquid it may never have seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobcg.errors import InputError, SimulationError
from mobcg.pair import R_NM, core_index
from mobcg.predictor.dataset import States
from mobcg.predictor.storage import load_model


@dataclass(frozen=True)
class Prediction:
    """U(r) and its standard error on the common grid, (150,) each, in kJ/mol; the error is the model's own estimate."""

    potential_kj_mol: NDArray[np.float64]
    potential_kj_mol_se: NDArray[np.float64]


def predict(
    model_dir: Path,
    rdf: ArrayLike,
    number_density_nm3: float,
    temperature_k: float,
    mass_g_mol: float,
    diffusion_nm2_ns: float,
    n_beads: float = np.inf,
) -> Prediction:
    """Return the potential that the model in `model_dir` proposes, ready for molecular dynamics.

    Parameters
    ----------
    model_dir
        What `mobcg.predictor.train` wrote.
    rdf
        (150,) on `mobcg.pair.R_NM`, normalised by N − 1.
    number_density_nm3, temperature_k, mass_g_mol, diffusion_nm2_ns
        The liquid; models of structure alone use neither mass nor D.
    n_beads
        Molecules of the box in which g(r) was measured, which corrects its normalisation; inf: no correction.

    Raises
    ------
    InputError
        A value is not finite or not positive, g(r) has the wrong shape or no liquid in it, or the directory holds no
        model.
    SimulationError
        What the model proposes has no repulsive wall.
    """
    curve = np.asarray(rdf, np.float64)
    if curve.shape != R_NM.shape or not np.all(np.isfinite(curve)) or curve.min() < 0:
        raise InputError("predict", "rdf", f"shape {curve.shape}", "150 finite values ≥ 0 on the common grid")
    numbers = {
        "number_density_nm3": number_density_nm3,
        "temperature_k": temperature_k,
        "mass_g_mol": mass_g_mol,
        "diffusion_nm2_ns": diffusion_nm2_ns,
    }
    for name, value in numbers.items():
        if not (np.isfinite(value) and value > 0):
            raise InputError("predict", name, value, "a finite number above 0")
    if not n_beads >= 2:
        raise InputError("predict", "n_beads", n_beads, "at least 2, or inf")
    states = States(
        rdf=curve[None],
        **{name: np.array([value], np.float64) for name, value in numbers.items()},
        n_beads=np.array([n_beads], np.float64),
    )
    try:
        core_index(curve)
    except ValueError as problem:
        raise InputError(
            "predict", "rdf", str(problem), "the g(r) of a liquid, core and first shell included"
        ) from None
    try:
        potential, error = load_model(model_dir).predict(states)
    except ValueError as problem:
        raise SimulationError(f"the model in {model_dir} gives no usable potential: {problem}") from None
    return Prediction(potential[0], error[0])
