"""External programs: which are there, which versions, and running one so that nothing is lost or left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mobcg import __version__
from mobcg.errors import SimulationError
from mobcg.step import stop_signals_held

# How each program tells its version: arguments, and the pattern in what it prints.
VERSION_QUERIES: Mapping[str, tuple[Sequence[str], str]] = {
    "gmx": (("--version",), r"GROMACS version:\s+(\d+(?:\.\d+)*)"),
    "lmp": (("-h",), r"Simulator - (.+)"),
    "csg_inverse": (("--help",), r"version (\d+(?:\.\d+)*)"),
    "csg_stat": (("--help",), r"version (\d+(?:\.\d+)*)"),
}
# Time that a program gets to end by itself when the step is asked to stop: mdrun writes a checkpoint. Slurm's own
# default between SIGTERM and SIGKILL is 30 s.
GRACE_S = 20.0
# What programs print, and the space that is left, when the machine gave out and not the physics.
MACHINE_TROUBLE = (
    "No space left on device",
    "Disk quota exceeded",
    "Read-only file system",
    "Input/output error",
    "Stale file handle",
    "Cannot allocate memory",
    "Not enough memory",
    "command not found",
    "error while loading shared libraries",
)
LEAST_FREE_BYTES = 2**20

# What a batch system tells the processes of a job step. The MPI library of a program that runs alone would take it for
# the place of one rank among many, and stop where it was not built for that batch system.
LAUNCHER_VARIABLES = ("SLURM_", "PMI")


class ProgramError(SimulationError):
    """A program ended with a status other than 0, or with 0 and without its product, which `found` tells.

    `returncode` is negative for a signal, as in `subprocess`.
    """

    def __init__(self, command: Sequence[str], returncode: int, log: Path, found: str = "") -> None:
        self.command, self.returncode, self.log = list(command), returncode, log
        self.tail = _last_lines(log, 12)
        how = signal.Signals(-returncode).name if returncode < 0 else f"exit status {returncode}"
        how += f", but {found}" if found else ""
        super().__init__(f"{Path(command[0]).name} ended with {how}; see {log}\n{self.tail}")


def machine_trouble(output: str, directory: Path) -> str | None:
    """Return what shows that the machine failed a program, None where nothing does.

    A full disk keeps programs from saying that it is full, so the space left where they wrote counts too.
    """
    for sign in MACHINE_TROUBLE:
        if sign in output:
            return sign
    return "no space left on the disk" if shutil.disk_usage(directory).free < LEAST_FREE_BYTES else None


def _last_lines(path: Path, count: int) -> str:
    if not path.exists():
        return ""
    with path.open(errors="replace") as stream:
        return "".join(deque(stream, maxlen=count)).strip()


def _die_with_parent() -> None:
    # Linux only: without it a simulation lives on when its step is killed. mdrun answers SIGTERM with a checkpoint.
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def run(
    command: Sequence[str],
    cwd: Path,
    log: Path,
    stdin: str | None = None,
    timeout_s: float | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run one program in `cwd`, its output appended to `log`; it gets SIGTERM when this process dies.

    Where this process is asked to stop (`mobcg.step.run_step`), the program and all that it started get SIGTERM, and
    `GRACE_S` to end by themselves.

    Raises
    ------
    ProgramError
        The program is missing, ended with a status other than 0, or outlived `timeout_s` (seconds).
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    env = without_launcher(os.environ if env is None else env)
    with log.open("a") as stream:
        stream.write(f"$ {' '.join(map(str, command))}\n")
        stream.flush()
        try:
            options = {"cwd": cwd, "env": env, "stdout": stream, "stderr": subprocess.STDOUT}
            returncode = _returncode([str(word) for word in command], stdin, timeout_s, options)
        except subprocess.TimeoutExpired:
            stream.write(f"stopped: it ran longer than {timeout_s} s\n")
            returncode = -signal.SIGKILL
        except OSError as error:
            if error.filename is None:
                raise
            stream.write(f"{error.filename}: {error.strerror}; `mobcg doctor` tells how to get a program\n")
            returncode = 127
    if returncode != 0:
        raise ProgramError(command, returncode, log)


def _returncode(command: list[str], stdin: str | None, timeout_s: float | None, options: Mapping[str, Any]) -> int:
    process = None
    try:
        with stop_signals_held():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                text=True,
                close_fds=False,  # the lock of the work directory is inherited, see records.work_directory
                process_group=0,  # so that whatever the program has started can be stopped with it
                preexec_fn=_die_with_parent,
                **options,
            )
        process.communicate(stdin, timeout=timeout_s)
    except BaseException as error:
        if process is not None:
            _stop(process, signal.SIGKILL if isinstance(error, subprocess.TimeoutExpired) else signal.SIGTERM)
        raise
    return process.returncode


def _stop(process: subprocess.Popen, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def children_core_s() -> float:
    """Return the processor time (s) of all programs that this process started and that are over."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a program runs by itself, also inside a job step."""
    return {name: value for name, value in environment.items() if not name.startswith(LAUNCHER_VARIABLES)}


def job_seconds_left() -> float | None:
    """Return how long (s) the Slurm job around this process may still run; None without a job or without a limit."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or shutil.which("squeue") is None:
        return None
    # Slurm tells the end of a job in its environment only from 23.02 on, and not when an operator moved it.
    command = ["squeue", "--noheader", "--jobs", job, "--format", "%e"]
    environment = os.environ | {"SLURM_TIME_FORMAT": "%s"}
    end_s = subprocess.run(command, capture_output=True, text=True, env=environment, check=False).stdout.strip()
    return float(end_s) - time.time() if end_s.isdigit() else None


def version(program: str) -> str | None:
    """Return the version that a program prints of itself; None where it is not on PATH."""
    if program == "mobcg":
        return __version__
    path = shutil.which(program)
    return None if path is None else _version_of(path, program)


@cache
def _version_of(path: str, program: str) -> str:
    arguments, pattern = VERSION_QUERIES[program]
    alone = without_launcher(os.environ)
    printed = subprocess.run([path, *arguments], capture_output=True, text=True, check=False, env=alone)
    found = re.search(pattern, printed.stdout + printed.stderr)
    return found.group(1).strip() if found else "unknown"


def versions(*names: str) -> dict[str, str]:
    """Return name → version of the programs on PATH, for a record's `versions` column."""
    return {name: found for name in names if (found := version(name)) is not None}
