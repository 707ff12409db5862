"""What changed from one release to the next: rows, values beyond their error, columns and scores.

`python -m mobcg.database.diff OLD NEW [--json]`
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mobcg.database.manifest import json_text
from mobcg.errors import InputError
from mobcg.observables import score
from mobcg.schema import CURVE, REAL, TABLES, Table

# A value has changed beyond its error when it moved by more than this many standard errors of the difference.
SIGNIFICANCE = 3.0
# Ids and changes are listed up to this many a table, and always counted in full.
LISTED = 500
SCORES = ("alpha", "rdf_error", "score")


def diff(old: Path | None, new: Path, new_name: str | None = None) -> dict[str, Any]:
    """Return the differences of two release directories as plain values; `old` None stands for the empty release.

    For each table: rows, counts of added, removed and changed ones, their ids, columns added, removed or of another
    type or unit. A column with a standard error beside it has changed `beyond_error` when |a − b| > 3 sqrt(SE_a² +
    SE_b²), else `within_error`; any other column when its values differ at all. Scores are medians over molecules.

    Raises
    ------
    InputError
        A directory has no readable tables.
    """
    return {
        "old": old.name if old else None,
        "new": new_name or new.name,
        "schema_version": {"old": _metadata(old).get("schema_version"), "new": _metadata(new).get("schema_version")},
        "tables": {name: _table_diff(TABLES[name], old, new) for name in TABLES},
        "molecules": _molecules_diff(old, new),
        "scores": {"old": _scores(old), "new": _scores(new)},
    }


def _path(release: Path | None, table: str) -> Path | None:
    path = release / "data" / f"{table}.parquet" if release else None
    return path if path and path.is_file() else None


def _schema(release: Path | None, table: str) -> pa.Schema | None:
    path = _path(release, table)
    if path is None:
        return None
    try:
        return pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(path, "", str(error), "a whole Parquet file", "Validate the release first.") from error


def _metadata(release: Path | None) -> dict[str, str]:
    schema = _schema(release, "grid")
    if release and schema is None:
        raise InputError(release, "", "no data/grid.parquet", "a release directory", "Check the name.")
    return {key.decode(): value.decode() for key, value in ((schema and schema.metadata) or {}).items()}


def _table_diff(table: Table, old: Path | None, new: Path) -> dict[str, Any]:
    schemas = [_schema(release, table.name) for release in (old, new)]
    keys = [_keys(release, table) for release in (old, new)]
    added, removed = sorted(keys[1] - keys[0]), sorted(keys[0] - keys[1])
    changes = list(_changes(table, old, new)) if keys[0] & keys[1] else []
    kinds = Counter(change["kind"] for change in changes)
    significant = [change for change in changes if change["kind"] != "within_error"]
    return {
        "rows_old": len(keys[0]),
        "rows_new": len(keys[1]),
        "added": len(added),
        "removed": len(removed),
        "values_changed": kinds["changed"],
        "values_beyond_error": kinds["beyond_error"],
        "values_within_error": kinds["within_error"],
        "columns": _columns_diff(*schemas),
        "added_ids": ["/".join(key) for key in added[:LISTED]],
        "removed_ids": ["/".join(key) for key in removed[:LISTED]],
        "changes": significant[:LISTED],
    }


def _keys(release: Path | None, table: Table) -> set[tuple[str, ...]]:
    path = _path(release, table.name)
    if path is None:
        return set()
    columns = pq.read_table(path, columns=list(table.key))
    return set(zip(*(map(str, columns[name].to_pylist()) for name in table.key), strict=True))


def _columns_diff(old: pa.Schema | None, new: pa.Schema | None) -> dict[str, list[str]]:
    fields = [{field.name: field for field in schema} if schema else {} for schema in (old, new)]
    if old is None or new is None:
        return {"added": [], "removed": [], "altered": []}
    both = [name for name in fields[0] if name in fields[1]]
    return {
        "added": [name for name in fields[1] if name not in fields[0]],
        "removed": [name for name in fields[0] if name not in fields[1]],
        "altered": [name for name in both if _meaning(fields[0][name]) != _meaning(fields[1][name])],
    }


def _meaning(field: pa.Field) -> tuple[str, bytes | None]:
    return str(field.type), (field.metadata or {}).get(b"unit")


def _changes(table: Table, old: Path, new: Path) -> Iterator[dict[str, Any]]:
    """Yield the changed values of rows that both releases hold, a batch of rows at a time."""
    paths = [_path(release, table.name) for release in (old, new)]
    names = [name for name in pq.read_schema(paths[0]).names if name in set(pq.read_schema(paths[1]).names)]
    first = table.key[0]
    for batch in pq.ParquetFile(paths[0]).iter_batches(columns=names):
        rows_old = pa.Table.from_batches([batch])
        if not len(rows_old):
            continue
        limits = pc.min_max(rows_old[first])
        here = (pc.field(first) >= limits["min"]) & (pc.field(first) <= limits["max"])
        rows_new = ds.dataset(paths[1]).to_table(columns=names, filter=here)
        yield from _changes_of_rows(table, rows_old, rows_new)


def _changes_of_rows(table: Table, old: pa.Table, new: pa.Table) -> Iterator[dict[str, Any]]:
    place = {key: row for row, key in enumerate(_key_tuples(new, table))}
    pairs = [(row, place[key], key) for row, key in enumerate(_key_tuples(old, table)) if key in place]
    if not pairs:
        return
    here, there = (pa.array([pair[side] for pair in pairs]) for side in (0, 1))
    old, new = old.take(here), new.take(there)
    for column in old.column_names:
        if old[column].equals(new[column]):
            continue
        values = [rows[column].to_pylist() for rows in (old, new)]
        differing = [row for row, (a, b) in enumerate(zip(*values, strict=True)) if not _same(a, b)]
        errors = [rows[f"{column}_se"] if f"{column}_se" in rows.column_names else None for rows in (old, new)]
        for row in differing:
            a, b = values[0][row], values[1][row]
            change = {"id": "/".join(map(str, pairs[row][2])), "column": column}
            if old.schema.field(column).type == REAL and None not in (a, b, errors[0]):
                spread = np.hypot(*((error[row].as_py() or 0.0) for error in errors))
                beyond = abs(a - b) > SIGNIFICANCE * spread
                yield {**change, "kind": "beyond_error" if beyond else "within_error", "old": a, "new": b}
            elif old.schema.field(column).type == CURVE and None not in (a, b) and len(a) == len(b):
                yield {**change, "kind": "changed", "largest_difference": float(np.abs(np.subtract(a, b)).max())}
            else:
                yield {**change, "kind": "changed", "old": _shown(a), "new": _shown(b)}


def _same(a: Any, b: Any) -> bool:
    return a == b or (isinstance(a, float) and isinstance(b, float) and a != a and b != b)


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | bool) else str(value)[:200]


def _key_tuples(rows: pa.Table, table: Table) -> Iterator[tuple]:
    return zip(*(rows[name].to_pylist() for name in table.key), strict=True)


def _molecules_diff(old: Path | None, new: Path) -> dict[str, list[str]]:
    """Return the molecules that came, went, or whose SMILES or state point is another."""

    def state_points(release: Path | None) -> dict[str, tuple]:
        path = _path(release, "molecules")
        names = ("molecule_id", "smiles", "temperature_k", "pressure_bar")
        rows = pq.read_table(path, columns=list(names)).to_pylist() if path else []
        return {row["molecule_id"]: tuple(row.values()) for row in rows}

    before, after = state_points(old), state_points(new)
    return {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "redefined": sorted(name for name in before.keys() & after.keys() if before[name] != after[name]),
    }


def _scores(release: Path | None) -> dict[str, dict[str, float]]:
    """Return model → median over molecules of each score."""
    path = _path(release, "evaluation")
    scores = mean_scores(path) if path else {}
    return {
        model: {name: float(np.median(values)) for name, values in found.items() if values}
        for model, found in scores.items()
    }


def mean_scores(path: Path) -> dict[str, dict[str, list[float]]]:
    """Return model → α, rdf_error, S → one value for each molecule, from a table of evaluations.

    α and rdf_error are means over replicas, S is that of these means.

    A model whose potential was multiplied by a constant other than 1, or whose knob was turned, has that in its name.
    """
    columns = ["molecule_id", "model", "scale_factor", "alpha", "rdf_error"]
    rows = pq.read_table(path, columns=columns, filters=pc.field("status") == "ok")
    keys = ["model", "scale_factor", "molecule_id"]
    means = rows.group_by(keys).aggregate([("alpha", "mean"), ("rdf_error", "mean")])
    means = means.sort_by([(key, "ascending") for key in keys])
    scores: dict[str, dict[str, list[float]]] = {}
    for row in means.to_pylist():
        model = row["model"]
        if row["scale_factor"] != 1:
            model += f", {'times' if model == 'ibi_scaled' else 'knob at'} {row['scale_factor']:g}"
        found = scores.setdefault(model, {name: [] for name in SCORES})
        alpha, error = row["alpha_mean"], row["rdf_error_mean"]
        if alpha is not None and error is not None:
            for name, value in zip(SCORES, (alpha, error, score(error, alpha)), strict=True):
                found[name].append(value)
    return scores


def diff_text(differences: dict[str, Any]) -> str:
    """Return differences as a person reads them, in Markdown."""
    old = differences["old"] or "nothing (first release)"
    lines = [f"Changes from {old} to {differences['new']}:", ""]
    for change, names in differences["molecules"].items():
        if names:
            lines.append(f"- molecules {change}: {', '.join(names)}")
    for name, table in differences["tables"].items():
        counts = f"{table['rows_old']} → {table['rows_new']} rows"
        parts = [f"{table[kind]} {kind}" for kind in ("added", "removed") if table[kind]]
        parts += [
            f"{table[f'values_{kind}']} values {text}"
            for kind, text in (
                ("changed", "changed"),
                ("beyond_error", "changed beyond their error"),
                ("within_error", "changed within their error"),
            )
            if table[f"values_{kind}"]
        ]
        parts += [f"columns {kind}: {', '.join(names)}" for kind, names in table["columns"].items() if names]
        lines.append(f"- {name}: {counts}" + (f" ({'; '.join(parts)})" if parts else ", unchanged"))
        for listed in table["changes"][:10]:
            lines.append(f"  - {listed['id']} {listed['column']}: {_change_text(listed)}")
    lines += ["", *_score_lines(differences["scores"])]
    return "\n".join(lines).rstrip() + "\n"


def _change_text(change: dict[str, Any]) -> str:
    if "largest_difference" in change:
        return f"differs by up to {change['largest_difference']:.3g}"
    shown = [f"{value:.6g}" if isinstance(value, float) else repr(value) for value in (change["old"], change["new"])]
    return " → ".join(shown) + (" (beyond error)" if change["kind"] == "beyond_error" else "")


def _score_lines(scores: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    models = sorted({*scores["old"], *scores["new"]})
    if not models:
        return []
    lines = ["| model (median over molecules) | α | rdf_error | score |", "|---|---|---|---|"]
    for model in models:
        cells = []
        for name in SCORES:
            pair = [scores[side].get(model, {}).get(name) for side in ("old", "new")]
            texts = ["–" if value is None else f"{value:.3g}" for value in pair]
            cells.append(texts[1] if scores["old"] == {} or texts[0] == texts[1] else " → ".join(texts))
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return lines


def changelog(differences: dict[str, Any], old: Path | None) -> str:
    """Return the change log of a release: what is new in it, above the log of the release before."""
    title = "# Changes of the data, newest first\n"
    before = ""
    if old is not None and (old / "CHANGELOG.md").is_file():
        before = (old / "CHANGELOG.md").read_text(encoding="utf-8").removeprefix(title)
    return f"{title}\n## {differences['new']}\n\n{diff_text(differences)}{before}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints the differences, exit status 0 whether there are any or not."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.database.diff", description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="release directory")
    parser.add_argument("new", type=Path, help="release directory")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    options = parser.parse_args(arguments)
    try:
        differences = diff(options.old, options.new)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(json_text(differences) if options.json else diff_text(differences), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
