"""The gate: is a release directory whole, in its schema, consistent across tables, and physically possible?

`python -m mobcg.database.validate DIR`; exit status 1 when it is not. Nothing in a release is executed by reading it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mobcg.database import physics
from mobcg.database.descriptor import table_schema
from mobcg.database.manifest import CHECKSUMS, json_text, read_checksums, release_files, safe_relative_path, sha256_of
from mobcg.errors import InputError
from mobcg.pair import R_NM
from mobcg.schema import SCHEMA_VERSION, TABLES, Column, Table

REQUIRED_FILES = ("README.md", "LICENSE-DATA", "CITATION.cff", "CHANGELOG.md", "datapackage.json", "diff.json")
# Formats that carry values and text only; a pickle, a script or an archive of unknown content has no place here.
PLAIN_NAMES = ("LICENSE-DATA", "SHA256SUMS", "LICENSE")
PLAIN_SUFFIXES = (".parquet", ".json", ".md", ".cff", ".npz", ".npy", ".yaml", ".csv", ".txt", ".table", ".pot", ".xvg")
PLAIN_SUFFIXES += (".safetensors",)
# Findings listed for one rule of one column; the rest is counted.
LISTED = 20
# A row group that says it unpacks to more than this is not read.
MAX_ROW_GROUP_BYTES = 2**31
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


def validate(directory: Path) -> list[Finding]:
    """Return everything that is wrong with a release directory; an empty list where it may be trusted.

    Files are compared with SHA256SUMS first, and none that differs is opened. Then come schema, descriptors, values,
    keys, ids, splits and physics (`mobcg.database.physics`).
    """
    if not directory.is_dir():
        return [Finding("", "", "", str(directory), "a release directory")]
    findings, sound = _check_files(directory)
    if not sound:
        return _limited(findings)
    whole = [name for name in TABLES if f"data/{name}.parquet" in sound]
    lost = [name for name in TABLES if not (directory / "data" / f"{name}.parquet").is_file()]
    findings += [Finding(name, "", "", "no file", "every table is there") for name in lost]
    readable = []
    for name in whole:
        wrong = list(_check_schema(TABLES[name], directory / "data" / f"{name}.parquet"))
        findings += wrong
        if not wrong:
            readable.append(name)
    if len(readable) < len(TABLES):
        # Keys and physics across tables mean nothing while one of them cannot be read.
        return _limited(findings)
    release = _Tables(directory)
    findings += _check_descriptor(directory, sound)
    for table in TABLES.values():
        findings += _check_keys(release, table)
        findings += _check_rows(release, table)
    findings += _check_references(release)
    findings += _check_grid(release)
    findings += _check_lineage(release)
    findings += _check_splits(release)
    findings += _check_mass_law(release)
    findings += _check_evaluation(release)
    return _limited(findings)


def _limited(findings: Iterable[Finding]) -> list[Finding]:
    kept, counts = [], Counter()
    for finding in findings:
        kind = finding.table, finding.field, finding.rule
        counts[kind] += 1
        if counts[kind] <= LISTED:
            kept.append(finding)
    more = [
        Finding(table, f"and {count - LISTED} more rows", field, "the same", rule)
        for (table, field, rule), count in counts.items()
        if count > LISTED
    ]
    return kept + more


# --- files ---


def _check_files(directory: Path) -> tuple[list[Finding], set[str]]:
    """Return what is wrong with the files, and the names of those that are what SHA256SUMS says."""
    links = [path for path in directory.rglob("*") if path.is_symlink() or not (path.is_file() or path.is_dir())]
    if links:
        return [
            Finding(str(path.relative_to(directory)), "", "", "a link", "plain files only") for path in links
        ], set()
    try:
        sums = read_checksums(directory / CHECKSUMS)
    except InputError as error:
        return [Finding(CHECKSUMS, "", error.key, str(error.value), error.allowed)], set()
    present = set(release_files(directory))
    findings = [
        Finding(name, "", "", "no such file", "every file of SHA256SUMS is there") for name in sums.keys() - present
    ]
    findings += [Finding(name, "", "", "not in SHA256SUMS", "every file is listed") for name in present - sums.keys()]
    findings += [
        Finding(name, "", "", "no such file", "a release has this file") for name in REQUIRED_FILES if name not in sums
    ]
    sound = set()
    for name in sorted(sums.keys() & present):
        digest = sha256_of(directory / name)
        if digest != sums[name]:
            findings.append(Finding(name, "", "sha256", digest, f"SHA-256 {sums[name]} of {CHECKSUMS}"))
        elif not _is_plain(directory / name):
            findings.append(Finding(name, "", "", Path(name).suffix, "formats that hold values and text, never code"))
        else:
            sound.add(name)
    return sorted(findings, key=lambda finding: finding.table), sound


def _is_plain(path: Path) -> bool:
    if path.name in PLAIN_NAMES:
        return True
    if path.suffix not in PLAIN_SUFFIXES:
        return False
    return _holds_no_objects(path) if path.suffix in (".npz", ".npy") else True


def _holds_no_objects(path: Path) -> bool:
    """Return whether NumPy arrays in a file are of plain types; object arrays are pickles."""
    try:
        if path.suffix == ".npy":
            return not _npy_dtype(io.BytesIO(path.read_bytes()[:65536])).hasobject
        with zipfile.ZipFile(path) as archive:
            dtypes = [_npy_dtype(io.BytesIO(archive.open(name).read(65536))) for name in archive.namelist()]
            return all(name.endswith(".npy") for name in archive.namelist()) and not any(d.hasobject for d in dtypes)
    except (ValueError, zipfile.BadZipFile, NotImplementedError, EOFError):
        return False


def _npy_dtype(stream: io.BytesIO) -> np.dtype:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)[2]


# --- schema ---


def _check_schema(table: Table, path: Path) -> Iterator[Finding]:
    """Yield what differs from `mobcg.schema`; a release of an older minor version may lack columns added since."""
    try:
        parquet = pq.ParquetFile(path, page_checksum_verification=True)
        found, metadata = parquet.schema_arrow, parquet.metadata
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        yield Finding(table.name, "", "", str(error).splitlines()[0], "a whole Parquet file")
        return
    footer = {key.decode(): value.decode() for key, value in (found.metadata or {}).items()}
    version = footer.get("schema_version", "none")
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        yield Finding(table.name, "", "schema_version", version, f"schema {SCHEMA_VERSION.split('.')[0]}.x.y")
    older = version != SCHEMA_VERSION
    for name in ("data_version", "license", "commit"):
        if not footer.get(name):
            yield Finding(table.name, "", name, "nothing", "versions, licence and commit stand in the footer")
    for column in table.columns:
        index = found.get_field_index(column.name)
        if index < 0:
            if not older:
                yield Finding(table.name, "", column.name, "no such column", "every column of the schema")
            continue
        field = found.field(index)
        if field.type != column.type:
            yield Finding(table.name, "", column.name, str(field.type), f"type {column.type}")
        unit = (field.metadata or {}).get(b"unit", b"").decode()
        if unit != column.unit:
            yield Finding(table.name, "", column.name, f"unit {unit!r}", f"unit {column.unit!r}")
    for name in found.names:
        if name not in {column.name for column in table.columns}:
            yield Finding(table.name, "", name, "an unknown column", "only columns of the schema")
    for number in range(metadata.num_row_groups):
        if metadata.row_group(number).total_byte_size > MAX_ROW_GROUP_BYTES:
            yield Finding(table.name, f"row group {number}", "", "too large", f"at most {MAX_ROW_GROUP_BYTES} bytes")


class _Tables:
    """The tables of a release, whose schemas are right: whole key columns, or all columns batch by batch."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, table: str) -> Path:
        return self.directory / "data" / f"{table}.parquet"

    def read(self, table: str, *columns: str) -> pa.Table:
        return pq.read_table(self.path(table), columns=list(columns))

    def batches(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        file = pq.ParquetFile(self.path(table), page_checksum_verification=True)
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
            yield pa.Table.from_batches([batch])


def _check_descriptor(directory: Path, sound: set[str]) -> Iterator[Finding]:
    """Yield where datapackage.json does not describe the files beside it."""
    name = "datapackage.json"
    if name not in sound:
        return
    try:
        content = json.loads((directory / name).read_text(encoding="utf-8"))
        resources = {str(entry["path"]): entry for entry in content["resources"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        yield Finding(name, "", "", f"{type(error).__name__}: {error}", "a Frictionless Data Package")
        return
    for path in resources:
        try:
            safe_relative_path(path, name)
        except InputError as error:
            yield Finding(name, path, "path", path, error.allowed)
    for table in TABLES.values():
        path = directory / "data" / f"{table.name}.parquet"
        entry = resources.get(f"data/{table.name}.parquet", {})
        parquet = pq.ParquetFile(path)
        footer = parquet.schema_arrow.metadata
        expected = {
            "bytes": path.stat().st_size,
            "hash": f"sha256:{sha256_of(path)}",
            "rows": parquet.metadata.num_rows,
        }
        if footer[b"schema_version"].decode() == SCHEMA_VERSION:
            expected["schema"] = table_schema(table)
        for field, value in expected.items():
            if entry.get(field) != value:
                yield Finding(name, table.name, field, _shown(entry.get(field)), f"{field} {_shown(value)} of the file")
        if footer[b"data_version"].decode() != content.get("version"):
            yield Finding(table.name, "", "data_version", footer[b"data_version"].decode(), "one version for all files")


# --- values ---


def _row_names(rows: pa.Table, table: Table) -> list[str]:
    return ["/".join(map(str, key)) for key in zip(*(rows[name].to_pylist() for name in table.key), strict=True)]


def _check_keys(release: _Tables, table: Table) -> Iterator[Finding]:
    rows = release.read(table.name, *table.key)
    keys = list(zip(*(rows[name].to_pylist() for name in table.key), strict=True))
    for one, other in pairwise(keys):
        if None not in one + other and not one < other:
            rule = "sorted by key" if other < one else "every key once"
            yield Finding(table.name, "/".join(map(str, other)), "/".join(table.key), "out of order or repeated", rule)


def _check_rows(release: _Tables, table: Table) -> Iterator[Finding]:
    for rows in release.batches(table.name):
        names = _row_names(rows, table)
        excused = np.zeros(len(rows), bool)
        if "status" in rows.column_names:
            failed = np.array([status != "ok" for status in rows["status"].to_pylist()])
            explained = np.array([bool(reason) for reason in rows["reason"].to_pylist()])
            for row in np.flatnonzero(failed & ~explained):
                yield Finding(table.name, names[row], "reason", "nothing", "a failed run has a reason")
            excused = explained
        for column in table.columns:
            if column.name in rows.column_names:
                for row, value, rule in _check_column(rows[column.name], column, excused):
                    yield Finding(table.name, names[row], column.name, _shown(value), rule)
        if "spec" in rows.column_names:
            for row, field, value, rule in _check_specs(rows, table):
                yield Finding(table.name, names[row], field, _shown(value), rule)
        sound = _sound_columns(rows, table)
        for check in physics.ROW_CHECKS.get(table.name, ()) if sound else ():
            for breach in check(sound):
                yield Finding(table.name, sound["name"][breach.row], breach.field, _shown(breach.value), breach.rule)


def _check_column(values: pa.ChunkedArray, column: Column, excused: NDArray) -> Iterator[tuple[int, Any, str]]:
    """Yield row, value and rule for the values of one column that may not be so."""
    missing = values.is_null().to_numpy()
    if column.required:
        yield from ((int(row), None, "never null") for row in np.flatnonzero(missing))
    elif column.expected:
        yield from ((int(row), None, "null only with a reason") for row in np.flatnonzero(missing & ~excused))
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
    yield ~np.isfinite(numbers), "a finite number; what is missing is null, with a reason"
    if column.minimum is not None:
        yield numbers < column.minimum, f"at least {column.minimum:g}"
    if column.maximum is not None:
        yield numbers > column.maximum, f"at most {column.maximum:g}"
    if column.exclusive_minimum is not None:
        yield numbers <= column.exclusive_minimum, f"above {column.exclusive_minimum:g}"


def _sound_columns(rows: pa.Table, table: Table) -> dict[str, NDArray] | None:
    """Return the rows with status ok as arrays for `mobcg.database.physics`; None where curves are not on the grid."""
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
    arrays = {column.name: _array(kept[column.name], column) for column in table.columns if _wanted(column)}
    return {**arrays, "name": np.array(_row_names(kept, table), dtype=object)}


def _wanted(column: Column) -> bool:
    return not (pa.types.is_list(column.type) and pa.types.is_nested(column.type.value_type))


def _array(values: pa.ChunkedArray, column: Column) -> NDArray:
    array = values.combine_chunks()
    if column.on_grid and column.expected:
        return array.flatten().to_numpy().reshape(-1, R_NM.size)
    if pa.types.is_list(column.type):
        return np.array([*(np.asarray(value) for value in array.to_pylist()), None], dtype=object)[:-1]
    if pa.types.is_floating(column.type):
        return array.to_numpy(zero_copy_only=False)
    return np.array(array.to_pylist(), dtype=object if pa.types.is_string(column.type) else None)


# --- identity ---

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
    "evaluation": {},
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
            asked = _at(spec, SPEC_COLUMNS[table.name][name])
            if asked is not None and asked != columns[name][row]:
                yield row, name, columns[name][row], f"{asked!r}, as the spec asks"


def _canonical(spec: Any) -> str:
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _at(spec: Any, path: Sequence[str]) -> Any:
    for key in path:
        spec = spec.get(key) if isinstance(spec, dict) else None
    return spec


# --- across tables ---


def _check_references(release: _Tables) -> Iterator[Finding]:
    for table in TABLES.values():
        for column in table.columns:
            if not column.references:
                continue
            target, name = column.references.split(".")
            known = pc.unique(release.read(target, name)[name])
            rows = release.read(table.name, *dict.fromkeys((*table.key, column.name)))
            orphan = ~pc.is_in(rows[column.name], known).to_numpy()
            if column.name == "force_field_id" and table.name == "atomistic":
                orphan &= ~_own_force_field(release)
            lost = rows.filter(pa.array(orphan))
            for row, value in zip(_row_names(lost, table), lost[column.name].to_pylist(), strict=True):
                yield Finding(table.name, row, column.name, _shown(value), f"a value of {column.references}")


def _own_force_field(release: _Tables) -> NDArray:
    """Return which atomistic rows used a user's own topology file, whose parameters are not in force_fields."""
    specs = release.read("atomistic", "spec")["spec"].to_pylist()
    return np.array([_at(_parsed(spec), ("force_field", "kind")) == "file" for spec in specs], bool)


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None


def _check_grid(release: _Tables) -> Iterator[Finding]:
    r_nm = release.read("grid", "r_nm")["r_nm"].to_numpy()
    if r_nm.shape != R_NM.shape or np.abs(r_nm - R_NM).max() > 1e-9:
        yield Finding("grid", "", "r_nm", f"{r_nm.size} values", "0.005, 0.015 ... 1.495 nm")


def _check_lineage(release: _Tables) -> Iterator[Finding]:
    """Yield potentials without the parent they name, and coarse rows that are not of their potential."""
    runs = release.read("atomistic", "run_id", "molecule_id", "mass_g_mol")
    molecule_of_run = dict(zip(runs["run_id"].to_pylist(), runs["molecule_id"].to_pylist(), strict=True))
    columns = ("potential_id", "molecule_id", "origin", "parent_id", "parent_run_ids", "scale_factor")
    columns += ("number_density_nm3", "temperature_k", "status")
    potentials = {row["potential_id"]: row for row in release.read("potentials", *columns).to_pylist()}
    for name, row in potentials.items():
        if row["origin"] == "ibi":
            for run in row["parent_run_ids"] or [row["parent_id"]]:
                if molecule_of_run.get(run) != row["molecule_id"]:
                    rule = "an atomistic run of the same molecule"
                    yield Finding("potentials", name, "parent_run_ids", _shown(run), rule)
        elif row["origin"] in ("scaled", "perturbed"):
            parent = potentials.get(row["parent_id"])
            if parent is None or parent["molecule_id"] != row["molecule_id"]:
                rule = "a potential of the same molecule"
                yield Finding("potentials", name, "parent_id", _shown(row["parent_id"]), rule)
    yield from _check_scaled_curves(release, potentials)
    molar_mass = dict(
        zip(
            *(column.to_pylist() for column in release.read("molecules", "molecule_id", "molar_mass_g_mol")),
            strict=True,
        )
    )
    for row in runs.to_pylist():
        expected = molar_mass.get(row["molecule_id"])
        if expected and row["mass_g_mol"] and abs(row["mass_g_mol"] / expected - 1) > physics.MOLAR_MASS_RELATIVE:
            yield Finding(
                "atomistic", row["run_id"], "mass_g_mol", _shown(row["mass_g_mol"]), f"molar mass {expected:g}"
            )
    for rows in release.batches("coarse", ["run_id", "molecule_id", "potential_id", "number_density_nm3", "spec"]):
        for row in rows.to_pylist():
            yield from _check_coarse_row(row, potentials)


def _check_coarse_row(row: Mapping[str, Any], potentials: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    potential = potentials.get(row["potential_id"])
    if potential is None:
        return  # a broken reference, found already
    spec = _at(_parsed(row["spec"]), ("potential",)) or {}
    own = (potential["potential_id"], 1.0), (potential["parent_id"], potential["scale_factor"])
    if spec and (spec.get("parent_id"), spec.get("scale_factor")) not in own:
        rule = "the potential that the spec names"
        yield Finding("coarse", row["run_id"], "potential_id", row["potential_id"], rule)
    if row["molecule_id"] != potential["molecule_id"]:
        rule = "the molecule of its potential"
        yield Finding("coarse", row["run_id"], "molecule_id", row["molecule_id"], rule)
    here, there = row["number_density_nm3"], potential["number_density_nm3"]
    if here and there and abs(here / there - 1) > physics.STATE_DENSITY_RELATIVE:
        rule = f"the density {there:g} of its potential's state"
        yield Finding("coarse", row["run_id"], "number_density_nm3", _shown(here), rule)


def _check_scaled_curves(release: _Tables, potentials: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield scaled potentials that are not their parent times the constant."""
    rows = release.read("potentials", "potential_id", "potential_kj_mol").to_pylist()
    curves = {row["potential_id"]: np.asarray(row["potential_kj_mol"]) for row in rows if row["potential_kj_mol"]}
    for name, row in potentials.items():
        parent = curves.get(row["parent_id"])
        if row["origin"] != "scaled" or parent is None or name not in curves or parent.shape != curves[name].shape:
            continue
        deviation = np.abs(curves[name] - row["scale_factor"] * parent) / (1 + np.abs(parent))
        if deviation.max() > physics.FORCE_TOLERANCE:
            rule = "scale_factor times the parent's potential"
            yield Finding("potentials", name, "potential_kj_mol", _shown(deviation.max()), rule)


def _check_splits(release: _Tables) -> Iterator[Finding]:
    """Yield rows missing from a fold, and liquids or molecules that sit on both sides of one."""
    coarse = release.read("coarse", "run_id", "status", "molecule_id")
    sound = set(coarse.filter(pc.field("status") == "ok")["run_id"].to_pylist())
    splits = release.read("splits", "run_id", "fold", "split", "parent_molecule_id", "parent_potential_id").to_pylist()
    folds: dict[str, list[dict]] = {}
    for row in splits:
        folds.setdefault(row["fold"], []).append(row)
    expected = {"all", *coarse.filter(pc.field("status") == "ok")["molecule_id"].to_pylist()} if sound else set()
    for fold in expected ^ folds.keys():
        yield Finding("splits", "", "fold", fold, "a fold for each molecule with coarse rows, and all")
    for fold, rows in folds.items():
        for run in sorted(sound ^ {row["run_id"] for row in rows}):
            yield Finding("splits", f"{fold}/{run}", "run_id", run, "every sound coarse row once in every fold")
        sides: dict[str, set[str]] = {}
        for row in rows:
            sides.setdefault(row["parent_potential_id"], set()).add(row["split"])
            if (row["split"] == "test") != (row["parent_molecule_id"] == fold):
                rule = "test rows are those of the held-out molecule"
                yield Finding("splits", f"{fold}/{row['run_id']}", "split", row["split"], rule)
        for potential, found in sides.items():
            if len(found) > 1:
                rule = "all rows of a parent potential on one side"
                yield Finding("splits", fold, "parent_potential_id", potential, rule)


def _check_mass_law(release: _Tables) -> Iterator[Finding]:
    columns = ("run_id", "potential_id", "thermostat", "mass_g_mol", "temperature_k", "number_density_nm3", "n_beads")
    rows = release.read("coarse", *columns, "diffusion_nm2_ns", "diffusion_nm2_ns_se", "status")
    rows = rows.filter(pc.field("status") == "ok")
    if not len(rows):
        return
    arrays = {
        name: _array(rows[name], column)
        for column in TABLES["coarse"].columns
        if (name := column.name) in rows.column_names
    }
    for breach in physics.mass_law(arrays):
        yield Finding("coarse", arrays["run_id"][breach.row], breach.field, _shown(breach.value), breach.rule)


def _check_evaluation(release: _Tables) -> Iterator[Finding]:
    """Yield scores that do not follow from D and g of the model and of the atomistic runs of the molecule.

    α must lie between D / max(D_AA) and D / min(D_AA) over the replicas, whatever their weights in the mean.
    """
    references = _atomistic_references(release)
    table = TABLES["evaluation"]
    for rows in release.batches("evaluation"):
        columns = _sound_columns(rows, table)
        for row in range(len(columns["name"])) if columns else ():
            name, molecule = columns["name"][row], columns["molecule_id"][row]
            if molecule not in references:
                yield Finding("evaluation", name, "molecule_id", molecule, "a molecule with a sound atomistic run")
                continue
            diffusions, rdf = references[molecule]
            limits = columns["diffusion_nm2_ns"][row] / np.array([diffusions.max(), diffusions.min()])
            alpha = columns["alpha"][row]
            if not limits[0] * (1 - physics.ROUNDING) <= alpha <= limits[1] * (1 + physics.ROUNDING):
                rule = f"alpha = D / D of the atomistic liquid, {limits[0]:.6g} to {limits[1]:.6g}"
                yield Finding("evaluation", name, "alpha", _shown(alpha), rule)
            error = physics.rdf_error_of(columns["rdf"][row : row + 1], rdf[None])[0]
            if abs(columns["rdf_error"][row] - error) > physics.RDF_ERROR_TOLERANCE:
                rule = f"rdf_error {error:.4f} of the two curves"
                yield Finding("evaluation", name, "rdf_error", _shown(columns["rdf_error"][row]), rule)


def _atomistic_references(release: _Tables) -> dict[str, tuple[NDArray, NDArray]]:
    """Return molecule → D of its replicas (n,) and their mean g(r) (150,); synthetic force fields are not meant."""
    found: dict[str, list[tuple[float, list[float]]]] = {}
    rows = release.read("atomistic", "molecule_id", "diffusion_nm2_ns", "rdf", "status", "spec")
    for row in rows.filter(pc.field("status") == "ok").to_pylist():
        synthetic = _at(_parsed(row["spec"]), ("force_field", "kind")) == "synthetic"
        if not synthetic and row["diffusion_nm2_ns"] and row["rdf"] and len(row["rdf"]) == R_NM.size:
            found.setdefault(row["molecule_id"], []).append((row["diffusion_nm2_ns"], row["rdf"]))
    return {
        molecule: (np.array([d for d, _ in runs]), np.mean([g for _, g in runs], axis=0))
        for molecule, runs in found.items()
    }


def _shown(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 160 else text[:157] + "..."


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints the findings, exit status 1 when there are any."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.database.validate", description=__doc__.splitlines()[0])
    parser.add_argument("release", type=Path, help="release directory")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = parser.parse_args(arguments)
    findings = validate(options.release)
    if options.json:
        print(
            json_text({"release": options.release.name, "findings": [asdict(finding) for finding in findings]}), end=""
        )
    else:
        for finding in findings:
            print(finding)
        print(f"{options.release}: {'valid' if not findings else f'refused, {len(findings)} findings'}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
