"""Judgements: starts, rows, resumption, and what went wrong told as rows."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from mobcg.coarse.simulate import simulate_npt
from mobcg.config import Judging
from mobcg.errors import SimulationError
from mobcg.forcematch.dynamics import simulate
from mobcg.forcematch.field import accelerator
from mobcg.forcematch.judgement import SCHEMA, judged, main, starts
from mobcg.forcematch.pair_table import PairTable
from mobcg.forcematch.starts import relaxed
from mobcg.forcematch.storage import save_failure
from mobcg.observables import BeadTrajectory, MoleculeBeads
from mobcg.spec import run_id
from mobcg.units import BAR_PER_ATM, mass_density_kg_m3
from tests.forcematch.boxes import dimers
from tests.forcematch.cases import known_frames
from tests.forcematch.fields import SoftSpheres, Well
from tests.inversion.cases import known_potential

SPEC = {
    "kind": "judgement",
    "model": "schnet",
    "source": {"fit_id": "0" * 16},
    "target_run_ids": ["1" * 16],
    "n_molecules": None,
    **Judging(starts=1, equilibration_ps=5, nvt_ps=12, nve_ps=10).model_dump(),
}


@pytest.fixture(scope="module")
def liquid(tmp_path_factory) -> BeadTrajectory:
    frames = known_frames(tmp_path_factory.mktemp("known"))
    forces = frames.forces_kj_mol_nm.astype(np.float32)
    return BeadTrajectory(frames.positions_nm, frames.box_length_nm, 1.0, 100.0, frames.temperature_k, forces)


def silent(line: str) -> None:
    pass


def test_starts_are_different_frames_of_the_trajectories_in_turn(liquid):
    found = starts({**SPEC, "starts": 4}, [liquid, liquid])
    frames = [
        int(np.argmin([np.abs(frame - one.positions_nm).max() for frame in liquid.positions_nm])) for one in found
    ]
    assert frames[0] == frames[1] != frames[2] == frames[3]
    assert 0.2 < found[0].liquid.closest_nm < 0.6
    assert found[0].measured.keys() == {"atomistic_pressure_bar", "atomistic_pressure_bar_se"}


def test_another_number_of_molecules_is_at_the_same_density(liquid):
    (one,) = starts({**SPEC, "n_molecules": 500}, [liquid])
    assert len(one.beads) == 500
    assert len(one.beads) / one.box_length_nm**3 == pytest.approx(liquid.number_density_nm3, rel=1e-9)


def test_a_field_is_run_in_both_ensembles_and_not_run_again(liquid, tmp_path):
    field, lines = SoftSpheres(epsilon_kj_mol=400.0, cutoff_nm=0.62), []
    rows = judged(SPEC, field, [liquid], tmp_path, lines.append)
    assert [(row["start"], row["ensemble"]) for row in rows] == [(0, "nvt"), (0, "nve")]
    assert {row["judgement_id"] for row in rows} == {run_id(SPEC)}
    for row in rows:
        assert row["verdict"] == "stable", row["reason"]
        assert row["temperature_measured_k"] == pytest.approx(liquid.temperature_k, rel=0.05)
        assert row["n_beads"] == row["n_molecules"] == liquid.positions_nm.shape[1]
        assert row["core_s_ns_bead"] > 0
        assert len(row["rdf"]) == 150
    assert rows[1]["time_step_fs"] == rows[0]["time_step_fs"]
    lines.clear()
    assert judged(SPEC, field, [liquid], tmp_path, lines.append) == rows
    assert lines == []
    stiffer = SoftSpheres(epsilon_kj_mol=440.0, cutoff_nm=0.62)  # the same spec, a model that was trained again
    again = judged(SPEC, stiffer, [liquid], tmp_path, lines.append)
    assert again[0]["pressure_bar"] > rows[0]["pressure_bar"]


@pytest.mark.parametrize(("step_fs", "verdict"), [(80.0, "stable"), (240.0, "unstable")])
def test_what_looks_unstable_is_run_again_with_half_the_time_step(step_fs, verdict, liquid, tmp_path, monkeypatch):
    monkeypatch.setattr("mobcg.forcematch.dynamics.longest_step_fs", lambda *_: step_fs)
    lines, field = [], SoftSpheres(epsilon_kj_mol=400.0, cutoff_nm=0.62)
    (row,) = judged({**SPEC, "nve_ps": 0}, field, [liquid], tmp_path, lines.append)
    assert row["verdict"] == verdict
    assert row["time_step_fs"] == step_fs / 2
    assert row["reason"].startswith(f"With a time step of {step_fs / 2:.2f} fs: ")
    assert sum("Again with half the time step." in line for line in lines) == 1
    assert not list(tmp_path.glob("*.checkpoint.npz"))


def test_a_density_at_1_atm_where_the_liquid_holds_one_and_a_reason_where_not(liquid, tmp_path):
    spec = {**SPEC, "nve_ps": 0, "npt_ps": 12}
    _, row = judged(spec, SoftSpheres(epsilon_kj_mol=400.0, cutoff_nm=0.62), [liquid], tmp_path, silent)
    assert row["ensemble"] == "npt"
    assert row["verdict"] == "no density"
    assert "it evaporates: the volume is 2." in row["reason"]
    assert row["core_s_ns_bead"] > 0


def test_the_density_at_1_atm_is_that_of_lammps(liquid, tmp_path):
    """The same potential in both, deep enough for a liquid, not so deep that it comes apart where the run starts.

    300 beads: the volume of 200 fluctuates down to a box of twice the cutoff, where a run ends.
    """
    spec = {**SPEC, "n_molecules": 300, "nvt_ps": 2, "nve_ps": 0, "npt_ps": 30}
    deep = 1.6 * known_potential()
    row = judged(spec, PairTable(deep), [liquid], tmp_path, silent)[-1]
    theirs = simulate_npt(
        deep,
        mass_g_mol=liquid.mass_g_mol,
        temperature_k=liquid.temperature_k,
        number_density_nm3=liquid.number_density_nm3,
        n_beads=spec["n_molecules"],
        pressure_bar=BAR_PER_ATM,
        equilibration_ps_100=30,
        production_ps_100=300,
        seed=1,
        directory=tmp_path / "lammps",
    )
    assert row["verdict"] == "stable", row["reason"]
    error = np.hypot(row["density_1atm_kg_m3_se"], theirs.density_kg_m3_se)
    assert error < 0.02 * theirs.density_kg_m3
    assert row["density_1atm_kg_m3"] == pytest.approx(theirs.density_kg_m3, abs=4 * error)
    assert theirs.density_kg_m3 > 1.1 * mass_density_kg_m3(liquid.number_density_nm3, liquid.mass_g_mol)


def test_a_field_that_falls_in_on_itself_is_a_row_that_says_so(liquid, tmp_path):
    (row,) = judged(SPEC, SoftSpheres(epsilon_kj_mol=-60.0, cutoff_nm=1.0), [liquid], tmp_path, silent)
    assert row["ensemble"] == "nvt"  # and nothing else is run
    assert row["verdict"] in ("collapsed", "unstable")
    assert row["reason"]


def test_a_molecule_of_two_beads_is_run_and_both_its_g_of_r_are_told(tmp_path):
    beads, positions, edge = dimers(120)
    field = SoftSpheres(epsilon_kj_mol=60.0, cutoff_nm=0.5)
    settings = {"temperature_k": 300.0, "ensemble": "nvt", "equilibration_ps": 2, "seed": 1}
    run = simulate(field, beads, relaxed(field, beads, positions, edge), edge, production_ps=10, **settings)
    molecule = MoleculeBeads((20.0, 60.0), (0, 1), ((0, 1),))
    pressure = {"pressure_measured_bar": 71.0, "pressure_measured_bar_se": 8.0}
    atomistic = replace(run.trajectory, molecule=molecule, metadata=pressure)
    (row,) = judged({**SPEC, "nve_ps": 0}, field, [atomistic], tmp_path, silent)
    assert row["verdict"] == "stable", row["reason"]
    assert (row["n_beads"], row["n_molecules"], row["mass_g_mol"]) == (240, 120, 80.0)
    assert (row["atomistic_pressure_bar"], row["atomistic_pressure_bar_se"]) == (71.0, 8.0)
    assert 0 < np.max(row["atomistic_bead_rdf_se"]) < 0.5
    seen, expected = (np.array(row[name])[20:70] for name in ("bead_rdf", "atomistic_bead_rdf"))
    np.testing.assert_allclose(seen.mean(), expected.mean(), rtol=0.05)
    assert not np.allclose(row["bead_rdf"], row["rdf"], atol=0.1)


def test_a_pair_potential_runs_in_lammps_and_at_constant_energy_here(liquid, tmp_path):
    spec = {**SPEC, "model": "pair_fm"}
    row, free = judged(spec, known_potential(), [liquid], tmp_path, silent)
    assert [(one["ensemble"], one["verdict"]) for one in (row, free)] == [("nvt", "stable"), ("nve", "stable")]
    assert row["diffusion_nm2_ns"] > 0
    seen = np.array(row["rdf"])
    assert seen.max() > 1.2
    # What LAMMPS does not tell is that of its frames, and so the same as here.
    error = np.hypot(row["molecule_energy_kj_mol_se"], free["molecule_energy_kj_mol_se"])
    assert 0 < error < 0.1
    assert row["molecule_energy_kj_mol"] == pytest.approx(free["molecule_energy_kj_mol"], abs=4 * error)
    assert row["smallest_distance_nm"] == pytest.approx(free["smallest_distance_nm"], abs=0.03)
    assert row["smallest_distance_nm"] >= np.flatnonzero(seen)[0] * 0.01 - 0.01
    assert abs(free["energy_drift_kt_ns"]) < 0.15
    assert free["time_step_fs"] == row["time_step_fs"]
    steps_ns = 1e6 / row["time_step_fs"]
    assert row["core_s_ns_bead"] == pytest.approx(steps_ns / row["steps_per_core_s"] / row["n_beads"])
    assert (row.get("device"), free["device"]) == (None, accelerator().type)
    assert not list(tmp_path.glob("*.run"))


def test_a_collapse_is_no_fault_of_the_time_step_and_is_run_once(liquid, tmp_path):
    lines = []
    (row,) = judged(SPEC, Well(epsilon_kj_mol=3.0, cutoff_nm=0.9), [liquid], tmp_path, lines.append)
    assert row["verdict"] == "collapsed", row["reason"]
    assert not any("Again" in line for line in lines)
    assert "With a time step" not in row["reason"]


def test_a_pair_potential_that_attracts_far_too_much_is_judged_as_a_field_is(liquid, tmp_path):
    row, *_ = judged({**SPEC, "model": "ibi", "nve_ps": 0}, 6 * known_potential(), [liquid], tmp_path, silent)
    assert row["verdict"] in ("collapsed", "frozen"), row["reason"]


@pytest.mark.parametrize("model", [SoftSpheres(), known_potential()], ids=["many-body", "pair"])
def test_a_box_too_small_for_its_g_of_r_is_not_run(model, liquid, tmp_path):
    with pytest.raises(SimulationError, match=r"100 molecules make a box of 2\.\d\d nm; g\(r\) needs more than 3 nm"):
        judged({**SPEC, "n_molecules": 100}, model, [liquid], tmp_path, silent)
    assert not list(tmp_path.iterdir())


def test_a_pair_potential_that_cannot_be_measured_failed_and_was_not_unstable(liquid, tmp_path):
    # So thin that particles take longer to diffuse than the run is.
    thin = replace(liquid, positions_nm=4 * liquid.positions_nm, box_length_nm=4 * liquid.box_length_nm)
    (row,) = judged({**SPEC, "model": "ibi"}, known_potential(), [thin], tmp_path, silent)
    assert row["verdict"] == "failed"
    assert "are too short: D needs" in row["reason"]


def test_the_command_writes_rows_for_a_training_that_diverged(liquid, tmp_path):
    liquid.save(tmp_path / "beads.npz")
    save_failure(tmp_path / "fit", "schnet", "the loss of epoch 2 is nan")
    words = ["--spec", json.dumps(SPEC), "--beads", str(tmp_path / "beads.npz"), "--model-dir", str(tmp_path / "fit")]
    assert main([*words, "--work", str(tmp_path / "work"), "--out", str(tmp_path / "rows.parquet")]) == 0
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table.schema.equals(SCHEMA)
    (row,) = table.to_pylist()
    assert row["verdict"] == "failed"
    assert row["reason"] == "the loss of epoch 2 is nan"
    assert row["n_molecules"] == liquid.positions_nm.shape[1]


def test_where_the_atomistic_run_failed_the_row_says_so(tmp_path):
    failed = BeadTrajectory(np.zeros((0, 5, 3)), np.nan, 1.0, 78.0, 298.0, metadata={"reason": "evaporated"})
    failed.save(tmp_path / "beads.npz")
    save_failure(tmp_path / "fit", "schnet", "no frames")
    words = ["--spec", json.dumps(SPEC), "--beads", str(tmp_path / "beads.npz"), "--model-dir", str(tmp_path / "fit")]
    assert main([*words, "--work", str(tmp_path / "work"), "--out", str(tmp_path / "rows.parquet")]) == 0
    (row,) = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert (row["verdict"], row["n_molecules"]) == ("failed", 5)
    assert row["reason"] == "no frames"
    with pytest.raises(SimulationError, match="no atomistic run of this liquid finished: evaporated"):
        starts(SPEC, [failed])
