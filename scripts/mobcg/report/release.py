"""A release directory read into plain rows, its curves as NumPy arrays; what is missing is empty, never an error."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mobcg.errors import InputError
from mobcg.records import read_rows
from mobcg.schema import CURVE, TABLES

Row = dict[str, Any]

# Boils below the state point: its reference density is that of the saturated liquid, not of the metastable one.
METASTABLE = ("neopentane",)


@dataclass(frozen=True)
class Release:
    """The tables of a release as rows, and its name.

    Attributes
    ----------
    name
        Name of the directory: the version.
    rows
        Table → rows; curve columns are float arrays, `spec` and `versions` dictionaries, null is None.
    missing
        Tables that the directory does not hold.
    metadata
        What the footers of the tables say of data version, schema version, licence and commit, where they do.
    training
        Model → the record of its training, of the models that the release holds.
    digest
        SHA-256 of the file SHA256SUMS, which holds that of every other file; empty where the directory has none.
    """

    name: str
    rows: Mapping[str, list[Row]]
    missing: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    digest: str = ""

    def ok(self, table: str) -> list[Row]:
        """Return the rows of a table whose run did not fail."""
        return [row for row in self.rows.get(table, []) if row.get("status", "ok") == "ok"]

    def failed(self, table: str) -> list[Row]:
        """Return the rows of a table whose run failed."""
        return [row for row in self.rows.get(table, []) if row.get("status", "ok") != "ok"]


def load_release(directory: Path) -> Release:
    """Read the tables of `mobcg.schema` from `directory/data`.

    Raises
    ------
    InputError
        There is no table at all, or one is not a whole Parquet file.
    """
    paths = {name: directory / "data" / f"{name}.parquet" for name in TABLES}
    found = {name: path for name, path in paths.items() if path.is_file()}
    if not found:
        raise InputError(directory, "data", "no table", "a release directory with data/*.parquet", "Check --release.")
    rows = {name: _curves_as_arrays(name, read_rows(path)) for name, path in found.items()}
    missing = tuple(name for name in TABLES if name not in found)
    sums = directory / "SHA256SUMS"
    digest = hashlib.sha256(sums.read_bytes()).hexdigest() if sums.is_file() else ""
    return Release(directory.resolve().name, rows, missing, _footers(found.values()), _training(directory), digest)


def _training(directory: Path) -> dict[str, Mapping[str, Any]]:
    paths = sorted(directory.glob("models/*/training.json"))
    try:
        return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    except ValueError as error:
        raise InputError(
            directory, "models", str(error), "training records as JSON", "Validate the release."
        ) from error


def evaluation_table(directory: Path) -> pa.Table:
    """Return the table evaluation of a release as it is, empty where the release has none."""
    path = directory / "data" / "evaluation.parquet"
    return pq.read_table(path) if path.is_file() else TABLES["evaluation"].arrow_schema.empty_table()


def _curves_as_arrays(table: str, rows: list[Row]) -> list[Row]:
    curves = [column.name for column in TABLES[table].columns if column.type == CURVE]
    for row in rows:
        for name in curves:
            if row.get(name) is not None:
                row[name] = np.asarray(row[name], np.float64)
    return rows


def _footers(paths: Iterable[Path]) -> dict[str, str]:
    # Arrow's own serialised schema and pandas' notes are no facts about the release.
    merged: dict[str, str] = {}
    for path in paths:
        for key, value in (pq.read_schema(path).metadata or {}).items():
            if key not in (b"ARROW:schema", b"pandas", b"description"):
                merged[key.decode()] = value.decode(errors="replace")
    return merged


def first_line(text: str) -> str:
    """Return the first line of a reason; what follows is the end of a log."""
    return next(iter(text.strip().splitlines()), "")


def liquid_names(release: Release) -> dict[str, str]:
    """Return molecule_id → name as shown: without what stands in brackets; the id where two names are the same."""
    short = {row["molecule_id"]: row["name"].partition(" (")[0] for row in release.rows.get("molecules", [])}
    repeated = {name for name, count in Counter(short.values()).items() if count > 1}
    return {molecule: molecule if name in repeated else name for molecule, name in short.items()}


def span(low: float, high: float, form: str) -> str:
    """Return "low to high" in a number format, one number where both look the same."""
    texts = [format(value, form).replace("-", "−") for value in (low, high)]
    return " to ".join(dict.fromkeys(texts))


def force_field_kind(row: Row) -> str:
    """Return pristine, synthetic or file: what an atomistic row was asked to use."""
    return (row.get("spec") or {}).get("force_field", {}).get("kind", "pristine")


def pristine_runs(release: Release) -> dict[str, list[Row]]:
    """Return molecule_id → its finished runs with the unperturbed force field, by replica.

    Where potentials were inverted from some of them, only those, else those with the fewest molecules: a run in a
    larger box checks finite-size effects and is no replica of theirs.
    """
    targets = {run for row in release.rows.get("potentials", []) for run in row["parent_run_ids"] or ()}
    runs = defaultdict(list)
    for row in release.ok("atomistic"):
        if force_field_kind(row) != "synthetic":
            runs[row["molecule_id"]].append(row)
    return {
        molecule: sorted(
            [row for row in rows if row["run_id"] in targets] or _smallest(rows),
            key=lambda row: (row["replica"], row["run_id"]),
        )
        for molecule, rows in sorted(runs.items())
    }


def _smallest(rows: list[Row]) -> list[Row]:
    fewest = min(row["n_molecules"] for row in rows)
    return [row for row in rows if row["n_molecules"] == fewest]


def reference_doubt(molecule: Row) -> str:
    """Return why the reference density of a row of `molecules` cannot judge a force field, empty where it can.

    `metastable`: the liquid boils below its temperature; `unverified`: the source says so, or there is none.
    """
    if molecule["molecule_id"] in METASTABLE:
        return "metastable"
    source = molecule.get("reference_density_source") or "unverified"
    return "unverified" if "unverified" in source or "guess" in source else ""


def program_versions(release: Release) -> dict[str, list[str]]:
    """Return program → versions that made rows of the release, sorted."""
    found = defaultdict(set)
    for rows in release.rows.values():
        for row in rows:
            for program, version in (row.get("versions") or {}).items():
                found[str(program)].add(version if isinstance(version, str) else json.dumps(version))
    return {program: sorted(found[program]) for program in sorted(found)}


def failures(release: Release) -> list[tuple[str, str, int]]:
    """Return (table, reason, number of rows) of the failed runs, most frequent reason first."""
    return _reasons(
        (table, str(row.get("reason") or "no reason given")) for table in release.rows for row in release.failed(table)
    )


def remarks(release: Release) -> list[tuple[str, str, int]]:
    """Return (table, remark, number of rows) of the runs that succeeded and have something to say, as `failures`."""
    return _reasons((table, row["reason"]) for table in release.rows for row in release.ok(table) if row.get("reason"))


def retries(release: Release) -> list[tuple[str, str, int]]:
    """Return (table, what, number of rows) of the runs that needed more than one attempt, as `failures`."""
    tried = ((table, row) for table, rows in release.rows.items() for row in rows if row.get("retries"))
    ends = {"ok": "then succeeded", "failed": "and failed in the end"}
    return _reasons(
        (
            table,
            f"{row['retries']} attempt{'s' * (row['retries'] > 1)} repeated in smaller steps, {ends[row['status']]}",
        )
        for table, row in tried
    )


def _reasons(found: Iterable[tuple[str, str]]) -> list[tuple[str, str, int]]:
    counts = Counter((table, first_line(reason)) for table, reason in found)
    return [(table, reason, count) for (table, reason), count in sorted(counts.items(), key=lambda x: (-x[1], x[0]))]
