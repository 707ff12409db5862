"""The pair potential of a spline fit, as a record of the table `potentials`.

`python -m mobcg.forcematch.potential --spec JSON --model-dir DIR --atomistic RECORD [RECORD …] --out FILE`
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobcg.errors import InputError, SimulationError
from mobcg.forcematch.pair_fm import PairForce
from mobcg.forcematch.storage import load
from mobcg.pair import force
from mobcg.programs import versions
from mobcg.records import read_record, write_record
from mobcg.spec import Spec, run_id
from mobcg.step import run_step


def potential_row(spec: Spec, model: PairForce, atomistic: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the row: U(r) = ∫ f dr, and the state that it was learned at (means over the runs)."""
    potential, _ = model.potential_kj_mol()
    curves = {"potential_kj_mol": potential.tolist(), "force_kj_mol_nm": force(potential).tolist()}
    return row_of(spec, atomistic) | curves | {"status": "ok"}


def row_of(spec: Spec, atomistic: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a row has whether the fit succeeded or not."""
    first, densities = atomistic[0], [record["number_density_nm3"] for record in atomistic]
    known = [density for density in densities if density is not None]
    return {
        "potential_id": run_id(spec),
        "molecule_id": first["molecule_id"],
        "origin": "force_matched",
        "parent_id": spec["parent_run_ids"][0],
        "parent_run_ids": spec["parent_run_ids"],
        "scale_factor": 1.0,
        "temperature_k": first["temperature_k"],
        "number_density_nm3": float(np.mean(known)) if known else None,
        "mass_g_mol": first["mass_g_mol"],
        "n_beads": first["n_molecules"],
        "pressure_corrected": False,
        "spec": spec,
        "versions": versions("mobcg"),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.forcematch.potential", description=__doc__.split("\n")[0])
    parser.add_argument("--spec", type=json.loads, required=True, help="the fit, as JSON")
    parser.add_argument("--model-dir", type=Path, required=True, help="the fitted pair_fm")
    parser.add_argument("--atomistic", type=Path, nargs="+", required=True, help="records that it was fitted to")
    parser.add_argument("--out", type=Path, required=True, help="the record")
    options = parser.parse_args(arguments)
    try:
        records = [read_record(path) for path in options.atomistic]
        try:
            model = load(options.model_dir)
        except SimulationError as error:
            row = row_of(options.spec, records) | {"status": "failed", "reason": str(error)}
        else:
            if not isinstance(model, PairForce):
                name = type(model).__name__
                raise InputError("--model-dir", "model", name, "pair_fm", "Only it is a pair potential.")
            row = potential_row(options.spec, model, records)
        write_record(options.out, "potentials", row)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
