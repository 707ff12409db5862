"""A copy of the workflow in a directory of its own, and Snakemake run in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PARTS = ("Snakefile", "rules", "envs", "config", "profiles", "LICENSE-DATA", "CITATION.cff")


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
