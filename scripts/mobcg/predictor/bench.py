"""Bench of the predictor: `python -m mobcg.predictor.bench [--release DIR] [--liquids N] [--out FILE]`.

Part of `make bench`. With the models of a release: one liquid by `mobcg predict` in a fresh process (start-up apart),
many liquids from their files, as `mobcg predict --liquids` does, and beside them what is replaced: the iterative
Boltzmann inversion of one liquid of the release by VOTCA and LAMMPS, a few iterations of it.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobcg.database.dataset import find_release
from mobcg.errors import InputError
from mobcg.inversion.invert import invert
from mobcg.pair import R_NM
from mobcg.predictor.command import Ask, find_model, predict_liquids, read_liquids
from mobcg.records import atomic_path, read_rows
from mobcg.units import mass_density_kg_m3

STATE = ("diffusion_nm2_ns", "mass_g_mol", "temperature_k")
# Noise that makes every g(r) another one, as sampling does.
NOISE = 0.003
IBI_ITERATIONS = 3
# Runs in a fresh interpreter: imports are start-up, everything after them is the command.
ONE = """
import sys, time
start = time.perf_counter()
from mobcg.predictor.command import main
ready = time.perf_counter()
status = main(sys.argv[1:])
print("seconds", ready - start, time.perf_counter() - ready, status)
"""


def write_liquids(release: Path, directory: Path, count: int) -> Path:
    """Write `count` g(r) as CSV files, those of the coarse runs of a release with noise, and the list of them."""
    rows = [row for row in read_rows(release / "data/coarse.parquet") if row["status"] == "ok"]
    random = np.random.default_rng(0)
    directory.mkdir()
    path = directory / "liquids.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["name", "rdf", "density_kg_m3", "molecules", *STATE])
        for number in range(count):
            row = rows[number % len(rows)]
            rdf = np.array(row["rdf"]) * (1 + NOISE * random.standard_normal(R_NM.size))
            np.savetxt(directory / f"{number}.dat", np.column_stack([R_NM, rdf]), fmt="%.5g")
            density = mass_density_kg_m3(row["number_density_nm3"], row["mass_g_mol"])
            writer.writerow([number, f"{number}.dat", density, row["n_beads"], *(row[key] for key in STATE)])
    return path


def one_liquid(release: Path, liquids: Path, model: str) -> dict[str, float]:
    """Return the seconds of start-up and of the command for the first liquid of a list, in a fresh process."""
    with liquids.open(newline="") as stream:
        row = next(csv.DictReader(stream))
    options = {key.replace("_", "-"): value for key, value in row.items() if key not in ("name", "rdf")}
    words = [f"--{key}={value}" for key, value in options.items()]
    out = liquids.parent / f"one-{model}"
    words += [f"--rdf={liquids.parent / row['rdf']}", f"--release={release}", f"--model={model}", f"--out={out}"]
    done = subprocess.run([sys.executable, "-c", ONE, *words], capture_output=True, text=True, check=True)
    start_up, command, status = done.stdout.splitlines()[-1].split()[1:]
    if status != "0":
        raise InputError("bench", "", done.stderr, "a liquid that the model takes")
    return {"start_up_s": float(start_up), "command_s": float(command)}


def many_liquids(release: Path, liquids: Path, model: str) -> dict[str, float]:
    """Return how many liquids a second are read, proposed and collected in this process."""
    source = find_model(model, str(release))
    asked = read_liquids(liquids)
    predict_liquids(asked[:8], source, Ask(anyway=True))
    start, start_cpu = time.perf_counter(), time.process_time()
    results = predict_liquids(asked, source, Ask(anyway=True))
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    done = sum(result.status == "ok" for result in results)
    return {
        "liquids": len(results),
        "predicted": done,
        "liquids_per_s": len(results) / seconds,
        "cpu_ms_each": 1000 * cpu_seconds / len(results),
    }


def inversion(release: Path, directory: Path) -> dict[str, Any]:
    """Return the seconds of an IBI of a liquid of the release: a few iterations, and all that its record has."""
    atomistic = {row["run_id"]: row for row in read_rows(release / "data/atomistic.parquet")}
    rows = [row for row in read_rows(release / "data/potentials.parquet") if row["origin"] == "ibi"]
    row = next(row for row in rows if row["status"] == "ok" and set(row["parent_run_ids"]) <= set(atomistic))
    spec = row["spec"] | {"iterations_max": IBI_ITERATIONS}
    start = time.perf_counter()
    invert(spec, [atomistic[name] for name in spec["parent_run_ids"]], directory)
    seconds = time.perf_counter() - start
    whole = row["n_iterations"]
    return {
        "molecule": row["molecule_id"],
        "iterations": IBI_ITERATIONS,
        "seconds": seconds,
        "whole_inversion_iterations": whole,
        "whole_inversion_s": seconds / IBI_ITERATIONS * whole,
    }


def bench(release: Path, directory: Path, count: int) -> dict[str, Any]:
    """Return the measurements."""
    liquids = write_liquids(release, directory / "liquids", count)
    found: dict[str, Any] = {"release": release.name, "weights_bytes": weights_bytes(release)}
    for model in ("mobcg", "mobcg_dpd", "bag2024"):
        found[model] = {"one": one_liquid(release, liquids, model), "many": many_liquids(release, liquids, model)}
    return found | {"ibi": inversion(release, directory / "ibi")}


def weights_bytes(release: Path) -> int:
    """Return the size of the weights of all models of a release."""
    return sum(path.stat().st_size for path in release.glob("models/*/weights.*"))


def report(found: dict[str, Any]) -> str:
    """Return the measurements as lines for a person."""
    ibi = found["ibi"]
    lines = [f"release {found['release']}: weights of all models {found['weights_bytes'] / 1e6:.1f} MB"]
    for model, result in found.items():
        if isinstance(result, dict) and "one" in result:
            one, many = result["one"], result["many"]
            lines.append(
                f"{model}: one liquid {one['command_s']:.2f} s after {one['start_up_s']:.1f} s of start-up; "
                f"{many['liquids_per_s']:.0f} liquids/s, {many['liquids']} of them from their files, "
                f"{many['cpu_ms_each']:.2f} ms of a core each"
            )
    lines.append(
        f"IBI by VOTCA of {ibi['molecule']}: {ibi['seconds']:.0f} s for {ibi['iterations']} iterations, "
        f"{ibi['whole_inversion_s']:.0f} s for the {ibi['whole_inversion_iterations']} of its record"
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints the measurements."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.predictor.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--release", help="directory or version (default: the newest here)")
    parser.add_argument("--liquids", type=int, default=2000, help="liquids of the batch")
    parser.add_argument("--out", type=Path, help="also write the measurements as JSON")
    options = parser.parse_args(arguments)
    try:
        release = find_release(options.release)
        with tempfile.TemporaryDirectory() as name:
            found = bench(release, Path(name), options.liquids)
    except InputError as error:
        print(f"no bench of the predictor: {error}", file=sys.stderr)
        return 0 if options.release is None else 2
    print(report(found))
    if options.out:
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
