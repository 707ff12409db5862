"""Bead trajectories: does a release name those of its own sound runs, and are the files beside it what it says?"""

from __future__ import annotations

from collections.abc import Iterator

from mobcg.database.checks.finding import Finding, ReleaseTables, shown
from mobcg.database.manifest import sha256_of
from mobcg.database.trajectories import directory_of, index_row, read_index
from mobcg.errors import InputError
from mobcg.schema import TRAJECTORIES, TRAJECTORIES_FILE


def check_trajectories(release: ReleaseTables) -> Iterator[Finding]:
    """Yield what is wrong with trajectories.json and with the files beside the release; none need be there."""
    try:
        rows = read_index(release.directory)
    except InputError as error:
        yield Finding(TRAJECTORIES_FILE, "", error.key, shown(error.value), error.allowed)
        return
    names = [row["run_id"] for row in rows]
    if names != sorted(set(names)):
        yield Finding(TRAJECTORIES_FILE, "", "run_id", f"{len(names)} rows", "every run once, sorted")
    columns = ("run_id", "molecule_id", "replica", "n_molecules", "box_length_nm", "status")
    runs = {run["run_id"]: run for run in release.read("atomistic", *columns).to_pylist()}
    for row in rows:
        run = runs.get(row["run_id"], {"status": "no such run"})
        if run["status"] != "ok":
            yield Finding(TRAJECTORIES_FILE, row["run_id"], "run_id", run["status"], "a sound run of atomistic.parquet")
            continue
        for name in ("molecule_id", "replica", "box_length_nm"):
            if row[name] != run[name]:
                yield Finding(
                    TRAJECTORIES_FILE, row["run_id"], name, shown(row[name]), f"{shown(run[name])}, as the run"
                )
        if row["beads"] % run["n_molecules"]:
            rule = f"a multiple of the {run['n_molecules']} molecules"
            yield Finding(TRAJECTORIES_FILE, row["run_id"], "beads", shown(row["beads"]), rule)
        yield from _check_file(release, row)


def _check_file(release: ReleaseTables, row: dict) -> Iterator[Finding]:
    path, name = directory_of(release.directory) / row["file"], f"{TRAJECTORIES}/{row['file']}"
    if not path.exists() and not path.is_symlink():
        return
    if path.is_symlink() or not path.is_file():
        yield Finding(name, "", "", "a link", "plain files only")
        return
    digest = sha256_of(path)
    if digest != row["sha256"]:
        yield Finding(name, row["run_id"], "sha256", digest, f"SHA-256 {row['sha256']} of {TRAJECTORIES_FILE}")
        return
    try:
        found = {**(index_row(path) or {}), "file": row["file"]}
    except InputError as error:
        yield Finding(name, row["run_id"], "", shown(error.value), error.allowed)
        return
    for key, value in row.items():
        if key in found and found[key] != value:
            yield Finding(TRAJECTORIES_FILE, row["run_id"], key, shown(value), f"{key} {shown(found[key])} of the file")
