"""`mobcg predict`: g(r), D, mass, density and temperature of liquids in; potentials ready to run out.

One liquid:   mobcg predict --rdf rdf.xvg --diffusion-nm2-ns 1.1 --mass-g-mol 78.11 --density-kg-m3 864
              --temperature-k 298.15 --out benzene
Many liquids: mobcg predict --liquids liquids.csv --out predictions [--tables]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from joblib import cpu_count
from threadpoolctl import threadpool_limits

from mobcg import __version__
from mobcg.coarse.simulate import write_run
from mobcg.database.dataset import find_release
from mobcg.database.potential_files import ENDINGS, write_potential_files
from mobcg.errors import InputError, SimulationError
from mobcg.pair import CUTOFF_NM, R_EDGES_NM, R_NM
from mobcg.predictor.dataset import States
from mobcg.predictor.predict import EDGE, INSIDE, PRESSURES_BAR, VERDICTS, Proposal, check_wishes, propose
from mobcg.predictor.rdf_files import NORMALISATIONS, UNITS, Rdf, read_rdf
from mobcg.predictor.screening import screen
from mobcg.predictor.storage import MODELS, load_model, read_model_file
from mobcg.records import write_json
from mobcg.units import BAR_PER_ATM, number_density_nm3
from mobcg.weights import HEADER, MAX_HEADER_BYTES

# The part of a model's name that says under which thermostat it is run.
THERMOSTATS = {"_dpd": "dpd", "_langevin": "langevin"}
NUMBERS = ("diffusion_nm2_ns", "mass_g_mol", "density_kg_m3", "temperature_k")
OPTIONAL = ("name", "molecules", "rdf_unit", "normalisation")
# Beyond these a number is in another unit, or of no molecular liquid; D of 1 nm²/ns is 1e-9 m²/s.
RANGES = {
    "diffusion_nm2_ns": (1e-6, 1e3),
    "mass_g_mol": (1.0, 1e4),
    "density_kg_m3": (10.0, 2e4),
    "temperature_k": (60.0, 3000.0),
}
# What a row of a CSV file has more than its header.
BEYOND = "beyond the last column"
# Liquids whose arrays are in memory together, for each core.
AT_ONCE = 128
# The run that is written beside the tables: enough for g(r) to 0.01 and D to a few percent in a minute.
N_BEADS, EQUILIBRATION_PS_100, PRODUCTION_PS_100 = 1000, 20.0, 200.0
TABLE_FILE, PREDICTION = "predictions.parquet", "prediction.json"
# What is in `lammps/`, and what a run of it leaves.
RUN_INPUTS = ("run.in", "start.data", "pair.table")
RUN_PRODUCTS = ("rdf.txt", "msd.txt", "log.lammps", "log.cite")
# Columns of predictions.parquet: name, type, unit and description.
_TEXT, _REAL, _CURVE = pa.string(), pa.float64(), pa.list_(pa.float64())
COLUMNS = (
    ("name", _TEXT, "", "name of the liquid"),
    ("status", _TEXT, "", "ok, refused (outside of what the model knows) or failed (a wrong input)"),
    ("verdict", _TEXT, "", "inside, edge or outside of what is known; null where it failed"),
    ("reason", _TEXT, "", "why it failed, or is not inside"),
    ("notes", _TEXT, "", "what was concluded of the file of g(r), not stated"),
    ("distance", _REAL, "", "distance to the training data; 1 holds 95 % of held-out liquids"),
    ("asked_diffusion_nm2_ns", _REAL, "nm^2/ns", "self-diffusion coefficient that was asked for"),
    ("asked_mass_g_mol", _REAL, "g/mol", "mass of a molecule, as asked"),
    ("asked_density_kg_m3", _REAL, "kg/m^3", "density, as asked"),
    ("asked_temperature_k", _REAL, "K", "temperature, as asked"),
    ("molecules", _REAL, "", "molecules in the box in which g(r) was measured; null where not given"),
    ("rdf_unit", _TEXT, "", "unit that the distances of g(r) were taken to be in"),
    ("normalisation", _TEXT, "", "what g(r) was taken to be normalised by, N or N-1"),
    ("thermostat", _TEXT, "", "under which the potential is to be run; null where refused, as all that follows"),
    ("friction_1_ps", _REAL, "1/ps", "friction that brings D to the one asked for"),
    ("diffusion_nm2_ns", _REAL, "nm^2/ns", "D expected without friction, in the box of g(r)"),
    ("diffusion_nm2_ns_se", _REAL, "nm^2/ns", "standard error of diffusion_nm2_ns"),
    ("alpha", _REAL, "", "expected D over the one asked for"),
    ("alpha_se", _REAL, "", "standard error of alpha"),
    ("rdf_error", _REAL, "", "expected error of g(r), sampling noise apart"),
    ("scale_factor", _REAL, "", "multiple of the potential for the structure"),
    ("pressure_bar", _REAL, "bar", "the pressure asked for, which a ramp brings about; else the expected one"),
    ("pressure_bar_se", _REAL, "bar", "standard error of pressure_bar"),
    ("rdf_factor", _REAL, "", "what g(r) was multiplied by"),
    ("potential_kj_mol", _CURVE, "kJ/mol", "pair potential at the 150 bin centres from 0.005 to 1.495 nm"),
    ("potential_kj_mol_se", _CURVE, "kJ/mol", "its standard error, from contact to 1.4 nm: not that of the core"),
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Liquid:
    """A liquid to predict for, as asked: units as in the names.

    `problem` says what is wrong with it, empty where nothing is; a number that is not known is then nan.
    """

    name: str
    rdf: Path
    diffusion_nm2_ns: float
    mass_g_mol: float
    density_kg_m3: float
    temperature_k: float
    molecules: float | None = None
    rdf_unit: str | None = None
    normalisation: str | None = None
    problem: str = ""

    @property
    def number_density_nm3(self) -> float:
        """Molecules per nm³."""
        return number_density_nm3(self.density_kg_m3, self.mass_g_mol)


@dataclass(frozen=True)
class Source:
    """The model that predicts, and where it is from."""

    model: Any
    name: str
    thermostat: str
    record: dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """What is wanted of a model; see `mobcg.predictor.predict.propose`."""

    pressure_bar: float | None = BAR_PER_ATM
    knob: float = 1.0
    anyway: bool = False


@dataclass(frozen=True)
class Result:
    """What came out for one liquid: `status` ok, refused (a verdict) or failed (a wrong input), and why.

    `content` is what prediction.json says, empty for a liquid that failed.
    """

    liquid: Liquid
    status: str
    reason: str
    content: dict[str, Any]


def read_liquids(path: Path, defaults: Mapping[str, Any] | None = None) -> list[Liquid]:
    """Return the liquids of a CSV file (a header, a row each) or a YAML file (a list of mappings).

    Keys: rdf (file, relative to `path`), diffusion_nm2_ns, mass_g_mol, density_kg_m3, temperature_k, and where wanted
    name, molecules, rdf_unit, normalisation. A key that a liquid has no value for is taken from `defaults`. Rows
    without a value are left out. A liquid that lacks one, or has one that cannot be, says so in its `problem`.

    Raises
    ------
    InputError
        The file cannot be read, two columns or two liquids have one name, a key is unknown, a text cannot be written,
        or no liquid has a value for a key that each needs.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # Excel marks its files so
        rows = _csv_rows(path, text) if path.suffix.lower() == ".csv" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, csv.Error, yaml.YAMLError) as error:
        # ValueError: not UTF-8, or a date or number that cannot be.
        raise InputError(path, "", str(error).partition("\n")[0], "CSV with a header, or a YAML list") from None
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise InputError(path, "", rows, "a row or a mapping for each liquid")
    asked = [{**(defaults or {}), **given} for given in map(_given, rows) if given]
    if not asked:
        raise InputError(path, "", rows, "a row or a mapping for each liquid, at least one")
    for number, given in enumerate(asked, 1):
        _check_keys(f"{path}, liquid {number}", given)
    for key in ("rdf", *NUMBERS):
        if not any(key in given for given in asked):
            raise InputError(f"{path}, liquid 1", key, None, "a value for each liquid")
    liquids = [_liquid_or_problem(path, number, given) for number, given in enumerate(asked, 1)]
    name, times = Counter(liquid.name for liquid in liquids).most_common(1)[0]
    if times > 1:
        raise InputError(path, "name", name, "a name of its own for each liquid", f"It stands there {times} times.")
    return liquids


def _csv_rows(path: Path, text: str) -> list[dict[str, Any]]:
    """Return the rows by the names of their columns; blanks beyond the last one, as Excel may write them, do not count.

    Raises
    ------
    InputError
        Two columns have one name.
    """
    reader = csv.DictReader(text.splitlines(), restkey=BEYOND, strict=True, skipinitialspace=True)
    for name, times in Counter(name.strip() for name in reader.fieldnames or ()).items():
        if name and times > 1:
            raise InputError(path, name, f"{times} columns of that name", "one column for each key")
    return [{key: value for key, value in row.items() if key != BEYOND or any(map(str.strip, value))} for row in reader]


def _given(row: Mapping[Any, Any]) -> dict[str, Any]:
    plain = {str(key).strip(): value.strip() if isinstance(value, str) else value for key, value in row.items()}
    return {key: value for key, value in plain.items() if value not in (None, "")}


def _check_keys(where: str, given: Mapping[str, Any]) -> None:
    known = ("rdf", *NUMBERS, *OPTIONAL)
    for key, value in given.items():
        if key not in (*known, BEYOND):
            raise InputError(where, key, value, f"the keys {', '.join(known)}")
        if isinstance(value, str) and _SURROGATE.search(value):
            raise InputError(where, key, value, "text that UTF-8 can write")


def _liquid_or_problem(path: Path, number: int, given: Mapping[str, Any]) -> Liquid:
    try:
        return _liquid(f"{path}, liquid {number}", path.parent, given)
    except InputError as error:
        rdf = path.parent / str(given.get("rdf", ""))
        name = given.get("name") or (_name_of(rdf) if "rdf" in given else f"liquid_{number}")
        numbers = {key: _number_or_nan(given.get(key)) for key in NUMBERS}
        return Liquid(str(name), rdf, **numbers, problem=str(error))


def _liquid(where: str, directory: Path, given: Mapping[str, Any]) -> Liquid:
    if BEYOND in given:
        advice = "Put quotes around a value with a comma in it."
        raise InputError(where, BEYOND, given[BEYOND], "as many values as columns", advice)
    for key in ("rdf", *NUMBERS):
        if key not in given:
            raise InputError(where, key, None, "a value for each liquid")
    rdf = directory / str(given["rdf"])
    numbers = {key: _number(where, key, given[key]) for key in (*NUMBERS, "molecules") if key in given}
    for key, (low, high) in RANGES.items():
        if not low <= numbers[key] <= high:
            advice = "Check its unit."
            raise InputError(where, key, numbers[key], f"{low:g} to {high:g}", advice)
    texts = {key: str(given[key]) for key in ("rdf_unit", "normalisation") if key in given}
    return Liquid(str(given.get("name") or _name_of(rdf)), rdf, **numbers, **texts)


def _name_of(rdf: Path) -> str:
    """Return the name of a file as far as it may become that of a directory: `g(r).dat` → `g_r_`."""
    stem = rdf.name.strip(".").split(".")[0]
    return re.sub(r"[^A-Za-z0-9_+-]", "_", stem).lstrip("_+-")[:100] or "liquid"


def check_folders(liquids: Sequence[Liquid]) -> None:
    """Check that the names of liquids can be those of directories beside the table.

    Raises
    ------
    InputError
        One cannot.
    """
    for liquid in liquids:
        if not _NAME.fullmatch(liquid.name) or liquid.name == TABLE_FILE:
            allowed = f"letters, digits and ._+-, and not {TABLE_FILE}"
            raise InputError("--liquids", "name", liquid.name, allowed, "It becomes the name of a directory.")


def _number(where: str, key: str, value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        raise InputError(where, key, "a number of hundreds of digits", "a number", "Check its unit.") from None
    except (TypeError, ValueError):
        raise InputError(where, key, value, "a number") from None


def _number_or_nan(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return np.nan


def find_model(name: str, release: str | None) -> Source:
    """Return a model of a release (directory, downloaded version, None: the newest), checked and loaded.

    Raises
    ------
    InputError
        There is no such release, no such model in it, it predicts no friction and its name asks for one, or its files
        are not what the release says.
    """
    suffix = next((ending for ending in THERMOSTATS if name.endswith(ending)), "")
    directory = find_release(release)
    folder = directory / "models" / name.removesuffix(suffix)
    known = sorted(path.parent.name for path in directory.glob("models/*/model.json"))
    if name.removesuffix(suffix) not in known:
        allowed = " | ".join(known) or "a release with models"
        raise InputError(directory, "model", name, allowed, "Name another --model or --release.")
    model = load_model(folder)
    thermostat = THERMOSTATS.get(suffix, "nose_hoover")
    if suffix and thermostat not in getattr(model, "processes", ()):
        advice = f"Name it without {suffix}, or a release that has runs with that friction."
        raise InputError(folder, "model", name, f"a model that predicts a friction of the kind {thermostat}", advice)
    try:
        digest = json.loads(read_model_file(folder / HEADER, MAX_HEADER_BYTES))["weights_sha256"]
        training = json.loads(read_model_file(folder / "training.json", MAX_HEADER_BYTES))
        learned = {key: training.get(key) for key in ("data_sha256", "fold", "seed", "trained_on_molecules", "rows")}
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(folder / "training.json", "", str(error), "the training record, as JSON") from None
    record = {
        "name": name,
        "weights_sha256": digest,
        "release": directory.resolve().name,
        **learned,
    }
    return Source(model, name, thermostat, record)


def question(source: Source, pressure_bar: float | None, no_pressure: bool, knob: float, anyway: bool) -> Ask:
    """Return what is asked of a model: options of the command line, None where not given.

    Raises
    ------
    InputError
        The model cannot do what an option wants.
    """
    aims = hasattr(source.model, "processes")
    if pressure_bar is not None and not aims:
        advice = "Leave --pressure-bar out."
        raise InputError("--pressure-bar", "", pressure_bar, "a model that knows the pressure, as mobcg does", advice)
    wanted = None if no_pressure or not aims else BAR_PER_ATM if pressure_bar is None else pressure_bar
    check_wishes(source.thermostat, wanted, knob)
    turns = aims and source.thermostat == "nose_hoover" and "knob" in source.model.processes
    if knob != 1 and not turns:
        advice = f"This {source.name} has none: leave --knob out."
        raise InputError("--knob", "", knob, "a model with a knob, as mobcg without friction may be", advice)
    return Ask(wanted, knob, anyway)


def predict_liquids(liquids: Sequence[Liquid], source: Source, ask: Ask) -> list[Result]:
    """Return a result for each liquid, in order; what is wrong with one does not stop the others.

    A liquid outside of what the model knows is refused, or with `ask.anyway` ok with the reason.
    """
    parts = [liquids[first : first + AT_ONCE] for first in range(0, len(liquids), AT_ONCE)]
    # NumPy works outside of Python's lock: a thread for each core, and one core for each thread.
    with ThreadPoolExecutor(min(cpu_count(), len(parts))) as pool, threadpool_limits(1):
        return [result for part in pool.map(lambda part: _predict_part(part, source, ask), parts) for result in part]


def _predict_part(part: Sequence[Liquid], source: Source, ask: Ask) -> list[Result]:
    curves = [_read_or_reason(liquid) for liquid in part]
    readable = [i for i, curve in enumerate(curves) if isinstance(curve, Rdf)]
    found = dict(zip(readable, _propose([(part[i], curves[i]) for i in readable], source, ask), strict=True))
    return [found.get(i) or Result(liquid, "failed", str(curves[i]), {}) for i, liquid in enumerate(part)]


def _read_or_reason(liquid: Liquid) -> Rdf | str:
    if liquid.problem:
        return liquid.problem
    try:
        return read_rdf(liquid.rdf, liquid.number_density_nm3, liquid.rdf_unit, liquid.normalisation, liquid.molecules)
    except InputError as error:
        return str(error)


def _propose(pairs: Sequence[tuple[Liquid, Rdf]], source: Source, ask: Ask) -> list[Result]:
    if not pairs:
        return []
    states = States(
        rdf=np.array([curve.rdf for _, curve in pairs]),
        n_beads=np.array([curve.n_molecules for _, curve in pairs]),
        **{
            name: np.array([getattr(liquid, name) for liquid, _ in pairs])
            for name in ("number_density_nm3", "temperature_k", "mass_g_mol", "diffusion_nm2_ns")
        },
    )
    try:
        proposal = propose(source.model, states, source.thermostat, pressure_bar=ask.pressure_bar, knob=ask.knob)
    except (InputError, SimulationError) as problem:
        if len(pairs) == 1:
            return [Result(pairs[0][0], "failed", f"{pairs[0][0].rdf}: {problem}", {})]
        # One of them has no potential: each on its own, to know which.
        return [_propose([pair], source, ask)[0] for pair in pairs]
    screening = screen(states)
    results = []
    for row, (liquid, curve) in enumerate(pairs):
        reasons = [*screening.reasons[row], *proposal.reasons[row], *curve.doubts]
        doubted = EDGE if curve.doubts else INSIDE
        verdict = max(proposal.verdict[row], screening.verdict[row], doubted, key=VERDICTS.index)
        distance = float(proposal.distance[row])
        numbers = {name: float(values[row]) for name, values in screening.numbers.items()}
        content = _content(liquid, curve, proposal, row, source, ask) | {
            "verdict": str(verdict),
            "reasons": reasons,
            "distance": None if np.isnan(distance) else distance,
            "structure": numbers,
        }
        status = "refused" if verdict == "outside" and not ask.anyway else "ok"
        results.append(Result(liquid, status, "; ".join(reasons), content))
    return results


def _content(liquid: Liquid, curve: Rdf, proposal: Proposal, row: int, source: Source, ask: Ask) -> dict[str, Any]:
    """Return what prediction.json says of one liquid; what the model does not predict is left out."""
    asked = {key: getattr(liquid, key) for key in (*NUMBERS, "molecules")} | {"pressure_bar": ask.pressure_bar}
    curves = ("potential_kj_mol", "potential_kj_mol_se")
    told = (*curves, "verdict", "reasons", "distance")
    numbers = [field.name for field in fields(proposal) if field.name not in told]
    predicted = {name: float(values[row]) for name in numbers if (values := getattr(proposal, name)) is not None}
    predicted = {name: value for name, value in predicted.items() if np.isfinite(value)}
    notes, thermostat = list(curve.notes), source.thermostat
    if predicted.get("friction_1_ps") == 0:
        thermostat = "nose_hoover"
        notes.append("without friction it is as slow as asked for or slower: no friction, and Nosé-Hoover dynamics")
    return {
        "name": liquid.name,
        "mobcg": __version__,
        "model": source.record,
        "thermostat": thermostat,
        # Of the run in lammps/: a box in which g(r) can be counted up to the cutoff.
        "n_beads": max(N_BEADS, int(liquid.number_density_nm3 * (2.05 * R_EDGES_NM[-1]) ** 3) + 1),
        "input": {
            "rdf": str(liquid.rdf),
            "program": curve.program,
            "unit": curve.unit,
            "normalisation": curve.normalisation,
            "number_density_nm3": liquid.number_density_nm3,
            **{key: value for key, value in asked.items() if value is not None},
        },
        "notes": notes,
        "predicted": predicted,
        "r_nm": R_NM.round(4).tolist(),
        "rdf": curve.rdf.tolist(),
        **{name: getattr(proposal, name)[row].tolist() for name in curves},
    }


def write_liquid(directory: Path, result: Result) -> None:
    """Write prediction.json, the four tables and `lammps/`, a run that starts as it is, into a directory."""
    content, liquid = result.content, result.liquid
    run = {
        "temperature_k": liquid.temperature_k,
        "mass_g_mol": liquid.mass_g_mol,
        "number_density_nm3": liquid.number_density_nm3,
        "thermostat": content["thermostat"],
        "friction_1_ps": content["predicted"].get("friction_1_ps", 0.0),
    }
    write_potential_files(directory, content["model"]["name"], content["potential_kj_mol"], run)
    write_run(
        content["potential_kj_mol"],
        **run,
        n_beads=content["n_beads"],
        equilibration_ps_100=EQUILIBRATION_PS_100,
        production_ps_100=PRODUCTION_PS_100,
        seed=1,
        directory=directory / "lammps",
    )
    write_json(directory / PREDICTION, content)


def write_table(path: Path, results: Sequence[Result], source: Source) -> None:
    """Write predictions.parquet, `COLUMNS`: a row for each liquid, in order.

    The model stands in the metadata of the file. A refused liquid has no prediction in it, and what was asked of a
    failed one is null where it is no number.
    """
    schema = pa.schema(
        [pa.field(name, kind, metadata={"unit": unit, "description": text}) for name, kind, unit, text in COLUMNS],
        metadata={"model": json.dumps(source.record), "mobcg": __version__, "cutoff_nm": str(CUTOFF_NM)},
    )
    table = pa.Table.from_pylist([_row(result) for result in results], schema=schema)
    pq.write_table(table, path, compression="zstd")


def _row(result: Result) -> dict[str, Any]:
    """Return a row of predictions.parquet; what it leaves out is null."""
    liquid, content = result.liquid, result.content
    row = {
        "name": liquid.name,
        "status": result.status,
        "reason": result.reason,
        **{f"asked_{key}": value for key in NUMBERS if not np.isnan(value := getattr(liquid, key))},
        "molecules": liquid.molecules,
    }
    if content:
        row |= {key: content[key] for key in ("verdict", "distance")} | {"notes": "; ".join(content["notes"])}
        row |= {"rdf_unit": content["input"]["unit"], "normalisation": content["input"]["normalisation"]}
    if result.status == "ok":
        row |= {key: content[key] for key in ("thermostat", "potential_kj_mol", "potential_kj_mol_se")}
        row |= content["predicted"]
    return row


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(
        prog="mobcg predict",
        description="A coarse-grained pair potential (one bead a molecule) for a liquid, from its g(r), in one shot.",
    )
    which = found.add_mutually_exclusive_group(required=True)
    which.add_argument("--rdf", type=Path, help="g(r) of the centres of mass: VOTCA, gmx rdf, LAMMPS, npz or CSV")
    which.add_argument("--liquids", type=Path, help="CSV or YAML file of many liquids: rdf, name and the keys below")
    liquid = found.add_argument_group("the liquid", "with --liquids: of those that do not say it themselves")
    text = "its self-diffusion coefficient (1e-9 m²/s), as measured in a box of --molecules, not corrected for its size"
    liquid.add_argument("--diffusion-nm2-ns", type=float, help=text)
    liquid.add_argument("--mass-g-mol", type=float, help="mass of a molecule")
    liquid.add_argument("--density-kg-m3", type=float)
    liquid.add_argument("--temperature-k", type=float)
    liquid.add_argument("--molecules", type=float, help="molecules in the box in which g(r) and D were measured")
    liquid.add_argument("--rdf-unit", choices=UNITS, help="of the distances (default: detected, and said)")
    text = "of g(r) (default: as its program does, N-1 of other tables)"
    liquid.add_argument("--normalisation", choices=NORMALISATIONS, help=text)
    found.add_argument("--name", help="of the liquid, with --rdf (default: that of the file)")
    found.add_argument("--model", default="mobcg", help="mobcg, mobcg_dpd, mobcg_langevin or bag2024 (default: mobcg)")
    found.add_argument("--release", help="release with the model: a directory or a version (default: the newest here)")
    found.add_argument("--knob", type=float, default=1.0, help="mobcg: below 1 towards structure, above to mobility")
    pressure = found.add_mutually_exclusive_group()
    text = f"that the potential aims at, {PRESSURES_BAR[0]:g} to {PRESSURES_BAR[1]:g} (default: 1 atm)"
    pressure.add_argument("--pressure-bar", type=float, help=text)
    pressure.add_argument("--no-pressure", action="store_true", help="aim at no pressure: g(r) alone")
    found.add_argument("--out", type=Path, required=True, help="directory to write")
    found.add_argument("--tables", action="store_true", help="with --liquids: also a directory of tables for each")
    found.add_argument("--anyway", action="store_true", help="predict also for what is outside of what the model knows")
    found.add_argument(
        "--force",
        action="store_true",
        help="write into a directory that exists; what earlier predictions of the liquids left there is removed",
    )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 1 where a liquid of many was refused or failed."""
    options = parser().parse_args(arguments)
    check_out(options.out, options.force)
    given = _given({key: getattr(options, key) for key in ("rdf", *NUMBERS, *OPTIONAL)})
    if options.rdf:
        liquids = [_liquid("mobcg predict", Path(), given)]
    elif options.name is not None:
        raise InputError("--name", "", options.name, "--rdf, or a column name in the file of --liquids")
    else:
        liquids = read_liquids(options.liquids, given)
    if options.liquids and options.tables:
        check_folders(liquids)
    source = find_model(options.model, options.release)
    ask = question(source, options.pressure_bar, options.no_pressure, options.knob, options.anyway)
    results = predict_liquids(liquids, source, ask)
    return _finish_one(results[0], options.out) if options.rdf else _finish_many(results, source, options)


def check_out(out: Path, force: bool) -> None:
    """Check that a directory can be written, before any work is done.

    Raises
    ------
    InputError
        It is there and not to be overwritten, or it cannot be made.
    """
    advice = "" if force else "Or add --force."
    try:
        if out.exists() and not (force and out.is_dir()):
            raise InputError("--out", "", str(out), "a directory that is not there yet", advice)
        if (out / TABLE_FILE).is_dir():
            raise InputError("--out", "", str(out / TABLE_FILE), "no directory where the table belongs")
        nearest = next(path for path in out.absolute().parents if path.exists())
        for place in (nearest, out) if out.exists() else (nearest,):
            with tempfile.TemporaryDirectory(prefix=".mobcg.", dir=place):
                pass
    except OSError as error:
        raise _not_written(out, error) from None


def _not_written(out: Path, error: OSError) -> InputError:
    return InputError("--out", "", str(out), "a directory that can be written", f"{error.strerror or error}.")


def _finish_one(result: Result, out: Path) -> int:
    if result.status == "failed":
        print(f"mobcg: {result.reason}", file=sys.stderr)
        return 2
    for note in result.content["notes"]:
        print(f"mobcg: note: {note}", file=sys.stderr)
    if result.status == "refused":
        print(f"mobcg: {result.liquid.rdf}: not a liquid that this model knows: {result.reason}.", file=sys.stderr)
        print("mobcg: nothing written; --anyway writes what the model makes of it.", file=sys.stderr)
        return 2
    if result.reason:
        print(f"mobcg: WARNING: {result.content['verdict']} of what is known: {result.reason}", file=sys.stderr)
    with _appearing(out) as directory:
        write_liquid(directory, result)
    _print_expected(result.content)
    print(f"{out}: prediction.json and tables for LAMMPS, VOTCA, OpenMM and GROMACS")
    print(f"Try it: (cd {out}/lammps && lmp -in run.in) && mobcg compare {out}")
    return 0


def _print_expected(content: Mapping[str, Any]) -> None:
    predicted = content["predicted"]
    remarks = {"diffusion_nm2_ns": " without friction"}
    if "pressure_bar" in content["input"]:
        remarks["pressure_bar"] = ", as asked for"
    for name, value in predicted.items():
        if not name.endswith("_se"):
            error = f" ± {predicted[f'{name}_se']:.2g}" if f"{name}_se" in predicted else ""
            print(f"{name}: {value:.4g}{error}{remarks.get(name, '')}")


def _finish_many(results: Sequence[Result], source: Source, options: argparse.Namespace) -> int:
    with _appearing(options.out) as directory:
        write_table(directory / TABLE_FILE, results, source)
    unwritten = 0
    for result in results:
        if result.status != "ok":
            print(f"mobcg: {result.liquid.name}: {result.status}: {result.reason}", file=sys.stderr)
        if options.tables and (problem := _write_or_problem(options.out / result.liquid.name, result)):
            print(f"mobcg: {result.liquid.name}: no tables: {problem}", file=sys.stderr)
            unwritten += 1
    counts = Counter(result.status for result in results)
    warned = sum(result.status == "ok" and bool(result.reason) for result in results)
    print(
        f"{options.out}/{TABLE_FILE}: {counts['ok']} of {len(results)} liquids predicted, {warned} of them "
        f"with a warning (column reason); {counts['refused']} refused, {counts['failed']} failed"
    )
    return 0 if counts["ok"] == len(results) and not unwritten else 1


def _write_or_problem(directory: Path, result: Result) -> str | None:
    """Write the directory of a liquid, or take away what is in it of a prediction that the liquid has no longer.

    Returns what kept that from being done, so that it still is for the others.
    """
    try:
        if result.status == "ok":
            with _appearing(directory) as made:
                write_liquid(made, result)
        elif (directory / PREDICTION).is_file():
            for path in _of_another_prediction(directory):
                path.unlink(missing_ok=True)
            for folder in (directory / "lammps", directory):
                with suppress(OSError):  # somebody's own files are in it
                    folder.rmdir()
    except OSError as error:
        return error.strerror or str(error)
    except (InputError, SimulationError, ArithmeticError, ValueError) as problem:
        return str(problem)
    return None


@contextmanager
def _appearing(directory: Path) -> Iterator[Path]:
    """Yield a directory whose files appear in `directory`, all together, when the block ends well.

    From a `directory` that is there already is removed what another prediction wrote, and the products of its run.

    Raises
    ------
    InputError
        It cannot be written.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as name:
            made = Path(name) / "made"
            made.mkdir()
            yield made
            if not directory.exists():
                made.rename(directory)
                return
            for path in _of_another_prediction(directory):
                path.unlink(missing_ok=True)
            for path in sorted(path for path in made.rglob("*") if path.is_file()):
                target = directory / path.relative_to(made)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
    except OSError as error:
        raise _not_written(directory, error) from None


def _of_another_prediction(directory: Path) -> Iterator[Path]:
    """Yield what another prediction may have left; the file that says that there was one comes last."""
    predicted = (directory / PREDICTION).is_file()
    # Without a prediction beside it an input of LAMMPS may be somebody's own.
    for name in (*RUN_PRODUCTS, *(RUN_INPUTS if predicted else ())):
        yield directory / "lammps" / name
    for model in MODELS:
        for ending in ("", *THERMOSTATS):
            yield from (directory / f"{model}{ending}.{suffix}" for suffix in ENDINGS)
    if predicted:
        yield directory / PREDICTION
