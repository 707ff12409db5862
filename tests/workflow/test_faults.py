"""Faults survived: the short drills; docs/faults.md shows what all of them came to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.workflow.drills import DRILLS, PROGRAMS, Drill, private_mounts

MISSING = [program for program in PROGRAMS if shutil.which(program) is None]
pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}; `make setup` installs them"),
]


@pytest.mark.parametrize(
    "drill", [drill for drill in DRILLS if not drill.slow], ids=lambda drill: drill.run.__name__.replace("_", "-")
)
def test_fault(tmp_path: Path, drill: Drill) -> None:
    if drill.mounts and private_mounts() is None:
        pytest.skip("this machine lets nobody mount a small or read-only file system of their own (unshare)")
    assert drill.run(tmp_path)
