"""One row of a base release as a record file of its own, for the steps that build on it.

`python -m mobcg.database.reuse --base RELEASE --room atomistic|inversion --id ID --out FILE`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mobcg.errors import InputError
from mobcg.records import atomic_path
from mobcg.schema import TABLES
from mobcg.step import run_step

TABLE_OF_ROOM = {"atomistic": "atomistic", "inversion": "potentials"}


def reuse_record(base_release: Path, room: str, record_id: str, destination: Path) -> None:
    """Write the row of a release as a one-row Parquet file, value for value, as `mobcg.records.write_record` would.

    Raises
    ------
    InputError
        The release has no such row.
    """
    table = TABLES[TABLE_OF_ROOM[room]]
    (key,) = table.key
    path = base_release / "data" / f"{table.name}.parquet"
    if not path.is_file():
        raise InputError("--base", "", str(base_release), f"a release with data/{path.name}", "Check base_release.")
    row = ds.dataset(path, schema=table.arrow_schema).to_table(filter=pc.field(key) == record_id)
    if len(row) != 1:
        raise InputError(path, key, record_id, "an id that the release holds", "Check base_release.")
    with atomic_path(destination) as temporary:
        pq.write_table(row, temporary, compression="zstd")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.database.reuse", description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="release directory")
    parser.add_argument("--room", choices=sorted(TABLE_OF_ROOM), required=True)
    parser.add_argument("--id", required=True, help="run_id or potential_id")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        reuse_record(options.base, options.room, options.id, options.out)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
