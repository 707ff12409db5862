"""One job, many short runs: coarse-grained records of the potentials of one molecule.

Every record is written atomically as soon as its run is done, so a killed job loses one run; a job that starts again
skips what is there, of parents that are still the same (`IDENTITY_FILE`). A run that fails is a record too, with the
reason.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import freud

from mobcg import plan, programs
from mobcg.coarse.prior import came_apart
from mobcg.coarse.simulate import FRAMES_FILE, measure, simulate
from mobcg.doctor import require
from mobcg.errors import InputError, SimulationError
from mobcg.pair import derive
from mobcg.programs import ProgramError
from mobcg.records import read_record, work_directory, write_json, write_record, write_rows
from mobcg.spec import derived_potential_id
from mobcg.step import run_step

Row = dict[str, Any]
Fault = Callable[[Mapping[str, Any], Row], str | None]
# Parent → hash of what its records beside this file were run with.
IDENTITY_FILE = "identity.json"


def run_shard(shard: Mapping[str, Any], potentials: Sequence[Mapping[str, Any]], work: Path) -> list[Row]:
    """Run what a shard asks for and return its rows of the table `coarse`, sorted by run_id.

    Parameters
    ----------
    shard
        As `mobcg.plan.expand_shard` takes it.
    potentials
        Rows of the table `potentials` of its parents. Where one failed, its own rows here fail with its reason.
    work
        Directory of the finished records; rows that are there and whole are not run again, but those of a parent whose
        curve or density has changed since, or is not known.

    Raises
    ------
    InputError
        The potentials are not those that the shard is for.
    ProgramError
        `lmp` is missing or was killed.
    """
    parents = {row["potential_id"]: row for row in potentials}
    wanted = {part["parent_id"] for part in shard["parts"]}
    if parents.keys() != wanted:
        allowed = f"the parent potentials {', '.join(sorted(wanted))}"
        raise InputError("--potential", "potential_id", ", ".join(sorted(parents)), allowed)
    return run_specs(plan.expand_shard(shard), parents, work)


def run_specs(
    specs: Sequence[Mapping[str, Any]], parents: Mapping[str, Row], work: Path, fault: Fault = came_apart
) -> list[Row]:
    """Run coarse specs, the parent potentials given by id, and return their rows sorted by run_id.

    Arguments and errors as for `run_shard` and `coarse_row`.
    """
    asked = {plan.run_id(spec): spec for spec in specs}
    discard_strangers(asked, parents, work)
    rows = {run_id: row for run_id in asked if (row := finished_row(work, run_id)) is not None}
    if rows:
        print(f"{len(rows)} of {len(asked)} records are there already", flush=True)
    start, n_before = time.monotonic(), len(rows)
    for run_id, spec in asked.items():
        if run_id in rows:
            continue
        row = coarse_row(spec, parents[spec["potential"]["parent_id"]], work / f"{run_id}.run", fault)
        write_record(record_path(work, run_id), "coarse", row)
        # Read back, so that a row is the same whether its shard was interrupted or not.
        rows[run_id] = read_record(record_path(work, run_id))
        _report(row, len(rows), len(asked), (time.monotonic() - start) / (len(rows) - n_before))
    return [rows[run_id] for run_id in sorted(rows)]


def discard_strangers(asked: Mapping[str, Mapping[str, Any]], parents: Mapping[str, Row], work: Path) -> None:
    """Remove the records of runs (run_id → spec) whose parent is not the one they were run with; note the parents."""
    path = work / IDENTITY_FILE
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    current = {name: identity(parent) for name, parent in parents.items()}
    changed = {name for name, digest in current.items() if known.get(name) != digest}
    of_changed = (
        record_path(work, run_id) for run_id, spec in asked.items() if spec["potential"]["parent_id"] in changed
    )
    strangers = [record for record in of_changed if record.exists()]
    if strangers:
        print(f"{len(strangers)} records are not of these potentials; they are made again", flush=True)
    for record in strangers:
        record.unlink()
    # After the records are gone: a start between the two removes them once more.
    write_json(path, current)


def identity(parent: Row) -> str:
    """Return the SHA-256 of what runs take from their parent: curve and density, or the reason of its failure."""
    failure = None if parent["status"] == "ok" else parent["reason"]
    taken = [failure, parent.get("number_density_nm3"), parent.get("potential_kj_mol")]
    return hashlib.sha256(json.dumps(taken).encode()).hexdigest()


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


def coarse_row(
    spec: Mapping[str, Any], potential: Mapping[str, Any], directory: Path, fault: Fault = came_apart
) -> Row:
    """Run one coarse spec and return its row; `status` is failed, with the `reason`, where the run fails.

    The files of the run are removed when it ends well; when it fails they are left in `directory`, without the frames.

    Parameters
    ----------
    spec, potential
        What to run, and the row of its parent potential.
    fault
        Returns why a finished run, given its spec and row, is no liquid, and its row a failed one; None where it is.
    """
    row = {
        "run_id": plan.run_id(spec),
        "molecule_id": potential["molecule_id"],
        "potential_id": derived_potential_id(spec["potential"]),
        **{key: spec[key] for key in ("mass_g_mol", "thermostat", "friction_1_ps", "temperature_k", "n_beads")},
        "number_density_nm3": potential["number_density_nm3"],
        "spec": dict(spec),
        "versions": programs.versions("lmp", "mobcg"),
    }
    if potential["status"] != "ok":
        return {**row, "status": "failed", "reason": f"its potential failed: {potential['reason']}"}
    try:
        run = simulate(
            derive(potential["potential_kj_mol"], spec["potential"]),
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
        finished = row | {**measure(run), "status": "ok"}
        if reason := fault(spec, finished):
            raise SimulationError(reason)
    except ProgramError:
        raise  # the machine failed, not the run: no record, so that it is run again
    except SimulationError as error:
        (directory / FRAMES_FILE).unlink(missing_ok=True)
        return {**row, "status": "failed", "reason": str(error)}
    shutil.rmtree(directory)
    return finished


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
    parser.add_argument("--potential", type=Path, nargs="+", required=True, help="records of the parents (Parquet)")
    parser.add_argument("--work", type=Path, required=True, help="directory of the single records")
    parser.add_argument("--out", type=Path, required=True, help="all records of the shard (Parquet)")
    options = parser.parse_args(arguments)
    freud.set_num_threads(1)
    try:
        require("lmp")
        with work_directory(options.work) as work:
            potentials = [read_record(path) for path in options.potential]
            write_rows(options.out, "coarse", run_shard(options.spec, potentials, work))
    except (InputError, ProgramError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    sys.exit(run_step(main))
