"""Bench of loading: `python -m mobcg.database.bench [--rows N] [--stream-rows N] [--out FILE]`, part of `make bench`.

Synthetic coarse rows (curves of noise, which compress worst) are written as a release writes them and as whitespace
text, and each is loaded in a process of its own: time (best of a few) and peak memory. Text comes in two layouts: the
same numbers that `mobcg.load("training")` gives, and that of the published database (saientan/database_and_ML_CG_Mobi:
one line of mass, g(r) at 481 points, D and U(r) at 1550 points a row), to which our rows are interpolated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mobcg.database.dataset import load
from mobcg.database.tables import PART_ROWS, footer, write_table
from mobcg.pair import R_NM
from mobcg.records import atomic_path
from mobcg.schema import CURVE, TABLES, TEXT

ROWS_PER_POTENTIAL = 30
LOADS = 7
# loadtxt is slow and linear in the rows: a few thousand are enough to know its speed.
TEXT_ROWS = 2000
PUBLISHED_RDF_NM = np.linspace(0.1, 2.5, 481)
PUBLISHED_POTENTIAL_NM = np.linspace(0.001, 1.55, 1550)

# Each runs in a fresh interpreter: what was imported before the measurement is not counted.
MEASURE = """
import json, sys, time
import numpy as np
from mobcg.database.dataset import load, training_batches
def peak():
    # ru_maxrss would also know the memory of the process that started this one.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
kind, path, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
before, seconds, rows = peak(), [], 0
for _ in range(repeats):
    start = time.perf_counter()
    if kind == "load":
        rows = len(load("training", path)["rdf"])
    elif kind == "loadtxt":
        rows = len(np.loadtxt(path))
    else:
        rows = sum(len(batch["rdf"]) for batch in training_batches(path))
    seconds.append(time.perf_counter() - start)
print(json.dumps({"rows": rows, "seconds": min(seconds), "memory_bytes": peak() - before, "peak_bytes": peak()}))
"""


def write_synthetic(directory: Path, rows: int) -> Path:
    """Write the tables of a training set of `rows` synthetic coarse rows below `directory`, and return it."""
    random = np.random.default_rng(0)
    potentials = max(1, rows // ROWS_PER_POTENTIAL)
    ids = pa.array([f"{number:016x}" for number in range(rows)])
    potential_ids = [f"{number:016x}" for number in range(potentials)]
    curves = _curves(random.normal(0, 1, (potentials, R_NM.size)))

    def write(table: str, parts: Iterator[pa.Table] | Sequence[pa.Table]) -> None:
        write_table(directory / "data" / f"{table}.parquet", table, parts, footer("2026.1.0-bench", "bench"))

    def coarse() -> Iterator[pa.Table]:
        for first in range(0, rows, PART_ROWS):
            count = min(PART_ROWS, rows - first)
            rdf = random.normal(1, 0.01, (count, R_NM.size))
            rdf[:, R_NM < 0.4] = 0
            yield _filled(
                "coarse",
                count,
                run_id=ids.slice(first, count),
                potential_id=pa.array([potential_ids[row % potentials] for row in range(first, first + count)]),
                thermostat=pa.array(["nose_hoover"] * count),
                diffusion_nm2_ns=pa.array(random.uniform(0.5, 30, count)),
                mass_g_mol=pa.array(random.uniform(20, 200, count)),
                rdf=_curves(rdf),
                rdf_se=_curves(np.abs(rdf) / 100),
                status=pa.array(["ok"] * count),
            )

    write("grid", [_filled("grid", R_NM.size, r_nm=pa.array(R_NM))])
    write("coarse", coarse())
    write(
        "potentials", [_filled("potentials", potentials, potential_id=pa.array(potential_ids), potential_kj_mol=curves)]
    )
    write(
        "splits", [_filled("splits", rows, run_id=ids, fold=pa.array(["all"] * rows), split=pa.array(["train"] * rows))]
    )
    return directory


def _curves(values: NDArray) -> pa.Array:
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel())).cast(CURVE)


def _filled(table: str, rows: int, **columns: pa.Array) -> pa.Table:
    """Return rows of a table; columns that are not given are null, or hold one value where they may not be null."""
    schema = TABLES[table].arrow_schema

    def column(field: pa.Field) -> pa.Array:
        if field.name in columns:
            return columns[field.name]
        if field.nullable:
            return pa.nulls(rows, field.type)
        return pa.array(["x" if field.type == TEXT else 1] * rows).cast(field.type)

    return pa.Table.from_arrays([column(field) for field in schema], schema=schema)


def write_text(release: Path, path: Path, rows: int, published_layout: bool) -> None:
    """Write the first rows of a training set as `numpy.savetxt` does, a row a line."""
    training = {name: values[:rows] for name, values in load("training", release).items()}
    rdf, potential = training["rdf"], training["potential_kj_mol"]
    if published_layout:
        rdf = np.array([np.interp(PUBLISHED_RDF_NM, R_NM, curve) for curve in rdf])
        potential = np.array([np.interp(PUBLISHED_POTENTIAL_NM, R_NM, curve) for curve in potential])
    np.savetxt(path, np.column_stack([training["mass_g_mol"], rdf, training["diffusion_nm2_ns"], potential]))


def measure(kind: str, path: Path, repeats: int = 1) -> dict[str, float]:
    """Return rows, seconds (best) and memory (bytes) of `load`, `loadtxt` or `stream` in a fresh process."""
    command = [sys.executable, "-c", MEASURE, kind, str(path), str(repeats)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def bench(directory: Path, rows: int, stream_rows: int) -> dict[str, Any]:
    """Return the measurements, and the ratios of loadtxt to load in time and memory a row."""
    release = write_synthetic(directory / "release", rows)
    text_rows = min(rows, TEXT_ROWS)
    found: dict[str, Any] = {"load": measure("load", release, LOADS)}
    for layout in ("same_numbers", "published_layout"):
        text = directory / f"{layout}.txt"
        write_text(release, text, text_rows, layout == "published_layout")
        found[f"loadtxt_{layout}"] = measure("loadtxt", text, 2)
    ours = found["load"]["seconds"] / found["load"]["rows"]
    found["times_faster"] = {
        layout: found[f"loadtxt_{layout}"]["seconds"] / text_rows / ours
        for layout in ("same_numbers", "published_layout")
    }
    if stream_rows:
        found["stream"] = measure("stream", write_synthetic(directory / "stream", stream_rows))
    return found


def report(found: dict[str, Any]) -> str:
    """Return the measurements as lines for a person."""
    lines = []
    for name, result in found.items():
        if name != "times_faster":
            lines.append(
                f"{name}: {result['rows']} rows in {result['seconds']:.3f} s; memory at its peak "
                f"{result['peak_bytes'] / 1e6:.0f} MB, {result['memory_bytes'] / 1e6:.0f} MB of it by loading"
            )
    for layout, ratio in found["times_faster"].items():
        lines.append(f"mobcg.load is {ratio:.0f} times faster a row than numpy.loadtxt, {layout.replace('_', ' ')}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints the measurements."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.database.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="rows to load at once")
    parser.add_argument("--stream-rows", type=int, default=1_000_000, help="rows to stream (2 GB of disk); 0: none")
    parser.add_argument("--out", type=Path, help="also write the measurements as JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        found = bench(Path(name), options.rows, options.stream_rows)
    print(report(found))
    if options.out:
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
