"""Bench of the workflow: `python -m mobcg.bench [--only planning|overhead|loading] [--out FILE]`, all of `make bench`.

planning   time and peak memory of the dry run of a scale and of one with ten times its synthetic liquids, beside those
           of a bare Snakefile with as many jobs
overhead   wall time of a job over that of the simulation program inside it, for each kind of simulation, in a real run
loading    see `mobcg.database.bench`

Every figure stands beside a reference measured in the same run: compare ratios, not times of two machines.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# This process stays small: the peak memory of a child is never less than that of the process that started it.
PARTS = ("Snakefile", "rules", "envs", "config", "profiles", "LICENSE-DATA", "CITATION.cff")
TIMES_MORE = 10
AIMS = {
    "plan": "< 30 s, < 500 MB",
    "plan of ten times that": "< 180 s",
    "atomistic": "<= 1.05",
    "coarse": "<= 1.15",
}
# One liquid, its inversion and a shard: short, but each coarse run as long as in the scale workstation.
SCALE = {
    "name": "bench",
    "rough": True,
    "molecules": ["benzene"],
    "atomistic": {
        "box_length_nm": 3.2,
        "replicas": 1,
        "lengths": {"squeeze_ps": 10, "npt_block_ps": 20, "npt_max_ps": 60, "nvt_equilibration_ps": 10, "nvt_ps": 110},
    },
    "inversion": {"iterations_max": 5, "iteration_ps_100": 100},
    "coarse": {
        "n_beads": 1000,
        "records_per_potential": 6,
        "records_per_shard": 6,
        "equilibration_ps_100": 20,
        "production_ps_100": 200,
    },
}
# Stage → rule, the program whose wall time is the reference, and the time within it that is shown apart.
STAGES = {
    "atomistic": ("simulate_atomistic", "gmx mdrun", None),
    "inversion": ("invert", "csg_inverse", "lmp"),
    "coarse": ("simulate_shard", "lmp", None),
}
TIMED_PROGRAM = """#!/bin/bash
start=$EPOCHREALTIME
{program} "$@"
status=$?
for word in "$@"; do [[ $word = -* ]] || break; done
echo "$start $EPOCHREALTIME {name} $word $PWD" >> {log}
exit $status
"""
BARE_SNAKEFILE = """
CHAINS = range({chains})
rule all:
    input: expand("{{chain}}.c", chain=CHAINS)
rule a:
    output: "{{chain}}.a"
    shell: "touch {{output}}"
rule b:
    input: "{{chain}}.a"
    output: "{{chain}}.b"
    shell: "touch {{output}}"
rule c:
    input: "{{chain}}.b"
    output: "{{chain}}.c"
    shell: "touch {{output}}"
"""


@dataclass(frozen=True)
class Usage:
    """What a command took: wall time (s), the peak of its memory (bytes) and what it printed."""

    seconds: float
    peak_bytes: int
    printed: str


# A process inherits the peak memory of the one that it was forked from: a small one has to come between.
WATCH = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as peak:
    peak.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""


def run(command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> Usage:
    """Run a command to its end and return what it took.

    Raises
    ------
    subprocess.CalledProcessError
        It did not end well.
    """
    with tempfile.NamedTemporaryFile("r") as peak:
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-S", "-c", WATCH, peak.name, *command],
            cwd=cwd,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - start
        if done.returncode != 0:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout)
        return Usage(seconds, int(peak.read()) * 1024, done.stdout)


@contextmanager
def copied_workflow() -> Iterator[Path]:
    """Make a directory with the workflow of the present one, so that a bench neither locks nor leaves anything here."""
    with tempfile.TemporaryDirectory(prefix="mobcg-bench-") as name:
        for part in PARTS:
            (shutil.copytree if Path(part).is_dir() else shutil.copy)(part, Path(name) / part)
        yield Path(name)


def snakemake(*words: str) -> list[str]:
    """Return the command of a Snakemake run."""
    return [sys.executable, "-m", "snakemake", *words]


def times_more(scale: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a scale file with ten times as many synthetic liquids."""
    synthetic = scale["synthetic"]
    draws = {molecule: TIMES_MORE * count for molecule, count in synthetic["draws"].items()}
    return {**scale, "name": f"{scale['name']}-ten", "synthetic": {**synthetic, "draws": draws}}


def bench_planning(scale: str) -> dict[str, Any]:
    """Return time and memory of the plan of a scale and of one ten times as large, with their references."""
    found = {}
    with copied_workflow() as directory:
        content = yaml.safe_load((directory / f"config/scale/{scale}.yaml").read_text())
        larger = times_more(content)
        (directory / f"config/scale/{larger['name']}.yaml").write_text(yaml.safe_dump(larger))
        for label, name in (("plan", scale), ("plan of ten times that", larger["name"])):
            found[label] = {"scale": name, **_planned(directory, name)}
    return found


def _planned(directory: Path, scale: str) -> dict[str, Any]:
    status = run([sys.executable, "-m", "mobcg", "status", "--scale", scale], directory)
    words = ("--profile", "profiles/workstation", "--cores", "2", "--dry-run", "--quiet", "rules")
    plan = run(snakemake(*words, "--config", f"scale={scale}"), directory)
    jobs = int(re.findall(r"^total +(\d+)$", plan.printed, re.MULTILINE)[-1])
    bare = directory / "bare"
    bare.mkdir(exist_ok=True)
    (bare / "Snakefile").write_text(BARE_SNAKEFILE.format(chains=jobs // 3))
    reference = run(snakemake("--cores", "2", "--dry-run", "--quiet", "rules"), bare)
    return {
        "jobs": jobs,
        "status_s": status.seconds,
        "dry_run_s": plan.seconds,
        "seconds": status.seconds + plan.seconds,
        "peak_bytes": max(status.peak_bytes, plan.peak_bytes),
        "bare_snakemake_s": reference.seconds,
        "bare_snakemake_peak_bytes": reference.peak_bytes,
        "times_bare_snakemake": (status.seconds + plan.seconds) / reference.seconds,
    }


def time_programs(directory: Path, log: Path, programs: Sequence[str]) -> None:
    """Write into a directory for the PATH a stand-in of each program that runs it and notes how long it took."""
    directory.mkdir()
    for name in programs:
        path = directory / name
        program = shlex.quote(str(shutil.which(name)))
        path.write_text(TIMED_PROGRAM.format(program=program, name=name, log=shlex.quote(str(log))))
        path.chmod(0o755)


def program_seconds(log: Path) -> dict[str, dict[str, float]]:
    """Return stage → program → seconds from the notes of the stand-ins; `gmx` with its first word, as `gmx mdrun`."""
    seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for line in log.read_text().splitlines():
        start, end, name, word, path = line.split(" ", 4)
        stage = path.partition("/results/work/")[2].partition("/")[0]
        seconds[stage][f"{name} {word}" if name == "gmx" else name] += float(end) - float(start)
    return seconds


def bench_overhead() -> dict[str, Any]:
    """Return, stage by stage, the wall time of the job and of the program inside it, from a real run."""
    with copied_workflow() as directory:
        (directory / "config/scale/bench.yaml").write_text(yaml.safe_dump(SCALE))
        log, bin_directory = directory / "programs.txt", directory / "bin"
        time_programs(bin_directory, log, ("gmx", "lmp", "csg_inverse"))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{bin_directory}:{os.environ['PATH']}"}
        words = ("--cores", "1", "--config", "scale=bench", "--until", "simulate_shard")
        run(snakemake(*words), directory, environment)
        inside = program_seconds(log)
        found = {}
        for stage, (rule, program, apart) in STAGES.items():
            job_s = sum(_benchmark_s(path) for path in (directory / f"results/benchmarks/{rule}").glob("*.tsv"))
            program_s = inside[stage][program]
            found[stage] = {"job_s": job_s, "program": program, "program_s": program_s, "ratio": job_s / program_s}
            if apart:
                found[stage] |= {"inner_program": apart, "inner_program_s": inside[stage][apart]}
    return found


def _benchmark_s(path: Path) -> float:
    header, values = path.read_text().splitlines()[:2]
    return float(dict(zip(header.split("\t"), values.split("\t"), strict=False))["s"])


def report_planning(found: Mapping[str, Any]) -> list[str]:
    """Return the measurements of planning as lines for a person."""
    lines = ["what                     jobs    s    MB   bare Snakemake s    MB   ratio  aim"]
    for label, row in found.items():
        lines.append(
            f"{label:<24}{row['jobs']:>5}{row['seconds']:>5.0f}{row['peak_bytes'] / 1e6:>6.0f}"
            f"{row['bare_snakemake_s']:>19.0f}{row['bare_snakemake_peak_bytes'] / 1e6:>6.0f}"
            f"{row['times_bare_snakemake']:>8.2f}  {AIMS[label]}"
        )
    return lines


def report_overhead(found: Mapping[str, Any]) -> list[str]:
    """Return the overhead of each stage as lines for a person."""
    lines = ["stage       job s   program inside      s   ratio  aim"]
    for stage, row in found.items():
        lines.append(
            f"{stage:<12}{row['job_s']:>5.0f}   {row['program']:<15}{row['program_s']:>6.0f}"
            f"{row['ratio']:>8.3f}  {AIMS.get(stage, '')}"
        )
        if "inner_program" in row:
            inner_s = row["inner_program_s"]
            rest = row["program_s"] - inner_s
            lines.append(
                f"            of which {row['inner_program']} {inner_s:.0f} s, VOTCA's own scripts {rest:.0f} s"
            )
    return lines


def bench_loading() -> dict[str, Any]:
    """Return what the bench of loading measures."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "loading.json"
        subprocess.run([sys.executable, "-m", "mobcg.database.bench", "--out", str(out)], check=True)
        return json.loads(out.read_text())


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints the measurements."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("planning", "overhead", "loading"), help="one part of it")
    parser.add_argument("--scale", default="paper", help="scale to plan, by name")
    parser.add_argument("--out", type=Path, help="also write the measurements as JSON")
    options = parser.parse_args(arguments)
    found: dict[str, Any] = {}
    if options.only in (None, "planning"):
        found["planning"] = bench_planning(options.scale)
        print("\n".join(report_planning(found["planning"])), flush=True)
    if options.only in (None, "overhead"):
        found["overhead"] = bench_overhead()
        print("\n".join(report_overhead(found["overhead"])), flush=True)
    if options.only in (None, "loading"):
        found["loading"] = bench_loading()
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
