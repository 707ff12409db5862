"""What a check yields, and how it reads the tables of a release."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mobcg.pair import R_NM
from mobcg.schema import Column, Table

BATCH_ROWS = 4096


@dataclass(frozen=True)
class Finding:
    """One thing wrong with a release: table (or file), row id, column, value found and the rule that it breaks."""

    table: str
    row: str
    field: str
    value: str
    rule: str

    def __str__(self) -> str:
        """Return one line for a person."""
        where = " ".join(part for part in (self.table, self.row, self.field) if part)
        return f"{where}: found {self.value}; rule: {self.rule}"


def shown(value: Any) -> str:
    """Return a value as a short text."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 160 else text[:157] + "..."


class ReleaseTables:
    """The tables of a release, whose schemas are right: whole key columns, or all columns batch by batch."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, table: str) -> Path:
        """Return the file of a table."""
        return self.directory / "data" / f"{table}.parquet"

    def read(self, table: str, *columns: str) -> pa.Table:
        """Return whole columns of a table."""
        return pq.read_table(self.path(table), columns=list(columns), page_checksum_verification=True)

    def batches(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield columns of a table, all by default, `BATCH_ROWS` rows at a time."""
        file = pq.ParquetFile(self.path(table), page_checksum_verification=True)
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
            yield pa.Table.from_batches([batch])


def row_names(rows: pa.Table, table: Table) -> list[str]:
    """Return the key of each row as findings name it."""
    return ["/".join(map(str, key)) for key in zip(*(rows[name].to_pylist() for name in table.key), strict=True)]


def as_array(values: pa.ChunkedArray, column: Column) -> NDArray:
    """Return a column as NumPy: curves on the grid as (n, 150), other lists and texts as objects."""
    array = values.combine_chunks()
    if column.on_grid and column.expected:
        return array.flatten().to_numpy().reshape(-1, R_NM.size)
    if pa.types.is_list(column.type):
        lists = (None if value is None else np.asarray(value) for value in array.to_pylist())
        return np.array([*lists, None], dtype=object)[:-1]
    if pa.types.is_floating(column.type):
        return array.to_numpy(zero_copy_only=False)
    return np.array(array.to_pylist(), dtype=object if pa.types.is_string(column.type) else None)


def value_at(spec: Any, path: Sequence[str]) -> Any:
    """Return the value at a path of keys, None where there is none."""
    for key in path:
        spec = spec.get(key) if isinstance(spec, dict) else None
    return spec


def parsed_json(text: str | None) -> Any:
    """Return what a JSON text holds, None where it is no JSON."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
