"""Train one model for one fold: `python -m mobcg.predictor.train --tables DIR --model mobcg --fold MOLECULE --out DIR`.

The fold names the molecule whose rows are held out, or `all`. Same tables, settings, seed and threads give the same
bytes in model.json, weights.safetensors, training.json and README.md; how long it took is printed. `--released DIR` in
place of `--tables DIR` takes over the model of a release instead.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from mobcg.errors import InputError
from mobcg.pair import CUTOFF_NM, R_NM, TAPER_WIDTH_NM, core_index
from mobcg.predictor.dataset import SPLITS, Liquids, data_hash, read_liquids, structure_rows
from mobcg.predictor.mobility import THERMOSTATS
from mobcg.predictor.storage import MODELS, load_model, model_module, read_model_file, save_model
from mobcg.programs import versions
from mobcg.records import atomic_path, write_json
from mobcg.step import run_step
from mobcg.units import thermal_energy_kj_mol
from mobcg.weights import MAX_HEADER_BYTES, MAX_WEIGHTS_BYTES

# The one that says that a directory is whole comes last.
MODEL_FILES = ("weights.safetensors", "training.json", "README.md", "model.json")


def potential_error_kt(model: Any, liquids: Liquids) -> float:
    """Return the mean over liquids, rows without friction, of the error of the predicted U/kT (dimensionless).

    Each is a root mean square over the bins from contact to the taper, weighted by r² g(r), as pairs are.
    """
    predicted, _ = model.predict(liquids)
    errors = []
    for u_predicted, u, rdf, temperature in zip(
        predicted, liquids.potential_kj_mol, liquids.rdf, liquids.temperature_k, strict=True
    ):
        seen = (np.arange(R_NM.size) >= core_index(rdf)) & (R_NM < CUTOFF_NM - TAPER_WIDTH_NM)
        deviation = (u_predicted - u) / thermal_energy_kj_mol(temperature)
        errors.append(np.sqrt(np.average(deviation**2, weights=R_NM**2 * rdf * seen)))
    return float(np.mean(errors))


def error_bar_ratio(model: Any, liquids: Liquids) -> float | None:
    """Return the error of the predicted U over the standard error that the model gave it, over all liquids.

    Both root mean square, weighted as in `potential_error_kt`: 1 for error bars that hold, None where there are none.
    """
    predicted, error_bar = model.predict(liquids)
    seen = (np.arange(R_NM.size) >= core_index(liquids.rdf)[:, None]) & (R_NM < CUTOFF_NM - TAPER_WIDTH_NM)
    weights = R_NM**2 * liquids.rdf * seen
    weights = weights / (weights.sum(axis=1) * liquids.temperature_k**2)[:, None]
    found, told = (np.sum(weights * values**2) for values in (predicted - liquids.potential_kj_mol, error_bar))
    return float(np.sqrt(found / told)) if told > 0 else None


def train(
    directory: Path, name: str, fold: str, seed: int, overrides: dict[str, Any], report: Callable[[str], None]
) -> tuple[Any, dict[str, Any]]:
    """Return the model trained on the train rows of a fold, and its training record.

    The validation rows are only measured on, the test rows not even that.

    Parameters
    ----------
    directory
        Holds data/coarse.parquet, potentials.parquet, splits.parquet and grid.parquet.
    name, fold, seed
        Which model, which molecule is held out, and where random numbers start.
    overrides
        Settings that replace the model's own `DEFAULTS`.
    report
        Called with each line of progress.

    Raises
    ------
    InputError
        Tables, fold, model or settings are wrong, or there are too few rows for the model.
    """
    module = model_module(name)
    unknown = set(overrides) - set(module.DEFAULTS)
    if unknown:
        raise InputError("--settings", sorted(unknown)[0], overrides[sorted(unknown)[0]], " | ".join(module.DEFAULTS))
    liquids, split = read_liquids(directory, fold)
    learn, validation = liquids.take(split == "train"), structure_rows(liquids.take(split == "validation"))
    still = liquids.thermostat == "nose_hoover"
    report(
        f"{name}, fold {fold}: {len(learn)} train rows, {np.sum(~still & (split == 'train'))} of them with friction; "
        f"{len(validation)} validation rows"
    )
    try:
        released = getattr(module, "RELEASED", {}) if fold == "all" else {}
        model = module.train(learn, {**module.DEFAULTS, **released, **overrides}, seed, report)
    except ValueError as problem:
        raise InputError(directory, f"fold {fold}", f"{len(learn)} train rows", "enough rows", f"{problem}.") from None
    record = {
        "model": name,
        "fold": fold,
        "seed": seed,
        "settings": model.settings,
        "trained_on_molecules": sorted(set(learn.parent_molecule_id.tolist()) - {""}),
        "trained_on_prior": bool(np.any(learn.parent_molecule_id == "")),
        # `rows` are those without friction, and `parent_potentials` those of these.
        "rows": {side: int(np.sum(still & (split == side))) for side in SPLITS},
        "friction_rows": {side: int(np.sum(~still & (split == side))) for side in SPLITS},
        "parent_potentials": {side: len(set(liquids.parent_potential_id[still & (split == side)])) for side in SPLITS},
        "train_error_kt": potential_error_kt(model, structure_rows(learn)),
        "validation_error_kt": potential_error_kt(model, validation) if len(validation) else None,
        "validation_error_bar_ratio": error_bar_ratio(model, validation) if len(validation) else None,
        "history": model.history,
        "data_sha256": data_hash(liquids, split),
        "versions": {**versions("mobcg"), "numpy": np.__version__, "torch": torch.__version__},
        "threads": torch.get_num_threads(),
    }
    return model, record


def model_card(record: dict[str, Any], description: str) -> str:
    """Return the model card, in Markdown."""
    validation = record["validation_error_kt"]
    measured = "no validation rows" if validation is None else f"{validation:.3f} kT on validation rows"
    rows, parents = record["rows"], record["parent_potentials"]
    liquids = [*record["trained_on_molecules"], *(["liquids of the prior"] if record["trained_on_prior"] else [])]
    learned_from = f"{rows['train']} coarse-grained runs without friction of {parents['train']} parent potentials"
    if not set(THERMOSTATS).isdisjoint(record["settings"].get("processes", ())):
        learned_from += f" and {record['friction_rows']['train']} with friction"
    held_out = f"{rows['validation']} validation rows of {parents['validation']} other parent potentials"
    if record["fold"] != "all":
        held_out += f", and every row that descends from {record['fold']}"
    return "\n".join(
        [
            f"# {record['model']}, fold {record['fold']}",
            "",
            description,
            "",
            f"- Trained on {learned_from}: {', '.join(liquids)}.",
            f"- Held out: {held_out}.",
            f"- Error of U, root mean square weighted by r² g(r): {record['train_error_kt']:.3f} kT on its own rows, "
            f"{measured}.",
            "- Valid for one-component liquids of one-site beads like those it learned from; potentials end at 1.5 nm.",
            "- A pair potential has one g(r) and one D at a state: matching g(r) does not match the mobility.",
            f"- Seed {record['seed']}; SHA-256 of the training data {record['data_sha256']}.",
            "- Files: model.json (settings), weights.safetensors (arrays), training.json (errors, versions).",
            "",
        ]
    )


def take_over(released: Path, name: str, directory: Path) -> None:
    """Copy the model of a release, its files checked against the release.

    Raises
    ------
    InputError
        The release holds no such model, or its files are not those that it lists.
    """
    load_model(released)
    record = json.loads(read_model_file(released / "training.json", MAX_HEADER_BYTES))
    if record["model"] != name:
        raise InputError(released, "model", record["model"], name, "Name the directory of that model.")
    for file in MODEL_FILES:
        content = read_model_file(released / file, MAX_WEIGHTS_BYTES)
        with atomic_path(directory / file) as temporary:
            temporary.write_bytes(content)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.predictor.train", description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--tables", type=Path, help="directory with data/*.parquet of a release")
    source.add_argument("--released", type=Path, help="directory of a trained model in a release, to take over")
    parser.add_argument("--model", required=True, help=" | ".join(MODELS))
    parser.add_argument("--fold", required=True, help="molecule to hold out, or all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--settings", type=json.loads, default={}, help='JSON, for example {"epochs":100,"folds":3}')
    parser.add_argument("--threads", type=int, default=1, help="threads of linear algebra; same threads, same bits")
    parser.add_argument("--out", type=Path, required=True, help="directory for the model")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    threadpool_limits(options.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA refuses to be deterministic
    torch.use_deterministic_algorithms(True)
    started = time.monotonic()

    def report(line: str) -> None:
        print(line, flush=True)

    try:
        if options.released is not None:
            take_over(options.released, options.model, options.out)
            report(f"{options.out}: as in {options.released}")
            return 0
        model, record = train(options.tables, options.model, options.fold, options.seed, options.settings, report)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_json(options.out / "training.json", record)
    with atomic_path(options.out / "README.md") as temporary:
        temporary.write_text(model_card(record, model_module(options.model).CARD))
    save_model(options.out, options.model, model)  # last: a directory with model.json in it is whole
    report(f"{options.out}: validation error {record['validation_error_kt']}, {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
