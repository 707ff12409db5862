"""Records → a training set (plain tables) or a release (immutable directory, `releases/<version>/`).

`python -m mobcg.database.build --inputs FILE --version V --training-set DIR` writes the tables that the predictor
trains on; without `--training-set`, `--releases DIR` publishes. FILE is JSON: {"molecules": [row, …], "records":
{"atomistic": [path, …], "potentials": […], "coarse": […], "evaluation": […]}, "models": {molecule/model: directory}},
the last of force-matched models, where there are any.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mobcg.database import card, descriptor, diff, manifest, trajectories
from mobcg.database.potential_files import write_release_potentials
from mobcg.database.tables import Records, assemble, footer
from mobcg.database.validate import validate
from mobcg.errors import InputError
from mobcg.records import atomic_path, work_directory
from mobcg.schema import TRAJECTORIES, TRAJECTORIES_FILE
from mobcg.step import run_step

BUILDING = ".building-"
REPOSITORY_FILES = ("LICENSE-DATA", "CITATION.cff")
FORCE_MATCHED = "force_matched"


def build_training_set(
    records: Records,
    molecules: Sequence[Mapping[str, Any]],
    version: str,
    directory: Path,
    base_release: Path | None = None,
    commit: str = "unknown",
) -> Path:
    """Write `directory`/data/*.parquet without evaluations: what models of this version are trained on.

    The same records give the same tables as in the release. Unlike a release the directory is replaced when built
    again. Raises as `mobcg.database.tables.assemble`.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    without = {table: paths for table, paths in records.items() if table != "evaluation"}
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as name:
        assemble(without, molecules, Path(name) / "data", base_release, footer(version, commit))
        whole = Path(name) / "whole"
        whole.mkdir()
        (Path(name) / "data").rename(whole / "data")
        if directory.exists():
            directory.rename(Path(name) / "old")
        whole.rename(directory)
    return directory


def build_release(
    records: Records,
    molecules: Sequence[Mapping[str, Any]],
    version: str,
    releases_dir: Path,
    base_release: Path | None = None,
    models: Sequence[Path] = (),
    repository: Path = Path(),
    commit: str = "unknown",
    force_matched: Mapping[str, Path] | None = None,
    packed: Sequence[Path] = (),
    scale: str | None = None,
    rough: bool = False,
) -> Path:
    """Build, validate and publish a release; return its directory.

    It is built beside its place and renamed into it, so it is there whole or not at all. A published directory is never
    touched: where `version` is published with the same content, that directory is returned, where its content
    differs the next free micro version is made instead. It is never a version before or at that of the base release.
    Models of the base that are not trained anew stay, with what they scored.

    Parameters
    ----------
    records, molecules, base_release
        As for `mobcg.database.tables.assemble`.
    models
        Directories of trained models, which become `models/<name>`; plain files only.
    repository
        Holds LICENSE-DATA and CITATION.cff.
    commit
        Of the code that made the records, for the footers.
    force_matched
        molecule/model → directory of a force-matched model, which becomes one of `models/force_matched/`.
    packed
        Bead trajectories (`mobcg.database.trajectories.write_trajectory`); those of sound runs are published beside the
        release, with those of the base.
    scale, rough
        Name of the scale that was run, and whether its numbers are rough: for footers, descriptors and card.

    Raises
    ------
    InputError
        The version is no version, a file is missing, or the release does not pass `mobcg release validate`.
    """
    wanted = _not_before(manifest.Version.parse(version), base_release)
    with work_directory(releases_dir), tempfile.TemporaryDirectory(prefix=BUILDING, dir=releases_dir) as scratch:
        _remove_left_builds(releases_dir, Path(scratch))
        beads_dir = releases_dir / TRAJECTORIES
        offered = trajectories.offers(packed, base_release, beads_dir)
        number = 0
        while True:
            published = releases_dir / str(wanted)
            made_by = _commit_of(published) if published.exists() else commit
            number += 1
            built = Path(scratch) / str(number) / str(wanted)
            old = base_release or manifest.previous_release(releases_dir, wanted)
            named = _fill(
                built,
                records,
                molecules,
                old,
                base_release,
                {path.name: path for path in models},
                repository,
                footer(str(wanted), made_by, scale, rough, base_release.name if base_release else None),
                {f"{FORCE_MATCHED}/{name}": path for name, path in (force_matched or {}).items()},
                offered,
            )
            if not published.exists():
                break
            if manifest.checksums_text(built) == (published / manifest.CHECKSUMS).read_text(encoding="ascii"):
                print(f"{published} holds the same content already; nothing to do", file=sys.stderr)
                trajectories.publish(named, beads_dir)
                return published
            print(f"{published} is published with other content; making {wanted.next_micro()}", file=sys.stderr)
            wanted = wanted.next_micro()
        findings = validate(built)
        if findings:
            shown = "\n".join(str(finding) for finding in findings[:20])
            advice = f"{len(findings)} findings; correct or remove the records they name:\n{shown}"
            raise InputError(f"release {wanted}", "", "a release that is not valid", "no finding", advice)
        _sync(built)
        trajectories.publish(named, beads_dir)
        built.rename(published)
        _sync_directory(releases_dir)
        manifest.write_latest(releases_dir)
    return published


def _not_before(wanted: manifest.Version, base_release: Path | None) -> manifest.Version:
    """Return the version, or a later one than the base release: on 2026.11.4 either 2026.11.5 or 2026.11.4-demo."""
    if base_release is None:
        return wanted
    base = manifest.Version.parse(descriptor.footer_of(base_release / "data" / "grid.parquet")["data_version"])
    least = replace(base, suffix=wanted.suffix)
    return max(wanted, least.next_micro() if base.suffix == wanted.suffix else least)


def _remove_left_builds(releases_dir: Path, own: Path) -> None:
    # The lock is held, so whoever began these was killed.
    for left in releases_dir.glob(f"{BUILDING}*"):
        if left != own:
            shutil.rmtree(left)


def _fill(
    directory: Path,
    records: Records,
    molecules: Sequence[Mapping[str, Any]],
    old: Path | None,
    base_release: Path | None,
    models: Mapping[str, Path],
    repository: Path,
    metadata: Mapping[str, str],
    force_matched: Mapping[str, Path],
    offered: Sequence[trajectories.Offer],
) -> list[trajectories.Offer]:
    """Write all files of a release, and return the bead trajectories that it names."""
    version = metadata["data_version"]
    directory.mkdir(parents=True)
    with_evaluation = {"evaluation": (), **records}
    retrained = _retrained(base_release, models)
    assemble(with_evaluation, molecules, directory / "data", base_release, metadata, retrained)
    write_release_potentials(directory / "data" / "evaluation.parquet", directory / "potentials")
    names = {row["molecule_id"] for row in molecules}
    for name, source in {**_published_models(base_release, names), **models, **force_matched}.items():
        _copy_plain(source, directory / "models" / name)
    for name in REPOSITORY_FILES:
        if not (repository / name).is_file():
            raise InputError(repository / name, "", "no such file", "a file of the repository", "Run from its root.")
        shutil.copyfile(repository / name, directory / name)
    citation = (directory / "CITATION.cff").read_text(encoding="utf-8")
    (directory / "CITATION.cff").write_text(_of_version(citation, version), encoding="utf-8")
    named = trajectories.of_sound_runs(offered, directory / "data" / "atomistic.parquet")
    if named:
        index = manifest.json_text([offer.row for offer in named])
        (directory / TRAJECTORIES_FILE).write_text(index, encoding="utf-8")
    differences = diff.diff(old, directory, version)
    texts = {
        "diff.json": manifest.json_text(differences),
        "CHANGELOG.md": diff.changelog(differences, old),
        "README.md": card.card(directory),
    }
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
    descriptor.write_descriptors(directory)
    (directory / manifest.CHECKSUMS).write_text(manifest.checksums_text(directory), encoding="ascii")
    return named


def _of_version(citation: str, version: str) -> str:
    """Return a CITATION.cff, which has the version of the code, with that of the data."""
    kept = [line for line in citation.splitlines() if not line.startswith("version:")]
    return "\n".join([*kept, f"version: {version}"]) + "\n"


def _published_models(base_release: Path | None, molecules: Collection[str]) -> dict[str, Path]:
    """Return place below models/ → directory of the models of a base release, force-matched ones of these molecules."""
    if base_release is None:
        return {}
    root = base_release / "models"
    found = {header.parent.relative_to(root).as_posix(): header.parent for header in root.rglob("model.json")}
    matched = f"{FORCE_MATCHED}/"
    return {
        name: path
        for name, path in found.items()
        if not name.startswith(matched) or name.removeprefix(matched).split("/")[0] in molecules
    }


def _retrained(base_release: Path | None, models: Mapping[str, Path]) -> set[str]:
    """Return the names of the models that are not those of the base release, byte for byte."""
    if base_release is None:
        return set(models)
    header = "model.json"  # which holds the SHA-256 of the weights
    published = {name: base_release / "models" / name / header for name in models}
    return {
        name
        for name, path in published.items()
        if not (path.is_file() and path.read_bytes() == (models[name] / header).read_bytes())
    }


def _commit_of(release: Path) -> str:
    """Return the commit in the footers of a release: a rebuild by later code from the same records is no new one."""
    return descriptor.footer_of(release / "data" / "grid.parquet").get("commit", "unknown")


def _copy_plain(source: Path, destination: Path) -> None:
    """Copy the files below a directory but the hidden ones, which Snakemake leaves; links and odd names are refused."""
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if any(part.startswith(".") for part in name.split("/")):
            continue
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise InputError(path, "", "a link or device", "plain files", "Replace it by what it points to.")
        if path.is_file():
            target = destination / manifest.safe_relative_path(name, source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _sync(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_dir():
            _sync_directory(path)
        else:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    _sync_directory(directory)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def current_commit(repository: Path = Path()) -> str:
    """Return the commit that is checked out, `-dirty` where code or configuration differ from it, else `unknown`."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "scripts", "rules", "config", "envs", "Snakefile")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return "unknown"


def read_inputs(path: Path) -> tuple[list[dict[str, Any]], dict[str, list[Path]], dict[str, Path]]:
    """Return molecule rows, record files and the directories of force-matched models of an inputs file.

    Raises
    ------
    InputError
        It is not JSON of the form that the module describes.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        records = {str(table): [Path(name) for name in names] for table, names in content["records"].items()}
        models = {str(name): Path(directory) for name, directory in content.get("models", {}).items()}
        return list(content["molecules"]), records, models
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        allowed = '{"molecules": [...], "records": {table: [path, ...]}}'
        raise InputError(path, "", f"{type(error).__name__}: {error}", allowed) from error


def finished(records: Records) -> dict[str, list[Path]]:
    """Return the record files that are there already, and say how many of how many."""
    there = {table: [path for path in map(Path, paths) if path.is_file()] for table, paths in records.items()}
    for table, paths in records.items():
        print(f"{table}: {len(there[table])} of {len(paths)} record files", file=sys.stderr)
    return there


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints the directory that was made."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.database.build", description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=Path, required=True, help="JSON file with molecules and record files")
    parser.add_argument("--version", required=True, help="calendar version, such as 2026.12.0 or 2026.12.0-demo")
    parser.add_argument("--base", type=Path, help="release whose records are taken over by id")
    parser.add_argument("--training-set", type=Path, help="write the tables without evaluations here, publish nothing")
    parser.add_argument("--releases", type=Path, default=Path("releases"), help="directory of the releases")
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="directories of trained models")
    parser.add_argument("--trajectories", type=Path, nargs="*", default=[], help="bead trajectories to publish")
    parser.add_argument("--scale", help="name of the scale that was run")
    parser.add_argument("--rough", action="store_true", help="say that the numbers are rough")
    parser.add_argument("--repository", type=Path, default=Path(), help="holds LICENSE-DATA and CITATION.cff")
    parser.add_argument("--published", type=Path, help="write the name of the release made into this file")
    options = parser.parse_args(arguments)
    try:
        molecules, records, force_matched = read_inputs(options.inputs)
        commit = current_commit(options.repository)
        if options.training_set:
            made = build_training_set(records, molecules, options.version, options.training_set, options.base, commit)
        else:
            made = build_release(
                records,
                molecules,
                options.version,
                options.releases,
                options.base,
                options.models,
                options.repository,
                commit,
                force_matched,
                options.trajectories,
                options.scale,
                options.rough,
            )
            if options.published:
                with atomic_path(options.published) as temporary:
                    temporary.write_text(f"{made.name}\n", encoding="utf-8")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
