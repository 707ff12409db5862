"""A release in one line: `mobcg.load("training")` gives NumPy arrays that a network can learn from.

`mobcg.load_trajectory("benzene")` gives the beads of an atomistic run, where that optional download is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mobcg.database.download import download_directory
from mobcg.database.manifest import published_versions
from mobcg.database.trajectories import read_index, read_published
from mobcg.errors import InputError
from mobcg.observables import BeadTrajectory
from mobcg.schema import TABLES

Arrays = dict[str, NDArray]

# Columns of the coarse rows in a training set; `potential_kj_mol` joins from potentials, `split` from splits.
TRAINING_COLUMNS = (
    "run_id",
    "molecule_id",
    "potential_id",
    "thermostat",
    "friction_1_ps",
    "mass_g_mol",
    "temperature_k",
    "number_density_nm3",
    "n_beads",
    "diffusion_nm2_ns",
    "diffusion_nm2_ns_se",
    "rdf",
)


def load(name: str = "training", release: str | Path | None = None, fold: str = "all") -> Arrays:
    """Return a table of a release, or its training set, as NumPy arrays.

    Parameters
    ----------
    name
        `training`, or a table: grid, molecules, force_fields, atomistic, potentials, coarse, splits, evaluation.
    release
        Directory of a release (or of any `data/*.parquet` of ours); a version of `./releases` or that was downloaded;
        None for the newest full release of both, see `find_release`.
    fold
        For `training`: the molecule that is held out, or `all`.

    Returns
    -------
    dict
        Column → array. A table gives its columns in the units of their names: numbers (n,), curves on the grid
        (n, 150), other lists as an object array of arrays; a missing number is NaN, a missing text None. `training`
        gives the n sound coarse-grained runs, sorted by run_id:

        - `r_nm` (150,): bin centres in nm
        - `rdf` (n, 150): radial distribution function g(r), dimensionless
        - `potential_kj_mol` (n, 150): the pair potential U(r) that was run, in kJ/mol
        - `diffusion_nm2_ns`, `diffusion_nm2_ns_se` (n,): self-diffusion coefficient D and its standard error in nm²/ns
        - `mass_g_mol` (n,): bead mass in g/mol
        - `temperature_k` (n,): temperature in K
        - `number_density_nm3` (n,): beads per nm³
        - `n_beads` (n,): beads in the box, on which D depends
        - `thermostat` (n,), `friction_1_ps` (n,): nose_hoover, langevin or dpd; its friction in 1/ps, 0 without
        - `split` (n,): train, validation or test, as the fold has it
        - `run_id`, `molecule_id`, `potential_id` (n,); the molecule of liquids drawn from the prior is None

    Raises
    ------
    InputError
        There is no such release, table or fold.
    """
    directory = find_release(release)
    if name == "training":
        coarse = _read(directory, "coarse", (*TRAINING_COLUMNS, "status"))
        return _Training(directory, fold).arrays(coarse) | {"r_nm": load("grid", directory)["r_nm"]}
    if name not in TABLES:
        raise InputError("load", "name", name, f"training, {', '.join(TABLES)}")
    # Columns that came after an older release was made are not in it.
    there = pq.read_schema(_path(directory, name)).names
    rows = _read(directory, name, [column for column in TABLES[name].arrow_schema.names if column in there])
    return {column: _array(rows[column]) for column in rows.column_names}


def load_trajectory(name: str, release: str | Path | None = None, replica: int = 0) -> BeadTrajectory:
    """Return the bead trajectory of an atomistic run: positions and net forces of the molecules, frame by frame.

    Parameters
    ----------
    name
        A run_id of trajectories.json, or a molecule_id: its run in the smallest box.
    release
        As for `load`. The trajectories lie beside its directory: `mobcg release download VERSION --trajectories --from
        ADDRESS`.
    replica
        Of a molecule; a run_id says it itself.

    Returns
    -------
    BeadTrajectory
        `positions_nm` and `forces_kj_mol_nm` (frames, beads, 3), positions unwrapped; `box_length_nm`, `frame_ps`,
        `mass_g_mol`, `temperature_k`, and `metadata`.

    Raises
    ------
    InputError
        The release names none of that run or molecule, or the file is not there or another one.
    """
    directory = find_release(release)
    rows = read_index(directory)
    if not rows:
        allowed = "a release that publishes bead trajectories"
        raise InputError("load_trajectory", "release", str(directory), allowed, "See its README.md.")
    found = [row for row in rows if name == row["run_id"] or (name, replica) == (row["molecule_id"], row["replica"])]
    if not found:
        known = sorted({f"{row['molecule_id']} (replica {row['replica']})" for row in rows})
        raise InputError("load_trajectory", "name", f"{name}, replica {replica}", f"a run_id, or {', '.join(known)}")
    return read_published(directory, min(found, key=lambda row: row["beads"]))


def training_batches(release: str | Path | None = None, fold: str = "all", rows: int = 8192) -> Iterator[Arrays]:
    """Yield the training set as `load("training")` gives it, at most `rows` rows at a time, without `r_nm`.

    Memory holds one batch of rows and the distinct potentials. Raises as `load`.
    """
    directory = find_release(release)
    training = _Training(directory, fold)
    file = pq.ParquetFile(_path(directory, "coarse"))
    for batch in file.iter_batches(batch_size=rows, columns=[*TRAINING_COLUMNS, "status"]):
        arrays = training.arrays(pa.Table.from_batches([batch]))
        if len(arrays["run_id"]):
            yield arrays


class _Training:
    """The small sides of the join that makes a training set: distinct potentials and the splits of one fold."""

    def __init__(self, directory: Path, fold: str) -> None:
        potentials = _read(directory, "potentials", ("potential_id", "potential_kj_mol"))
        self.potential_ids = potentials["potential_id"].combine_chunks()
        self.potentials = _array(potentials["potential_kj_mol"])
        splits = _read(directory, "splits", ("run_id", "split"), pc.field("fold") == fold)
        if not len(splits):
            known = pc.unique(_read(directory, "splits", ("fold",))["fold"]).to_pylist()
            raise InputError(_path(directory, "splits"), "fold", fold, " | ".join(sorted(known)) or "no fold at all")
        # Sorted by run_id, as every table is by its key: looked up by bisection.
        self.runs = splits["run_id"].to_numpy().astype(bytes)
        self.split = splits["split"].combine_chunks().dictionary_encode()

    def arrays(self, coarse: pa.Table) -> Arrays:
        # Arrow's own filter on reading copies every curve, which costs as much as reading them.
        sound = pc.equal(coarse["status"], "ok")
        if not pc.all(sound).as_py():
            coarse = coarse.filter(sound)
        potential = pc.index_in(coarse["potential_id"], self.potential_ids).to_numpy()
        columns = {name: _array(coarse[name]) for name in TRAINING_COLUMNS}
        runs = columns["run_id"].astype(bytes)
        place = np.minimum(np.searchsorted(self.runs, runs), len(self.runs) - 1)
        if (self.runs[place] != runs).any():
            raise InputError("splits", "run_id", "a sound coarse row is missing", "every one", "Validate the release.")
        return columns | {
            "potential_kj_mol": self.potentials[potential],
            "split": self.split.take(pa.array(place)).to_numpy(zero_copy_only=False),
        }


def _path(directory: Path, table: str) -> Path:
    path = directory / "data" / f"{table}.parquet"
    if not path.is_file():
        raise InputError(directory, "", f"no data/{table}.parquet", "a release directory", "Check the name.")
    return path


def _read(directory: Path, table: str, columns: Sequence[str], rows: pc.Expression | None = None) -> pa.Table:
    path = _path(directory, table)
    try:
        return pq.read_table(path, columns=list(columns), filters=rows)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(path, "", str(error), "a whole Parquet file", "Validate the release.") from error


def _array(values: pa.ChunkedArray) -> NDArray:
    """Return a column as NumPy: numbers with NaN for null, curves of one length as a matrix, texts as objects."""
    array = values.combine_chunks()
    if pa.types.is_list(array.type):
        return _curves(array)
    return array.to_numpy(zero_copy_only=False)


def _curves(array: pa.ListArray) -> NDArray:
    lengths = pc.list_value_length(array)
    distinct = pc.unique(lengths.drop_null()).to_pylist()
    if not pa.types.is_floating(array.type.value_type) or len(distinct) != 1:
        return np.array([*array.to_pylist(), None], dtype=object)[:-1]
    numbers = array.flatten().to_numpy(zero_copy_only=False).reshape(-1, distinct[0])
    if not array.null_count:
        return numbers
    curves = np.full((len(array), distinct[0]), np.nan)
    curves[array.is_valid().to_numpy(zero_copy_only=False)] = numbers
    return curves


def find_release(release: str | Path | None) -> Path:
    """Return the directory of a release: as given, downloaded, or the newest there is.

    That is the newest version without a suffix of `./releases` and of those downloaded; where there is none, the newest
    of those with a suffix, as long as that is one and the same (`demo`, say). Releases called interim are never meant:
    they are there to go on from, and have no models and no scores.

    Raises
    ------
    InputError
        There is none, or none without a suffix and several with different ones.
    """
    places = (Path("releases"), download_directory())
    if release is not None:
        for directory in (Path(release), *(place / str(release) for place in places)):
            if (directory / "data").is_dir():
                return directory
        raise InputError("load", "release", str(release), "a release directory, or a version that was downloaded")
    # Of one version in both places the one at hand is meant.
    found = {version: place for place in reversed(places) for version in published_versions(place)}
    versions = sorted(version for version in found if version.suffix != "interim")
    full = [version for version in versions if not version.suffix] or versions
    if not full:
        advice = (
            "Make one with `make release`, get one by `mobcg release download VERSION --from ADDRESS`, or name one."
        )
        raise InputError("load", "release", None, f"a release in {' or '.join(map(str, places))}", advice)
    if len({version.suffix for version in full}) > 1:
        names = ", ".join(str(found[version] / str(version)) for version in full)
        raise InputError("load", "release", None, f"one of {names}", f'Say which: `release="{full[-1]}"`.')
    return found[full[-1]] / str(full[-1])
