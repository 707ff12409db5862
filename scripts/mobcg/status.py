"""How far a plan has come, told from the files alone: nothing is locked, nothing is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mobcg.errors import InputError
from mobcg.plan import Plan


@dataclass
class StageStatus:
    """One stage: how many products the plan has, how many are there or reused, and the reasons of those that failed."""

    stage: str
    planned: int
    reused: int = 0
    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Products still to be made."""
        return self.planned - self.reused - self.done


def plan_status(plan: Plan) -> list[StageStatus]:
    """Return the status of each stage; a failed simulation is a record too, with its reason, and counts as done."""
    stages = [
        _stage(plan, "atomistic", "atomistic", list(plan.atomistic)),
        _stage(plan, "inversion", "potentials", list(plan.inversions)),
        _stage(plan, "coarse shards", "shards", list(plan.shards), "coarse"),
        _prior(plan),
    ]
    evaluation = StageStatus("evaluation", len(plan.evaluations))
    for name in plan.evaluations:
        _count(evaluation, name, Path(f"{plan.scale_dir}/evaluation/{name}.parquet"))
    return [*stages, evaluation]


def _stage(plan: Plan, label: str, table: str, ids: list[str], room: str | None = None) -> StageStatus:
    status = StageStatus(label, len(ids))
    for name in ids:
        if name in plan.reused.get(table, ()):
            status.reused += 1
        else:
            _count(status, name, Path(plan.record_path(room or table, name)))
    return status


def _prior(plan: Plan) -> StageStatus:
    left = plan.to_simulate("prior_shards")
    status = StageStatus("prior shards", len(plan.prior_shards), reused=len(plan.prior_shards) - len(left))
    for name in left:
        _count(status, name, Path(plan.prior_paths(name)["coarse"]))
    return status


def _count(status: StageStatus, name: str, path: Path) -> None:
    if not path.exists():
        return
    status.done += 1
    try:
        rows = pq.read_table(path, columns=["status", "reason"]).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(path, "", str(error), "a whole Parquet file", "Delete the file and run again.") from error
    for row in rows:
        if row["status"] == "failed":
            status.failed[name] = row["reason"]
