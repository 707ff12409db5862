"""A copy of the workflow in a directory of its own, and Snakemake run in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PARTS = ("Snakefile", "rules", "envs", "config", "profiles", "LICENSE-DATA", "CITATION.cff")

MISSING = [program for program in ("gmx", "csg_inverse", "lmp") if shutil.which(program) is None]
SMALLEST = REPOSITORY / "tests/workflow/smallest.yaml"
WORDS = (
    "--profile", "profiles/workstation", "--cores", "2",
    "--config", f"scale={SMALLEST}",
)  # fmt: skip


def copy_workflow(destination: Path) -> Path:
    """Copy what a run needs, so that it leaves nothing in the repository and locks nobody out."""
    destination.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, destination / name)
        else:
            shutil.copy(source, destination / name)
    (destination / "slurm").symlink_to("profiles/slurm")
    return destination


def snakemake_command(*words: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", *words]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def snakemake(directory: Path, *words: str, timeout_s: float = 120) -> subprocess.CompletedProcess:
    return subprocess.run(
        snakemake_command(*words),
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    return copy_workflow(tmp_path / "workflow")


# Signs in the files that a run is in the middle of an atomistic run, of an inversion and of a shard of coarse runs.
MOMENTS = (
    "results/work/atomistic/*/step_*/npt_00.log",
    "results/work/inversion/*/attempt_1/step_002",
    "results/work/coarse/*/*.parquet",
)


def kill_when(directory: Path, sign: str) -> None:
    """Start the workflow, and kill it with all its children as soon as a file that `sign` matches is there."""
    process = subprocess.Popen(snakemake_command(*WORDS), cwd=directory, env=environment(), start_new_session=True)
    deadline = time.monotonic() + 1200
    while not any(directory.glob(sign)):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert snakemake(directory, *WORDS, "--unlock").returncode == 0


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run that was killed with SIGKILL three times on its way and started again each time."""
    directory = copy_workflow(tmp_path_factory.mktemp("end-to-end") / "workflow")
    for sign in MOMENTS:
        kill_when(directory, sign)
    assert not list(directory.glob("releases/*")), "nothing can be released yet"
    done = snakemake(directory, *WORDS, timeout_s=2400)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-8000:]
    yield directory
    shutil.rmtree(directory, ignore_errors=True)
