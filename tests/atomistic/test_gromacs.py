import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from mobcg.atomistic.beads import read_beads
from mobcg.atomistic.force_field import molecule_files
from mobcg.atomistic.gromacs import (
    Machine,
    Progress,
    Stage,
    UnfinishedError,
    UnstableError,
    crash_sign,
    dynamics_options,
    format_mdp,
    last_time_ps,
    read_energies,
    run_stage,
    steps,
)
from mobcg.errors import InputError
from mobcg.programs import ProgramError

from .conftest import SMALL

NVT = Stage("nvt", 6.0, 2.0, 298.15, 11, frame_ps=0.2, langevin=False)
# What a killed process runs: the same stage in its own interpreter.
CHILD = f"""
from pathlib import Path
from mobcg.atomistic.gromacs import Machine, Progress, Stage, run_stage
run_stage(Path.cwd(), {NVT!r}, Path.cwd() / "squeeze.gro", Machine(checkpoint_minutes=0.01), Progress("child"))
"""


def copy_of(liquid: Path, directory: Path) -> Path:
    shutil.copytree(liquid, directory)
    return directory


def run_nvt(directory: Path, machine: Machine = Machine()) -> Path:  # noqa: B008 - frozen
    return run_stage(directory, NVT, directory / "squeeze.gro", machine, Progress("test"))


def beads_of(directory: Path):
    box_nm = float((directory / "nvt.gro").read_text().split()[-1])
    return read_beads(directory / "nvt.trr", molecule_files(SMALL).masses_g_mol, box_nm)


@pytest.fixture(scope="module")
def uninterrupted(liquid, tmp_path_factory):
    directory = copy_of(liquid, tmp_path_factory.mktemp("uninterrupted") / "run")
    run_nvt(directory)
    return directory


def test_a_run_has_all_its_frames_and_the_thermostats_temperature(uninterrupted):
    beads = beads_of(uninterrupted)
    np.testing.assert_allclose(beads.time_ps, np.arange(31) * 0.2, atol=1e-4)
    assert beads.positions_nm.shape == beads.forces_kj_mol_nm.shape == (31, 64, 3)
    assert np.abs(np.diff(beads.positions_nm, axis=0)).max() < 0.5
    # Newton's third law: the net forces of all molecules cancel, up to the mesh part of PME.
    assert np.abs(beads.forces_kj_mol_nm.sum(axis=1)).max() < 0.01 * np.abs(beads.forces_kj_mol_nm).sum(axis=1).min()


def test_energies_come_in_the_order_asked_for(uninterrupted):
    energies = read_energies(uninterrupted / "nvt.edr", ["Potential", "Temperature"])
    assert energies.shape == (61, 3)
    assert energies[1, 0] == pytest.approx(0.1)
    assert 250 < energies[:, 2].mean() < 500


def test_the_pair_list_loses_little_energy(uninterrupted):
    """With the pair list of GROMACS' default tolerance the loss is 0.018 kJ/mol/ps a molecule."""
    time_ps, conserved = read_energies(uninterrupted / "nvt.edr", ["Conserved-En."]).T
    assert abs(np.polyfit(time_ps, conserved, 1)[0]) / 64 < 0.005


def test_two_runs_are_bitwise_the_same(liquid, uninterrupted, tmp_path):
    again = copy_of(liquid, tmp_path / "again")
    run_nvt(again)
    assert np.array_equal(beads_of(again).positions_nm, beads_of(uninterrupted).positions_nm)
    assert (again / "nvt.gro").read_bytes() == (uninterrupted / "nvt.gro").read_bytes()


def test_a_killed_run_goes_on_to_the_same_end(liquid, uninterrupted, tmp_path):
    directory = copy_of(liquid, tmp_path / "killed")
    child = subprocess.Popen([sys.executable, "-c", CHILD], cwd=directory)
    while not (directory / "nvt.cpt").exists():
        assert child.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (directory / "nvt.gro").exists()
    run_nvt(directory)
    assert "nvt.cpt" in (directory / "nvt.out").read_text()
    killed, whole = beads_of(directory), beads_of(uninterrupted)
    assert np.array_equal(killed.time_ps, whole.time_ps)
    assert np.array_equal(killed.positions_nm, whole.positions_nm)
    assert np.array_equal(killed.forces_kj_mol_nm, whole.forces_kj_mol_nm)


def test_a_step_that_is_terminated_leaves_a_checkpoint_of_the_moment(liquid, uninterrupted, tmp_path):
    directory = copy_of(liquid, tmp_path / "terminated")
    script = CHILD.replace("checkpoint_minutes=0.01", "checkpoint_minutes=60")
    child = subprocess.Popen([sys.executable, "-c", script], cwd=directory)
    while last_time_ps(directory / "nvt.log") < 1:
        assert child.poll() is None, "the run ended before it could be terminated"
        time.sleep(0.02)
    (simulation,) = psutil.Process(child.pid).children()
    child.terminate()
    child.wait()
    simulation.wait(timeout=30)
    assert (directory / "nvt.cpt").exists()
    assert not (directory / "nvt.gro").exists()
    run_nvt(directory)
    assert np.array_equal(beads_of(directory).positions_nm, beads_of(uninterrupted).positions_nm)


def test_a_stage_that_is_done_is_not_run_again(uninterrupted):
    before = (uninterrupted / "nvt.gro").stat().st_mtime_ns
    run_nvt(uninterrupted)
    assert (uninterrupted / "nvt.gro").stat().st_mtime_ns == before


def test_products_of_a_run_without_a_checkpoint_are_replaced(liquid, uninterrupted, tmp_path):
    directory = copy_of(liquid, tmp_path / "torn")
    (directory / "nvt.trr").write_bytes(b"torn")
    run_nvt(directory)
    assert np.array_equal(beads_of(directory).positions_nm, beads_of(uninterrupted).positions_nm)


def test_a_checkpoint_without_its_trajectory_starts_the_stage_over(liquid, uninterrupted, tmp_path):
    directory = copy_of(liquid, tmp_path / "lost")
    shutil.copy(uninterrupted / "nvt.cpt", directory / "nvt.cpt")
    shutil.copy(uninterrupted / "nvt.tpr", directory / "nvt.tpr")
    run_nvt(directory)
    assert np.array_equal(beads_of(directory).positions_nm, beads_of(uninterrupted).positions_nm)


@pytest.fixture
def stopped(liquid, tmp_path):
    """Return a folder whose run was killed after its second checkpoint."""
    directory = copy_of(liquid, tmp_path / "stopped")
    child = subprocess.Popen([sys.executable, "-c", CHILD], cwd=directory)
    while not (directory / "nvt_prev.cpt").exists():
        assert child.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    simulation = psutil.Process(child.pid).children()
    child.send_signal(signal.SIGKILL)
    child.wait()
    psutil.wait_procs(simulation, timeout=30)
    return directory


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("torn", [["nvt.cpt"], ["nvt.cpt", "nvt_prev.cpt"], ["nvt.trr"]], ids="+".join)
def test_a_torn_file_is_not_gone_on_from(stopped, uninterrupted, torn, capsys):
    for name in torn:
        cut(stopped / name)
    run_nvt(stopped)
    assert "torn; going back" in capsys.readouterr().out
    assert np.array_equal(beads_of(stopped).positions_nm, beads_of(uninterrupted).positions_nm)


def test_a_run_killed_between_two_checkpoints_goes_on_from_the_one_before(stopped, uninterrupted):
    (stopped / "nvt.cpt").unlink()
    run_nvt(stopped)
    assert "nvt.cpt" in (stopped / "nvt.out").read_text()
    assert "grompp" not in (stopped / "nvt.out").read_text().rpartition("\n$ ")[2]
    assert (stopped / "nvt.out").read_text().count("$ gmx -quiet grompp") == 1
    assert np.array_equal(beads_of(stopped).positions_nm, beads_of(uninterrupted).positions_nm)


def test_a_killed_mdrun_keeps_the_checkpoint(stopped, monkeypatch):
    # A gmx that kills itself, as the kernel does when memory runs out.
    (stopped / "bin").mkdir()
    (stopped / "bin" / "gmx").write_text("#!/bin/sh\nkill -KILL $$\n")
    (stopped / "bin" / "gmx").chmod(0o755)
    before = (stopped / "nvt.cpt").read_bytes()
    monkeypatch.setenv("PATH", f"{stopped / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(ProgramError, match="SIGKILL"):
        run_nvt(stopped)
    assert (stopped / "nvt.cpt").read_bytes() == before


def test_when_the_time_is_up_the_stage_is_unfinished_and_continues(liquid, uninterrupted, tmp_path):
    directory = copy_of(liquid, tmp_path / "late")
    with pytest.raises(UnfinishedError):
        run_nvt(directory, Machine(stop_at_s=time.monotonic() - 1))
    with pytest.raises(UnfinishedError):
        run_nvt(directory, Machine(stop_at_s=time.monotonic() + 1.0))
    run_nvt(directory)
    assert np.array_equal(beads_of(directory).positions_nm, beads_of(uninterrupted).positions_nm)


def test_a_stage_at_constant_pressure_that_was_stopped_has_the_same_end(liquid, tmp_path):
    npt = Stage("npt_00", 6.0, 2.0, 298.15, 11, pressure_bar=1.0)
    whole, stopped = (copy_of(liquid, tmp_path / name) for name in ("whole", "stopped"))
    run_stage(whole, npt, whole / "squeeze.gro", Machine(), Progress("test"))
    with pytest.raises(UnfinishedError):
        run_stage(stopped, npt, stopped / "squeeze.gro", Machine(stop_at_s=time.monotonic() + 1.0), Progress("test"))
    assert (stopped / "npt_00.cpt").exists()
    run_stage(stopped, npt, stopped / "squeeze.gro", Machine(), Progress("test"))
    assert (stopped / "npt_00.gro").read_bytes() == (whole / "npt_00.gro").read_bytes()


def test_overlapping_molecules_are_unstable(liquid, tmp_path):
    directory = copy_of(liquid, tmp_path / "overlap")
    title, count, *atoms, box = (directory / "squeeze.gro").read_text().rstrip("\n").split("\n")
    atoms[12:24] = [f"{there[:20]}{here[20:]}" for here, there in zip(atoms[:12], atoms[12:24], strict=True)]
    atoms[12] = f"{atoms[12][:20]}{float(atoms[12][20:28]) + 0.001:8.3f}{atoms[12][28:]}"
    (directory / "overlap.gro").write_text("\n".join([title, count, *atoms, box]) + "\n")
    with pytest.raises(UnstableError):
        run_stage(directory, NVT, directory / "overlap.gro", Machine(), Progress("test"))


def test_a_missing_program_is_no_crash_of_the_simulation(liquid, tmp_path, monkeypatch):
    directory = copy_of(liquid, tmp_path / "no_gmx")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramError, match="127"):
        run_nvt(directory)


@pytest.mark.parametrize(
    ("returncode", "output", "sign"),
    [
        (1, "Fatal error:\nToo many LINCS warnings (1001)\n", "Too many LINCS warnings"),
        (
            1,
            "Step 4: The total potential energy is nan, which is not\nfinite. The LJ",
            "energy is nan, which is not finite",
        ),
        (-signal.SIGSEGV, "", "mdrun crashed"),
        (139, "", "mdrun crashed"),
        (1, "No space left on device", None),
        (-signal.SIGKILL, "", None),
    ],
)
def test_what_counts_as_a_crash(returncode, output, sign):
    assert crash_sign(returncode, output) == sign


def test_intervals_that_are_no_whole_number_of_steps_are_refused():
    assert steps(1.0, 1.25) == 800
    with pytest.raises(InputError, match="time step"):
        steps(0.001, 2.0)


def test_only_equilibration_is_langevin_dynamics():
    assert "integrator = md\n" in format_mdp(dynamics_options(NVT))
    assert "integrator = sd\n" in format_mdp(dynamics_options(Stage("npt", 1.0, 2.0, 300.0, 1, pressure_bar=1.0)))


def test_the_last_time_of_a_log_is_found(uninterrupted, tmp_path):
    assert last_time_ps(uninterrupted / "nvt.log") == pytest.approx(6.0)
    assert last_time_ps(tmp_path / "none.log") == 0.0


def test_progress_tells_stage_speed_and_time_left(liquid, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mobcg.atomistic.gromacs.PROGRESS_INTERVAL_S", 0.5)
    run_nvt(copy_of(liquid, tmp_path / "watched"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "test: nvt: 6 ps at 2 fs"
    assert any("of 6 ps" in line and "ns/day" in line and "left" in line for line in lines)
