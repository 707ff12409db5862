"""How far a plan has come, told from the files alone: nothing is locked for longer than a look, nothing is written."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mobcg.estimate import Rates, job_costs, schedule
from mobcg.jobs import Job, workflow_jobs
from mobcg.plan import Plan
from mobcg.records import is_held

STAGES = {
    "simulate_atomistic": "atomistic",
    "observe_atomistic": "atomistic",
    "invert": "inversion",
    "simulate_shard": "coarse shards",
    "simulate_prior_shard": "prior shards",
    "assemble_tables": "training",
    "train": "training",
    "fit_force_field": "force matching",
    "pair_potential": "force matching",
    "propose": "force matching",
    "judge": "force matching",
    "noise_floor": "force matching",
    "report_force_matching": "force matching",
    "evaluate_force_matched": "evaluation",
    "evaluate": "evaluation",
    "pack_trajectory": "release",
    "write_release": "release",
    "make_report": "release",
}
RECORDS = frozenset({"atomistic", "inversion", "coarse shards", "prior shards", "evaluation"})
# Locks of other nodes are not always seen from here; every step says something more often than this.
SILENCE_S = 600.0


@dataclass
class StageStatus:
    """One stage: how many products the plan has, and what is known of those that are not simply to be made.

    Attributes
    ----------
    planned, reused, done
        Products in the plan, taken from the base release, and there.
    failed
        Name → reason of the simulations in products that are there which failed; a product may hold many, row by row.
    retried
        Names of products whose run was repeated in smaller steps, or whose job was started again after it failed.
    running
        Name → last line of the log of a job that is at work.
    stopped
        Name → last line of the log of a job that began, is not at work and left no product.
    broken
        Product → what is wrong with a file that cannot be read.
    """

    stage: str
    planned: int
    reused: int = 0
    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    retried: set[str] = field(default_factory=set)
    running: dict[str, str] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Products still to be made, those at work counted."""
        return self.planned - self.reused - self.done


def plan_status(plan: Plan, controller_logs: Path = Path(".snakemake/log"), target: str = "all") -> list[StageStatus]:
    """Return the status of each stage that has anything to make.

    A failed simulation is a record too, with its reason, and counts as done.

    Parameters
    ----------
    plan
        What is to be made.
    controller_logs
        Where Snakemake keeps its own logs, which tell of jobs that failed and were started again.
    target
        One of `mobcg.jobs.TARGETS`; what `forcematch` takes from a base release is not counted.
    """
    reused = {
        "atomistic": len(plan.atomistic) - len(plan.to_simulate("atomistic")),
        "inversion": len(plan.inversions) - len(plan.to_simulate("inversions")),
        "coarse shards": len(plan.shards) - len(plan.to_simulate("shards")),
        "prior shards": len(plan.prior_shards) - len(plan.to_simulate("prior_shards")),
    }
    if target != "all":
        reused = {}
    stages = {name: StageStatus(name, reused.get(name, 0), reused.get(name, 0)) for name in STAGES.values()}
    attempts = failed_attempts(controller_logs)
    for (stage, name), jobs in _products(plan, target).items():
        status = stages[stage]
        status.planned += 1
        if Path(jobs[-1].product).exists():
            status.done += 1
            if stage in RECORDS:
                _read(status, name, Path(jobs[-1].product))
        else:
            _unfinished(status, name, jobs, plan.config.results_dir)
        if any(attempts[job.product] for job in jobs) and name not in status.stopped:
            status.retried.add(name)
    return [stage for stage in stages.values() if stage.planned]


def _products(plan: Plan, target: str) -> dict[tuple[str, str], list[Job]]:
    """Return (stage, name) → the jobs that make it, one after the other."""
    products = defaultdict(list)
    for job in workflow_jobs(plan, target):
        if job.rule in STAGES:
            name = job.rule if job.key == plan.scale.name else job.key
            products[STAGES[job.rule], name].append(job)
    return products


def _read(status: StageStatus, name: str, path: Path) -> None:
    try:
        file = pq.ParquetFile(path)
        columns = [column for column in ("status", "reason", "retries") if column in file.schema_arrow.names]
        rows = file.read(columns).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        status.broken[name] = f"{path}: {error}; delete the file and run again"
        return
    for number, row in enumerate(rows, 1):
        if row["status"] == "failed":
            status.failed[name if len(rows) == 1 else f"{name} row {number}"] = row["reason"]
        if row.get("retries"):
            status.retried.add(name)


def _unfinished(status: StageStatus, name: str, jobs: Sequence[Job], results_dir: str) -> None:
    for job in jobs:
        log = Path(f"{results_dir}/logs/{job.rule}/{job.name}.log")
        if job.work is not None and any(Path(job.work).glob("*/failed")):
            status.retried.add(name)
        if Path(job.product).exists() or not log.exists():
            continue
        found = status.running if is_running(job, log) else status.stopped
        found[name] = last_line(log) or "nothing said yet"


def is_running(job: Job, log: Path) -> bool:
    """Return whether a job without its product is at work: its work directory is held, or its log still grows.

    The lock decides where it was taken on this machine; of a job on another node, or of one that holds no directory,
    the last change of the log tells.
    """
    held = None if job.work is None else is_held(Path(job.work))
    return time.time() - log.stat().st_mtime < SILENCE_S if held is None else held


def last_line(log: Path) -> str:
    """Return the last line of a log that is not empty; "" where there is none."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 4000))
        lines = stream.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def failed_attempts(controller_logs: Path) -> Counter[str]:
    """Return product → how often a job that makes it failed, from the logs that Snakemake keeps of itself."""
    counts: Counter[str] = Counter()
    for path in sorted(controller_logs.glob("*.snakemake.log")):
        blocks = re.findall(
            r"^Error in (?:rule|group) .*\n((?:[ \t].*\n)+)", path.read_text(errors="replace"), re.MULTILINE
        )
        for block in blocks:
            for products in re.findall(r"^[ \t]+output: (.+)$", block, re.MULTILINE):
                counts.update(products.split(", "))
    return counts


def reasons(found: Mapping[str, str | None]) -> list[tuple[str, list[str]]]:
    """Return (first line of a reason, the names it holds for), the most frequent first."""
    names = defaultdict(list)
    for name, reason in found.items():
        names[next(iter((reason or "").splitlines()), "") or "no reason recorded"].append(name)
    return sorted(names.items(), key=lambda item: -len(item[1]))


@dataclass(frozen=True)
class TimeLeft:
    """Core time (s) of what is left by stage, and the wall time (s) at the present pace; None where nothing runs."""

    core_s: Mapping[str, float]
    wall_s: float | None


def time_left(plan: Plan, stages: Sequence[StageStatus], rates: Rates, target: str = "all") -> TimeLeft:
    """Return the time for what is not there yet, if as many jobs go on at the same time as do now.

    A job that holds its work directory has already had the time since it took it.
    """
    left, core_s = [], dict.fromkeys(STAGES.values(), 0.0)
    for job, cost in job_costs(plan, rates, target):
        if Path(job.product).exists():
            continue
        if job.work is not None and is_held(Path(job.work)):
            elapsed_s = time.time() - (Path(job.work) / ".lock").stat().st_mtime
            cost = replace(cost, seconds=max(0.0, cost.seconds - elapsed_s))
        left.append((job, cost))
        if job.rule in STAGES:
            core_s[STAGES[job.rule]] += cost.seconds
    at_work = sum(len(stage.running) for stage in stages)
    return TimeLeft(core_s, schedule(left, at_work).wall_s if at_work else None)
