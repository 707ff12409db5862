"""One table at a time: keys, values, ids that recompute from their specs, and the physics of single rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mobcg.database.checks import physics
from mobcg.database.checks.finding import Finding, ReleaseTables, as_array, row_names, shown, value_at
from mobcg.pair import R_NM
from mobcg.schema import Column, Table

# Column → path in the spec that holds the same value.
SPEC_COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "atomistic": {
        "molecule_id": ("molecule", "id"),
        "temperature_k": ("temperature_k",),
        "pressure_bar": ("pressure_bar",),
        "n_molecules": ("n_molecules",),
        "replica": ("replica",),
    },
    "potentials": {
        "molecule_id": ("molecule_id",),
        "temperature_k": ("temperature_k",),
        "parent_run_ids": ("parent_run_ids",),
        "pressure_corrected": ("pressure_correction",),
        "scale_factor": ("scale_factor",),
    },
    "coarse": {
        "mass_g_mol": ("mass_g_mol",),
        "temperature_k": ("temperature_k",),
        "thermostat": ("thermostat",),
        "friction_1_ps": ("friction_1_ps",),
        "n_beads": ("n_beads",),
    },
    "evaluation": {
        "molecule_id": ("molecule_id",),
        "model": ("model",),
        "scale_factor": ("scale_factor",),
        "replica": ("replica",),
    },
}


def _check_specs(rows: pa.Table, table: Table) -> Iterator[tuple[int, str, Any, str]]:
    """Yield rows whose id is not the hash of their spec, or whose columns say other than the spec."""
    id_column = table.key[0] if table.key in (("run_id",), ("potential_id",)) else None
    names = list(SPEC_COLUMNS.get(table.name, {}))
    columns = {name: rows[name].to_pylist() for name in (*names, *([id_column] if id_column else []))}
    for row, text in enumerate(rows["spec"].to_pylist()):
        try:
            spec = json.loads(text)
            canonical = _canonical(spec)
        except (ValueError, TypeError, RecursionError):
            yield row, "spec", text, "JSON"
            continue
        if not isinstance(spec, dict) or canonical != text:
            yield row, "spec", text, "canonical JSON of an object: sorted keys, no spaces"
            continue
        if id_column and hashlib.sha256(text.encode()).hexdigest()[:16] != columns[id_column][row]:
            yield row, id_column, columns[id_column][row], "first 16 hex digits of the SHA-256 of spec"
        for name in names:
            asked = value_at(spec, SPEC_COLUMNS[table.name][name])
            if asked is not None and asked != columns[name][row]:
                yield row, name, columns[name][row], f"{asked!r}, as the spec asks"


def _canonical(spec: Any) -> str:
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)


def check_keys(release: ReleaseTables, table: Table) -> Iterator[Finding]:
    """Yield rows whose key is repeated or out of order."""
    rows = release.read(table.name, *table.key)
    keys = list(zip(*(rows[name].to_pylist() for name in table.key), strict=True))
    for one, other in pairwise(keys):
        if None not in one + other and not one < other:
            rule = "sorted by key" if other < one else "every key once"
            yield Finding(table.name, "/".join(map(str, other)), "/".join(table.key), "out of order or repeated", rule)


def check_rows(release: ReleaseTables, table: Table) -> Iterator[Finding]:
    """Yield values that the schema forbids, ids that do not recompute, and impossible physics."""
    for rows in release.batches(table.name):
        names = row_names(rows, table)
        failed = np.zeros(len(rows), bool)
        if "status" in rows.column_names:
            failed = np.array([status != "ok" for status in rows["status"].to_pylist()])
            explained = np.array([bool(reason) for reason in rows["reason"].to_pylist()])
            for row in np.flatnonzero(failed & ~explained):
                yield Finding(table.name, names[row], "reason", "nothing", "a failed run has a reason")
        for column in table.columns:
            if column.name in rows.column_names:
                for row, value, rule in _check_column(rows[column.name], column, failed):
                    yield Finding(table.name, names[row], column.name, shown(value), rule)
        if "spec" in rows.column_names:
            for row, field, value, rule in _check_specs(rows, table):
                yield Finding(table.name, names[row], field, shown(value), rule)
        sound = sound_columns(rows, table)
        for check in physics.ROW_CHECKS.get(table.name, ()) if sound else ():
            for breach in check(sound):
                yield Finding(table.name, sound["name"][breach.row], breach.field, shown(breach.value), breach.rule)


def _check_column(values: pa.ChunkedArray, column: Column, failed: NDArray) -> Iterator[tuple[int, Any, str]]:
    """Yield row, value and rule for the values of one column that may not be so."""
    missing = values.is_null().to_numpy()
    if column.required:
        yield from ((int(row), None, "never null") for row in np.flatnonzero(missing))
    elif column.expected:
        yield from ((int(row), None, "null only of a run that failed") for row in np.flatnonzero(missing & ~failed))
    if column.allowed:
        known = pc.is_in(values, pa.array(column.allowed)).to_numpy() | missing
        allowed = f"one of {', '.join(column.allowed)}"
        yield from ((int(row), values[int(row)].as_py(), allowed) for row in np.flatnonzero(~known))
    row_of, numbers = _numbers(values)
    if column.on_grid:
        lengths = np.bincount(row_of, minlength=len(values))
        off = ~missing & (lengths != R_NM.size)
        yield from ((int(row), int(lengths[row]), f"{R_NM.size} values, one a bin") for row in np.flatnonzero(off))
    for off, rule in _breaks_limits(numbers, column):
        for row in np.unique(row_of[off]):
            yield int(row), numbers[off & (row_of == row)][0], rule


def _numbers(values: pa.ChunkedArray) -> tuple[NDArray, NDArray]:
    """Return, for every number in a column (or in its lists), its row and itself; nulls are left out."""
    array = values.combine_chunks()
    rows = np.arange(len(array))
    while pa.types.is_list(array.type):
        rows = rows[pc.list_parent_indices(array).to_numpy()]
        array = array.flatten()
    if not (pa.types.is_floating(array.type) or pa.types.is_integer(array.type)):
        return np.zeros(0, int), np.zeros(0)
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    return rows[valid], array.filter(pa.array(valid)).to_numpy(zero_copy_only=False).astype(np.float64)


def _breaks_limits(numbers: NDArray, column: Column) -> Iterator[tuple[NDArray, str]]:
    yield ~np.isfinite(numbers), "a finite number; what is missing is null"
    if column.minimum is not None:
        yield numbers < column.minimum, f"at least {column.minimum:g}"
    if column.maximum is not None:
        yield numbers > column.maximum, f"at most {column.maximum:g}"
    if column.exclusive_minimum is not None:
        yield numbers <= column.exclusive_minimum, f"above {column.exclusive_minimum:g}"


def sound_columns(rows: pa.Table, table: Table) -> dict[str, NDArray] | None:
    """Return the rows with status ok and whole, finite curves as arrays for the checks of physics; None without any."""
    if table.name not in physics.ROW_CHECKS:
        return None
    whole = np.array([status == "ok" for status in rows["status"].to_pylist()])
    for column in table.columns:
        if column.expected or column.required:
            whole &= ~rows[column.name].is_null().to_numpy()
    for column in table.columns:
        if column.on_grid and column.expected:
            lengths = pc.fill_null(pc.list_value_length(rows[column.name]), 0).to_numpy()
            whole &= lengths == R_NM.size
    for name in ("msd_time_ps", "msd_nm2"):
        if name in rows.column_names:
            whole &= pc.fill_null(pc.list_value_length(rows[name]), 0).to_numpy() > 0
    if not whole.any():
        return None
    kept = rows.filter(pa.array(whole))
    # A release of an older minor version lacks the columns that came later.
    there = [column for column in table.columns if _wanted(column) and column.name in kept.column_names]
    arrays = {column.name: as_array(kept[column.name], column) for column in there}
    arrays["name"] = np.array(row_names(kept, table), dtype=object)
    curves = [arrays[column.name] for column in there if column.on_grid and column.expected]
    finite = np.all([np.isfinite(curve).all(axis=1) for curve in curves], axis=0)
    return {name: values[finite] for name, values in arrays.items()} if finite.any() else None


def _wanted(column: Column) -> bool:
    return not (pa.types.is_list(column.type) and pa.types.is_nested(column.type.value_type))
