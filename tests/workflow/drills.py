"""Faults, provoked on the real programs: each drill checks what happens, what is said and that the next start goes on.

`python -m tests.workflow.drills` runs all of them and writes docs/faults.md (some ten minutes on one core); with names
(`lmp_killed`) only those, the other lines stay. test_faults.py runs those that are not `slow`. A drill returns the
message that a user sees.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import yaml

from mobcg import pair
from mobcg.observables import BeadTrajectory
from mobcg.plan import Plan, canonical_json, load_plan, molecule_rows
from mobcg.records import read_record, read_rows, write_record
from tests.atomistic.conftest import SMALL
from tests.coarse.cases import SOFT
from tests.database.cases import Chain, Inputs, make_plan, write_models
from tests.inversion.cases import parent_row
from tests.workflow.conftest import REPOSITORY, copy_workflow, environment, snakemake, snakemake_command

PROGRAMS = ("gmx", "csg_inverse", "csg_stat", "lmp")
SCALE = REPOSITORY / "tests/workflow/drills.yaml"
WORDS = ("--profile", "profiles/workstation", "--cores", "1", "--config", f"scale={SCALE}")
PATIENCE_S = 120


@dataclass(frozen=True)
class Drill:
    """A fault: how it is provoked, what happens, what the user does; `run` shows it in an empty directory."""

    fault: str
    provoked: str
    happens: str
    user: str
    run: Callable[[Path], str]
    slow: bool = False
    mounts: bool = False


# --- steps and processes -------------------------------------------------------------------------------------------


def step(module: str, *words: object) -> list[str]:
    return [sys.executable, "-m", f"mobcg.{module}", *map(str, words)]


def start(command: list[str], log: Path, cwd: Path | None = None, **changes: str) -> subprocess.Popen:
    """Start a command in a session of its own, what it prints in `log`."""
    with log.open("a") as stream:
        return subprocess.Popen(
            command,
            cwd=cwd,
            stdout=stream,
            stderr=stream,
            env=environment() | changes,
            start_new_session=True,
            preexec_fn=_hear_signals,
        )


def _hear_signals() -> None:
    # A script's background jobs ignore SIGINT, and what nohup starts SIGHUP; so would whatever these start.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def finish(command: list[str], **changes: str) -> tuple[int, str]:
    """Run a command to its end; return its exit status and what it printed."""
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment() | changes, timeout=600, check=False
    )
    return done.returncode, done.stdout + done.stderr


def wait_for(condition: Callable[[], object], process: subprocess.Popen | None = None) -> None:
    """Wait until a condition holds; the process must not end before that."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process is None or process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def children(process: subprocess.Popen, name: str, *words: str) -> list[psutil.Process]:
    """Return the programs of a name, these words in their command, that a process started, itself or through others."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if child.name().startswith(name) and _lives(child, words):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def of_directory(directory: Path, *words: str) -> list[psutil.Process]:
    """Return the living processes that work in a directory or below it, these words in their command."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(directory) and _lives(process, words):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
            continue
    return found


def _lives(process: psutil.Process, words: tuple[str, ...]) -> bool:
    return process.status() != psutil.STATUS_ZOMBIE and {*words} <= {*process.cmdline()}


def message(text: str, pattern: str) -> str:
    """Return the part of what was printed that matches, on one line, places and numbers of this run left out."""
    found = re.search(pattern, text, re.DOTALL)
    assert found, f"{pattern!r} is not in:\n{text[-4000:]}"
    said = " ".join(found.group(0).split())
    for pattern_of_place, name in (
        (r"(?<=: )/\S+/workflow\b", "…/mobcg"),
        (r"/[\w/.-]*/(?=(work|results|releases|out|record|beads|parent|Snakefile)\b)", ""),
        (r"process \d+ on \S+( since [\d-]+ [\d:]+)?", "process 4711 on node1"),
        (r"kill -INT \d+", "kill -INT 4711"),
        (r"\b(on) (?!node1)\S+(?=: version)", r"\1 node1"),
        (r"\b[0-9a-f]{16}\b", "0123456789abcdef"),
    ):
        said = re.sub(pattern_of_place, name, said)
    return said


# --- a small disk, a disk that cannot be written to -----------------------------------------------------------------


def private_mounts() -> list[str] | None:
    """Return the words before a command that let it mount what nobody else sees; None where that is not allowed."""
    if shutil.which("unshare"):
        for words in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
            if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
                return words
    return None


def on_small_disk(directory: Path, size: str, script: str) -> tuple[int, str]:
    """Run a script in which `disk` is a file system of that size; it goes when the script ends, whatever happens."""
    (directory / "disk").mkdir()
    lines = f"set -u; cd {shlex.quote(str(directory))}; mount -t tmpfs -o size={size} small disk || exit 99\n{script}"
    return finish([*private_mounts(), "bash", "-c", lines])


def bash(command: list[str]) -> str:
    return " ".join(map(shlex.quote, command))


# --- atomistic: 64 benzene, too few to be measured, so that the run ends (as a failed record) after NPT -------------


def atomistic(directory: Path, spec: Mapping = SMALL, *words: object) -> list[str]:
    places = ("--work", directory / "work", "--out", directory / "beads.npz")
    return step("atomistic.simulate", "--spec", json.dumps(spec), *places, *words)


def reason_of(directory: Path) -> str:
    """Return the reason of the failed run of 64 benzene: it holds its density to the last digit shown."""
    reason = BeadTrajectory.load(directory / "beads.npz").metadata["reason"]
    assert re.match(r"the box of 64 molecules came out as [\d.]+ nm at [\d.]+ kg/m3", reason)
    return reason


def once(name: str, command: Callable[[Path], list[str]]) -> Path:
    """Return the directory of a run that nobody disturbed, made once a process."""
    kept = Path(tempfile.gettempdir()) / f"mobcg-drills-{os.getuid()}-{os.getpid()}" / name
    if not kept.exists():
        kept.mkdir(parents=True)
        atexit.register(shutil.rmtree, kept, ignore_errors=True)
        status, printed = finish(command(kept))
        assert status == 0, printed
    return kept


def undisturbed() -> str:
    return reason_of(once("atomistic", atomistic))


def gmx_killed(directory: Path) -> str:
    work = directory / "work/step_2_fs"
    process = start(atomistic(directory), directory / "log")
    wait_for(lambda: (work / "squeeze.log").exists() and children(process, "gmx"), process)
    for child in children(process, "gmx"):
        child.send_signal(signal.SIGKILL)
    assert process.wait() == 1
    assert not (directory / "beads.npz").exists()
    assert finish(atomistic(directory))[0] == 0
    assert reason_of(directory) == undisturbed()
    return message((directory / "log").read_text(), r"gmx ended with SIGKILL; see \S+")


def step_stopped(directory: Path) -> str:
    work = directory / "work/step_2_fs"
    process = start(atomistic(directory), directory / "log")
    wait_for(lambda: (work / "squeeze.log").exists() and "Step " in (work / "squeeze.log").read_text(), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert (work / "squeeze.cpt").exists()
    assert not of_directory(directory)
    status, _ = finish(atomistic(directory))
    assert status == 0
    assert reason_of(directory) == undisturbed()
    return message((directory / "log").read_text(), r"stopped by SIGTERM.*?$")


def torn_checkpoint(directory: Path) -> str:
    """The stage of the tests of that module: each of its files cut in half, and the trajectory compared."""
    words = ["-m", "pytest", "-q", "-rP", "--basetemp", str(directory / "pytest"), "-k", "torn_file or between_two"]
    status, printed = finish([sys.executable, *words, str(REPOSITORY / "tests/atomistic/test_gromacs.py")])
    assert status == 0, printed
    assert message(printed, r"4 passed")
    return "its checkpoint or what belongs to it is torn; going back"  # asserted in those tests


def gmx_on_a_full_disk(directory: Path) -> str:
    places = ("--work", "disk/work", "--out", "beads.npz")
    command = bash(step("atomistic.simulate", "--spec", json.dumps(SMALL), *places))
    status, printed = on_small_disk(
        directory,
        "400k",
        f"{command} > first 2>&1; echo first $?; [ ! -e beads.npz ] || exit 1\n"
        f"mount -o remount,size=200m disk; {command} > second 2>&1; echo second $?",
    )
    said = (directory / "first").read_text()
    assert status == 0, printed
    assert printed.split() == ["first", "1", "second", "0"], printed + said + (directory / "second").read_text()
    assert "Traceback" not in said
    assert reason_of(directory) == undisturbed()
    return message(said, r"[^\n]*(No space left on device|is the disk full\?)[^\n]*")


def read_only_work(directory: Path) -> str:
    places = ("--work", "disk/work", "--out", "disk/beads.npz")
    command = bash(step("atomistic.simulate", "--spec", json.dumps(SMALL), *places))
    _, printed = on_small_disk(directory, "20m", f"mount -o remount,ro disk; {command}; echo status $?")
    assert "Traceback" not in printed
    assert "status 1\n" in printed
    return message(printed, r"[^\n]*Read-only file system[^\n]*")


def torn_bead_trajectory(directory: Path) -> str:
    assert finish(atomistic(directory))[0] == 0
    beads = directory / "beads.npz"
    beads.write_bytes(beads.read_bytes()[:-200])
    observe = step("atomistic.observe", "--spec", json.dumps(SMALL), "--beads", beads, "--out", directory / "record")
    status, printed = finish(observe)
    assert status == 2
    assert "Traceback" not in printed
    beads.unlink()
    assert finish(atomistic(directory))[0] == 0
    assert finish(observe)[0] == 0
    assert read_record(directory / "record")["reason"] == undisturbed()
    return message(printed, r"\S+beads.npz: found.*")


# --- coarse: shards of a soft liquid under Snakemake ----------------------------------------------------------------


@dataclass(frozen=True)
class Shard:
    """The shard of these drills in a workflow of its own; its potential is soft, given and not inverted."""

    directory: Path

    @classmethod
    def prepare(cls, directory: Path) -> Shard:
        workflow = copy_workflow(directory / "workflow")
        shutil.copy(REPOSITORY / "Makefile", workflow / "Makefile")
        shard = cls(workflow)
        shard.write_potentials()
        return shard

    def write_potentials(self) -> None:
        for name, spec in self.plan.inversions.items():
            row = potential_row(self.plan, name, spec)
            write_record(self.directory / self.plan.record_path("potentials", name), "potentials", row)

    @property
    def plan(self) -> Plan:
        content = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text()) | {"scale": str(SCALE)}
        return load_plan(content | {"molecules_dir": str(REPOSITORY / "config/molecules")})

    @property
    def target(self) -> str:
        return self.plan.record_path("coarse", min(self.plan.shards))

    @property
    def words(self) -> tuple[str, ...]:
        return (self.target, "--allowed-rules", "simulate_shard", *WORDS)

    @property
    def log(self) -> str:
        return "\n".join(path.read_text() for path in self.directory.glob("results/logs/simulate_shard/*.log"))

    def start(self, name: str = "first.log", **changes: str) -> subprocess.Popen:
        return start(snakemake_command(*self.words), self.directory / name, self.directory, **changes)

    def run(self, *words: str) -> subprocess.CompletedProcess:
        return snakemake(self.directory, *self.words, *words, timeout_s=300)

    def singles(self) -> list[Path]:
        return [path for path in self.directory.glob("results/work/coarse/*/*.parquet") if path.name[0] != "."]

    def rows(self) -> list[dict]:
        return read_rows(self.directory / self.target)


def potential_row(plan: Plan, name: str, spec: Mapping) -> dict:
    parent = plan.atomistic[spec["parent_run_ids"][0]]
    return {
        "potential_id": name,
        "molecule_id": parent["molecule"]["id"],
        "origin": "ibi",
        "parent_id": spec["parent_run_ids"][0],
        "parent_run_ids": spec["parent_run_ids"],
        "scale_factor": 1.0,
        "temperature_k": spec["temperature_k"],
        "number_density_nm3": 4.9,
        "mass_g_mol": 78.11,
        "n_beads": parent["n_molecules"],
        "potential_kj_mol": list(SOFT),
        "force_kj_mol_nm": pair.force(SOFT).tolist(),
        "pressure_corrected": spec["pressure_correction"],
        "status": "ok",
        "spec": spec,
        "versions": {"mobcg": "0"},
    }


def lmp_killed(directory: Path) -> str:
    shard = Shard.prepare(directory)
    process = shard.start()
    wait_for(lambda: shard.singles() and children(process, "lmp"), process)
    kept = {path: path.stat().st_mtime_ns for path in shard.singles()}
    for child in children(process, "lmp"):
        child.send_signal(signal.SIGKILL)
    # The profile tries a job once more, so the workflow goes on by itself.
    assert process.wait() == 0, (shard.directory / "first.log").read_text()
    assert {row["status"] for row in shard.rows()} == {"ok"}
    printed = (shard.directory / "first.log").read_text()
    assert f"{len(kept)} of {len(shard.rows())} records are there already" in printed + shard.log
    return message(printed, r"lmp ended with SIGKILL; see \S+")


def snakemake_killed(directory: Path) -> str:
    shard = Shard.prepare(directory)
    process = shard.start()
    wait_for(shard.singles, process)
    process.kill()
    process.wait()
    survivor = frozen(shard)
    refused = shard.run()
    assert refused.returncode != 0
    assert "--unlock" in refused.stderr
    lifted = subprocess.run(
        step("controller"), cwd=shard.directory, env=environment(), capture_output=True, text=True, check=True
    )
    again = shard.start("second.log")
    wait_for(lambda: f"in use by process {survivor.pid} on" in shard.log, again)
    survivor.resume()
    assert again.wait() == 0, (shard.directory / "second.log").read_text()
    assert f"{len(shard.rows())} of {len(shard.rows())} records are there already" in shard.log
    assert {row["status"] for row in shard.rows()} == {"ok"}
    return message(refused.stderr, r"Directory cannot be locked.*--unlock argument\.") + " / " + lifted.stdout.strip()


def frozen(shard: Shard) -> psutil.Process:
    """Return the running step of the shard, stopped until `resume`: a drill that takes its time shows the same."""
    # A program that it is about to start has its command line for an instant: the step is the older one.
    found = min(of_directory(shard.directory, "mobcg.coarse.shard"), key=psutil.Process.create_time)
    found.suspend()
    return found


def two_controllers(directory: Path) -> str:
    shard = Shard.prepare(directory)
    process = shard.start()
    wait_for(shard.singles, process)
    running = frozen(shard)
    make = ["make", "-o", "setup", "release", f"SCALE={SCALE}", "-C", str(shard.directory)]
    by_make = finish(make)
    by_hand = shard.run()
    assert shard.run("--unlock").returncode == 0
    unlocked = shard.run()
    for status, printed in (by_make, (by_hand.returncode, by_hand.stderr), (unlocked.returncode, unlocked.stderr)):
        assert status != 0
        assert f"in use by process {process.pid} on" in printed
        assert "Traceback" not in printed
    running.resume()
    assert process.wait() == 0, (shard.directory / "first.log").read_text()
    return message(by_make[1], r"results: found[^\n]*")


def release_stopped(directory: Path) -> str:
    shard = Shard.prepare(directory)
    make = ["make", "-o", "setup", "release", f"SCALE={SCALE}", "CORES=1"]
    shutil.rmtree(shard.directory / "results")
    finished: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        log = shard.directory / f"{number.name}.log"
        process = start(make, log, shard.directory)
        wait_for(lambda: children(process, "gmx", "mdrun", "squeeze"), process)  # noqa: B023
        time.sleep(1)
        began = time.monotonic()
        # make hands SIGTERM on to Snakemake; a terminal sends SIGINT to all of them.
        process.send_signal(number) if number == signal.SIGTERM else os.killpg(process.pid, number)
        assert process.wait(PATIENCE_S) != 0, log.read_text()
        print(f"{number.name}: {time.monotonic() - began:.0f} s")
        assert not of_directory(shard.directory)
        assert not list(shard.directory.glob(".snakemake/locks/*"))
        assert any(shard.directory.glob("results/work/atomistic/*/step_*/squeeze.cpt"))
        (minimised,) = shard.directory.glob("results/work/atomistic/*/step_*/minimised.gro")
        finished.append(minimised.stat().st_mtime_ns)
    assert finished[0] == finished[1]
    return message((shard.directory / "SIGTERM.log").read_text(), r"mobcg: stopping[^\n]*")


def lmp_on_a_full_disk(directory: Path) -> str:
    shard = Shard.prepare(directory)
    work = shard.directory / "results/work"
    work.mkdir()
    (directory / "disk").mkdir()
    command = bash([*snakemake_command(*shard.words), "--retries", "0"])
    lines = (
        f"cd {shlex.quote(str(shard.directory))}; mount -t tmpfs -o size=300k small results/work || exit 99\n"
        f"{command} > first 2>&1; echo first $?; ls results/coarse 2>/dev/null\n"
        f"mount -o remount,size=200m results/work; {command} > second 2>&1; echo second $?"
    )
    _, printed = finish([*private_mounts(), "bash", "-c", lines])
    assert printed.split() == ["first", "1", "second", "0"], printed
    assert {row["status"] for row in shard.rows()} == {"ok"}
    said = (shard.directory / "first").read_text()
    return message(said, r"[^\n]*(is the disk full\?|No space left on device|no space left)[^\n]*")


def read_only_results(directory: Path) -> str:
    shard = Shard.prepare(directory)
    lines = (
        f"cd {shlex.quote(str(shard.directory))}; mount --bind results results; mount -o remount,bind,ro results\n"
        f"{bash(snakemake_command(*shard.words))}; echo status $?"
    )
    _, printed = finish([*private_mounts(), "bash", "-c", lines])
    assert "Traceback" not in printed, printed
    assert re.search(r"status [1-9]", printed), printed
    assert not shard.log
    assert not list(shard.directory.glob(".snakemake/locks/*"))
    return message(printed, r"results: found[^\n]*")


def torn_record(directory: Path) -> str:
    shard = Shard.prepare(directory)
    for path in shard.directory.glob("results/inversion/*.parquet"):
        path.write_bytes(path.read_bytes()[:-100])
    refused = shard.run("--retries", "0")
    assert refused.returncode != 0
    said = message(shard.log, r"\S+\.parquet: found.*?run again\.")
    assert "Traceback" not in shard.log
    for path in shard.directory.glob("results/inversion/*.parquet"):
        path.unlink()
    shard.write_potentials()
    assert shard.run().returncode == 0
    return said


def torn_single_record(directory: Path) -> str:
    shard = Shard.prepare(directory)
    process = shard.start()
    wait_for(lambda: len(shard.singles()) > 1, process)
    stop(process)
    (torn, *_) = shard.singles()
    torn.write_bytes(torn.read_bytes()[:-100])
    done = shard.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["status"] for row in shard.rows()} == {"ok"}
    return message(shard.log, r"\S+\.parquet: found.*?It is run again\.")


def tools(directory: Path, changes: Mapping[str, str | None]) -> str:
    """Return a PATH without some programs, or with ones that print another version: name → what it prints."""
    links = directory / "bin"
    links.mkdir()
    for name in (*PROGRAMS, "bash", "tee", "csg_property", "csg_call", "sed", "grep", "env"):
        if found := shutil.which(name):
            (links / name).symlink_to(found)
    for name, printed in changes.items():
        (links / name).unlink()
        if printed is not None:
            (links / name).write_text(f"#!/bin/sh\necho '{printed}'\n")
            (links / name).chmod(0o755)
    return str(links)


def missing_tool(directory: Path) -> str:
    without = {"PATH": tools(directory, {"lmp": None})}
    status, printed = finish(inversion(directory), **without)
    assert status == 1
    assert "Traceback" not in printed
    assert not (directory / "work").exists()
    return message(printed, r"lmp on [^\n]*")


def old_tool(directory: Path) -> str:
    changed = {"PATH": tools(directory, {"gmx": "GROMACS version:    2018.8"})}
    status, printed = finish(atomistic(directory), **changed)
    assert status == 2
    assert not list((directory / "work").glob("step_*"))
    return message(printed, r"gmx on [^\n]*")


def new_tool(directory: Path) -> str:
    changed = {"PATH": tools(directory, {"csg_inverse": "csg_inverse, version 2026.1"})}
    status, printed = finish(inversion(directory), **changed)
    assert status == 1
    assert not (directory / "work").exists()
    return message(printed, r"csg_inverse on [^\n]*")


# --- inversion: two short iterations towards a smooth step, which end in a failed record ----------------------------


def soft_parent() -> dict:
    rdf = 1 / (1 + np.exp(-(pair.R_NM - 0.5) / 0.02))
    return parent_row(rdf, 0.01 * rdf)


def inversion(directory: Path) -> list[str]:
    """Return the command of the inversion in a directory, where its parent is written first."""
    write_record(directory / "parent.parquet", "atomistic", soft_parent())
    spec = {
        "kind": "inversion",
        "protocol": 1,
        "molecule_id": "known",
        "parent_run_ids": [soft_parent()["run_id"]],
        "temperature_k": 298.15,
        "pressure_correction": True,
        "target_pressure_bar": 1.0,
        "iterations_max": 2,
        "iteration_ps_100": 10,
    }
    places = ("--work", directory / "work", "--out", directory / "out.parquet")
    return step("inversion.invert", "--spec", canonical_json(spec), "--parent", directory / "parent.parquet", *places)


def same_as_undisturbed(directory: Path) -> None:
    """Check that the inversion's record is that of one that nobody disturbed."""
    alone = once("inversion", inversion)
    assert (directory / "out.parquet").read_bytes() == (alone / "out.parquet").read_bytes()


def killed_in_inversion(directory: Path, program: str) -> str:
    process = start(inversion(directory), directory / "log")
    wait_for(
        lambda: (
            (directory / "work/attempt_1/step_001/done").exists()
            and (directory / "work/attempt_1/step_002").exists()
            and children(process, program)
        ),
        process,
    )
    for child in children(process, program):
        child.send_signal(signal.SIGKILL)
    assert process.wait() == 1, (directory / "log").read_text()
    assert not (directory / "out.parquet").exists()
    assert not list(directory.glob("work/*/failed"))
    wait_for(lambda: not of_directory(directory))
    status, printed = finish(inversion(directory))
    assert status == 0, printed
    assert "continuing after iteration 1" in printed
    same_as_undisturbed(directory)
    return message((directory / "log").read_text(), r"csg_inverse ended with [^\n]*; see \S+")


def csg_inverse_killed(directory: Path) -> str:
    return killed_in_inversion(directory, "inverse.sh")  # what csg_inverse becomes


def lmp_killed_in_inversion(directory: Path) -> str:
    return killed_in_inversion(directory, "lmp")


def torn_table(directory: Path) -> str:
    process = start(inversion(directory), directory / "log")
    wait_for((directory / "work/attempt_1/step_002").exists, process)
    stop(process)
    table = directory / "work/attempt_1/step_001/CG-CG.dist.new"
    table.write_bytes(table.read_bytes()[:1000])
    status, printed = finish(inversion(directory))
    assert status == 0, printed
    same_as_undisturbed(directory)
    return message(printed, r"\S+step_001: torn[^\n]*")


def csg_inverse_on_a_full_disk(directory: Path) -> str:
    words = inversion(directory)
    words[words.index(str(directory / "work"))] = str(directory / "disk/work")
    command = bash(words)
    _, printed = on_small_disk(
        directory,
        "600k",
        f"{command} > first 2>&1; echo first $?; [ ! -e out.parquet ] || exit 1\n"
        f"mount -o remount,size=200m disk; {command} > second 2>&1; echo second $?",
    )
    said = (directory / "first").read_text()
    assert printed.split() == ["first", "1", "second", "0"], printed + said + (directory / "second").read_text()
    assert "Traceback" not in said
    same_as_undisturbed(directory)
    return message(said, r"[^\n]*(No space left on device|csg_inverse ended)[^\n]*")


# --- releases -------------------------------------------------------------------------------------------------------


def build(inputs: Path, releases: Path, version: str, *words: object) -> list[str]:
    places = ("--releases", releases, "--repository", REPOSITORY, "--published", inputs.with_suffix(".txt"))
    models = ("--models", write_models(inputs.with_suffix(".models")) / "mobcg")
    return step("database.build", "--inputs", inputs, "--version", version, *places, *models, *words)


def two_users(directory: Path) -> str:
    """Two users add n-heptane to one release, each with runs of their own, and publish at the same time."""
    old = make_plan(directory / "old")
    inputs = Inputs(molecule_rows(old), Chain(directory / "old-records", old).paths())
    releases = directory / "releases"
    assert finish(build(inputs.write(directory / "old.json"), releases, "2026.11.0"))[0] == 0
    published = {path: path.read_bytes() for path in releases.glob("2026.11.0/**/*") if path.is_file()}
    whole = make_plan(directory / "new", (*old.molecules, "n-heptane"))
    files = []
    for user, density_se in (("one", 0.8), ("two", 0.9)):
        records = Chain(directory / f"records-{user}", whole).paths()
        row = read_record(records["atomistic"][-1])
        write_record(records["atomistic"][-1], "atomistic", row | {"density_kg_m3_se": density_se})
        files.append(Inputs(molecule_rows(whole), records).write(directory / f"{user}.json"))
    users = [start(build(file, releases, "2026.12.0"), file.with_suffix(".log")) for file in files]
    assert [user.wait() for user in users] == [0, 0], [file.with_suffix(".log").read_text() for file in files]
    names = {file.with_suffix(".txt").read_text().strip() for file in files}
    assert names == {"2026.12.0", "2026.12.1"}
    for name in names:
        assert finish(["mobcg", "release", "validate", str(releases / name)])[0] == 0
    assert all(path.read_bytes() == content for path, content in published.items())
    assert not list(releases.glob(".building*"))
    said = "".join(file.with_suffix(".log").read_text() for file in files)
    assert "waiting until it is free" in said
    return message(said, r"\S*2026.12.0 is published with other content[^\n]*")


def exploding_force_field(directory: Path) -> str:
    """A torsion of thousands of kJ/mol, which the choice of the time step does not look at, up to the release."""
    scale = {
        "name": "wild",
        "molecules": ["neopentane"],
        "atomistic": {"box_length_nm": 3.2, "replicas": 1},
        "synthetic": {"draws": {"neopentane": 1}, "ranges": {"torsion_kj_mol": [-9000, -5000]}},
        "coarse": {"n_beads": 400, "records_per_potential": 2, "records_per_shard": 2},
        "evaluation": {"replicas": 2, "models": ["ibi"]},
    }
    (directory / "wild.yaml").write_text(yaml.safe_dump(scale))
    config = {"scale": str(directory / "wild.yaml"), "version": "2026.11.0"}
    plan = load_plan(config | {"molecules_dir": str(REPOSITORY / "config/molecules")})
    records = Chain(directory / "records", plan).paths()
    ((run, spec),) = [(run, spec) for run, spec in plan.atomistic.items() if spec["force_field"]["kind"] == "synthetic"]
    paths = {name: directory / "records" / name for name in ("atomistic", "inversion", "coarse")}
    ((potential, inverted),) = [item for item in plan.inversions.items() if item[1]["parent_run_ids"] == [run]]
    ((shard, drawn),) = [item for item in plan.shards.items() if potential in canonical_json(item[1])]
    beads = directory / "beads.npz"
    liquid, pair_potential = paths["atomistic"] / f"{run}.parquet", paths["inversion"] / f"{potential}.parquet"
    runs = paths["coarse"] / f"{shard}.parquet"

    def command(module: str, spec: Mapping, *words: object) -> list[str]:
        return step(module, "--spec", json.dumps(spec), *words)

    commands = (
        command("atomistic.simulate", spec, "--work", directory / "work", "--out", beads),
        command("atomistic.observe", spec, "--beads", beads, "--out", liquid),
        command(
            "inversion.invert", inverted, "--parent", liquid, "--work", directory / "iwork", "--out", pair_potential
        ),
        command("coarse.shard", drawn, "--potential", pair_potential, "--work", directory / "cwork", "--out", runs),
        build(Inputs(molecule_rows(plan), records).write(directory / "in.json"), directory / "releases", "2026.11.0"),
    )
    for words in commands:
        status, printed = finish(words)
        assert status == 0, printed
    for table in ("atomistic", "coarse"):
        failed = [row for row in read_rows(directory / f"releases/2026.11.0/data/{table}.parquet") if row["reason"]]
        assert failed
        assert all("unstable with time steps down to" in row["reason"] for row in failed)
    return message(failed[0]["reason"], r"unstable.*")


def stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait()


DRILLS = (
    Drill(
        "`gmx` killed",
        "`kill -9` of gmx during the squeeze",
        "the step fails without a result; its next start goes on from the last checkpoint or the start of the stage "
        "to the same bits",
        "nothing: the profiles try a job again; else start again",
        gmx_killed,
        slow=True,
    ),
    Drill(
        "`lmp` killed",
        "`kill -9` of lmp in a shard",
        "no record of that run, and none that says failed; the retry skips the runs that are there",
        "nothing",
        lmp_killed,
    ),
    Drill(
        "`csg_inverse` killed",
        "`kill -9` of csg_inverse in iteration 2",
        "no record; the next start goes on after iteration 1 to the same bytes",
        "nothing: retried; else start again",
        csg_inverse_killed,
        slow=True,
    ),
    Drill(
        "`lmp` killed under `csg_inverse`",
        "`kill -9` of lmp in iteration 2",
        "not taken for a failure of the liquid, though VOTCA reports an error; goes on as above",
        "nothing: retried; else start again",
        lmp_killed_in_inversion,
        slow=True,
    ),
    Drill(
        "Snakemake killed",
        "`kill -9` of Snakemake during a shard, then `snakemake`, then `make release`'s first step and `snakemake`",
        "the running step lives on and holds its work directory; a plain start is refused with what to do, "
        "`make release` lifts the lock by itself; the new job waits for the old one and repeats nothing",
        "`make release` again; with plain Snakemake `snakemake --unlock` first",
        snakemake_killed,
    ),
    Drill(
        "Two controllers on one directory",
        "`snakemake` at work, then `make release`, `snakemake`, and `snakemake --unlock` and `snakemake`",
        "all three are refused and told who is at work; the first one ends well",
        "wait, or stop the first",
        two_controllers,
    ),
    Drill(
        "`make release` stopped",
        "SIGTERM to make; ^C",
        "GROMACS writes its checkpoint, every process ends, no lock is left; the next start goes on",
        "`make release` again",
        release_stopped,
    ),
    Drill(
        "A step stopped",
        "SIGTERM to the step of an atomistic run, as batch systems send it",
        "GROMACS writes a checkpoint, status 143; the next start repeats no finished stage, to the same bits",
        "nothing: retried; else start again",
        step_stopped,
    ),
    Drill(
        "Disk full under GROMACS",
        "work directory on a tmpfs of 400 kB; enlarged after the failure",
        "no result and no verdict on the force field; goes on to the same bits when there is room",
        "make room, start again",
        gmx_on_a_full_disk,
        mounts=True,
    ),
    Drill(
        "Disk full under LAMMPS",
        "work directory of a shard on a tmpfs of 300 kB; enlarged after the failure",
        "LAMMPS ends with status 0 and a torn file: noticed, no record; complete when there is room",
        "make room, start again",
        lmp_on_a_full_disk,
        mounts=True,
    ),
    Drill(
        "Disk full under VOTCA",
        "work directory of an inversion on a tmpfs of 600 kB; enlarged after the failure",
        "no record, and no verdict on the liquid; the same bytes when there is room",
        "make room, start again",
        csg_inverse_on_a_full_disk,
        slow=True,
        mounts=True,
    ),
    Drill(
        "Read-only results directory",
        "results mounted read-only, then `snakemake`",
        "nothing is started",
        "make it writable, or set `results_dir`",
        read_only_results,
        mounts=True,
    ),
    Drill(
        "Work directory turns read-only",
        "work directory of an atomistic run on a tmpfs mounted read-only",
        "the step ends with a message",
        "as above",
        read_only_work,
        mounts=True,
    ),
    Drill(
        "Truncated checkpoint",
        "`.cpt` or `.trr` of a killed stage cut in half (`pytest tests/atomistic/test_gromacs.py -k torn`)",
        "the checkpoint before it, or the start of the stage; the same bits",
        "nothing",
        torn_checkpoint,
        slow=True,
    ),
    Drill(
        "Truncated bead trajectory",
        "`.npz` of a finished run cut short",
        "the step that reads it refuses it",
        "delete the file it names, start again: what the run's directory keeps is not repeated",
        torn_bead_trajectory,
        slow=True,
    ),
    Drill(
        "Truncated VOTCA table",
        "g(r) of the last iteration of a stopped inversion cut short",
        "that iteration, or the inversion where nothing else is left to go on from, is run again; the same bytes",
        "nothing",
        torn_table,
        slow=True,
    ),
    Drill(
        "Truncated record",
        "potential that a shard needs cut short",
        "the shard refuses it",
        "delete the file it names, start again",
        torn_record,
    ),
    Drill(
        "Truncated record of a single coarse run",
        "record in the work directory of a stopped shard cut short",
        "that run is made again, the others are not",
        "nothing",
        torn_single_record,
        slow=True,
    ),
    Drill(
        "Synthetic force field that explodes",
        "torsions of -5000 to -9000 kJ/mol, run through all steps to a release",
        "three ever smaller time steps, then a failed record with the reason; so are its potential and its coarse "
        "runs; the release is made",
        "nothing; the reason is in the tables",
        exploding_force_field,
        slow=True,
    ),
    Drill(
        "Tool missing on the node",
        "PATH without lmp",
        "the step ends before it makes anything",
        "as the message says, start again",
        missing_tool,
    ),
    Drill(
        "Tool too old on the node",
        "a gmx that calls itself 2018.8",
        "as above",
        "as the message says, start again",
        old_tool,
    ),
    Drill(
        "Tool too new on the node",
        "a csg_inverse that calls itself 2026.1",
        "as above",
        "as the message says, start again",
        new_tool,
    ),
    Drill(
        "Two users extend one release",
        "two `mobcg.database.build` of different records into one directory at once",
        "the second waits, then publishes under the next micro version; both are valid, the old one is untouched",
        "nothing; merge by extending the other's release",
        two_users,
    ),
)

HEAD = """\
# Faults

Each line was provoked on the real programs and checked by `python -m tests.workflow.drills`, which wrote this page. In
every case nothing that was finished is lost, nothing half-written is read, and the next start goes on. Faults of a
batch system: [faults_slurm.md](faults_slurm.md).

| fault | provoked by | what happens | what is said | what you do |
|---|---|---|---|---|
"""


def line(drill: Drill, said: str) -> str:
    cells = (drill.fault, drill.provoked, drill.happens, f"`{said.replace('`', '')}`", drill.user)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def main(names: list[str]) -> None:
    """Run the drills of these names, or all, and write the page after each."""
    known = [drill.run.__name__ for drill in DRILLS]
    if unknown := set(names) - set(known):
        sys.exit(f"no drill {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    page = REPOSITORY / "docs/faults.md"
    before = page.read_text().splitlines() if page.exists() else []
    lines = {each.split(" | ")[0].removeprefix("| "): each for each in before if each.startswith("| ")}
    for drill in DRILLS:
        if names and drill.run.__name__ not in names:
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="mobcg-drill-") as name:
            lines[drill.fault] = line(drill, drill.run(Path(name)))
        print(f"{drill.fault}: {time.monotonic() - began:.0f} s", flush=True)
        page.write_text(HEAD + "\n".join(lines[each.fault] for each in DRILLS if each.fault in lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
