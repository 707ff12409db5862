"""Which coarse rows train, validate and test: whole molecules and whole parent liquids are held out, never rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

ALL = "all"
VALIDATION_FRACTION = 0.15


def roots(potentials: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return potential_id → id of the unscaled potential that it descends from (its own where it has no parent).

    Raises
    ------
    ValueError
        A potential descends from itself, or from one that is not in the table.
    """
    parents = {row["potential_id"]: _potential_parent(row) for row in potentials}
    found = {}
    for potential in parents:
        root, steps = potential, 0
        while parents[root] is not None:
            root, steps = parents[root], steps + 1
            if root not in parents or steps > len(parents):
                raise ValueError(f"potential {potential} descends from {root}, which the table does not have or loops")
        found[potential] = root
    return found


def _potential_parent(row: Mapping[str, Any]) -> str | None:
    return row["parent_id"] if row["origin"] in ("scaled", "perturbed") else None


def liquids(potentials: Sequence[Mapping[str, Any]], force_field_of_run: Mapping[str, str]) -> dict[str, str]:
    """Return root potential_id → the liquid it was made for: the force field of its atomistic parent.

    Two inversions of the same liquid (with and without the pressure correction, say) share its g(r), so they belong on
    the same side of a split. A potential without an atomistic parent, as one of the prior, is a liquid of its own.
    """
    own = roots(potentials)
    return {
        row["potential_id"]: force_field_of_run.get(row["parent_id"] or "", row["potential_id"])
        for row in potentials
        if own[row["potential_id"]] == row["potential_id"]
    }


def validation_liquids(candidates: set[str]) -> set[str]:
    """Return the liquids held out of training: those whose hash falls in the lowest `VALIDATION_FRACTION`.

    The hash makes it a property of the liquid, so a later release never moves it from one side to the other. Of two
    or more liquids at least one, that of the lowest hash, validates, and at least one trains.
    """
    ranked = sorted((rank(liquid), liquid) for liquid in candidates)
    if len(ranked) < 2:
        return set()
    below = sum(value < VALIDATION_FRACTION for value, _ in ranked)
    return {liquid for _, liquid in ranked[: min(max(below, 1), len(ranked) - 1)]}


def rank(liquid: str) -> float:
    """Return the hash of a liquid as a number in [0, 1): the lowest validate."""
    return int.from_bytes(hashlib.sha256(liquid.encode()).digest()[:8], "big") / 2**64


def split_rows(
    coarse: Mapping[str, Sequence[str | None]],
    root_of: Mapping[str, str],
    liquid_of: Mapping[str, str],
    molecule_ids: Sequence[str],
) -> list[dict[str, str | None]]:
    """Return the rows of the table splits: every coarse row once in every fold.

    Parameters
    ----------
    coarse
        The columns run_id, potential_id and molecule_id of the coarse rows that are worth learning from. Rows of the
        prior have no molecule: they are in no fold's test.
    root_of, liquid_of
        As from `roots` and `liquids`.
    molecule_ids
        A fold holds out each of them that has coarse rows; the fold `all` holds out none.
    """
    columns = zip(coarse["run_id"], coarse["potential_id"], coarse["molecule_id"], strict=True)
    rows = [(run, molecule, root_of[potential]) for run, potential, molecule in columns]
    held_out = [name for name in sorted(molecule_ids) if name in set(coarse["molecule_id"])]
    splits = []
    for fold in [*held_out, ALL]:
        validation = validation_liquids({liquid_of[root] for _, molecule, root in rows if molecule != fold})
        for run, molecule, root in rows:
            rest = "validation" if liquid_of[root] in validation else "train"
            splits.append(
                {
                    "run_id": run,
                    "fold": fold,
                    "split": "test" if molecule == fold else rest,
                    "parent_molecule_id": molecule,
                    "parent_potential_id": root,
                }
            )
    return splits
