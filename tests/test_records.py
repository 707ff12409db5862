import fcntl
import json
import math
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mobcg import records
from mobcg.errors import InputError
from mobcg.plan import canonical_json, run_id
from mobcg.schema import TABLES

SPEC = {"kind": "coarse", "b": [1.0, 2], "a": {"z": None, "α": True}}
ROW = {
    "run_id": run_id(SPEC),
    "molecule_id": "benzene",
    "potential_id": "0" * 16,
    "mass_g_mol": 78.1,
    "thermostat": "nose_hoover",
    "friction_1_ps": 0.0,
    "temperature_k": 298.15,
    "n_beads": 400,
    "rdf": np.linspace(0, 1, 150),
    "status": "ok",
    "spec": SPEC,
    "versions": {"mobcg": "0", "lmp": "1"},
}


def start(code: str, cwd: Path) -> subprocess.Popen:
    """Start a Python process whose code sees `Path`, `records` and `programs`."""
    header = "import sys, time; from pathlib import Path; from mobcg import records, programs\n"
    return subprocess.Popen(
        [sys.executable, "-c", header + code],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_roundtrip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.parquet"
    records.write_record(path, "coarse", ROW)
    back = records.read_record(path)
    assert back["spec"] == SPEC
    assert back["versions"] == ROW["versions"]
    assert back["rdf"] == list(ROW["rdf"])
    assert back["reason"] is None
    assert back["diffusion_nm2_ns"] is None
    assert list(back) == TABLES["coarse"].arrow_schema.names


def test_dictionaries_become_the_canonical_json_that_the_id_hashes(tmp_path: Path) -> None:
    records.write_record(tmp_path / "a.parquet", "coarse", ROW)
    text = pq.read_table(tmp_path / "a.parquet")["spec"][0].as_py()
    assert text == canonical_json(SPEC)
    assert run_id(json.loads(text)) == ROW["run_id"]


def test_the_schema_travels_with_the_file(tmp_path: Path) -> None:
    records.write_record(tmp_path / "a.parquet", "coarse", ROW)
    assert pq.read_schema(tmp_path / "a.parquet").field("mass_g_mol").metadata[b"unit"] == b"g/mol"


def test_an_unknown_column(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="colour"):
        records.write_record(tmp_path / "a.parquet", "coarse", {**ROW, "colour": "red"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("row", [{**ROW, "mass_g_mol": None}, {k: v for k, v in ROW.items() if k != "mass_g_mol"}])
def test_a_null_where_none_may_be(tmp_path: Path, row: dict) -> None:
    with pytest.raises(ValueError, match="mass_g_mol may not be null"):
        records.write_record(tmp_path / "a.parquet", "coarse", row)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"mass_g_mol": "heavy"}, {"rdf": "flat"}, {"rdf": [1.0, None]}, {"n_beads": 1.5}])
def test_a_wrong_type_is_refused_and_leaves_nothing(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises((ValueError, TypeError, OSError)):
        records.write_record(tmp_path / "a.parquet", "coarse", {**ROW, **wrong})
    assert list(tmp_path.iterdir()) == []


def test_the_same_row_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        records.write_record(tmp_path / name, "coarse", ROW)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("keep", [0, 4, 100, -8])
def test_a_truncated_file(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.parquet"
    records.write_record(path, "coarse", ROW)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"a\.parquet.*whole Parquet file.*Delete the file"):
        records.read_record(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.parquet"):
        records.read_record(tmp_path / "a.parquet")


@pytest.mark.parametrize("count", [0, 2])
def test_a_record_is_one_row(tmp_path: Path, count: int) -> None:
    records.write_rows(tmp_path / "a.parquet", "coarse", [ROW] * count)
    assert len(records.read_rows(tmp_path / "a.parquet")) == count
    with pytest.raises(InputError, match=f"{count} rows"):
        records.read_record(tmp_path / "a.parquet")


def test_a_nan_stays_a_nan_and_is_not_null(tmp_path: Path) -> None:
    records.write_record(tmp_path / "a.parquet", "coarse", {**ROW, "pressure_bar": math.nan})
    assert math.isnan(records.read_record(tmp_path / "a.parquet")["pressure_bar"])


def test_atomic_path_keeps_the_old_file_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with records.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_of_the_old_file_never_sees_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old and long")
    with path.open() as reader:
        with records.atomic_path(path) as temporary:
            temporary.write_text("new")
        assert reader.read() == "old and long"
    assert path.read_text() == "new"


def test_atomic_path_gives_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with records.atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_a_second_name_outlives_the_first_and_takes_the_place_of_another_file(tmp_path: Path) -> None:
    source, path = tmp_path / "work" / "a.npz", tmp_path / "out" / "a.npz"
    source.parent.mkdir()
    source.write_bytes(b"beads")
    for _ in range(2):
        records.link(source, path)
        assert path.samefile(source)
    source.unlink()
    assert path.read_bytes() == b"beads"
    assert [each.name for each in path.parent.iterdir()] == ["a.npz"]


def test_a_writer_killed_before_the_rename_leaves_no_half_file(tmp_path: Path) -> None:
    writer = start(
        "with records.atomic_path(Path('a.parquet')) as t:\n"
        "    t.write_bytes(b'half'); print(t, flush=True); time.sleep(60)",
        tmp_path,
    )
    temporary = Path(writer.stdout.readline().strip())
    writer.kill()
    writer.communicate()
    assert (tmp_path / temporary).read_bytes() == b"half"
    assert not (tmp_path / "a.parquet").exists()
    records.write_record(tmp_path / "a.parquet", "coarse", ROW)
    assert records.read_record(tmp_path / "a.parquet")["molecule_id"] == "benzene"


def test_a_second_process_waits_for_the_lock_and_says_so(tmp_path: Path) -> None:
    hold = "with records.work_directory(Path('work')):\n    print('in', flush=True); sys.stdin.read()"
    first = start(hold, tmp_path)
    assert first.stdout.readline() == "in\n"
    second = start(hold, tmp_path)
    message = second.stderr.readline()
    assert f"in use by process {first.pid} on " in message
    assert "waiting" in message
    assert select.select([second.stdout], [], [], 0.1)[0] == []
    first.communicate("")
    assert second.stdout.readline() == "in\n"
    assert str(second.pid) in (tmp_path / "work" / ".lock").read_text()
    second.communicate("")
    assert second.returncode == 0


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    first = start("with records.work_directory(Path('work')):\n    print('in', flush=True); time.sleep(60)", tmp_path)
    first.stdout.readline()
    first.kill()
    first.communicate()
    with records.work_directory(tmp_path / "work") as path:
        assert path.is_dir()


def test_a_program_that_outlives_a_killed_step_still_holds_the_lock(tmp_path: Path) -> None:
    # What csg_inverse leaves behind: the script dies with the step, the program that it started lives on.
    script = "sleep 60 & echo $! > pid; echo ready; wait"
    step = start(
        "with records.work_directory(Path('work')) as work:\n"
        f"    print('in', flush=True); programs.run(['sh', '-c', {script!r}], work, work / 'log')",
        tmp_path,
    )
    step.stdout.readline()
    log = tmp_path / "work" / "log"
    while not (log.exists() and "ready" in log.read_text().splitlines()):
        assert step.poll() is None
    orphan = int((tmp_path / "work" / "pid").read_text())
    step.kill()
    step.communicate()
    with (tmp_path / "work" / ".lock").open() as lock:
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.kill(orphan, signal.SIGKILL)
        fcntl.flock(lock, fcntl.LOCK_EX)


def test_whoever_may_write_into_a_directory_may_take_its_lock(tmp_path: Path) -> None:
    shared = tmp_path / "releases"
    shared.mkdir()
    shared.chmod(0o775)
    with records.work_directory(shared):
        assert (shared / ".lock").stat().st_mode & 0o777 == 0o664
