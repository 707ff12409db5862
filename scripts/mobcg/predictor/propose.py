"""What a trained model proposes for the g(r) of an atomistic record, as a record of the table `potentials`.

`python -m mobcg.predictor.propose --model-dir DIR --atomistic RECORD --out FILE`
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mobcg.errors import InputError, SimulationError
from mobcg.pair import force
from mobcg.plan import run_id
from mobcg.predictor.evaluate import trained_model
from mobcg.predictor.predict import one_state, propose
from mobcg.predictor.scoring import mean_reference
from mobcg.programs import versions
from mobcg.records import read_record, write_record
from mobcg.step import run_step

# Raised when another potential is proposed for the same state by the same model.
PROTOCOL = 2


def proposed_row(model: Any, model_sha256: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row: what the model `mobcg` of the scoreboard runs at this state, without friction.

    That is the potential for the structure times what promises the best compromise of g(r) and D, its knob at its own
    choice, at 1 atm. A failed row with the reason where the atomistic run failed, or what is proposed has no wall.
    """
    spec = {"kind": "proposal", "protocol": PROTOCOL, "state_run_id": record["run_id"], "model_sha256": model_sha256}
    row = {
        "potential_id": run_id(spec),
        "molecule_id": record["molecule_id"],
        "origin": "predicted",
        "parent_id": record["run_id"],
        "scale_factor": 1.0,
        "pressure_corrected": True,
        "spec": spec,
        "versions": versions("mobcg"),
    }
    try:
        return row | _proposed(model, record) | {"status": "ok"}
    except SimulationError as error:
        return row | {"status": "failed", "reason": str(error)}


def _proposed(model: Any, record: Mapping[str, Any]) -> dict[str, Any]:
    reference = mean_reference([record])
    state = one_state(
        reference.rdf,
        reference.number_density_nm3,
        reference.temperature_k,
        reference.mass_g_mol,
        reference.diffusion_nm2_ns,
        reference.n_molecules,
    )
    potential = propose(model, state, "nose_hoover").potential_kj_mol[0]
    return {
        "temperature_k": reference.temperature_k,
        "number_density_nm3": reference.number_density_nm3,
        "mass_g_mol": reference.mass_g_mol,
        "n_beads": reference.n_molecules,
        "potential_kj_mol": potential.tolist(),
        "force_kj_mol_nm": force(potential).tolist(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.predictor.propose", description=__doc__.split("\n")[0])
    parser.add_argument("--model-dir", type=Path, required=True, help="trained model that never saw this molecule")
    parser.add_argument("--atomistic", type=Path, required=True, help="record of the liquid")
    parser.add_argument("--out", type=Path, required=True, help="the record")
    options = parser.parse_args(arguments)
    try:
        record = read_record(options.atomistic)
        model = trained_model(options.model_dir, record["molecule_id"])
        digest = hashlib.sha256((options.model_dir / "model.json").read_bytes()).hexdigest()
        write_record(options.out, "potentials", proposed_row(model, digest, record))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
