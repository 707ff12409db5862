import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mobcg.errors import InputError
from mobcg.inversion.invert import FIRST_FACTOR, failure_reason, first_potential, invert, main
from mobcg.pair import CUTOFF_NM, R_NM, force, potential_of_mean_force
from mobcg.plan import run_id
from mobcg.programs import ProgramError
from mobcg.records import read_record, write_record
from mobcg.units import thermal_energy_kj_mol
from tests.inversion.cases import parent_row

SOFT = 1 / (1 + np.exp(-(R_NM - 0.5) / 0.02))
STEP = np.where(R_NM < 0.5, 0.0, 1.0)


def short_spec(parent, **changes):
    return {
        "kind": "inversion",
        "protocol": 1,
        "parent_run_ids": [parent["run_id"]],
        "temperature_k": 298.15,
        "pressure_correction": True,
        "target_pressure_bar": 1.0,
        "iterations_max": 1,
        "iteration_ps_100": 3,
    } | changes


def test_failed_parent_gives_a_failed_record_and_no_run(tmp_path):
    parent = parent_row([], []) | {"rdf": None, "rdf_se": None, "status": "failed", "reason": "the box exploded"}
    write_record(tmp_path / "parent.parquet", "atomistic", parent)
    spec = short_spec(parent)
    arguments = ["--spec", json.dumps(spec), "--parent", str(tmp_path / "parent.parquet")]
    assert main([*arguments, "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out.parquet")]) == 0
    row = read_record(tmp_path / "out.parquet")
    assert (row["status"], row["potential_id"]) == ("failed", run_id(spec))
    assert "the box exploded" in row["reason"]
    assert not (tmp_path / "work").exists()


def test_records_of_another_parent_are_refused(tmp_path):
    parent = parent_row(STEP, STEP)
    with pytest.raises(InputError, match="exactly"):
        invert(short_spec(parent) | {"parent_run_ids": ["0" * 16]}, [parent], tmp_path)


def test_a_blank_in_the_path_is_refused(tmp_path):
    parent = parent_row(STEP, STEP)
    with pytest.raises(InputError, match="without blanks"):
        invert(short_spec(parent), [parent], tmp_path / "my work")


def test_another_temperature_is_refused(tmp_path):
    parent = parent_row(STEP, STEP)
    with pytest.raises(InputError, match="temperature_k"):
        invert(short_spec(parent, temperature_k=300.0), [parent], tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rdf": [0.0] * 150}, "no liquid"),
        ({"rdf": [float("nan")] * 150}, "not finite"),
        ({"rdf": list(STEP)}, "no repulsive wall"),
        ({"rdf": list(SOFT), "number_density_nm3": 8.0}, "take more molecules"),
    ],
    ids=["empty", "nan", "no-wall", "small-box"],
)
def test_a_target_that_is_no_liquid_gives_a_failed_record(tmp_path, changes, reason):
    parent = parent_row(STEP, STEP * 0.01) | changes
    row = invert(short_spec(parent), [parent], tmp_path / "work")
    assert row["status"] == "failed"
    assert reason in row["reason"]


@pytest.mark.workflow
def test_structure_that_is_not_reached_fails_after_a_gentler_attempt(tmp_path):
    far = SOFT * (1 + 3 * np.exp(-(((R_NM - 0.9) / 0.05) ** 2)))
    parent = parent_row(far, STEP * 0.01)
    row = invert(short_spec(parent), [parent], tmp_path / "work")
    assert row["status"] == "failed"
    assert row["reason"].count("from the target") == 2
    assert "then, with smaller updates" in row["reason"]
    assert invert(short_spec(parent), [parent], tmp_path / "work") == row


@pytest.mark.parametrize(
    ("log", "lammps_log", "reason"),
    [
        ("no such word", "", None),
        ("# ERROR: #\ncp: No space left on device", "", None),
        ("# ERROR: #\n# critical: 'lmp -in iteration.lmp' failed #", None, None),
        ("run_lammps.sh: line 7: 123 Killed  lmp\n# ERROR: #", "run 10\n", None),
        ("# ERROR: #", "run 10\nERROR: Lost atoms: 3\n", "LAMMPS stopped in iteration 2: Lost atoms: 3"),
        ("ValueError: no wall\n# ERROR: #", "run 10\n", "iteration 2: no wall"),
    ],
    ids=["killed", "disk-full", "lammps-did-not-start", "lammps-killed", "lammps", "hook"],
)
def test_failure_reason(tmp_path, log, lammps_log, reason):
    (tmp_path / "step_002").mkdir()
    (tmp_path / "inverse.log").write_text(log)
    if lammps_log is not None:
        (tmp_path / "step_002" / "lammps.log").write_text(lammps_log)
    assert failure_reason(tmp_path, 2) == reason


def command(tmp_path, spec, name):
    where = tmp_path / name
    return [
        *(sys.executable, "-m", "mobcg.inversion.invert", "--spec", json.dumps(spec)),
        *("--parent", str(tmp_path / "parent.parquet"), "--work", str(where / "work"), "--out", str(where / "out")),
    ]


@pytest.mark.workflow
def test_killed_inversion_continues_to_the_same_record(tmp_path, known_liquid):
    write_record(tmp_path / "parent.parquet", "atomistic", known_liquid.parent)
    spec = known_liquid.spec(iterations_max=4, iteration_ps_100=15)
    subprocess.run(command(tmp_path, spec, "whole"), check=True)
    main_dir = tmp_path / "killed" / "work" / "attempt_1"
    # In the middle of the preparation, of the simulation, and of the update that follows it.
    for sign in ("step_000", "step_002/pressure.txt", "step_003/CG-CG.dist.new"):
        process = subprocess.Popen(command(tmp_path, spec, "killed"))
        while not (main_dir / sign).exists():
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "killed" / "out").exists()
    subprocess.run(command(tmp_path, spec, "killed"), check=True)
    assert (tmp_path / "killed" / "out").read_bytes() == (tmp_path / "whole" / "out").read_bytes()
    row = read_record(tmp_path / "whole" / "out")
    assert (row["status"], row["n_iterations"]) == ("ok", 4)
    assert "not yet settled" in row["reason"]


@pytest.mark.workflow
@pytest.mark.parametrize("pressure_correction", [True, False])
def test_inversion_gives_a_known_potential_back(tmp_path, known_liquid, pressure_correction):
    spec = known_liquid.spec(pressure_correction=pressure_correction, iteration_ps_100=100)
    row = invert(spec, [known_liquid.parent], tmp_path / "work")
    assert (row["status"], row["reason"]) == ("ok", None)
    well = (R_NM > 0.48) & (R_NM < 1.3)
    error = (np.array(row["potential_kj_mol"]) - known_liquid.potential_kj_mol)[well] / thermal_energy_kj_mol(298.15)
    if not pressure_correction:
        # g(r) hardly feels a potential that falls linearly to the cutoff: only the pressure tells it.
        ramp = (1 - R_NM / CUTOFF_NM)[well]
        error -= ramp * (error @ ramp) / (ramp @ ramp)
    print(f"rms {np.sqrt(np.mean(error**2)):.4f} kT, {row['n_iterations']} iterations, {row['pressure_bar']:.0f} bar")
    assert np.sqrt(np.mean(error**2)) < 0.05
    assert 0.5 < row["rdf_deviation"] / row["rdf_deviation_noise"] < 1.2
    if pressure_correction:
        assert abs(row["pressure_bar"] - known_liquid.pressure_bar) < 60
    np.testing.assert_allclose(row["force_kj_mol_nm"], force(row["potential_kj_mol"]))
    assert len(row["history_pressure_bar"]) == len(row["history_potential_kj_mol"]) == row["n_iterations"]


def test_the_first_potential_is_weaker_than_that_of_mean_force():
    rdf = SOFT * (1 + np.exp(-(((R_NM - 0.6) / 0.05) ** 2)))
    first, mean_force = first_potential(rdf, 298.15), potential_of_mean_force(rdf, 298.15)
    np.testing.assert_allclose(first, FIRST_FACTOR * mean_force)
    assert first.min() < -0.5 * thermal_energy_kj_mol(298.15) * FIRST_FACTOR


@pytest.mark.workflow
def test_an_inversion_that_ends_well_but_early_is_caught(tmp_path, known_liquid, monkeypatch):
    one_iteration = tmp_path / "csg_inverse"
    one_iteration.write_text(f'#!/bin/sh\nexec {shutil.which("csg_inverse")} --do-iterations 1 "$@"\n')
    one_iteration.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ProgramError, match="exit status 0"):
        invert(known_liquid.spec(iterations_max=4, iteration_ps_100=15), [known_liquid.parent], tmp_path / "work")
