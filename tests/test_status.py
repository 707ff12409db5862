import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mobcg import records
from mobcg.estimate import Rates, job_seconds
from mobcg.plan import Plan, load_plan
from mobcg.status import SILENCE_S, StageStatus, failed_attempts, last_line, plan_status, reasons, time_left

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(REPOSITORY)
    return load_plan({"version": "2026.11.0", "scale": "quick", "results_dir": str(tmp_path / "results")})


def atomistic_row(plan: Plan, name: str, **changes: object) -> dict:
    spec = plan.atomistic[name]
    return {
        "run_id": name,
        "molecule_id": spec["molecule"]["id"],
        "force_field_id": "0" * 16,
        "replica": 0,
        "temperature_k": 298.15,
        "pressure_bar": 1.0,
        "n_molecules": spec["n_molecules"],
        "status": "ok",
        "spec": spec,
        "versions": {},
        **changes,
    }


def test_nothing_is_done_at_first_and_nothing_is_written(plan: Plan) -> None:
    stages = plan_status(plan)
    assert {stage.stage: stage.planned for stage in stages} == {
        "atomistic": len(plan.atomistic),
        "inversion": len(plan.inversions),
        "coarse shards": len(plan.shards),
        "prior shards": len(plan.prior_shards),
        "training": 1 + len(plan.folds) * len(plan.scale.predictor.models),
        "evaluation": len(plan.evaluations),
        "release": 2,
    }
    nothing = {"failed": {}, "retried": set(), "running": {}, "stopped": {}, "broken": {}}
    for stage in stages:
        assert vars(stage) == {"stage": stage.stage, "planned": stage.planned, "reused": 0, "done": 0, **nothing}
        assert stage.left == stage.planned
    assert not Path(plan.config.results_dir).exists()


def test_records_count_and_a_failure_tells_its_reason(plan: Plan) -> None:
    good, bad, *_ = plan.atomistic
    records.write_record(Path(plan.record_path("atomistic", good)), "atomistic", atomistic_row(plan, good))
    failed = atomistic_row(plan, bad, status="failed", reason="LINCS warnings\nand more")
    records.write_record(Path(plan.record_path("atomistic", bad)), "atomistic", failed)
    stage = plan_status(plan)[0]
    assert (stage.done, stage.left) == (2, len(plan.atomistic) - 2)
    assert stage.failed == {bad: "LINCS warnings\nand more"}


def test_every_failed_run_of_a_shard_counts(plan: Plan) -> None:
    name = next(iter(plan.shards))
    run = next(iter(plan.atomistic))
    rows = [atomistic_row(plan, run, status=status, reason=f"lost {status}") for status in ("failed", "ok", "failed")]
    records.write_rows(Path(plan.record_path("coarse", name)), "atomistic", rows)
    stage = plan_status(plan)[2]
    assert (stage.done, stage.left) == (1, len(plan.shards) - 1)
    assert stage.failed == {f"{name} row 1": "lost failed", f"{name} row 3": "lost failed"}


def test_every_stage_looks_where_its_rule_writes(plan: Plan) -> None:
    results = Path(plan.config.results_dir)
    row = atomistic_row(plan, next(iter(plan.atomistic)))
    for path in (
        results / "inversion" / f"{next(iter(plan.inversions))}.parquet",
        results / "coarse" / f"{next(iter(plan.shards))}.parquet",
        results / "prior" / f"{next(iter(plan.prior_shards))}.coarse.parquet",
        results / "quick" / "evaluation" / f"{next(iter(plan.evaluations))}.parquet",
    ):
        records.write_record(path, "atomistic", row)
    for path in ("models/benzene/mobcg/model.json", "tables", "release.txt"):
        (results / "quick" / path).mkdir(parents=True)
    assert [stage.done for stage in plan_status(plan)] == [0, 1, 1, 1, 2, 1, 1]


def test_what_the_base_release_holds_is_reused_not_left(plan: Plan) -> None:
    first = next(iter(plan.atomistic))
    fields = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    stage = plan_status(Plan(**(fields | {"reused": {"atomistic": frozenset([first])}})))[0]
    assert (stage.planned, stage.reused, stage.done, stage.left) == (5, 1, 0, 4)


def test_a_broken_record_is_named_and_hides_nothing_else(plan: Plan) -> None:
    broken, good, *_ = plan.atomistic
    path = Path(plan.record_path("atomistic", broken))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 half")
    records.write_record(Path(plan.record_path("atomistic", good)), "atomistic", atomistic_row(plan, good))
    stage = plan_status(plan)[0]
    assert stage.done == 2
    assert list(stage.broken) == [broken]
    assert str(path) in stage.broken[broken]


def begin(plan: Plan, name: str, line: str = "npt_00: 3.0 of 20 ps") -> tuple[Path, Path]:
    """Lay out what an atomistic run at work leaves: its log and its work directory; return both."""
    results = Path(plan.config.results_dir)
    log, work = results / f"logs/simulate_atomistic/{name}.log", results / f"work/atomistic/{name}"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(f"squeeze: 10 ps\n{line}\n\n")
    work.mkdir(parents=True)
    return log, work


def test_a_held_directory_is_a_job_at_work_and_a_free_one_a_job_that_stopped(plan: Plan) -> None:
    first, second, *_ = plan.atomistic
    _, work = begin(plan, first)
    begin(plan, second, "gmx ended with SIGKILL; see nvt.out")
    program = (
        "import sys, time; from pathlib import Path; from mobcg.records import work_directory\n"
        "with work_directory(Path(sys.argv[1])): print('held', flush=True); time.sleep(float(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", program, str(work.parent / second), "0"], check=True, capture_output=True)
    with subprocess.Popen(
        [sys.executable, "-c", program, str(work), "60"], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            stage = plan_status(plan)[0]
            assert stage.running == {first: "npt_00: 3.0 of 20 ps"}
            assert stage.stopped == {second: "gmx ended with SIGKILL; see nvt.out"}
            assert (stage.done, stage.left) == (0, len(plan.atomistic))
        finally:
            holder.kill()
    stage = plan_status(plan)[0]
    assert (stage.running, list(stage.stopped)) == ({}, [first, second])


def test_looking_keeps_nobody_out(plan: Plan, capsys: pytest.CaptureFixture) -> None:
    name = next(iter(plan.atomistic))
    _, work = begin(plan, name)
    with records.work_directory(work):
        owner = (work / ".lock").read_bytes()
        assert records.is_held(work) is True
        assert (work / ".lock").read_bytes() == owner
    assert records.is_held(work) is False
    assert records.is_held(work / "nowhere") is None
    with records.work_directory(work):
        pass
    assert "waiting" not in capsys.readouterr().err


def test_of_a_job_on_another_node_the_log_tells(plan: Plan) -> None:
    name = next(iter(plan.atomistic))
    log, work = begin(plan, name)
    (work / ".lock").write_text("process 12 on another-node")
    assert list(plan_status(plan)[0].running) == [name]
    long_ago = time.time() - 2 * SILENCE_S
    os.utime(log, (long_ago, long_ago))
    stage = plan_status(plan)[0]
    assert (list(stage.running), list(stage.stopped)) == ([], [name])


def test_runs_in_smaller_steps_are_retries(plan: Plan) -> None:
    recorded, at_work, plain, old, *_ = plan.atomistic
    for name, retries in ((recorded, 1), (plain, 0), (old, None)):
        path = Path(plan.record_path("atomistic", name))
        records.write_record(path, "atomistic", atomistic_row(plan, name, retries=retries))
    _, work = begin(plan, at_work)
    (work / "step_2_fs").mkdir()
    (work / "step_2_fs" / "failed").write_text("npt_00: Too many LINCS warnings")
    assert plan_status(plan)[0].retried == {recorded, at_work}


def test_jobs_that_snakemake_started_again_are_retries(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(
        "rule all:\n    input: 'a.npz', 'never'\n"
        "rule fragile:\n    output: 'a.npz', 'b'\n"
        "    shell: 'test -e tried && touch {output} || {{ touch tried; exit 1; }}'\n"
        "rule hopeless:\n    output: 'never'\n    shell: 'exit 3'\n"
    )
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--retries", "1", "--keep-going"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0
    assert failed_attempts(tmp_path / ".snakemake/log") == {"a.npz": 1, "b": 1, "never": 2}
    assert failed_attempts(tmp_path / "nowhere") == {}
    # As Snakemake writes of a run of this plan: one of them is made in the end, one is not.
    made, stopped, *_ = plan.atomistic
    logs = tmp_path / "logs"
    logs.mkdir()
    beads = [f"{plan.config.results_dir}/atomistic/{name}.npz" for name in (made, stopped)]
    error = (
        "Error in rule simulate_atomistic:\n    message: None\n    output: {}\n    log: x\nTrying to restart job 1.\n"
    )
    (logs / "1.snakemake.log").write_text("".join(error.format(path) for path in beads))
    records.write_record(Path(plan.record_path("atomistic", made)), "atomistic", atomistic_row(plan, made))
    _, work = begin(plan, stopped)
    (work / ".lock").write_text("process 12 on another-node")
    os.utime(Path(plan.config.results_dir) / f"logs/simulate_atomistic/{stopped}.log", (0, 0))
    assert plan_status(plan, logs)[0].retried == {made}


def test_the_time_left_is_that_of_what_is_missing(plan: Plan) -> None:
    total = time_left(plan, plan_status(plan), Rates())
    assert total.wall_s is None
    assert sum(total.core_s.values()) == pytest.approx(sum(map(sum, job_seconds(plan).values())), rel=0.01)
    first, *others = plan.atomistic
    for name in others:
        Path(plan.record_path("atomistic", name)).parent.mkdir(parents=True, exist_ok=True)
        Path(plan.record_path("atomistic", name)).touch()
        Path(plan.record_path("atomistic", name)).with_suffix(".npz").touch()
    _, work = begin(plan, first)
    expected_s = job_seconds(plan)["simulate_atomistic"][0] + job_seconds(plan)["observe_atomistic"][0]
    with records.work_directory(work):
        os.utime(work / ".lock", (time.time() - 60, time.time() - 60))
        left = time_left(plan, [StageStatus("atomistic", 5, running={first: ""})], Rates())
    assert left.core_s["atomistic"] == pytest.approx(expected_s - 60, abs=1)
    assert left.wall_s == pytest.approx(sum(left.core_s.values()), rel=0.01)


def test_reasons_are_counted_by_their_first_line() -> None:
    found = {"a": "blew up\nlog", "b": None, "c": "blew up\nother log"}
    assert reasons(found) == [("blew up", ["a", "c"]), ("no reason recorded", ["b"])]


@pytest.mark.parametrize(
    ("text", "line"), [("", ""), ("\n\n", ""), ("one", "one"), ("x" * 9000 + "\nlast\n \n", "last")]
)
def test_the_last_line_of_a_log(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "log").write_text(text)
    assert last_line(tmp_path / "log") == line
