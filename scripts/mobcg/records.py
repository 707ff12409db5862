"""Records: one-row Parquet files and JSON written atomically, and the lock that keeps two writers apart."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mobcg.errors import InputError
from mobcg.schema import TABLES


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes that name when the block ends well, else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def link(source: Path, path: Path) -> None:
    """Give a file a second name, atomically; a copy where the file system has no hard links."""
    with atomic_path(path) as temporary:
        try:
            temporary.unlink()
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        os.utime(temporary)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def work_directory(path: Path) -> Iterator[Path]:
    """Make a directory and hold it alone; waits, with a message, while another process holds it.

    Programs started inside inherit the lock, so one that outlives a killed step still keeps a second writer out.
    """
    path.mkdir(parents=True, exist_ok=True)
    handle = _open_lock(path / ".lock")
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 200, 0).decode(errors="replace") or "another process"
            print(f"{path}: in use by {owner}; waiting until it is free", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        os.set_inheritable(handle, True)
        yield path
    finally:
        os.close(handle)


def is_held(path: Path) -> bool | None:
    """Return whether a process holds a work directory; None where that cannot be told from this machine.

    The look takes a shared lock for an instant: a job that starts in that instant waits for it and goes on.
    """
    try:
        handle = os.open(path / ".lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # A lock of another node need not be seen here: free is known only of those taken on this machine.
        owner = os.pread(handle, 200, 0).decode(errors="replace")
        return False if owner.endswith(f" on {socket.gethostname()}") else None
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)


def _open_lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    wanted = path.parent.stat().st_mode & 0o666
    if os.fstat(handle).st_uid == os.geteuid() and os.fstat(handle).st_mode & 0o777 != wanted:
        # Whoever may write into the directory may take its lock: a group that shares its releases.
        os.fchmod(handle, wanted)
    return handle


def write_record(path: Path, table: str, row: Mapping[str, Any]) -> None:
    """Write one row of a table of `mobcg.schema` as a Parquet file, atomically.

    Columns that `row` leaves out are null; dictionaries in `spec` and `versions` become canonical JSON.

    Raises
    ------
    KeyError
        `row` holds a column that the table does not have.
    ValueError
        A column that may not be null is missing, or a fraction stands where a whole number belongs.
    """
    write_rows(path, table, [row])


def write_rows(path: Path, table: str, rows: list[Mapping[str, Any]]) -> None:
    """Write rows of a table of `mobcg.schema` as one Parquet file, atomically; see `write_record`."""
    arrow = to_arrow(table, rows)
    with atomic_path(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")


def to_arrow(table: str, rows: list[Mapping[str, Any]]) -> pa.Table:
    """Return rows as an Arrow table with the table's schema; raises as `write_record` does."""
    schema = TABLES[table].arrow_schema
    for row in rows:
        unknown = set(row) - set(schema.names)
        if unknown:
            raise KeyError(f"table {table} has no column {sorted(unknown)}")
    columns = [[_plain(row.get(name)) for row in rows] for name in schema.names]
    for field, values in zip(schema, columns, strict=True):
        if not field.nullable and any(value is None for value in values):
            raise ValueError(f"table {table}: column {field.name} may not be null")
        # pyarrow would cut 1.5 to 1 and say nothing.
        if pa.types.is_integer(field.type) and any(value is not None and value != int(value) for value in values):
            raise ValueError(f"table {table}: column {field.name} holds whole numbers")
    arrays = [pa.array(values, type=field.type) for field, values in zip(schema, columns, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    return value


def read_record(path: Path) -> dict[str, Any]:
    """Return the only row of a record file; `spec` and `versions` as dictionaries.

    Raises
    ------
    InputError
        The file is not a whole Parquet file with exactly one row.
    """
    rows = read_rows(path)
    if len(rows) != 1:
        raise InputError(path, "", f"{len(rows)} rows", "exactly one row", "Delete the file and run again.")
    return rows[0]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file of records; `spec` and `versions` as dictionaries."""
    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(path, "", str(error), "a whole Parquet file", "Delete the file and run again.") from error
    for row in rows:
        for name in ("spec", "versions"):
            if row.get(name) is not None:
                row[name] = json.loads(row[name])
    return rows
