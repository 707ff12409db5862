"""What is made from the tables: descriptors, data card, citation and potential files; and the models that they name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from mobcg.database.card import card, data_dictionary
from mobcg.database.checks.finding import Finding, parsed_json, shown, value_at
from mobcg.database.descriptor import DESCRIPTORS, citation_of, descriptors, footer_of
from mobcg.database.manifest import Version, sha256_of
from mobcg.database.potential_files import README, release_potentials, write_potential_files
from mobcg.errors import InputError
from mobcg.schema import SCHEMA_VERSION, TABLES, TRAINED_MODELS

# Differences of one descriptor that are named.
NAMED = 20
# What a descriptor of any schema version says of a file or column; wording and columns came and went.
FACTS = ("version", "path", "contentUrl", "rows", "bytes", "hash", "contentSize", "sha256", "unit")
# Numbers in text differ in their last digits from one library to the next.
NUMBER_TOLERANCE = 1e-6
# As `mobcg.weights` writes a model; its library is one that reading a release does not need.
HEADER, WEIGHTS = "model.json", "weights.safetensors"


def check_made(directory: Path, sound: set[str]) -> Iterator[Finding]:
    """Yield where a file does not follow from the tables; `sound` names the files that are what SHA256SUMS says."""
    footer = footer_of(directory / "data" / "grid.parquet")
    current = footer["schema_version"] == SCHEMA_VERSION
    yield from _check_versions(directory, footer["data_version"])
    if "CITATION.cff" in sound:
        try:
            citation_of(directory / "CITATION.cff")
        except InputError as error:
            yield Finding("CITATION.cff", "", error.key, shown(error.value), error.allowed)
        else:
            yield from _check_descriptors(directory, sound, current)
            if current:
                yield from _check_citation(directory / "CITATION.cff", footer["data_version"])
    yield from _check_card(directory / "README.md", footer, current)
    yield from _check_potentials(directory, sound, current)
    yield from _check_models(directory, sound)


def _check_versions(directory: Path, version: str) -> Iterator[Finding]:
    """Yield tables of another data version, and the directory where its name is another version."""
    for name in TABLES:
        found = footer_of(directory / "data" / f"{name}.parquet")["data_version"]
        if found != version:
            yield Finding(name, "", "data_version", found, "one version for all files")
    name = directory.resolve().name
    try:
        called = str(Version.parse(name))
    except InputError:
        return  # a copy under a name of the user's own
    if called != version:
        yield Finding("", "", "data_version", version, f"{called}, as the directory is called")


def _check_citation(path: Path, version: str) -> Iterator[Finding]:
    found = yaml.safe_load(path.read_text(encoding="utf-8")).get("version")
    if found != version:
        yield Finding("CITATION.cff", "", "version", shown(found), f"the data version, {version}")


def _check_card(path: Path, footer: dict[str, str], current: bool) -> Iterator[Finding]:
    text = _text(path) if path.is_file() else ""
    if f"Data release {footer['data_version']}, schema {footer['schema_version']}, " not in text:
        rule = f"data release {footer['data_version']}, schema {footer['schema_version']}"
        yield Finding("README.md", "", "version", "another", rule)
    if current and data_dictionary() not in text:
        yield Finding(
            "README.md", "", "Data dictionary", "another", "every column with unit and meaning, as the schema"
        )


def check_summaries(directory: Path) -> Iterator[Finding]:
    """Yield what the data card and diff.json say in numbers that the tables, which are sound, do not."""
    footer = footer_of(directory / "data" / "grid.parquet")
    if footer["schema_version"] == SCHEMA_VERSION:
        found, made = (
            [line for line in text.splitlines() if line.startswith("|")]
            for text in (_text(directory / "README.md"), card(directory))
        )
        lost = (line for line in made if not any(_same_text(other, line) for other in found))
        for line in islice(lost, NAMED):
            yield Finding("README.md", "", "table", "no such line", line)
    content = parsed_json(_text(directory / "diff.json"))
    if value_at(content, ("new",)) != footer["data_version"]:
        rule = f"the data version, {footer['data_version']}"
        yield Finding("diff.json", "", "new", shown(value_at(content, ("new",))), rule)
        return
    for name in TABLES:
        counted = value_at(content, ("tables", name, "rows_new"))
        rows = pq.read_metadata(directory / "data" / f"{name}.parquet").num_rows
        if counted != rows:
            yield Finding("diff.json", name, "rows_new", shown(counted), f"{rows}, as the table has")


def _check_descriptors(directory: Path, sound: set[str], current: bool) -> Iterator[Finding]:
    """Yield where the three descriptors are not what tables and files make.

    Those of an older schema version are compared in their `FACTS`, as far as they state them.
    """
    made = descriptors(directory)
    for name in DESCRIPTORS:
        if name not in sound:
            continue
        compare = _differences if current else _differing_facts
        try:
            content = json.loads((directory / name).read_text(encoding="utf-8"))
            differing = list(islice(compare(content, made[name]), NAMED))
        except (ValueError, RecursionError) as error:
            yield Finding(name, "", "", f"{type(error).__name__}: {error}", "a descriptor in JSON")
            continue
        for place, found, expected in differing:
            row, _, field = place.rpartition("/")
            yield Finding(name, row, field, shown(found), f"{shown(expected)}, as of the files")


def _differences(found: Any, made: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield place, value found and value made of all that differs between two JSON documents."""
    if isinstance(made, dict) and isinstance(found, dict):
        for key in [*made, *(found.keys() - made.keys())]:
            yield from _differences(found.get(key), made.get(key), f"{place}/{key}")
    elif isinstance(made, list) and isinstance(found, list) and len(made) == len(found):
        for number, (one, other) in enumerate(zip(found, made, strict=True)):
            yield from _differences(one, other, f"{place}/{number}")
    elif found != made:
        yield place, found, made


def _differing_facts(found: Any, made: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield what is stated of a file and is wrong, files not spoken of, and units that are wrong."""
    stated, known = dict(_facts(found)), dict(_facts(made))
    for place, value in known.items():
        if stated.get(place) != value and (place in stated or not place.endswith("/unit")):
            yield place, stated.get(place), value


def _facts(content: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield place and value of the `FACTS`; objects are called by what they describe, not by their number."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if key in FACTS:
            yield f"{place}/{key}", value
        elif key == "description" and isinstance(value, str) and content.get("@type") == "cr:Field":
            yield f"{place}/unit", value.rpartition(" [")[2] if value.endswith("]") else ""
    values = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    for value in values:
        name = next((value[key] for key in ("@id", "name") if key in value), "") if isinstance(value, dict) else ""
        yield from _facts(value, f"{place}/{name}" if name else place)


def _check_potentials(directory: Path, sound: set[str], current: bool) -> Iterator[Finding]:
    """Yield files of potentials/ that are not those of the potentials in the evaluations."""
    place, expected = "potentials/", set()
    with TemporaryDirectory() as scratch:
        for potential, run in release_potentials(directory / "data" / "evaluation.parquet"):
            try:
                write_potential_files(Path(scratch), "made", potential, run)
            except ValueError:
                continue  # a curve that the checks of rows refuse
            for made in sorted(Path(scratch).iterdir()):
                name = f"{run['molecule_id']}/{run['model']}{made.name.removeprefix('made')}"
                expected.add(place + name)
                if place + name not in sound:
                    yield Finding(place, name, "", "no such file", "every potential of a scored model in every format")
                elif not _same_text(_text(directory / place / name), _text(made)):
                    yield Finding(
                        place, name, "", "another potential", "that of evaluation.parquet, in the file's units"
                    )
    for name in sorted(file for file in sound if file.startswith(place)):
        if name == f"{place}README.md":
            if current and _text(directory / name) != README:
                yield Finding(place, "README.md", "", "another text", "the units of each format")
        elif name not in expected:
            yield Finding(place, name.removeprefix(place), "", "a file", "potentials of evaluation.parquet only")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _same_text(found: str, made: str) -> bool:
    """Return whether two texts are the same but for the last digits of their numbers."""
    if found == made:
        return True
    words, expected = (re.split(r"[\s,:\[\]{}]+", text) for text in (found, made))
    if len(words) != len(expected):
        return False
    pairs = [pair for pair in zip(words, expected, strict=True) if pair[0] != pair[1]]
    try:
        numbers, right = np.array(pairs, np.float64).T
    except ValueError:
        return False
    return bool((np.abs(numbers - right) <= NUMBER_TOLERANCE * (1 + np.abs(right))).all())


def _check_models(directory: Path, sound: set[str]) -> Iterator[Finding]:
    """Yield models whose weights are not those that model.json names, and scored models that are not there."""
    for name in sorted(name for name in sound if name.startswith("models/") and Path(name).name == HEADER):
        header, weights = parsed_json(_text(directory / name)), name.removesuffix(HEADER) + WEIGHTS
        promised = header.get("weights_sha256") if isinstance(header, dict) else None
        if promised is None:
            yield Finding(name, "", "weights_sha256", "nothing", "the SHA-256 of the weights")
        elif weights not in sound:
            yield Finding(weights, "", "", "no such file", f"the weights of {name}")
        elif sha256_of(directory / weights) != promised:
            yield Finding(weights, "", "sha256", sha256_of(directory / weights), f"{shown(promised)} of {HEADER}")
    rows = pq.read_table(directory / "data" / "evaluation.parquet", columns=["model", "status"]).to_pylist()
    scored = {TRAINED_MODELS.get(row["model"]) for row in rows if row["status"] == "ok"} - {None}
    for name in sorted(f"models/{model}/{HEADER}" for model in scored):
        if name not in sound:
            yield Finding(name, "", "", "no such file", "every trained model that evaluation.parquet scores")
