import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mobcg import pair, plan
from mobcg.coarse.shard import IDENTITY_FILE, main, run_shard, run_specs
from mobcg.errors import InputError
from mobcg.programs import ProgramError
from mobcg.records import read_record, read_rows, write_record
from mobcg.spec import derived_potential_id
from tests.coarse.cases import BOTTOMLESS, SOFT, TEMPERATURE_K, lennard_jones

PARENT = "0123456789abcdef"
SHARD = {
    "kind": "shard",
    "temperature_k": TEMPERATURE_K,
    "parts": [{"parent_id": PARENT, "first": 0, "count": 3}],
    "sampling": {
        "n_beads": 150,
        "mass_g_mol": [50.0, 150.0],
        "scale_factors": [0.8, 1.0, 1.2],
        "friction_1_ps_100": {"langevin": [0.5, 2.0], "dpd": [0.1, 0.4]},
        "thermostat_weights": {"langevin": 1.0, "nose_hoover": 1.0},
        "equilibration_ps_100": 3.0,
        "production_ps_100": 130.0,
    },
}


def potential_row(potential_kj_mol=SOFT, **changes) -> dict:
    return {
        "potential_id": PARENT,
        "molecule_id": "benzene",
        "origin": "ibi",
        "parent_id": "fedcba9876543210",
        "parent_run_ids": ["fedcba9876543210"],
        "scale_factor": 1.0,
        "temperature_k": TEMPERATURE_K,
        "number_density_nm3": 4.9,
        "mass_g_mol": 78.11,
        "n_beads": 150,
        "potential_kj_mol": list(potential_kj_mol),
        "force_kj_mol_nm": pair.force(potential_kj_mol).tolist(),
        "pressure_corrected": True,
        "status": "ok",
        "spec": {"kind": "inversion"},
        "versions": {"mobcg": "0"},
        **changes,
    }


def command(directory: Path, shard: dict = SHARD) -> list[str]:
    paths = {"potential": "potential.parquet", "work": "work", "out": "shard.parquet"}
    options = [word for name, path in paths.items() for word in (f"--{name}", str(directory / path))]
    return [sys.executable, "-m", "mobcg.coarse.shard", "--spec", json.dumps(shard), *options]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Return the directory of a shard that ran without a break, from the command line."""
    directory = tmp_path_factory.mktemp("finished")
    write_record(directory / "potential.parquet", "potentials", potential_row())
    done = subprocess.run(command(directory), capture_output=True, text=True, check=True)
    (directory / "printed.txt").write_text(done.stdout)
    return directory


def test_a_shard_makes_one_record_for_each_draw(finished):
    rows = read_rows(finished / "shard.parquet")
    specs = {plan.run_id(spec): spec for spec in plan.expand_shard(SHARD)}
    assert [row["run_id"] for row in rows] == sorted(specs)
    for row in rows:
        spec = specs[row["run_id"]]
        assert row["status"] == "ok"
        assert row["reason"] is None
        assert row["spec"] == spec
        assert row["molecule_id"] == "benzene"
        assert row["number_density_nm3"] == 4.9
        assert row["potential_id"] == derived_potential_id(spec["potential"])
        assert row["diffusion_nm2_ns"] > 0
        assert (row["diffusion_yh_nm2_ns"] is None) == (row["thermostat"] == "langevin")
        assert set(row["versions"]) == {"lmp", "mobcg"}
        assert read_record(finished / "work" / f"{row['run_id']}.parquet") == row
    assert {row["thermostat"] for row in rows} == {"langevin", "nose_hoover"}
    assert not list((finished / "work").glob("*.run"))


def test_the_scale_factor_multiplies_the_potential(finished):
    by_factor = {row["spec"]["potential"]["scale_factor"]: row for row in read_rows(finished / "shard.parquet")}
    heights = [max(by_factor[factor]["rdf"]) for factor in sorted(by_factor)]
    assert len(by_factor) > 1
    assert heights == sorted(heights)


def test_progress_says_how_far_and_how_long(finished):
    lines = (finished / "printed.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == ["1 of 3", "2 of 3", "3 of 3"]
    assert all("s a record" in line and "min left" in line for line in lines)


def test_a_killed_shard_goes_on_where_it_was(finished, tmp_path):
    write_record(tmp_path / "potential.parquet", "potentials", potential_row())
    work = tmp_path / "work"
    with subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL) as shard:
        while not (records := list(work.glob("[!.]*.parquet"))):  # a temporary file of a record begins with a dot
            assert shard.poll() is None
            time.sleep(0.05)
        os.kill(shard.pid, signal.SIGKILL)
    written = records[0].stat().st_mtime_ns
    assert not (tmp_path / "shard.parquet").exists()
    assert len(list(work.glob("[!.]*.parquet"))) < SHARD["parts"][0]["count"]
    again = subprocess.run(command(tmp_path), capture_output=True, text=True, check=True)
    assert "records are there already" in again.stdout
    assert records[0].stat().st_mtime_ns == written
    assert (tmp_path / "shard.parquet").read_bytes() == (finished / "shard.parquet").read_bytes()


def test_a_truncated_record_is_run_again(finished, tmp_path, capsys):
    work = tmp_path / "work"
    work.mkdir()
    records = sorted((finished / "work").glob("*.parquet"))
    for record in [*records, finished / "work" / IDENTITY_FILE]:
        (work / record.name).write_bytes(record.read_bytes())
    broken = work / records[1].name
    broken.write_bytes(broken.read_bytes()[:-100])
    rows = run_shard(SHARD, [potential_row()], work)
    for row, before in zip(rows, read_rows(finished / "shard.parquet"), strict=True):
        assert {name: value for name, value in row.items() if value != before[name]} == {}
    assert broken.read_bytes() == records[1].read_bytes()
    assert str(broken) in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes",
    [
        {"number_density_nm3": 4.8},
        {"potential_kj_mol": [1.001 * value for value in SOFT]},
        None,  # nobody knows what they were run with
    ],
)
def test_records_of_another_parent_are_not_taken_for_this_ones(changes, finished, tmp_path, monkeypatch, capsys):
    work = shutil.copytree(finished / "work", tmp_path / "work")
    monkeypatch.setenv("PATH", str(tmp_path))  # nothing can be run
    same = potential_row(origin="another", versions={"mobcg": "1"})
    assert run_shard(SHARD, [same], work) == read_rows(finished / "shard.parquet")
    if changes is None:
        (work / IDENTITY_FILE).unlink()
    with pytest.raises(ProgramError, match="lmp"):
        run_shard(SHARD, [potential_row() | (changes or {})], work)
    assert not list(work.glob("*.parquet"))
    assert "3 records are not of these potentials; they are made again" in capsys.readouterr().out


def test_records_that_failed_with_their_parent_are_made_again_when_it_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for reason in ("did not converge", "froze"):
        failed = potential_row() | {"status": "failed", "reason": reason, "potential_kj_mol": None}
        rows = run_shard(SHARD, [failed], tmp_path)
        assert {row["reason"] for row in rows} == {f"its potential failed: {reason}"}
    with pytest.raises(ProgramError, match="lmp"):
        run_shard(SHARD, [potential_row()], tmp_path)


def test_a_failed_run_is_a_record_with_the_reason(tmp_path):
    shard = SHARD | {"parts": [{"parent_id": PARENT, "first": 0, "count": 1}]}
    (row,) = run_shard(shard, [potential_row(BOTTOMLESS)], tmp_path)
    assert row["status"] == "failed"
    assert "lmp failed" in row["reason"]
    assert row["diffusion_nm2_ns"] is None
    assert (tmp_path / f"{row['run_id']}.run" / "lmp.log").exists()


def test_a_failed_potential_fails_every_record_without_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    failed = potential_row() | {"status": "failed", "reason": "did not converge", "potential_kj_mol": None}
    rows = run_shard(SHARD, [failed], tmp_path)
    assert len(rows) == SHARD["parts"][0]["count"]
    assert {row["status"] for row in rows} == {"failed"}
    assert {row["reason"] for row in rows} == {"its potential failed: did not converge"}


def test_a_failed_potential_fails_its_own_rows_only(tmp_path):
    other = "f" * 16
    parts = [{"parent_id": name, "first": 0, "count": 1} for name in (PARENT, other)]
    failed = {"potential_id": other, "status": "failed", "reason": "did not converge", "potential_kj_mol": None}
    rows = run_shard(SHARD | {"parts": parts}, [potential_row(), potential_row() | failed], tmp_path)
    assert {row["potential_id"]: row["status"] for row in rows} == {PARENT: "ok", other: "failed"}


def test_a_perturbed_draw_runs_the_perturbed_potential(tmp_path):
    """A bump of kT/2 at the first peak lowers it; the same bump as a well raises it."""
    peaks = []
    for amplitude in (1.2, -1.2):
        potential = {"parent_id": PARENT, "scale_factor": 1.0}
        bump = {"amplitude_kj_mol": [amplitude], "centre_nm": [0.56], "width_nm": [0.06]}
        spec = plan.expand_shard(SHARD)[0] | {"potential": {**potential, "perturbation": bump}}
        (row,) = run_specs([spec], {PARENT: potential_row()}, tmp_path / str(amplitude))
        assert (row["status"], row["potential_id"]) == ("ok", derived_potential_id(spec["potential"]))
        peaks.append(max(row["rdf"]))
    assert peaks[0] + 0.3 < peaks[1]


def test_a_run_that_is_at_fault_fails_with_the_reason(tmp_path):
    spec = plan.expand_shard(SHARD)[0]
    (row,) = run_specs([spec], {PARENT: potential_row()}, tmp_path, lambda spec, row: f"odd: {row['status']}")
    assert (row["status"], row["reason"], row["rdf"]) == ("failed", "odd: ok", None)


def test_a_liquid_that_comes_apart_is_a_failed_row(tmp_path):
    """Lennard-Jones at T* = 0.8 and ρ* = 0.25: a droplet in its vapour."""
    alone = {"potential": {"parent_id": PARENT, "scale_factor": 1.0}, "production_ps_100": 180.0}
    spec = plan.expand_shard(SHARD)[0] | alone
    droplet = potential_row(lennard_jones(3.1, 0.5), number_density_nm3=2.0)
    (row,) = run_specs([spec], {PARENT: droplet}, tmp_path)
    assert row["status"] == "failed"
    assert row["reason"].startswith("came apart: g(r) is ")


def test_another_potential_is_refused(tmp_path):
    with pytest.raises(InputError, match="potential_id"):
        run_shard(SHARD, [potential_row(potential_id="another")], tmp_path)


def test_a_missing_lammps_stops_the_shard_and_leaves_no_record(tmp_path, monkeypatch):
    write_record(tmp_path / "potential.parquet", "potentials", potential_row())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="lmp"):
        main(command(tmp_path)[3:])
    assert not list((tmp_path / "work").glob("*.parquet"))
    assert not (tmp_path / "shard.parquet").exists()
