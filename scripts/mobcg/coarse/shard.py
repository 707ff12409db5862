"""One job, many short runs: the coarse-grained records of one parent potential.

Every record is written atomically as soon as its run is done, so a killed job loses one run; a job that starts again
skips what is there. A run that fails is a record too, with the reason.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import freud
import numpy as np

from mobcg import plan, programs
from mobcg.coarse.simulate import FRAMES_FILE, measure, simulate
from mobcg.doctor import require
from mobcg.errors import InputError, SimulationError
from mobcg.programs import ProgramError
from mobcg.records import read_record, work_directory, write_record, write_rows
from mobcg.step import run_step

Row = dict[str, Any]


def run_shard(shard: Mapping[str, Any], potential: Mapping[str, Any], work: Path) -> list[Row]:
    """Run what a shard asks for and return its rows of the table `coarse`, sorted by run_id.

    Parameters
    ----------
    shard
        As `mobcg.plan.expand_shard` takes it.
    potential
        Row of the table `potentials` of the parent. Where that failed, every row here fails with its reason.
    work
        Directory of the finished records; rows that are there and whole are not run again.

    Raises
    ------
    InputError
        The potential is not the one that the shard is for.
    ProgramError
        `lmp` is missing or was killed.
    """
    if potential["potential_id"] != shard["parent_id"]:
        allowed = f"the parent potential {shard['parent_id']}"
        raise InputError("--potential", "potential_id", potential["potential_id"], allowed)
    specs = {plan.run_id(spec): spec for spec in plan.expand_shard(shard)}
    rows = {run_id: row for run_id in specs if (row := finished_row(work, run_id)) is not None}
    if rows:
        print(f"{len(rows)} of {len(specs)} records are there already", flush=True)
    start, n_before = time.monotonic(), len(rows)
    for run_id, spec in specs.items():
        if run_id in rows:
            continue
        row = coarse_row(spec, potential, work / f"{run_id}.run")
        write_record(record_path(work, run_id), "coarse", row)
        # Read back, so that a row is the same whether its shard was interrupted or not.
        rows[run_id] = read_record(record_path(work, run_id))
        _report(row, len(rows), len(specs), (time.monotonic() - start) / (len(rows) - n_before))
    return [rows[run_id] for run_id in sorted(rows)]


def record_path(work: Path, run_id: str) -> Path:
    """Return the file of one record in the work directory of its shard."""
    return work / f"{run_id}.parquet"


def finished_row(work: Path, run_id: str) -> Row | None:
    """Return the row of a run that is done; None where its record is missing or not whole."""
    path = record_path(work, run_id)
    if not path.exists():
        return None
    try:
        row = read_record(path)
    except InputError as error:
        print(f"{error} It is run again.", file=sys.stderr, flush=True)
        return None
    return row if row.get("run_id") == run_id else None


def coarse_row(spec: Mapping[str, Any], potential: Mapping[str, Any], directory: Path) -> Row:
    """Run one coarse spec and return its row; `status` is failed, with the `reason`, where the run fails.

    The files of the run are removed when it ends well; when it fails they are left in `directory`, without the frames.
    """
    scale_factor = spec["potential"]["scale_factor"]
    row = {
        "run_id": plan.run_id(spec),
        "molecule_id": potential["molecule_id"],
        "potential_id": plan.scaled_potential_id(spec["potential"]["parent_id"], scale_factor),
        **{key: spec[key] for key in ("mass_g_mol", "thermostat", "friction_1_ps", "temperature_k", "n_beads")},
        "number_density_nm3": potential["number_density_nm3"],
        "spec": dict(spec),
        "versions": programs.versions("lmp", "mobcg"),
    }
    if potential["status"] != "ok":
        return {**row, "status": "failed", "reason": f"its potential failed: {potential['reason']}"}
    try:
        run = simulate(
            scale_factor * np.array(potential["potential_kj_mol"]),
            number_density_nm3=potential["number_density_nm3"],
            seed=plan.seed(spec, "lammps"),
            directory=directory,
            **{
                key: spec[key]
                for key in (
                    "mass_g_mol",
                    "temperature_k",
                    "n_beads",
                    "thermostat",
                    "friction_1_ps",
                    "equilibration_ps_100",
                    "production_ps_100",
                )
            },
        )
        row |= {**measure(run), "status": "ok"}
    except ProgramError:
        raise  # the machine failed, not the run: no record, so that it is run again
    except SimulationError as error:
        (directory / FRAMES_FILE).unlink(missing_ok=True)
        return {**row, "status": "failed", "reason": str(error)}
    shutil.rmtree(directory)
    return row


def _report(row: Row, done: int, total: int, seconds_each: float) -> None:
    result = f"D = {row['diffusion_nm2_ns']:.3g} nm2/ns" if row["status"] == "ok" else f"failed: {row['reason']}"
    left_min = (total - done) * seconds_each / 60
    print(
        f"{done} of {total}: {row['run_id']} {row['thermostat']} {result} ({seconds_each:.1f} s a record, "
        f"{left_min:.0f} min left)",
        flush=True,
    )


def main(arguments: list[str] | None = None) -> None:
    """Run one shard from the command line."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.coarse.shard", description=__doc__.splitlines()[0])
    parser.add_argument("--spec", type=json.loads, required=True, help="the shard, as JSON")
    parser.add_argument("--potential", type=Path, required=True, help="record of the parent potential (Parquet)")
    parser.add_argument("--work", type=Path, required=True, help="directory of the single records")
    parser.add_argument("--out", type=Path, required=True, help="all records of the shard (Parquet)")
    options = parser.parse_args(arguments)
    freud.set_num_threads(1)
    try:
        require("lmp")
        with work_directory(options.work) as work:
            write_rows(options.out, "coarse", run_shard(options.spec, read_record(options.potential), work))
    except (InputError, ProgramError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    sys.exit(run_step(main))
