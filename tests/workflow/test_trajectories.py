"""Bead trajectories in the workflow: what is published touches no run, and what the base release has is not run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mobcg.config import read_config
from mobcg.database.trajectories import index_row, read_trajectory, write_trajectory
from mobcg.observables import BeadTrajectory
from mobcg.plan import Plan, load_plan
from tests.workflow.conftest import WORDS, snakemake
from tests.workflow.test_dry_runs import job_counts

pytestmark = pytest.mark.workflow

BASE = "releases/2026.10.0"


def beads(n_beads: int) -> BeadTrajectory:
    positions = np.random.default_rng(1).uniform(0, 3.2, (4, n_beads, 3))
    return BeadTrajectory(positions, 3.2, 1.0, 78.1, 298.15, positions * 100, {"status": "ok"})


def planned(directory: Path, monkeypatch: pytest.MonkeyPatch, **more: str) -> Plan:
    monkeypatch.chdir(directory)
    return load_plan(read_config() | {"scale": WORDS[-1].removeprefix("scale="), **more})


def told(directory: Path, *words: str) -> dict[str, int]:
    """Return rule → jobs that Snakemake would run for some targets; none where it has nothing to do."""
    *options, scale = WORDS
    config = [word for word in words if "=" in word]
    targets = [word for word in words if "=" not in word]
    done = snakemake(directory, *targets, *options, scale, *config, "-n", "--quiet", "rules")
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    counts = job_counts(printed)
    assert counts or "Nothing to be done" in printed
    return {rule: count for rule, count in counts.items() if rule != "total"}


def made(directory: Path, *words: str) -> None:
    *options, scale = WORDS
    config = [word for word in words if "=" in word]
    done = snakemake(directory, *(word for word in words if "=" not in word), *options, scale, *config)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def simulated(workflow: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run that is finished as far as files and Snakemake's own notes tell."""
    plan = planned(workflow, monkeypatch)
    run = plan.to_publish()[0]
    beads(plan.atomistic[run]["n_molecules"]).save(Path(plan.beads_path(run)))
    time.sleep(0.01)
    Path(plan.record_path("atomistic", run)).touch()
    made(workflow, plan.record_path("atomistic", run), "--touch", "--forceall")
    assert told(workflow, plan.record_path("atomistic", run)) == {}
    return run


def base_release(directory: Path, plan: Plan, runs: dict[str, BeadTrajectory]) -> None:
    """Write what a plan reads of a base release that has these runs, and their trajectories beside it."""
    tables = {"atomistic": ("run_id", [*runs]), "potentials": ("potential_id", []), "coarse": ("run_id", [])}
    (directory / BASE / "data").mkdir(parents=True)
    for table, (key, ids) in tables.items():
        pq.write_table(pa.table({key: pa.array(ids, pa.string())}), directory / BASE / f"data/{table}.parquet")
    rows = []
    for run, trajectory in runs.items():
        path = directory / f"releases/trajectories/{run}.parquet"
        write_trajectory(path, trajectory, plan.atomistic[run])
        rows.append(index_row(path))
    (directory / BASE / "trajectories.json").write_text(json.dumps(rows))


def test_packing_neither_repeats_nor_outdates_a_run(
    workflow: Path, simulated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(workflow, monkeypatch)
    files = plan.beads_path(simulated), plan.record_path("atomistic", simulated), plan.packed_path(simulated)
    assert told(workflow, *files) == {"pack_trajectory": 1}
    before = [Path(path).stat().st_mtime_ns for path in files[:2]]
    made(workflow, *files)
    assert [Path(path).stat().st_mtime_ns for path in files[:2]] == before
    assert read_trajectory(Path(files[2])).metadata == {"status": "ok"}
    for kept in ("beads", "none"):
        assert told(workflow, *files, f"keep_trajectories={kept}") == {}


def test_beads_that_are_gone_are_not_simulated_again(
    workflow: Path, simulated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(workflow, monkeypatch)
    words = plan.record_path("atomistic", simulated), plan.packed_path(simulated)
    made(workflow, *words)
    Path(plan.beads_path(simulated)).unlink()  # as keep_trajectories: none does
    assert told(workflow, *words) == {}
    Path(plan.packed_path(simulated)).unlink()
    counts = told(workflow)
    assert counts["simulate_atomistic"] == len(plan.atomistic) - 1
    assert counts["pack_trajectory"] == len(plan.to_publish()) == 1


def test_beads_of_the_base_release_are_restored_and_not_simulated(
    workflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(workflow, monkeypatch)
    first, second, *_ = plan.atomistic
    base_release(workflow, plan, {run: beads(plan.atomistic[run]["n_molecules"]) for run in (first, second)})
    (workflow / f"releases/trajectories/{second}.parquet").unlink()  # was not downloaded
    extended = planned(workflow, monkeypatch, base_release=BASE)
    base = f"base_release={BASE}"
    wanted = [extended.beads_path(run) for run in (first, second)]
    assert told(workflow, wanted[0], base) == {"restore_trajectory": 1}
    assert told(workflow, wanted[1], base) == {"simulate_atomistic": 1}
    made(workflow, wanted[0], base)
    assert BeadTrajectory.load(workflow / wanted[0]).metadata == {"status": "ok"}
    # It never changes, so a younger file of the same name is no reason to do anything.
    os.utime(workflow / f"releases/trajectories/{first}.parquet")
    assert told(workflow, wanted[0], base) == {}
    # Nor does the release that extends it pack what the base has.
    assert not {first, second} & set(extended.to_publish())


def test_what_is_learned_from_is_the_same_whether_or_not_the_run_lies_here(
    workflow: Path, simulated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, base = planned(workflow, monkeypatch), f"base_release={BASE}"
    base_release(workflow, plan, {simulated: beads(plan.atomistic[simulated]["n_molecules"])})
    here = Path(plan.beads_path(simulated))
    for _ in range(2):
        extended = planned(workflow, monkeypatch, base_release=BASE)
        assert extended.beads_path(simulated) == f"results/reused/atomistic/{simulated}.npz"
        assert told(workflow, extended.beads_path(simulated), base) == {"restore_trajectory": 1}
        here.unlink(missing_ok=True)
    made(workflow, extended.beads_path(simulated), base)
    beads(plan.atomistic[simulated]["n_molecules"]).save(here)  # as the noise floor's own run leaves it
    assert told(workflow, extended.beads_path(simulated), base) == {}
