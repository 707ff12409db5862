import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mobcg.errors import InputError
from mobcg.step import MACHINE_TROUBLE, run_step
from tests.test_programs import alive, wait_until

# Whoever runs the tests may ignore some signals (nohup, a script in the background), which a child would inherit.
HEADER = (
    "import signal, sys; from pathlib import Path; from mobcg import programs\n"
    "from mobcg.step import STOP_SIGNALS, run_step\n"
    "for number in STOP_SIGNALS: signal.signal(number, signal.SIG_DFL)\n"
)


def start(main: str, cwd: Path, before: str = "") -> subprocess.Popen:
    """Start a step in a process of its own; `main` is the body of its main."""
    code = f"{HEADER}{before}\ndef main():\n    {main}\nsys.exit(run_step(main))"
    return subprocess.Popen([sys.executable, "-c", code], cwd=cwd, stderr=subprocess.PIPE, text=True)


def test_the_status_of_the_command_line_is_the_step_s() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    try:
        assert run_step(lambda: None) == 0
        assert run_step(lambda: 75) == 75
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), before, strict=True):
            signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_program_and_what_it_started_get_time_to_end(tmp_path: Path, number: signal.Signals) -> None:
    # A program that writes a checkpoint when it is asked to stop, and one that it has started.
    script = "sleep 60 & echo $! > child; trap 'sleep 0.3; echo saved > checkpoint; exit 0' TERM; echo $$ > pid; wait"
    step = start(f"programs.run(['sh', '-c', {script!r}], Path('.'), Path('log'))", tmp_path)
    assert wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    step.send_signal(number)
    step.send_signal(number)  # an impatient second one changes nothing
    _, said = step.communicate(timeout=20)
    assert step.returncode == 128 + number
    assert (tmp_path / "checkpoint").read_text() == "saved\n"
    assert not alive(int((tmp_path / "pid").read_text()))
    assert wait_until(lambda: not alive(int((tmp_path / "child").read_text())))
    assert said.startswith(f"stopped by {number.name}; finished runs are kept")


def test_a_program_that_does_not_end_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done"
    main = f"programs.GRACE_S = 0.3; programs.run(['sh', '-c', {script!r}], Path('.'), Path('log'))"
    step = start(main, tmp_path)
    assert wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    step.send_signal(signal.SIGTERM)
    step.communicate(timeout=20)
    assert step.returncode == 128 + signal.SIGTERM
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_signal_that_was_ignored_stays_ignored(tmp_path: Path) -> None:
    before = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    step = start("print('in', file=sys.stderr, flush=True); import time; time.sleep(60)", tmp_path, before)
    assert step.stderr.readline() == "in\n"
    step.send_signal(signal.SIGHUP)
    step.send_signal(signal.SIGTERM)
    step.communicate(timeout=20)
    assert step.returncode == 128 + signal.SIGTERM


def test_a_full_disk_is_a_message(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    step = start("Path('/dev/full').write_text('x')", tmp_path)
    _, said = step.communicate(timeout=20)
    assert step.returncode == 1
    assert said == f"No space left on device. {MACHINE_TROUBLE[errno.ENOSPC]}\n"


def test_a_directory_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    step = start("raise OSError(30, 'Read-only file system', 'results/work')", tmp_path)
    _, said = step.communicate(timeout=20)
    assert step.returncode == 1
    assert said.startswith("results/work: Read-only file system. Make it writable")


def test_an_error_of_the_code_keeps_its_traceback(tmp_path: Path) -> None:
    step = start("raise FileNotFoundError(2, 'No such file', 'x')", tmp_path)
    _, said = step.communicate(timeout=20)
    assert step.returncode == 1
    assert "Traceback" in said


def test_a_wrong_input_is_told(capsys: pytest.CaptureFixture) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def main() -> int:
        raise InputError("a.yaml", "key", 1, "2", "Write 2.")

    try:
        assert run_step(main) == 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert capsys.readouterr().err == "a.yaml: key: found 1; allowed: 2. Write 2.\n"


def test_every_step_of_the_workflow_ends_in_order() -> None:
    root = Path(__file__).parents[1]
    modules = {
        word
        for path in (root / "rules").glob("*.smk")
        for word in path.read_text().split()
        if word.startswith("mobcg.")
    }
    assert len(modules) >= 8
    for module in modules:
        assert "run_step(main)" in (root / "scripts" / f"{module.replace('.', os.sep)}.py").read_text(), module
