"""A real Slurm of one node on loopback: munged, slurmctld and slurmd in a directory and on ports of their own.

    python -m tests.workflow.slurm DIRECTORY     # keeps one up until Ctrl-C, to try a profile by hand

Nothing outside its directory is read or written, and only the processes that it started are stopped. Needs no root:
`apt-get install --no-install-recommends slurm-wlm munge`, or what another distribution calls them.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
# slurmd and its kin lie in sbin, which is not on everybody's PATH.
SBIN = "/usr/sbin:/sbin"
PATH = os.pathsep.join([os.environ["PATH"], SBIN])
MISSING = [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name, path=PATH) is None]
NODE = "drill"


@dataclass(frozen=True)
class Job:
    """State, memory and comment of a job; in the comment the executor plugin puts the rule and its wildcards."""

    state: str
    memory: str
    comment: str

    @property
    def lives(self) -> bool:
        """Whether the job waits or runs."""
        return self.state in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED")


class Slurm:
    """One node; `environment` leads sbatch and its kin to it."""

    def __init__(self, directory: Path, environment: Mapping[str, str] = os.environ) -> None:
        self.directory = directory
        self.processes: dict[str, subprocess.Popen] = {}
        path = os.pathsep.join([f"{directory}/bin", environment["PATH"], SBIN])
        self.environment = {**environment, "SLURM_CONF": str(directory / "slurm.conf"), "PATH": path}
        directory.mkdir(parents=True)
        directory.chmod(0o755)
        for name in ("bin", "state", "spool"):
            (directory / name).mkdir()
        key = directory / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        (directory / "slurm.conf").write_text(configuration(directory))
        # The executor plugin takes SLURM_CONF out of a job's environment before it calls srun, because a cluster has
        # its configuration where srun looks for it.
        srun = directory / "bin/srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={directory}/slurm.conf exec {shutil.which("srun", path=PATH)} "$@"\n')
        srun.chmod(0o755)

    def start(self) -> None:
        """Start all three daemons; returns when the node takes jobs."""
        where = self.directory
        munge = [f"--key-file={where}/munge.key", f"--socket={where}/munge.socket", f"--pid-file={where}/munged.pid"]
        # --force: a directory of one's own need not have the permissions of a system's.
        self._launch("munged", "--foreground", "--force", *munge, f"--seed-file={where}/munge.seed")
        wait_until((where / "munge.socket").exists)
        self._launch("slurmctld", "-D")
        wait_until(lambda: self.ask("scontrol", "ping", check=False).returncode == 0)
        self.start_node()

    def start_node(self) -> None:
        """Start slurmd; returns when the node takes jobs."""
        self._launch("slurmd", "-D", "-N", NODE)
        wait_until(lambda: self.node_state() in ("idle", "mixed", "allocated"))

    def kill_node(self) -> None:
        """Let the node die as in a power cut: slurmd and all that runs on it at once, and Slurm is told so."""
        for process in [psutil.Process(self.processes["slurmd"].pid), *self.job_processes()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.processes.pop("slurmd").wait()
        # What slurmctld does by itself after SlurmdTimeout.
        self.ask("scontrol", "update", f"NodeName={NODE}", "State=DOWN", "Reason=drill")

    def stop(self) -> None:
        """Cancel all jobs and stop the daemons."""
        if "slurmctld" in self.processes:
            self.ask("scancel", "--user", getpass.getuser(), check=False)
            wait_until(lambda: not any(job.lives for job in self.jobs().values()), timeout_s=90)
        for name in reversed(DAEMONS):
            if name in self.processes:
                process = self.processes.pop(name)
                process.terminate()
                process.wait(timeout=30)

    def ask(self, *words: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run one of Slurm's commands."""
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, check=check)

    def jobs(self) -> dict[int, Job]:
        """Return number → state of every job, the ended ones included."""
        lines = self.ask("squeue", "--noheader", "--states=all", "--format=%i|%T|%m|%k").stdout.splitlines()
        found = (line.split("|", maxsplit=3) for line in lines)
        return {int(number): Job(state, memory, comment) for number, state, memory, comment in sorted(found)}

    def node_state(self) -> str:
        """Return the state of the node in a word."""
        return self.ask("sinfo", "--noheader", "--format=%T", check=False).stdout.strip()

    def job_processes(self) -> list[psutil.Process]:
        """Return the processes of the jobs, the steps that hold them included."""
        steps = set()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                # A step overwrites its own environment; what it has started knows of the job.
                parent = process.parent()
                if parent and parent.name().startswith("slurmstepd") and self._leads_here(process.environ()):
                    steps.add(parent)
        found = list(steps)
        for step in steps:
            with contextlib.suppress(psutil.Error):
                found += step.children(recursive=True)
        return found

    def _leads_here(self, environment: Mapping[str, str]) -> bool:
        return environment.get("SLURM_CONF") == self.environment["SLURM_CONF"]

    def _launch(self, name: str, *options: str) -> None:
        with (self.directory / f"{name}.log").open("a") as log:
            self.processes[name] = subprocess.Popen(
                [shutil.which(name, path=PATH), *options],
                env=self.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )


def configuration(directory: Path) -> str:
    """Return slurm.conf: no accounting, no cgroups, everything in `directory`, as the user who calls this."""
    user, host = getpass.getuser(), socket.gethostname().partition(".")[0]
    controller_port, node_port = free_ports(2)
    settings = {
        "ClusterName": "drill",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmUser": user,
        "SlurmdUser": user,
        "AuthType": "auth/munge",
        "CredType": "cred/munge",
        "AuthInfo": f"socket={directory}/munge.socket,cred_expire=30",  # a job queued again waits so long, not 120 s
        "SlurmctldPort": controller_port,
        "SlurmdPort": node_port,
        "SlurmctldPidFile": directory / "slurmctld.pid",
        "SlurmdPidFile": directory / "slurmd.pid",
        "StateSaveLocation": directory / "state",
        "SlurmdSpoolDir": directory / "spool",
        "AccountingStorageType": "accounting_storage/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SwitchType": "switch/none",
        "MpiDefault": "none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "SchedulerParameters": "sched_interval=1,bf_interval=1",
        "SlurmdParameters": "config_overrides",  # more CPUs than there are: a waiting job keeps nobody from starting
        "ReturnToService": 2,
        "MinJobAge": 3600,
        "NodeName": f"{NODE} NodeAddr=127.0.0.1 NodeHostname={host} CPUs=4 RealMemory=16000",
        "PartitionName": f"main Nodes={NODE} Default=YES MaxTime=24:00:00 State=UP",
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    """Return when `condition` holds; raises `TimeoutError` where it does not come true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.2)


def main() -> None:
    """Keep one up until the terminal is interrupted."""
    slurm = Slurm(Path(sys.argv[1]).resolve())
    try:
        slurm.start()
        print(f"export SLURM_CONF={slurm.directory}/slurm.conf PATH={slurm.directory}/bin:$PATH", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        slurm.stop()


if __name__ == "__main__":
    main()
