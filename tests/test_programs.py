import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mobcg import __version__, programs
from mobcg.errors import SimulationError
from mobcg.programs import ProgramError


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until(condition, timeout_s: float = 10.0) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_output_is_appended_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "a.log"
    programs.run(["sh", "-c", "echo out; echo err >&2"], tmp_path, log)
    programs.run(["sh", "-c", "echo again"], tmp_path, log)
    assert log.read_text().splitlines() == [
        "$ sh -c echo out; echo err >&2",
        "out",
        "err",
        "$ sh -c echo again",
        "again",
    ]


def test_words_are_not_read_by_a_shell(tmp_path: Path) -> None:
    programs.run(["echo", "$(touch hacked); touch hacked `touch hacked`"], tmp_path, tmp_path / "log")
    assert not (tmp_path / "hacked").exists()


def test_stdin_and_working_directory_and_environment(tmp_path: Path) -> None:
    programs.run(
        ["sh", "-c", "cat; pwd; echo $ANSWER"], tmp_path, tmp_path / "log", stdin="hello\n", env={"ANSWER": "42"}
    )
    assert (tmp_path / "log").read_text().splitlines()[1:] == ["hello", str(tmp_path), "42"]


def test_a_program_is_not_told_of_the_job_step_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_STEP_ID", "SLURM_NODELIST", "PMI_RANK", "PMIX_RANK"):
        monkeypatch.setenv(name, "0")
    programs.run(["env"], tmp_path, tmp_path / "log")
    programs.run(["env"], tmp_path, tmp_path / "log", env=dict(os.environ))
    assert "HOME=" in (tmp_path / "log").read_text()
    assert not re.search(r"^(SLURM|PMI)", (tmp_path / "log").read_text(), re.MULTILINE)


def test_a_status_other_than_zero(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="sh ended with exit status 3") as caught:
        programs.run(["sh", "-c", "seq 100; echo the last word; exit 3"], tmp_path, tmp_path / "log")
    assert caught.value.returncode == 3
    assert str(tmp_path / "log") in str(caught.value)
    assert caught.value.tail.splitlines() == [*map(str, range(90, 101)), "the last word"]
    assert "the last word" in str(caught.value)
    assert isinstance(caught.value, SimulationError)


def test_a_signal_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="SIGSEGV") as caught:
        programs.run(["sh", "-c", "kill -SEGV $$"], tmp_path, tmp_path / "log")
    assert caught.value.returncode == -signal.SIGSEGV


def test_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"(?s)no-such-program.*mobcg doctor") as caught:
        programs.run(["no-such-program"], tmp_path, tmp_path / "log")
    assert caught.value.returncode == 127


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a program")
    with pytest.raises(ProgramError, match="Permission denied"):
        programs.run([str(tmp_path / "data")], tmp_path, tmp_path / "log")


def test_a_missing_directory_is_not_called_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"(?s)nowhere: No such file"):
        programs.run(["true"], tmp_path / "nowhere", tmp_path / "log")


def test_a_program_that_outlives_its_time_is_stopped(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(ProgramError, match=r"(?s)SIGKILL.*longer than 0.3 s"):
        programs.run(["sleep", "30"], tmp_path, tmp_path / "log", timeout_s=0.3)
    assert time.monotonic() - started < 10


def test_what_a_stopped_program_had_started_is_stopped_with_it(tmp_path: Path) -> None:
    with pytest.raises(ProgramError):
        programs.run(["sh", "-c", "sleep 60 & echo $! > pid; wait"], tmp_path, tmp_path / "log", timeout_s=0.3)
    assert wait_until(lambda: not alive(int((tmp_path / "pid").read_text())))


@pytest.mark.parametrize(
    ("output", "sign"),
    [("cp: x: No space left on device", "No space left on device"), ("ERROR: Lost atoms", None)],
)
def test_trouble_of_the_machine_is_told_from_trouble_of_the_run(tmp_path: Path, output: str, sign: str | None) -> None:
    assert programs.machine_trouble(output, tmp_path) == sign


def test_output_that_is_not_utf8_does_not_hide_the_failure(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="exit status 1"):
        programs.run(["sh", "-c", r"printf '\377\376'; exit 1"], tmp_path, tmp_path / "log")


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from mobcg import programs\n"
        "programs.run(['sh', '-c', 'echo $$ > pid; exec sleep 60'], Path('.'), Path('log'))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    try:
        pid_file = tmp_path / "pid"
        assert wait_until(lambda: pid_file.exists() and pid_file.read_text().strip())
        child = int(pid_file.read_text())
        assert alive(child)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    if not wait_until(lambda: not alive(child)):
        os.kill(child, signal.SIGKILL)
        pytest.fail("the child outlived its parent")


def test_versions_leave_out_what_is_not_there() -> None:
    assert programs.versions("mobcg", "no-such-program") == {"mobcg": __version__}


def test_a_version_is_that_of_the_program_on_the_path_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for year in ("2018.1", "2022.5"):
        (tmp_path / year).mkdir()
        (tmp_path / year / "gmx").write_text(f"#!/bin/sh\necho 'GROMACS version:    {year}'\n")
        (tmp_path / year / "gmx").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / year}:/usr/bin:/bin")
        assert programs.version("gmx") == year


def test_versions_of_the_real_programs_and_no_files_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = programs.versions(*programs.VERSION_QUERIES)
    if not found:
        pytest.skip("none of gmx, lmp, csg_inverse, csg_stat on PATH")
    assert all(any(character.isdigit() for character in version) for version in found.values()), found
    assert list(tmp_path.iterdir()) == []
