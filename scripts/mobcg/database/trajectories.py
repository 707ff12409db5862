"""Bead trajectories as an optional download: one Parquet file a run, beside the releases that name it.

`releases/trajectories/{run_id}.parquet` is shared by all releases that hold the run and never changed;
`trajectories.json` in a release says which file with which SHA-256 belongs to which of its runs.

python -m mobcg.database.trajectories --beads beads.npz --spec '<json>' --out FILE.parquet
python -m mobcg.database.trajectories --restore RUN_ID --base RELEASE --out beads.npz
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mobcg.database.manifest import MAX_FILES, sha256_of
from mobcg.errors import InputError
from mobcg.observables import BeadTrajectory
from mobcg.records import atomic_path
from mobcg.schema import (
    DATA_LICENSE,
    FRAME,
    FRAME_WHOLE,
    REAL,
    SCHEMA_VERSION,
    TEXT,
    TRAJECTORIES,
    TRAJECTORIES_FILE,
    TRAJECTORY,
    TRAJECTORY_INDEX,
    WHOLE,
)
from mobcg.spec import Spec, canonical_json, run_id
from mobcg.step import run_step

# What the files are rounded to, so that they halve: a thousandth of what a bead moves in a picosecond, and some
# thousandth of the net force on it. Powers of two are exact in single precision, and leave bits that compress.
POSITION_STEP_NM = 2.0**-13
FORCE_STEP_KJ_MOL_NM = 0.5
ROUNDING = {"positions_nm": POSITION_STEP_NM, "forces_kj_mol_nm": FORCE_STEP_KJ_MOL_NM}

# A group is read at once: 1024 frames of 1000 beads are 30 MB.
ROW_GROUP_FRAMES = 1024
# Entries of a file's metadata; all others are fields of the `BeadTrajectory`.
OWN_METADATA = ("description", "schema_version", "license", "run_id", "spec", "rounding")
POTENTIAL = "potential_kj_mol"
_FILE_NAME = re.compile(r"[0-9a-f]{16}(-[0-9a-f]{8})?\.parquet")
_PYTHON_TYPES = {TEXT: str, WHOLE: int, REAL: (int, float)}

Row = dict[str, Any]


def write_trajectory(path: Path, trajectory: BeadTrajectory, spec: Spec) -> None:
    """Write the trajectory of a run as Parquet, one frame a row (`mobcg.schema.TRAJECTORY`), atomically.

    Positions are wrapped into the box and rounded to multiples of `POSITION_STEP_NM`, forces to multiples of
    `FORCE_STEP_KJ_MOL_NM`; `images` keeps the boxes that were taken off, so that nothing of the path is lost. Spec and
    header are in the metadata. The same trajectory gives the same bytes.

    Raises
    ------
    InputError
        The potential energies are not one for each frame, or a bead left the box 32768 times.
    """
    n_frames, n_beads, _ = trajectory.positions_nm.shape
    header = dict(trajectory.header)
    header["metadata"] = dict(header["metadata"])
    potential = header["metadata"].pop(POTENTIAL, None)
    if potential is not None and len(potential) != n_frames:
        raise InputError(path, POTENTIAL, f"{len(potential)} values", f"{n_frames}, one a frame", "Run it again.")
    positions = np.asarray(trajectory.positions_nm, np.float64)
    images = np.floor(positions / trajectory.box_length_nm)
    if n_frames and np.abs(images).max() > np.iinfo(np.int16).max:
        raise InputError(path, "images", np.abs(images).max(), "at most 32767 boxes", "Is the run sound?")
    forces = trajectory.forces_kj_mol_nm
    schema = _schema(n_beads)
    columns = {
        "time_ps": np.arange(n_frames) * trajectory.frame_ps,
        POTENTIAL: pa.nulls(n_frames, pa.float64()) if potential is None else potential,
        "positions_nm": _frames(_rounded(positions - images * trajectory.box_length_nm, POSITION_STEP_NM), schema),
        "images": _frames(images.astype(np.int16), schema, "images"),
        "forces_kj_mol_nm": pa.nulls(n_frames, schema.field("forces_kj_mol_nm").type)
        if forces is None
        else _frames(_rounded(forces, FORCE_STEP_KJ_MOL_NM), schema),
    }
    known = {
        "description": TRAJECTORY.description,
        "schema_version": SCHEMA_VERSION,
        "license": DATA_LICENSE,
        "run_id": run_id(spec),
        "spec": canonical_json(spec),
        "rounding": json.dumps(ROUNDING, sort_keys=True),
        **{name: json.dumps(value, sort_keys=True) for name, value in header.items()},
    }
    table = pa.table(columns, schema=schema.with_metadata(dict(sorted(known.items()))))
    options = {
        "compression": "zstd",
        "compression_level": 6,
        "version": "2.6",
        "use_dictionary": ["images"],
        "column_encoding": {
            **dict.fromkeys(("time_ps", POTENTIAL), "BYTE_STREAM_SPLIT"),
            **{f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in ROUNDING},
        },
        "write_page_checksum": True,
    }
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, row_group_size=ROW_GROUP_FRAMES, **options)


def _schema(n_beads: int) -> pa.Schema:
    """Return the schema of `mobcg.schema.TRAJECTORY` with lists of the size that so many beads have."""
    fields = [
        field.with_type(pa.list_(field.type.value_field, 3 * n_beads)) if field.type in (FRAME, FRAME_WHOLE) else field
        for field in TRAJECTORY.arrow_schema
    ]
    return pa.schema(fields)


def _frames(values: NDArray, schema: pa.Schema, name: str = "positions_nm") -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=schema.field(name).type)


def _rounded(values: NDArray, step: float) -> NDArray[np.float32]:
    return (np.rint(np.asarray(values, np.float64) / step) * step + 0.0).astype(np.float32)  # + 0.0: no -0


def read_trajectory(path: Path) -> BeadTrajectory:
    """Return what `write_trajectory` wrote, positions unwrapped: positions_nm + box_length_nm · images.

    Raises
    ------
    InputError
        The file is not whole, or no bead trajectory that this code knows.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        known = _metadata(table.schema)
        header = {name: json.loads(text) for name, text in known.items() if name not in OWN_METADATA}
        n_frames = len(table)
        arrays = {
            name: table[name].combine_chunks().flatten().to_numpy().reshape(n_frames, -1, 3)
            for name in ("positions_nm", "images", "forces_kj_mol_nm")
            if n_frames and not table[name].null_count
        }
        if n_frames and not table[POTENTIAL].null_count:
            header["metadata"][POTENTIAL] = table[POTENTIAL].to_pylist()
        n_beads = table.schema.field("positions_nm").type.list_size // 3
        positions = np.zeros((0, n_beads, 3))
        if n_frames:
            positions = arrays["positions_nm"] + header["box_length_nm"] * arrays["images"]
        return BeadTrajectory.from_header(header, positions, arrays.get("forces_kj_mol_nm"))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        advice = "Download it again, or make it again from the run's .npz file."
        raise InputError(path, "", str(error).splitlines()[0], "a whole bead trajectory", advice) from error


def _metadata(schema: pa.Schema) -> dict[str, str]:
    known = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    version = known["schema_version"].split(".")[0]
    if version != SCHEMA_VERSION.split(".")[0]:
        raise ValueError(f"schema {known['schema_version']}, this is {SCHEMA_VERSION}")
    return known


def index_row(path: Path) -> Row | None:
    """Return what a release says of a trajectory (`mobcg.schema.TRAJECTORY_INDEX`); None of a run that failed.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        schema = pq.read_schema(path)
        known = _metadata(schema)
        spec, status = json.loads(known["spec"]), json.loads(known["metadata"])["status"]
        if status != "ok":
            return None
        return {
            "run_id": run_id(spec),
            "molecule_id": spec["molecule"]["id"],
            "replica": spec["replica"],
            "frames": pq.read_metadata(path).num_rows,
            "frame_ps": json.loads(known["frame_ps"]),
            "beads": schema.field("positions_nm").type.list_size // 3,
            "box_length_nm": json.loads(known["box_length_nm"]),
            "file": f"{run_id(spec)}.parquet",
            "bytes": path.stat().st_size,
            "sha256": sha256_of(path),
        }
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(path, "", str(error), "a whole bead trajectory", "Delete the file and run again.") from error


def read_index(release: Path) -> list[Row]:
    """Return the trajectories that a release names, sorted by run_id; none where it names none.

    Raises
    ------
    InputError
        trajectories.json is no such list, or names a file that could lie elsewhere.
    """
    path = release / TRAJECTORIES_FILE
    if not path.is_file():
        return []
    advice = "Download the release again."
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(path, "", str(error), "a JSON list", advice) from error
    if not isinstance(rows, list) or len(rows) > MAX_FILES:
        raise InputError(path, "", type(rows).__name__, f"a JSON list of at most {MAX_FILES} rows", advice)
    for number, row in enumerate(rows):
        for column in TRAJECTORY_INDEX.columns:
            value = row.get(column.name) if isinstance(row, dict) else None
            if isinstance(value, bool) or not isinstance(value, _PYTHON_TYPES[column.type]):
                raise InputError(path, f"{number}.{column.name}", value, f"{column.type}: {column.description}", advice)
        if not _FILE_NAME.fullmatch(row["file"]):
            raise InputError(path, f"{number}.file", row["file"], "RUN_ID.parquet", "Do not use this release.")
    return rows


def directory_of(release: Path) -> Path:
    """Return where the trajectories of a release lie where they are there: beside its directory."""
    return release.resolve().parent / TRAJECTORIES


def read_published(release: Path, row: Row) -> BeadTrajectory:
    """Return a trajectory that a release names, its file compared with the SHA-256 there.

    Raises
    ------
    InputError
        The file is not there, or another one.
    """
    path = directory_of(release) / row["file"]
    if not path.is_file():
        advice = f"mobcg release download {release.name} --trajectories --from ADDRESS --to {release.parent}"
        raise InputError(path, "", "no such file", "a file of the optional download", f"Get it with `{advice}`.")
    if sha256_of(path) != row["sha256"]:
        raise InputError(path, "", "another file", f"SHA-256 {row['sha256']}", "Delete it and download it again.")
    return read_trajectory(path)


@dataclass(frozen=True)
class Offer:
    """A trajectory that a release may name, and the file that it would be published from."""

    row: Row
    source: Path


def offers(packed: Iterable[Path], base_release: Path | None, destination: Path) -> list[Offer]:
    """Return the trajectories for a new release, sorted by run_id: those of the base, and packed ones of other runs.

    A published file is never changed. Where `destination` has another trajectory under the name of a run, simulated on
    another machine perhaps, the name gets the first digits of the SHA-256 as well.
    """
    found = {}
    for path in packed:
        row = index_row(path)
        if row is not None:
            found[row["run_id"]] = Offer(row, path)
    if base_release is not None:
        for row in read_index(base_release):
            found[row["run_id"]] = Offer(row, directory_of(base_release) / row["file"])
    return [
        Offer({**offer.row, "file": _free_name(destination, offer.row)}, offer.source)
        for _, offer in sorted(found.items())
    ]


def _free_name(destination: Path, row: Row) -> str:
    path = destination / row["file"]
    if path.exists() and sha256_of(path) != row["sha256"]:
        return f"{row['run_id']}-{row['sha256'][:8]}.parquet"
    return row["file"]


def of_sound_runs(offered: Iterable[Offer], atomistic: Path) -> list[Offer]:
    """Return the offers whose runs are in a table `atomistic` and did not fail."""
    runs = pq.read_table(atomistic, columns=["run_id", "status"]).filter(pc.field("status") == "ok")
    sound = set(runs["run_id"].to_pylist())
    return [offer for offer in offered if offer.row["run_id"] in sound]


def publish(offered: Iterable[Offer], destination: Path) -> None:
    """Copy the files that are not published yet; one of the base that was never downloaded stays away."""
    for offer in offered:
        path = destination / offer.row["file"]
        if offer.source.is_file() and not path.exists():
            with atomic_path(path) as temporary:
                shutil.copyfile(offer.source, temporary)


def restore(release: Path, name: str, destination: Path) -> None:
    """Write the bead trajectory of a run, as simulated but for rounding, from the file that a release names.

    Raises
    ------
    InputError
        The release names none of this run, or the file is not there or another one.
    """
    rows = {row["run_id"]: row for row in read_index(release)}
    if name not in rows:
        where, advice = release / TRAJECTORIES_FILE, "Check base_release."
        raise InputError(where, "run_id", name, "a run whose bead trajectory is published", advice)
    read_published(release, rows[name]).save(destination)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.database.trajectories", description=__doc__.splitlines()[0])
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--beads", type=Path, help="bead trajectory (.npz) to pack")
    way.add_argument("--restore", metavar="RUN_ID", help="make the .npz of this run from the file of --base")
    parser.add_argument("--spec", type=json.loads, help="atomistic spec as JSON, with --beads")
    parser.add_argument("--base", type=Path, help="release directory, with --restore")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    options = parser.parse_args(arguments)
    if (options.spec if options.beads else options.base) is None:
        parser.error("--beads needs --spec, --restore needs --base")
    try:
        if options.beads:
            write_trajectory(options.out, BeadTrajectory.load(options.beads), options.spec)
        else:
            restore(options.base, options.restore, options.out)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
