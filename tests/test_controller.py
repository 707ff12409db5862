import subprocess
import sys
from pathlib import Path

import pytest

from mobcg import controller
from mobcg.errors import InputError

HOLD = """
import subprocess, sys
from pathlib import Path
from mobcg.controller import hold
hold(Path("results"))
child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.child = int(process.stdout.readline())
    yield process
    process.kill()
    process.wait()
    subprocess.run(["kill", str(process.child)], check=False)


def test_a_second_controller_is_refused_and_told_who_is_at_work(tmp_path: Path, holder: subprocess.Popen) -> None:
    with pytest.raises(InputError, match=rf"in use by process {holder.pid} on .*kill -INT {holder.pid}\)"):
        controller.hold(tmp_path / "results")
    assert controller.living_owner(tmp_path / "results").startswith(f"process {holder.pid} on ")


def test_a_killed_controller_holds_nothing_though_its_jobs_live(tmp_path: Path, holder: subprocess.Popen) -> None:
    holder.kill()
    holder.wait()
    assert controller.living_owner(tmp_path / "results") is None
    controller.hold(tmp_path / "results")


def test_asking_for_the_owner_makes_nothing(tmp_path: Path) -> None:
    assert controller.living_owner(tmp_path / "results") is None
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_snakemake_is_lifted_only_where_nobody_lives(
    tmp_path: Path, holder: subprocess.Popen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    locks = tmp_path / controller.SNAKEMAKE_LOCKS
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results/a\n")
    with pytest.raises(InputError, match="in use by"):
        controller.lift_left_lock(Path("results"))
    assert list(locks.iterdir())
    holder.kill()
    holder.wait()
    controller.lift_left_lock(Path("results"))
    assert not locks.exists()
    assert "killed; going on" in capsys.readouterr().out


def test_a_place_that_is_no_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(InputError, match=r"results: found .*another results_dir"):
        controller.hold(tmp_path / "results")
