"""Records → the Parquet tables of a training set or a release: merged, sorted, derived rows added.

Records may be many and large; they are merged a part of the key range at a time, so that memory stays bounded by
`PART_ROWS` rows whatever their number.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mobcg.atomistic.force_field import force_field_rows
from mobcg.database.splits import liquids, roots, split_rows
from mobcg.errors import InputError
from mobcg.pair import R_NM, derive, force
from mobcg.records import atomic_path, to_arrow
from mobcg.schema import CURVE, DATA_LICENSE, REAL, SCHEMA_VERSION, TABLES, TRAINED_MODELS
from mobcg.spec import canonical_json, derived_potential_id, derived_potential_spec, run_id

RECORD_TABLES = ("atomistic", "potentials", "coarse", "evaluation")
# A coarse row is about 6 kB, a row group 50 MB; a part is held three to four times while it is merged and sorted.
ROW_GROUP_ROWS = 8192
PART_ROWS = 2 * ROW_GROUP_ROWS
Records = Mapping[str, Sequence[Path]]


def footer(
    version: str, commit: str, scale: str | None = None, rough: bool = False, base: str | None = None
) -> dict[str, str]:
    """Return what stands in the footer of every Parquet file: versions, licence, commit, scale and base; no time."""
    known = {"data_version": version, "schema_version": SCHEMA_VERSION, "license": DATA_LICENSE, "commit": commit}
    asked = {"scale": scale, "rough": "true" if rough else None, "base_release": base}
    return known | {name: value for name, value in asked.items() if value}


def assemble(
    records: Records,
    molecules: Sequence[Mapping[str, Any]],
    directory: Path,
    base_release: Path | None = None,
    footer_metadata: Mapping[str, str] | None = None,
    retrained: Collection[str] = (),
) -> None:
    """Write `directory`/*.parquet, every table of the release that the records make.

    Rows of the base release come over unchanged where what they descend from is still wanted: an atomistic run whose
    molecule is in `molecules` under the same SMILES, then the potentials, coarse runs and evaluations below it; liquids
    of the prior always. Where base and records hold the same id, the row of the base wins, for it is published.

    Parameters
    ----------
    records
        Record table → Parquet files of one or many rows each; without the key `evaluation` that table is left out,
        which makes a training set.
    molecules
        Rows of the table molecules.
    footer_metadata
        From `footer`; goes into every file.
    retrained
        Trained models that are others than those of the base release: what those proposed is not theirs.

    Raises
    ------
    InputError
        Two records have one id, or a record file cannot be read as its table.
    ValueError
        A potential descends from one that no record holds.
    """
    base = _Base(base_release, molecules) if base_release else None
    metadata = footer_metadata or {}

    def write(table: str, rows: list[Mapping[str, Any]]) -> None:
        write_table(directory / f"{table}.parquet", table, [_sorted(to_arrow(table, rows), table)], metadata)

    write("grid", [{"r_nm": float(r)} for r in R_NM])
    write("molecules", list(molecules))

    merge("atomistic", records.get("atomistic", ()), directory / "atomistic.parquet", metadata, base)
    runs = pq.read_table(directory / "atomistic.parquet", columns=["run_id", "force_field_id", "spec"])
    force_fields = _force_fields(runs, base)
    write_table(directory / "force_fields.parquet", "force_fields", [force_fields], metadata)

    merge("coarse", records.get("coarse", ()), directory / "coarse.parquet", metadata, base)
    coarse = pq.read_table(
        directory / "coarse.parquet", columns=["run_id", "potential_id", "molecule_id", "status", "spec"]
    )
    potentials = _potentials(records.get("potentials", ()), coarse, base)
    write_table(directory / "potentials.parquet", "potentials", [potentials], metadata)

    lineage = potentials.select(["potential_id", "origin", "parent_id"]).to_pylist()
    force_field_of_run = dict(zip(*(runs[name].to_pylist() for name in ("run_id", "force_field_id")), strict=True))
    sound = coarse.filter(pc.field("status") == "ok").select(["run_id", "potential_id", "molecule_id"])
    write(
        "splits",
        split_rows(
            sound.to_pydict(),
            roots(lineage),
            liquids(lineage, force_field_of_run),
            [row["molecule_id"] for row in molecules],
        ),
    )
    if "evaluation" in records:
        evaluation = _evaluation(records["evaluation"], molecules, base, retrained)
        write_table(directory / "evaluation.parquet", "evaluation", [evaluation], metadata)


class _Base:
    """The rows of a base release that a new one takes over: those whose ancestors are still wanted."""

    def __init__(self, release: Path, molecules: Sequence[Mapping[str, Any]]) -> None:
        self.data = release / "data"
        wanted = {(row["molecule_id"], row["smiles"]) for row in molecules}
        runs = self.dataset("atomistic").to_table(columns=["run_id", "spec"]).to_pylist()
        kept_runs = {row["run_id"] for row in runs if _molecule_of(row["spec"]) in wanted}
        columns = ["potential_id", "origin", "parent_id", "molecule_id"]
        potentials = self.dataset("potentials").to_table(columns=columns).to_pylist()
        root_of = roots(potentials)
        names = {row["molecule_id"] for row in molecules}
        kept_roots = {
            row["potential_id"]
            for row in potentials
            if row["origin"] == "prior"
            or (row["parent_id"] in kept_runs if row["origin"] == "ibi" else row["molecule_id"] in names)
        }
        kept_potentials = {name for name, root in root_of.items() if root in kept_roots}
        runs = self.dataset("coarse").to_table(columns=["run_id", "potential_id"]).to_pylist()
        kept_coarse = {row["run_id"] for row in runs if row["potential_id"] in kept_potentials}
        self.kept = {"atomistic": kept_runs, "potentials": kept_potentials, "coarse": kept_coarse}

    def dataset(self, table: str) -> ds.Dataset:
        return ds.dataset(self.data / f"{table}.parquet", schema=TABLES[table].arrow_schema)


def _molecule_of(spec: str) -> tuple[str, str]:
    molecule = json.loads(spec)["molecule"]
    return molecule["id"], molecule["smiles"]


def merge(
    table: str, paths: Sequence[Path], destination: Path, metadata: Mapping[str, str], base: _Base | None = None
) -> None:
    """Write all rows of record files, and those taken over from a base release, sorted by key to one Parquet file.

    Only the keys are held for all rows; the rows themselves pass `PART_ROWS` at a time.

    Raises
    ------
    InputError
        A key occurs twice in the record files, or a file cannot be read as this table.
    """
    (key,) = TABLES[table].key
    with _read_errors(table):
        sources = _sources(table, paths, base)
        keys = np.sort(np.concatenate([_text(source.to_table(columns=[key])[key]) for source in sources]))
        repeated = np.unique(keys[1:][keys[1:] == keys[:-1]])
        if repeated.size:
            advice = "Remove all but one of the record files that hold it."
            raise InputError(f"records of {table}", key, repeated[0], "every id once", advice)
        write_table(destination, table, _parts(table, sources, keys), metadata)


@contextmanager
def _read_errors(table: str) -> Iterator[None]:
    """Turn what Arrow says of a record file that is missing, broken or of another table into an `InputError`."""
    try:
        yield
    except (ValueError, pa.ArrowTypeError, OSError) as error:
        allowed, advice = "whole Parquet files of this table", "Remove that file and run again."
        raise InputError(f"records of {table}", "", str(error), allowed, advice) from error


def _text(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.to_pylist(), dtype=str)


def _sources(table: str, paths: Sequence[Path], base: _Base | None) -> list[ds.Dataset]:
    (key,) = TABLES[table].key
    schema = TABLES[table].arrow_schema
    fresh = ds.dataset([str(path) for path in paths], format="parquet", schema=schema) if paths else None
    if base is None:
        return [fresh or ds.dataset(schema.empty_table())]
    kept = pa.array(sorted(base.kept[table]), pa.string())
    published = base.dataset(table).filter(pc.field(key).isin(kept))
    return [published] if fresh is None else [published, fresh.filter(~pc.field(key).isin(kept))]


def _parts(table: str, sources: Sequence[ds.Dataset], keys: np.ndarray) -> Iterator[pa.Table]:
    (key,) = TABLES[table].key
    if keys.size <= PART_ROWS:
        yield _sorted(pa.concat_tables([source.to_table() for source in sources]), table)
        return
    for first in range(0, keys.size, PART_ROWS):
        here = pc.field(key) >= str(keys[first])
        if first + PART_ROWS < keys.size:
            here &= pc.field(key) < str(keys[first + PART_ROWS])
        yield _sorted(
            pa.concat_tables(
                [source.to_table(filter=here, batch_readahead=2, fragment_readahead=1) for source in sources]
            ),
            table,
        )


def _sorted(rows: pa.Table, table: str) -> pa.Table:
    return rows.sort_by([(name, "ascending") for name in TABLES[table].key])


def _force_fields(runs: pa.Table, base: _Base | None) -> pa.Table:
    """Return the parameters of every force field that the runs name; published ones are not made again."""
    table = "force_fields"
    wanted = {row["force_field_id"]: row["spec"] for row in runs.to_pylist()}
    published = TABLES[table].arrow_schema.empty_table()
    if base is not None:
        published = base.dataset(table).to_table(filter=pc.field("force_field_id").isin(sorted(wanted)))
    known = set(published["force_field_id"].to_pylist())
    fresh = [row for name in sorted(set(wanted) - known) for row in force_field_rows(json.loads(wanted[name]))]
    return _sorted(pa.concat_tables([published, to_arrow(table, fresh)]), table)


def _potentials(paths: Sequence[Path], coarse: pa.Table, base: _Base | None) -> pa.Table:
    """Return the potentials that were made, and what coarse runs name that is derived from them."""
    with _read_errors("potentials"):
        parents = pa.concat_tables([source.to_table() for source in _sources("potentials", paths, base)])
    known = set(parents["potential_id"].to_pylist())
    if len(known) < len(parents):
        raise InputError(
            "records of potentials", "potential_id", "a repeated id", "every id once", "Remove all but one."
        )
    row_of = {row: number for number, row in enumerate(parents["potential_id"].to_pylist())}
    asked = {}
    for spec in coarse["spec"].to_pylist():
        potential = json.loads(spec)["potential"]
        if potential["parent_id"] in row_of and derived_potential_spec(potential) is not None:
            asked.setdefault(derived_potential_id(potential), potential)
    # The histories are most of a row, and nothing inherits them.
    plain = parents.select([name for name in parents.column_names if not name.startswith("history_")])
    derived = [
        derived_potential_row(plain.slice(row_of[potential["parent_id"]], 1).to_pylist()[0], potential)
        for name, potential in sorted(asked.items())
        if name not in known
    ]
    return _sorted(pa.concat_tables([parents, to_arrow("potentials", derived)]), "potentials")


def derived_potential_row(parent: Mapping[str, Any], potential: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a scaled or perturbed potential from the row of its parent.

    `potential` is what the spec of a coarse run holds: parent_id, scale_factor and, where perturbed, perturbation; see
    `mobcg.pair.derive`. What was said of the parent is not said of it again, unless the parent failed.
    """
    inherited = ("molecule_id", "temperature_k", "number_density_nm3", "mass_g_mol", "n_beads", "pressure_corrected")
    spec = derived_potential_spec(potential)
    curves: dict[str, list[float] | None] = {"potential_kj_mol": None, "force_kj_mol_nm": None}
    if parent["potential_kj_mol"] is not None:
        energy = derive(parent["potential_kj_mol"], potential)
        curves = {"potential_kj_mol": energy.tolist(), "force_kj_mol_nm": force(energy).tolist()}
    return {
        **{name: parent[name] for name in (*inherited, "status", "versions")},
        "reason": None if parent["status"] == "ok" else f"its parent failed: {parent['reason']}",
        **curves,
        "potential_id": run_id(spec),
        "origin": spec["kind"],
        "parent_id": parent["potential_id"],
        "scale_factor": potential["scale_factor"],
        "spec": canonical_json(spec),
    }


def _evaluation(
    paths: Sequence[Path], molecules: Sequence[Mapping[str, Any]], base: _Base | None, retrained: Collection[str]
) -> pa.Table:
    """Return the new evaluations, and those of the base that neither new ones nor a new training replace.

    New ones replace all of a model and liquid: replicas of two protocols would make one mean.
    """
    schema = TABLES["evaluation"].arrow_schema
    fresh = schema.empty_table()
    if paths:
        with _read_errors("evaluation"):
            fresh = ds.dataset([str(path) for path in paths], format="parquet", schema=schema).to_table()
    if base is None or not (base.data / "evaluation.parquet").exists():
        return _sorted(fresh, "evaluation")
    names = pa.array([row["molecule_id"] for row in molecules])
    others = pa.array([name for name, trained in TRAINED_MODELS.items() if trained in retrained], pa.string())
    still = pc.field("molecule_id").isin(names) & ~pc.field("model").isin(others)
    published = base.dataset("evaluation").to_table(filter=still)
    pair = ["molecule_id", "model"]
    replaced = {tuple(row.values()) for row in fresh.select(pair).to_pylist()}
    mask = [tuple(row.values()) not in replaced for row in published.select(pair).to_pylist()]
    return _sorted(pa.concat_tables([published.filter(pa.array(mask, pa.bool_())), fresh]), "evaluation")


def write_table(
    path: Path, table: str, parts: Sequence[pa.Table] | Iterator[pa.Table], metadata: Mapping[str, str]
) -> None:
    """Write parts of a table, sorted already, as one Parquet file: the same rows give the same bytes."""
    schema = TABLES[table].arrow_schema
    schema = schema.with_metadata({**schema.metadata, **metadata})
    numbers = {_leaf(field): "BYTE_STREAM_SPLIT" for field in schema if field.type in (REAL, CURVE)}
    texts = [field.name for field in schema if field.type == pa.string()]
    options = {
        "compression": "zstd",
        "compression_level": 6,
        "version": "2.6",
        "use_dictionary": texts,
        "column_encoding": numbers,
        "write_page_checksum": True,
        "write_page_index": True,
    }
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, **options) as writer:
        for part in parts:
            writer.write_table(part.cast(schema), row_group_size=ROW_GROUP_ROWS)


def _leaf(field: pa.Field) -> str:
    return f"{field.name}.list.element" if field.type == CURVE else field.name
