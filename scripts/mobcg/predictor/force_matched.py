"""Rows of the scoreboard from judged runs of a many-body force-matched model: one for each run at constant temperature.

`python -m mobcg.predictor.force_matched --spec JSON --judgement FILE --training FILE --atomistic RECORD [RECORD …]
--out FILE`
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mobcg.errors import InputError, SimulationError
from mobcg.plan import Spec
from mobcg.plan import seed as plan_seed
from mobcg.predictor.evaluate import EVALUATION_COLUMNS, training_columns
from mobcg.predictor.scoring import Reference, mean_reference, scores
from mobcg.programs import versions
from mobcg.records import read_record, write_rows
from mobcg.step import run_step

STABLE = "stable"


def evaluation_rows(spec: Spec, judged: Sequence[Mapping[str, Any]], reference: Reference) -> list[dict[str, Any]]:
    """Return rows of the table `evaluation`; a run that was not stable, or has no D, is a failed one with the reason.

    Parameters
    ----------
    spec
        molecule_id, model.
    judged
        Rows of `mobcg.forcematch.judgement`: those at constant temperature, and for each start at 1 atm the density,
        at constant energy the verdict: where that is not stable, `reason` says so beside the scores.
    """
    others = {(run["start"], run["ensemble"]): run for run in judged}
    at_temperature = [run for run in judged if run["ensemble"] == "nvt"]
    return [_row(spec, run, others, reference) for run in at_temperature]


def failed_rows(spec: Spec, judged: Sequence[Mapping[str, Any]], reason: str) -> list[dict[str, Any]]:
    """Return rows of the table `evaluation` that all failed for one reason: one for each start that was judged."""
    failed = {"status": "failed", "reason": reason}
    return [_of_run(spec, run) | failed for run in judged if run["ensemble"] == "nvt"]


def _of_run(spec: Spec, run: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "molecule_id": spec["molecule_id"],
        "model": spec["model"],
        "replica": run["start"],
        "scale_factor": 1.0,
        "thermostat": "nose_hoover",
        "friction_1_ps": 0.0,
        "n_beads": run["n_molecules"],
        "md_core_s_ns_bead": run["core_s_ns_bead"],
        "spec": {**spec, "scale_factor": 1.0, "replica": run["start"]},
        "versions": versions("mobcg"),
    }


def _row(
    spec: Spec, run: Mapping[str, Any], others: Mapping[tuple[int, str], Mapping[str, Any]], reference: Reference
) -> dict[str, Any]:
    row = _of_run(spec, run) | {"reference_run_ids": list(reference.run_ids)}
    if run["verdict"] != STABLE:
        return row | {"status": "failed", "reason": f"{run['verdict']}: {run['reason']}"}
    if not run["diffusion_nm2_ns"]:
        return row | {"status": "failed", "reason": "too short for a self-diffusion coefficient"}
    measured = {name: run[name] for name in EVALUATION_COLUMNS & run.keys()}
    scored = row | measured | scores(run, reference, plan_seed(row["spec"], "bootstrap")) | {"status": "ok"}
    remarks = []
    if (at_1atm := others.get((run["start"], "npt"))) is not None:
        if at_1atm["verdict"] == STABLE:
            scored |= {name: at_1atm[name] for name in ("density_1atm_kg_m3", "density_1atm_kg_m3_se")}
        else:
            remarks.append(f"no density at 1 atm: {at_1atm['reason']}")
    if (free := others.get((run["start"], "nve"))) is not None and free["verdict"] != STABLE:
        remarks.append(f"{free['verdict']} at constant energy: {free['reason']}")
    return scored | ({"reason": "; ".join(remarks)} if remarks else {})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.predictor.force_matched", description=__doc__.split("\n")[0])
    parser.add_argument("--spec", type=json.loads, required=True, help="the evaluation, as JSON")
    parser.add_argument("--judgement", type=Path, required=True, help="judged runs of the model")
    parser.add_argument("--training", type=Path, required=True, help="training.json of the model")
    parser.add_argument("--atomistic", type=Path, nargs="+", required=True, help="records of the liquid, its replicas")
    parser.add_argument("--out", type=Path, required=True, help="the rows, as Parquet")
    options = parser.parse_args(arguments)
    try:
        atomistic = [read_record(path) for path in options.atomistic]
        judged = pq.read_table(options.judgement).to_pylist()
        try:
            rows = evaluation_rows(options.spec, judged, mean_reference(atomistic))
        except SimulationError as error:
            rows = failed_rows(options.spec, judged, str(error))
        training = training_columns(options.training)
        write_rows(options.out, "evaluation", [row | training for row in rows])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
