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
from contextlib import contextmanager
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
from mobcg.database.potential_files import write_potential_files
from mobcg.errors import InputError, SimulationError
from mobcg.pair import CUTOFF_NM, R_EDGES_NM, R_NM
from mobcg.predictor.dataset import States
from mobcg.predictor.predict import VERDICTS, Proposal, propose
from mobcg.predictor.rdf_files import NORMALISATIONS, UNITS, Rdf, read_rdf
from mobcg.predictor.screening import screen
from mobcg.predictor.storage import load_model, read_model_file
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
    "temperature_k": (10.0, 3000.0),
}
# Liquids whose arrays are in memory together, for each core.
AT_ONCE = 128
# The run that is written beside the tables: enough for g(r) to 0.01 and D to a few percent in a minute.
N_BEADS, EQUILIBRATION_PS_100, PRODUCTION_PS_100 = 1000, 20.0, 200.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


@dataclass(frozen=True)
class Liquid:
    """A liquid to predict for, as asked: units as in the names."""

    name: str
    rdf: Path
    diffusion_nm2_ns: float
    mass_g_mol: float
    density_kg_m3: float
    temperature_k: float
    molecules: float | None = None
    rdf_unit: str | None = None
    normalisation: str | None = None

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


def read_liquids(path: Path) -> list[Liquid]:
    """Return the liquids of a CSV file (a header, a row each) or a YAML file (a list of mappings).

    Keys: rdf (file, relative to `path`), diffusion_nm2_ns, mass_g_mol, density_kg_m3, temperature_k, and where wanted
    name, molecules, rdf_unit, normalisation.

    Raises
    ------
    InputError
        The file cannot be read, or a row has an unknown key, lacks one, or holds what is no number.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".csv":
            rows = list(csv.DictReader(text.splitlines(), strict=True))
        else:
            rows = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, csv.Error, yaml.YAMLError) as error:
        raise InputError(path, "", str(error).splitlines()[0], "CSV with a header, or a YAML list") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, Mapping) for row in rows):
        raise InputError(path, "", rows, "a row or a mapping for each liquid, at least one")
    liquids = [_liquid(f"{path}, liquid {number}", path.parent, row) for number, row in enumerate(rows, 1)]
    name, times = Counter(liquid.name for liquid in liquids).most_common(1)[0]
    if times > 1:
        raise InputError(path, "name", name, "a name of its own for each liquid", f"It stands there {times} times.")
    return liquids


def _liquid(where: str, directory: Path, row: Mapping[str, Any]) -> Liquid:
    given = {str(key): value for key, value in row.items() if value not in (None, "")}
    known = ("rdf", *NUMBERS, *OPTIONAL)
    for key in given:
        if key not in known:
            raise InputError(where, key, given[key], f"the keys {', '.join(known)}")
    for key in ("rdf", *NUMBERS):
        if key not in given:
            raise InputError(where, key, None, "a value for each liquid")
    rdf = directory / str(given["rdf"])
    name = str(given.get("name", rdf.name.split(".")[0]))
    if not _NAME.fullmatch(name):
        raise InputError(where, "name", name, "letters, digits and ._+-", "It becomes the name of a directory.")
    numbers = {key: _number(where, key, given[key]) for key in (*NUMBERS, "molecules") if key in given}
    for key, (low, high) in RANGES.items():
        if not low <= numbers[key] <= high:
            advice = "Check its unit."
            raise InputError(where, key, numbers[key], f"{low:g} to {high:g}", advice)
    texts = {key: str(given[key]) for key in ("rdf_unit", "normalisation") if key in given}
    return Liquid(name, rdf, **numbers, **texts)


def _number(where: str, key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(where, key, value, "a number") from None


def find_model(name: str, release: str | None) -> Source:
    """Return a model of a release (directory, downloaded version, None: the newest), checked and loaded.

    Raises
    ------
    InputError
        There is no such release, no such model in it, or its files are not what the release says.
    """
    suffix = next((ending for ending in THERMOSTATS if name.endswith(ending)), "")
    directory = find_release(release)
    folder = directory / "models" / name.removesuffix(suffix)
    known = sorted(path.parent.name for path in directory.glob("models/*/model.json"))
    if folder.name not in known:
        allowed = " | ".join(known) or "a release with models"
        raise InputError(directory, "model", name, allowed, "Name another --model or --release.")
    model = load_model(folder)
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
    return Source(model, name, THERMOSTATS.get(suffix, "nose_hoover"), record)


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
    except SimulationError as problem:
        if len(pairs) == 1:
            return [Result(pairs[0][0], "failed", f"{pairs[0][0].rdf}: {problem}", {})]
        # One of them has no potential: each on its own, to know which.
        return [_propose([pair], source, ask)[0] for pair in pairs]
    if source.thermostat != "nose_hoover" and proposal.friction_1_ps is None:
        raise InputError("--model", "", source.name, "a model that predicts a friction", "Name it without _dpd.")
    screening = screen(states.rdf, states.number_density_nm3)
    results = []
    for row, (liquid, curve) in enumerate(pairs):
        reasons = list(screening.reasons[row])
        if proposal.rdf_factor[row] != 1:
            reasons.append(f"the tail of g(r) is that of no liquid: {proposal.rdf_factor[row]:.4f} times it was used")
        distance = float(proposal.distance[row])
        if np.isnan(distance):
            reasons.append("this model cannot tell how far from its training data the liquid is")
        elif proposal.verdict[row] != "inside":
            reasons.append(f"{proposal.verdict[row]} of the training data, distance {distance:.3g}")
        verdict = max(proposal.verdict[row], screening.verdict[row], key=VERDICTS.index)
        numbers = {name: float(values[row]) for name, values in screening.numbers.items()}
        content = _content(liquid, curve, proposal, row, source) | {
            "verdict": str(verdict),
            "reasons": reasons,
            "distance": None if np.isnan(distance) else distance,
            "structure": numbers,
        }
        status = "refused" if verdict == "outside" and not ask.anyway else "ok"
        results.append(Result(liquid, status, "; ".join(reasons), content))
    return results


def _content(liquid: Liquid, curve: Rdf, proposal: Proposal, row: int, source: Source) -> dict[str, Any]:
    """Return what prediction.json says of one liquid; what the model does not predict is left out."""
    asked = {key: getattr(liquid, key) for key in (*NUMBERS, "molecules")}
    curves = ("potential_kj_mol", "potential_kj_mol_se")
    numbers = [field.name for field in fields(proposal) if field.name not in (*curves, "verdict", "distance")]
    predicted = {name: float(values[row]) for name in numbers if (values := getattr(proposal, name)) is not None}
    predicted = {name: value for name, value in predicted.items() if np.isfinite(value)}
    return {
        "name": liquid.name,
        "mobcg": __version__,
        "model": source.record,
        "thermostat": source.thermostat,
        "input": {
            "rdf": str(liquid.rdf),
            "program": curve.program,
            "unit": curve.unit,
            "number_density_nm3": liquid.number_density_nm3,
            **{key: value for key, value in asked.items() if value is not None},
        },
        "notes": list(curve.notes),
        "predicted": predicted,
        "r_nm": R_NM.round(4).tolist(),
        "rdf": curve.rdf.tolist(),
        **{name: getattr(proposal, name)[row].tolist() for name in curves},
    }


def write_liquid(directory: Path, result: Result) -> None:
    """Write prediction.json, the four tables and `lammps/`, a run that starts as it is, into a directory."""
    content, liquid = result.content, result.liquid
    friction = content["predicted"].get("friction_1_ps", 0.0)
    run = {
        "temperature_k": liquid.temperature_k,
        "mass_g_mol": liquid.mass_g_mol,
        "number_density_nm3": liquid.number_density_nm3,
        "thermostat": content["thermostat"],
        "friction_1_ps": friction,
    }
    write_potential_files(directory, content["model"]["name"], content["potential_kj_mol"], run)
    write_run(
        content["potential_kj_mol"],
        **run,
        n_beads=max(N_BEADS, int(liquid.number_density_nm3 * (2.05 * R_EDGES_NM[-1]) ** 3) + 1),
        equilibration_ps_100=EQUILIBRATION_PS_100,
        production_ps_100=PRODUCTION_PS_100,
        seed=1,
        directory=directory / "lammps",
    )
    write_json(directory / "prediction.json", content)


def write_table(path: Path, results: Sequence[Result], source: Source) -> None:
    """Write predictions.parquet: a row for each liquid, in order; the model stands in the metadata of the file."""
    predicted = sorted({key for result in results for key in result.content.get("predicted", {})})
    rows = [
        {
            "name": result.liquid.name,
            "status": result.status,
            "reason": result.reason,
            "verdict": result.content.get("verdict"),
            **{f"asked_{key}": getattr(result.liquid, key) for key in NUMBERS},
            **{key: result.content.get("predicted", {}).get(key) for key in predicted},
            **{key: result.content.get(key) for key in ("potential_kj_mol", "potential_kj_mol_se")},
        }
        for result in results
    ]
    table = pa.Table.from_pylist(rows)
    notes = {"model": json.dumps(source.record), "mobcg": __version__, "cutoff_nm": str(CUTOFF_NM)}
    pq.write_table(table.replace_schema_metadata(notes), path, compression="zstd")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(
        prog="mobcg predict",
        description="A coarse-grained pair potential (one bead a molecule) for a liquid, from its g(r), in one shot.",
    )
    which = found.add_mutually_exclusive_group(required=True)
    which.add_argument("--rdf", type=Path, help="g(r) of the centres of mass: VOTCA, gmx rdf, LAMMPS, npz or CSV")
    which.add_argument("--liquids", type=Path, help="CSV or YAML file of many liquids, keys as the options below")
    found.add_argument("--diffusion-nm2-ns", type=float, help="its self-diffusion coefficient (1e-9 m²/s)")
    found.add_argument("--mass-g-mol", type=float, help="mass of a molecule")
    found.add_argument("--density-kg-m3", type=float)
    found.add_argument("--temperature-k", type=float)
    found.add_argument("--molecules", type=float, help="molecules in the box in which g(r) was measured")
    found.add_argument("--rdf-unit", choices=UNITS, help="of the distances (default: detected, and said)")
    found.add_argument("--normalisation", choices=NORMALISATIONS, help="of g(r) (default: as its program does)")
    found.add_argument("--name", help="of the liquid (default: that of the file)")
    found.add_argument("--model", default="mobcg", help="mobcg, mobcg_dpd, mobcg_langevin or bag2024 (default: mobcg)")
    found.add_argument("--release", help="release with the model: a directory or a version (default: the newest here)")
    found.add_argument("--knob", type=float, default=1.0, help="mobcg: below 1 towards structure, above to mobility")
    pressure = found.add_mutually_exclusive_group()
    pressure.add_argument(
        "--pressure-bar", type=float, default=BAR_PER_ATM, help="that the potential aims at (default: 1 atm)"
    )
    pressure.add_argument("--no-pressure", action="store_true", help="aim at no pressure: g(r) alone")
    found.add_argument("--out", type=Path, required=True, help="directory to write")
    found.add_argument("--tables", action="store_true", help="with --liquids: also a directory of tables for each")
    found.add_argument("--anyway", action="store_true", help="predict also for what is outside of what the model knows")
    found.add_argument("--force", action="store_true", help="write into a directory that exists")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 1 where a liquid of many was refused or failed."""
    options = parser().parse_args(arguments)
    if options.out.exists() and not (options.force and options.out.is_dir()):
        raise InputError("--out", "", str(options.out), "a directory that is not there yet", "Or add --force.")
    if options.liquids:
        liquids = read_liquids(options.liquids)
    else:
        given = {key: getattr(options, key) for key in ("rdf", *NUMBERS, *OPTIONAL)}
        liquids = [_liquid("mobcg predict", Path(), given)]
    source = find_model(options.model, options.release)
    pressure_bar = None if options.no_pressure else options.pressure_bar
    results = predict_liquids(liquids, source, Ask(pressure_bar, options.knob, options.anyway))
    return _finish_one(results[0], options.out) if options.rdf else _finish_many(results, source, options)


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
    _print_expected(result.content["predicted"])
    print(f"{out}: prediction.json and tables for LAMMPS, VOTCA, OpenMM and GROMACS")
    print(f"Try it: (cd {out}/lammps && lmp -in run.in) && mobcg compare {out}")
    return 0


def _print_expected(predicted: Mapping[str, float]) -> None:
    for name, value in predicted.items():
        if not name.endswith("_se"):
            error = f" ± {predicted[f'{name}_se']:.2g}" if f"{name}_se" in predicted else ""
            print(f"{name}: {value:.4g}{error}" + (" without friction" if name == "diffusion_nm2_ns" else ""))


def _finish_many(results: Sequence[Result], source: Source, options: argparse.Namespace) -> int:
    with _appearing(options.out) as directory:
        write_table(directory / "predictions.parquet", results, source)
        for result in results:
            if options.tables and result.status == "ok":
                write_liquid(directory / result.liquid.name, result)
    for result in results:
        if result.status != "ok":
            print(f"mobcg: {result.liquid.name}: {result.status}: {result.reason}", file=sys.stderr)
    counts = Counter(result.status for result in results)
    warned = sum(result.status == "ok" and bool(result.reason) for result in results)
    print(
        f"{options.out}/predictions.parquet: {counts['ok']} of {len(results)} liquids predicted, {warned} of them "
        f"with a warning (column reason); {counts['refused']} refused, {counts['failed']} failed"
    )
    return 0 if counts["ok"] == len(results) else 1


@contextmanager
def _appearing(directory: Path) -> Iterator[Path]:
    """Yield a directory whose files appear in `directory`, all together, when the block ends well."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as name:
        made = Path(name) / "made"
        made.mkdir()
        yield made
        if not directory.exists():
            made.rename(directory)
            return
        for path in sorted(path for path in made.rglob("*") if path.is_file()):
            target = directory / path.relative_to(made)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
