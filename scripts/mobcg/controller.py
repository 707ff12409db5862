"""One controller a results directory, whichever way it was started, and one that stops with its jobs.

Snakemake's own lock names nobody, outlives a killed process, and can be lifted by hand under a living one. This one is
held by the process itself and goes with it, however that ends.

`python -m mobcg.controller` lifts Snakemake's lock that a killed controller left behind; it refuses while one lives.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from mobcg.config import load_config, read_config
from mobcg.errors import InputError
from mobcg.step import catch_stop_signals, ignore_stop_signals, run_step

LOCK_FILE = ".controller.lock"
SNAKEMAKE_LOCKS = Path(".snakemake/locks")


def hold(results_dir: Path) -> None:
    """Hold the results directory until this process ends; the programs that it starts do not inherit the lock.

    Raises
    ------
    InputError
        Another controller holds it, or it cannot be written to.
    """
    path = results_dir / LOCK_FILE
    try:
        results_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        advice = "Make it writable, or choose another results_dir in config/config.yaml."
        raise InputError(results_dir, "", error.strerror, "a directory that can be written to", advice) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = _owner(handle)
        os.close(handle)
        advice = f"Wait for it or stop it (kill -INT {owner.split()[1]}); nothing was started."
        raise InputError(results_dir, "", f"in use by {owner}", "one controller at a time", advice) from None
    except OSError as error:
        # Some parallel file systems have no locks; Snakemake's own is left then.
        print(f"mobcg: {path}: {error.strerror}; start only one Snakemake at a time here", file=sys.stderr)
    os.ftruncate(handle, 0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()} since {since}".encode(), 0)


def living_owner(results_dir: Path) -> str | None:
    """Return which process holds a results directory; None where none does. Nothing is written."""
    try:
        handle = os.open(results_dir / LOCK_FILE, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _owner(handle)
    except OSError:
        return None
    finally:
        os.close(handle)
    return None


def _owner(handle: int) -> str:
    return os.pread(handle, 200, 0).decode(errors="replace") or "process ?"


def stop_with_jobs() -> None:
    """Let a signal that asks this controller to stop reach the jobs that run on this machine, and end it then.

    Snakemake itself starts nothing more after SIGTERM and waits for running jobs, hours perhaps; here these are asked
    to stop as well, and end in order (`mobcg.step.run_step`). SIGINT and SIGHUP are answered in the same way.
    """
    start_nothing_more = signal.getsignal(signal.SIGTERM)

    def stop(number: int, _frame: object) -> None:
        ignore_stop_signals()
        print("mobcg: stopping; the same command goes on from here", file=sys.stderr, flush=True)
        # In a thread: Snakemake takes a lock for it, which the very thread that is interrupted may hold.
        threading.Thread(target=_stop, args=(start_nothing_more, number), daemon=True).start()

    catch_stop_signals(stop)


def _stop(start_nothing_more: Callable[[int, object], None], number: int) -> None:
    start_nothing_more(number, None)
    # Again and again: a job may be on its way while the others are asked. One that was asked hears it only once.
    while True:
        for process in psutil.Process().children(recursive=True):
            try:
                # Their shells would end before them, and Snakemake with those.
                if any(word.startswith("mobcg.") for word in process.cmdline()):
                    process.send_signal(signal.SIGTERM)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        time.sleep(1)


def lift_left_lock(results_dir: Path) -> None:
    """Remove Snakemake's lock that a killed controller left in this directory.

    Raises
    ------
    InputError
        A controller lives: as `hold`.
    """
    hold(results_dir)
    if SNAKEMAKE_LOCKS.is_dir() and any(SNAKEMAKE_LOCKS.iterdir()):
        shutil.rmtree(SNAKEMAKE_LOCKS)
        print("mobcg: an earlier run was killed; going on with it")


def main() -> int:
    """Run the command line."""
    lift_left_lock(Path(load_config(read_config()).results_dir))
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
