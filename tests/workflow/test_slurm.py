"""A liquid's leg of the chain through sbatch on a real Slurm, with the faults of a cluster on its way.

Each is a row of docs/faults.md. In the end the records are those of the run on one machine, bit by bit.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from mobcg.atomistic.simulate import EXIT_UNFINISHED
from mobcg.records import read_record, read_rows
from tests.atomistic.conftest import SMALL
from tests.workflow import slurm
from tests.workflow.conftest import MISSING, SMALLEST, copy_workflow, environment, snakemake_command
from tests.workflow.slurm import Slurm, wait_until

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}; `make setup` installs them"),
    pytest.mark.skipif(
        bool(slurm.MISSING),
        reason=f"no Slurm to test on, not on PATH: {', '.join(slurm.MISSING)}; Debian: slurm-wlm and munge",
    ),
]
# Looks at its jobs more often than one should on a cluster.
WORDS = ("--profile", "slurm", "--config", f"scale={SMALLEST}", "--slurm-init-seconds-before-status-checks", "2")
ENDLESS = SMALL | {"lengths": SMALL["lengths"] | {"squeeze_ps": 1e5}}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    started = Slurm(tmp_path_factory.mktemp("slurm") / "node", environment())
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with the profile as profiles/README.md has it for a site with modules: a test machine has no conda."""
    directory = copy_workflow(tmp_path_factory.mktemp("on-slurm") / "workflow")
    profile = directory / "slurm/config.yaml"
    text, count = re.subn(r"^software-deployment-method:.*\n", "", profile.read_text(), flags=re.MULTILINE)
    assert count == 1
    profile.write_text(text)
    return directory


def leg_of(molecule_id: str, directory: Path) -> list[Path]:
    """Return the records of a molecule that hang together, as paths in a workflow: atomistic, inversion, coarse."""
    for shard in sorted(directory.glob("results/coarse/*.parquet")):
        row = read_rows(shard)[0]
        if row["molecule_id"] == molecule_id:
            inversion = directory / "results/inversion" / f"{row['spec']['potential']['parent_id']}.parquet"
            (run,) = read_record(inversion)["spec"]["parent_run_ids"]
            atomistic = directory / "results/atomistic" / f"{run}.parquet"
            return [path.relative_to(directory) for path in (atomistic, inversion, shard)]
    raise LookupError(molecule_id)


class Controller:
    """Snakemake on a login node; killed with SIGKILL at the end of its block, if it still lives."""

    def __init__(self, cluster: Slurm, workflow: Path, target: Path) -> None:
        self.cluster, self.log = cluster, workflow / "snakemake.log"
        self.known = set(cluster.jobs())
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                snakemake_command(*WORDS, str(target)),
                cwd=workflow,
                env=cluster.environment,
                stdout=stream,
                stderr=stream,
            )

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def next_job(self, name: str) -> int:
        """Wait until a job runs that was not there before, and return its number."""
        wait_until(lambda: self._new(name) or self.process.poll() is not None, timeout_s=300)
        assert self._new(name), self.log.read_text()
        (number,) = self._new(name)
        self.known.add(number)
        return number

    def _new(self, name: str) -> list[int]:
        jobs = self.cluster.jobs()
        return [n for n in jobs if n not in self.known and name in jobs[n].comment and jobs[n].state == "RUNNING"]


def simulations(cluster: Slurm, workflow: Path, cpu_s: float = 0) -> list[psutil.Process]:
    """Return the molecular dynamics of the workflow's jobs that have run for so long."""
    found = []
    for process in cluster.job_processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            at_work = process.name() == "gmx" and Path(process.cwd()).is_relative_to(workflow)
            if at_work and "-cpi" in process.cmdline() and process.cpu_times().user >= cpu_s:
                found.append(process)
    return found


def simulation_of(cluster: Slurm, workflow: Path) -> psutil.Process:
    """Wait until a simulation has been under way for a little, and return it."""
    found = []
    wait_until(lambda: found.extend(simulations(cluster, workflow, cpu_s=2)) or found, timeout_s=300)
    (simulation,) = found
    return simulation


def refused_controller(cluster: Slurm, workflow: Path, target: Path) -> str:
    """Start one more Snakemake, which has to refuse; return what it says."""
    words = snakemake_command(*WORDS, str(target))
    done = subprocess.run(words, cwd=workflow, env=cluster.environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done.stdout + done.stderr


def step_log(workflow: Path, number: int) -> str:
    """Return what a job printed so far."""
    return "".join(path.read_text() for path in workflow.glob(f".snakemake/slurm_logs/**/{number}.log"))


def checkpoints(workflow: Path) -> list[float]:
    return [path.stat().st_mtime for path in workflow.glob("results/work/atomistic/*/step_*/*.cpt")]


@pytest.fixture(scope="module")
def limited(cluster: Slurm, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """A job of one minute with an atomistic run that would take hours: its number and directory."""
    directory = tmp_path_factory.mktemp("limited")
    step = [sys.executable, "-m", "mobcg.atomistic.simulate", "--spec", json.dumps(ENDLESS)]
    step += ["--work", "work", "--out", "beads.npz"]
    sbatch = ["sbatch", "--parsable", f"--chdir={directory}", f"--output={directory}/log", "--time=1"]
    return int(cluster.ask(*sbatch, "--wrap", shlex.join(step)).stdout), directory


def test_a_leg_with_every_fault_has_the_records_of_one_machine(
    finished: Path, cluster: Slurm, workflow: Path, limited: tuple[int, Path]
) -> None:
    leg = leg_of("benzene", finished)

    # Killed with SIGKILL at the end of this block.
    with Controller(cluster, workflow, leg[-1]) as controller:
        # scancel: mdrun leaves a checkpoint behind; the retry asks for more memory.
        cancelled = controller.next_job("simulate_atomistic")
        simulation = simulation_of(cluster, workflow)
        cancelled_at = time.time()
        cluster.ask("scancel", str(cancelled))
        wait_until(lambda: not simulation.is_running())
        assert max(checkpoints(workflow)) > cancelled_at
        lost = controller.next_job("simulate_atomistic")
        assert [cluster.jobs()[number].memory for number in (cancelled, lost)] == ["1000M", "2000M"]
        # Two controllers in one directory: the second is refused.
        simulation = simulation_of(cluster, workflow)
        assert "cannot be locked" in refused_controller(cluster, workflow, leg[-1])

    # The job of the dead controller lives on; a new one waits for it, and what it finished is not simulated again.
    unlock = snakemake_command(*WORDS, "--unlock")
    subprocess.run(unlock, cwd=workflow, env=cluster.environment, check=True, capture_output=True)
    with Controller(cluster, workflow, leg[-1]) as controller:
        waiting = controller.next_job("simulate_atomistic")
        assert simulation.is_running()
        wait_until(lambda: "waiting until it is free" in step_log(workflow, waiting))
        assert len(simulations(cluster, workflow)) == 1, "two writers"
        # The record is there before the job that wrote it has tidied up.
        wait_until(lambda: not any(cluster.jobs()[number].lives for number in (lost, waiting)), timeout_s=900)
        assert {cluster.jobs()[number].state for number in (lost, waiting)} == {"COMPLETED"}
        assert "npt_00" not in step_log(workflow, waiting)
        assert len(list(workflow.glob("results/work/atomistic/*/step_*"))) == 1, "a fault was taken for a crash"

        # The node goes down in the middle of the inversion, and comes back: Slurm queues the same job again.
        requeued = controller.next_job("potential")
        wait_until(lambda: any(workflow.glob("results/work/inversion/*/attempt_1/step_003")), timeout_s=300)
        cluster.kill_node()
        assert cluster.jobs()[requeued].state == "PENDING"
        cluster.start_node()
        assert controller.process.wait(timeout=900) == 0, controller.log.read_text()
        assert cluster.jobs()[requeued].state == "COMPLETED"

    for path in leg:
        local, remote = (pq.read_table(directory / path) for directory in (finished, workflow))
        assert local.column_names == remote.column_names
        for name in local.column_names:
            assert remote[name].to_pylist() == local[name].to_pylist(), f"{path}: {name}"


def test_an_atomistic_run_stops_with_a_checkpoint_before_its_job_is_ended(
    cluster: Slurm, limited: tuple[int, Path]
) -> None:
    number, directory = limited
    wait_until(lambda: not cluster.jobs()[number].lives, timeout_s=90)
    told = cluster.ask("scontrol", "show", "job", str(number)).stdout
    assert "JobState=FAILED" in told
    assert f"ExitCode={EXIT_UNFINISHED}:0" in told
    assert "start the same command again to continue" in (directory / "log").read_text()
    assert list(directory.glob("work/step_2_fs/squeeze.cpt"))
    assert not list(directory.glob("work/step_*/failed"))
