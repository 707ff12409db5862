"""From the tables of a release to arrays: coarse-grained liquids whose g(r) and pair potential are both known.

Where a row comes from (a scaled IBI potential, a potential drawn from a prior) plays no part: a liquid is a state, a
g(r), a potential, and the names of the molecule and of the parent potential that it must not be parted from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from mobcg.errors import InputError
from mobcg.pair import R_NM

SPLITS = ("train", "validation", "test")
# Rows of one potential at one state differ in mass and seed only, and share one g(r).
STATE_DECIMALS = 6
# Columns of the table `coarse` that become arrays as they are; a missing number becomes nan.
NUMBERS = (
    "rdf",
    "number_density_nm3",
    "temperature_k",
    "mass_g_mol",
    "diffusion_nm2_ns",
    "diffusion_nm2_ns_se",
    "pressure_bar",
    "friction_1_ps",
    "n_beads",
)


@dataclass(frozen=True)
class States:
    """What a model may be asked about: n liquids, structure and state, no potential.

    Attributes
    ----------
    rdf
        (n, 150) on the common grid, normalised by N − 1.
    number_density_nm3, temperature_k, mass_g_mol, diffusion_nm2_ns
        (n,) each.
    n_beads
        (n,): beads of the box in which g(r) was measured; inf where that is not known or does not matter.
    """

    rdf: NDArray[np.float64]
    number_density_nm3: NDArray[np.float64]
    temperature_k: NDArray[np.float64]
    mass_g_mol: NDArray[np.float64]
    diffusion_nm2_ns: NDArray[np.float64]
    n_beads: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of liquids."""
        return len(self.rdf)

    def take(self, rows: ArrayLike) -> Self:
        """Return the given rows (indices or a mask), in that order."""
        return type(self)(**{field.name: getattr(self, field.name)[np.asarray(rows)] for field in fields(self)})


@dataclass(frozen=True)
class Liquids(States):
    """Liquids whose potential is known: what models learn from.

    Attributes
    ----------
    potential_kj_mol
        (n, 150): the pair potential that was run.
    diffusion_nm2_ns_se, pressure_bar, friction_1_ps
        (n,) each; the friction is 0 under Nosé–Hoover.
    thermostat
        (n,) text: nose_hoover, langevin or dpd.
    run_id, parent_molecule_id, parent_potential_id, potential_id
        (n,) text: the row, and what it descends from; parent_molecule_id is empty where there is no molecule.
    """

    potential_kj_mol: NDArray[np.float64]
    diffusion_nm2_ns_se: NDArray[np.float64]
    pressure_bar: NDArray[np.float64]
    friction_1_ps: NDArray[np.float64]
    thermostat: NDArray[np.str_]
    run_id: NDArray[np.str_]
    potential_id: NDArray[np.str_]
    parent_molecule_id: NDArray[np.str_]
    parent_potential_id: NDArray[np.str_]


def read_liquids(directory: Path, fold: str) -> tuple[Liquids, NDArray[np.str_]]:
    """Return the sound rows of the tables in `directory`/data and the side of each in a fold, sorted by run id.

    A sound row is a finished run of a finished potential, whatever its thermostat; see `structure_rows`.

    Returns
    -------
    liquids
        n liquids.
    split
        (n,): train, validation or test.

    Raises
    ------
    InputError
        A table is missing, its grid is not ours, the fold is not in the splits, or the fold leaks.
    """
    tables = {name: _read_table(directory, name) for name in ("grid", "coarse", "potentials", "splits")}
    grid = tables["grid"]["r_nm"].to_numpy()
    if grid.shape != R_NM.shape or not np.allclose(grid, R_NM, atol=1e-9):
        raise InputError(directory / "data/grid.parquet", "r_nm", grid[:3].tolist(), "the 150 bins of mobcg.pair.R_NM")
    sides = tables["splits"].filter(pc.field("fold") == fold)
    if sides.num_rows == 0:
        known = sorted(set(tables["splits"]["fold"].to_pylist()))
        raise InputError(directory / "data/splits.parquet", "fold", fold, " | ".join(known) or "a fold of the table")
    side = {row["run_id"]: row for row in sides.to_pylist()}
    potentials = {
        row["potential_id"]: row["potential_kj_mol"]
        for row in tables["potentials"].select(["potential_id", "potential_kj_mol", "status"]).to_pylist()
        if row["status"] == "ok" and row["potential_kj_mol"] is not None
    }
    kept = tables["coarse"].filter(pc.field("status") == "ok")
    rows = [
        row
        for row in sorted(kept.to_pylist(), key=lambda row: row["run_id"])
        if row["run_id"] in side and row["potential_id"] in potentials and row["rdf"] is not None
    ]
    if not any(row["thermostat"] == "nose_hoover" for row in rows):
        raise InputError(directory, "coarse", f"no structure row in fold {fold}", "Nosé–Hoover rows with status ok")
    numbers = {name: np.array([row[name] for row in rows], np.float64) for name in NUMBERS}
    parents = {
        name: np.array([side[row["run_id"]][name] or "" for row in rows], str)
        for name in ("parent_molecule_id", "parent_potential_id")
    }
    liquids = Liquids(
        **numbers,
        **parents,
        potential_kj_mol=np.array([potentials[row["potential_id"]] for row in rows], np.float64),
        thermostat=np.array([row["thermostat"] for row in rows], str),
        run_id=np.array([row["run_id"] for row in rows], str),
        potential_id=np.array([row["potential_id"] for row in rows], str),
    )
    split = np.array([side[row["run_id"]]["split"] for row in rows], str)
    check_split(liquids, split, fold, directory / "data/splits.parquet")
    return liquids, split


def _read_table(directory: Path, name: str):
    path = directory / "data" / f"{name}.parquet"
    if not path.is_file():
        raise InputError(directory, "", f"no data/{name}.parquet", "the directory of a release, with its tables")
    return pq.read_table(path)


def check_split(liquids: Liquids, split: NDArray, fold: str, where: object = "splits") -> None:
    """Check that nothing leaks from the test side of a fold into what a model learns from.

    Raises
    ------
    InputError
        A row of the held-out molecule is not in test, a parent potential stands on two sides, or nothing is left to
        train on.
    """
    outside = split != "test"
    if np.any(outside & (liquids.parent_molecule_id == fold)):
        raise InputError(where, "split", f"rows of {fold} outside test", f"every row of {fold} in test in its own fold")
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        both = set(liquids.parent_potential_id[split == first]) & set(liquids.parent_potential_id[split == second])
        if both:
            raise InputError(where, "split", sorted(both)[0], f"a parent potential in {first} or in {second}, not both")
    if not np.any(split == "train"):
        raise InputError(where, "split", f"no train row in fold {fold}", "at least one row to learn from")


def structure_rows(liquids: Liquids) -> Liquids:
    """Return the rows without friction: a friction leaves g(r) alone, and those with it would only repeat it."""
    return liquids.take(liquids.thermostat == "nose_hoover")


def state_keys(liquids: Liquids) -> list[tuple]:
    """Return what rows of one potential at one state share, (n,): all but mass, thermostat and seed."""
    state = np.column_stack([liquids.temperature_k, liquids.number_density_nm3, liquids.n_beads]).round(STATE_DECIMALS)
    return [(name, *row) for name, row in zip(liquids.potential_id.tolist(), state.tolist(), strict=True)]


def merge_masses(liquids: Liquids) -> Liquids:
    """Return one row for each potential at each state, with the means of its runs without friction.

    g(r), pressure and D·√m of a classical liquid do not depend on the mass of its beads, so the runs that differ in it
    are repeats: their mean has less noise. Mass and run id are those of the first run, D is the mean at that mass.
    """
    rows = structure_rows(liquids)
    groups: dict[tuple, list[int]] = {}
    for index, key in enumerate(state_keys(rows)):
        groups.setdefault(key, []).append(index)
    merged = rows.take([members[0] for members in groups.values()])
    root = np.sqrt(rows.mass_g_mol)
    for index, members in enumerate(groups.values()):
        merged.rdf[index] = rows.rdf[members].mean(axis=0)
        merged.pressure_bar[index] = rows.pressure_bar[members].mean()
        first = root[members[0]]
        merged.diffusion_nm2_ns[index] = np.mean(rows.diffusion_nm2_ns[members] * root[members]) / first
        errors = rows.diffusion_nm2_ns_se[members] * root[members]
        merged.diffusion_nm2_ns_se[index] = np.linalg.norm(errors) / len(members) / first
    return merged


def data_hash(liquids: Liquids, split: NDArray) -> str:
    """Return the SHA-256 of everything that training sees, test rows left out."""
    seen = liquids.take(split != "test")
    digest = hashlib.sha256()
    for field in fields(seen):
        values = getattr(seen, field.name)
        digest.update(field.name.encode())
        digest.update(
            "\n".join(values).encode() if values.dtype.kind == "U" else np.ascontiguousarray(values).tobytes()
        )
    digest.update("\n".join(split[split != "test"]).encode())
    return digest.hexdigest()
