import logging
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

import snakemake_logger_plugin_mobcg as plugin

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a copy of config/ and a workflow: one job needs a second try, one fails for good."""
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").write_text(
        "rule all:\n    input: 'a.invert', 'b.invert', 'done', 'never'\n"
        "rule invert:\n    output: '{name}.invert'\n    shell: 'touch {output}'\n"
        "rule fragile:\n    output: 'done'\n    log: 'fragile.log'\n"
        "    shell: 'test -e tried && touch {output} || {{ touch tried; exit 1; }}'\n"
        "rule hopeless:\n    output: 'never'\n    log: 'hopeless.log'\n    shell: 'exit 3'\n"
    )
    return tmp_path


def snakemake(house: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--logger", "mobcg", *arguments]
    return subprocess.run(command, cwd=house, capture_output=True, text=True, check=False)


def handler(scale: str = "quick") -> plugin.LogHandler:
    """Return a handler as Snakemake makes it, with its own common settings."""
    from snakemake.settings.types import OutputSettings

    return plugin.LogHandler(OutputSettings(), plugin.LogHandlerSettings(scale=scale))


def record(event: LogEvent | None, message: str = "", level: int = logging.INFO, **values: object) -> logging.LogRecord:
    made = logging.LogRecord("snakemake", level, "", 0, message, None, None)
    if event is not None:
        made.event = event
    vars(made).update(values)
    return made


def test_snakemake_finds_the_plugin() -> None:
    registry = LoggerPluginRegistry()
    registry.collect_plugins()
    assert registry.is_installed("mobcg")


def test_a_real_run_tells_what_starts_ends_and_fails(house: Path) -> None:
    done = snakemake(house, "--retries", "1", "--keep-going")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    lines = [line.split("] ", 1)[1] for line in done.stdout.splitlines() if line.startswith("[")]
    assert lines[0] == "5 jobs to do"
    assert sum("inversions" in line and "started" in line for line in lines) == 2
    assert sum("fragile 0/1: FAILED" in line and "fragile.log" in line for line in lines) == 1
    assert sum("hopeless 0/1: FAILED" in line and "hopeless.log" in line for line in lines) == 2
    finished = [line for line in lines if " done; " in line]
    assert len(finished) == 3
    assert "inversions 2/2 done" in "\n".join(finished)
    assert "3 of 5 jobs, about 0 min left" in finished[-1]


@pytest.mark.parametrize("text", [None, "- a list", "version: [", "version: 2026.11.0\nscale: huge"])
def test_a_wrong_configuration_is_left_to_the_snakefile(house: Path, text: str | None) -> None:
    path = house / "config/config.yaml"
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert handler("huge").expected_s == {}


def test_the_time_left_starts_from_the_estimate_and_goes_on_with_what_was_measured(
    house: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"now": 100.0}
    monkeypatch.setattr(plugin.time, "monotonic", lambda: clock["now"])
    log = handler()
    assert log.expected_s["simulate_atomistic"] > 10
    log.emit(record(LogEvent.RUN_INFO, stats={"invert": 5, "train": 1, "total": 6}))
    log.emit(record(LogEvent.RESOURCES_INFO, cores=2))
    log.emit(record(LogEvent.JOB_INFO, jobid=1, rule_name="invert", wildcards={"potential_id": "f" * 16}))
    assert log._time_left_s() == pytest.approx((5 * log.expected_s["invert"] + log.expected_s["train"]) / 2)
    clock["now"] += 600
    log.emit(record(LogEvent.JOB_FINISHED, job_id=1))
    assert log._time_left_s() == pytest.approx((4 * 600 + log.expected_s["train"]) / 2)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith("6 jobs to do")
    assert printed[1].endswith(f"inversions 0/5: started {'f' * 16}")
    assert "inversions 1/5 done; 1 of 6 jobs, about 20 min left" in printed[2]


def test_a_failed_job_is_not_done_and_its_end_is_not_counted(house: Path, capsys: pytest.CaptureFixture) -> None:
    log = handler()
    log.emit(record(LogEvent.RUN_INFO, stats={"invert": 1, "total": 1}))
    log.emit(record(LogEvent.JOB_INFO, jobid=1, rule_name="invert", wildcards=None))
    log.emit(record(LogEvent.JOB_ERROR, jobid=1, rule_name="invert", wildcards=None, log=["a.log"]))
    log.emit(record(LogEvent.JOB_FINISHED, job_id=1))
    assert log.done["invert"] == 0
    assert "inversions 0/1: FAILED ; see a.log" in capsys.readouterr().out


def test_warnings_and_errors_go_to_standard_error_and_chatter_nowhere(
    house: Path, capsys: pytest.CaptureFixture
) -> None:
    log = handler()
    log.emit(record(None, "Building DAG of jobs..."))
    log.emit(record(None, "a warning", logging.WARNING))
    log.emit(record(LogEvent.ERROR, "WorkflowError: no", logging.ERROR))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == ["a warning", "WorkflowError: no"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 min"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (360_000, "100.0 h")]
)
def test_times_are_readable(seconds: float, text: str) -> None:
    assert plugin._minutes(seconds) == text


def test_the_snakemake_it_was_written_for() -> None:
    assert int(version("snakemake").split(".")[0]) == 9
