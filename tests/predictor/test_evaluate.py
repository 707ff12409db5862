"""Evaluations with the real lmp, on a liquid of 160 beads that stands in for an atomistic one."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from mobcg.coarse.simulate import measure, simulate
from mobcg.database.manifest import sha256_of
from mobcg.errors import InputError
from mobcg.predictor.evaluate import evaluate, main, replica_spec
from mobcg.predictor.train import main as train
from mobcg.records import read_record, read_rows, write_record
from mobcg.schema import TABLES
from tests.predictor.cases import TEMPERATURE_K, well, with_friction, with_multiples, write_tables

MASS, DENSITY, N_BEADS = 25.0, 5.0, 160
POTENTIAL = well(0.6, 0.48)
LENGTHS = {"equilibration_ps_100": 5, "production_ps_100": 150}
SPEC = {
    "kind": "evaluation",
    "protocol": 1,
    "molecule_id": "benzene",
    "model": "ibi",
    "scale_factor": 1.0,
    "replicas": 1,
    "npt_ps_100": 0,
    **LENGTHS,
}


@pytest.fixture(scope="module")
def liquid(tmp_path_factory) -> dict:
    """Record of a liquid whose pair potential is known to be POTENTIAL."""
    run = simulate(
        POTENTIAL,
        mass_g_mol=MASS,
        temperature_k=TEMPERATURE_K,
        number_density_nm3=DENSITY,
        n_beads=N_BEADS,
        thermostat="nose_hoover",
        friction_1_ps=0.0,
        **LENGTHS,
        seed=1,
        directory=tmp_path_factory.mktemp("liquid"),
    )
    columns = {name: value for name, value in measure(run).items() if name in TABLES["atomistic"].arrow_schema.names}
    return columns | {
        "run_id": "a" * 16,
        "molecule_id": "benzene",
        "force_field_id": "f",
        "replica": 0,
        "temperature_k": TEMPERATURE_K,
        "pressure_bar": 1.0,
        "n_molecules": N_BEADS,
        "mass_g_mol": MASS,
        "number_density_nm3": DENSITY,
        "status": "ok",
        "reason": None,
        "spec": {},
        "versions": {},
    }


@pytest.fixture(scope="module")
def ibi() -> dict:
    return {"status": "ok", "reason": None, "potential_kj_mol": POTENTIAL.tolist()}


def silent(line: str) -> None:
    pass


def test_the_true_potential_scores_as_well_as_noise_allows(liquid, ibi, tmp_path):
    (row,) = evaluate(SPEC, [liquid], ibi, None, tmp_path, silent)
    assert row["status"] == "ok"
    assert abs(row["alpha"] - 1) < 4 * row["alpha_se"] < 0.4
    assert row["rdf_error"] < 0.03
    assert row["rdf_r2"] > 0.99
    assert row["box_length_nm"] == pytest.approx(liquid["box_length_nm"])
    assert (row["reference_run_ids"], row.get("weights_sha256")) == ([liquid["run_id"]], None)
    write_record(tmp_path / "row.parquet", "evaluation", row)
    assert read_record(tmp_path / "row.parquet")["spec"] == replica_spec(SPEC, 1.0, 0)
    assert not any((tmp_path / "runs").iterdir())


def test_a_finished_replica_is_not_run_again(liquid, ibi, tmp_path):
    lines: list[str] = []
    first = evaluate(SPEC, [liquid], ibi, None, tmp_path, silent)
    (record,) = (tmp_path / "records").iterdir()
    before = record.stat().st_mtime_ns
    again = evaluate({**SPEC, "replicas": 2}, [liquid], ibi, None, tmp_path, lines.append)
    assert record.stat().st_mtime_ns == before
    assert again[0]["diffusion_nm2_ns"] == first[0]["diffusion_nm2_ns"] != again[1]["diffusion_nm2_ns"]
    assert "run 2/2" in lines[-1]
    # Another potential is another question.
    other = {**ibi, "potential_kj_mol": (1.1 * POTENTIAL).tolist()}
    assert evaluate(SPEC, [liquid], other, None, tmp_path, silent)[0]["potential_kj_mol"] == other["potential_kj_mol"]


@pytest.mark.parametrize("model", ["ibi_langevin", pytest.param("ibi_dpd", marks=pytest.mark.workflow)])
def test_friction_is_calibrated_to_a_slower_liquid(model, liquid, ibi, tmp_path):
    slower = liquid | {"diffusion_nm2_ns": liquid["diffusion_nm2_ns"] / 3}
    spec = {**SPEC, "model": model}
    (row,) = evaluate(spec, [slower], ibi, None, tmp_path, silent)
    assert row["thermostat"] == model.removeprefix("ibi_")
    assert row["friction_1_ps"] > 0
    assert row["alpha"] == pytest.approx(1.0, abs=0.2)
    assert row["rdf_error"] < 0.03
    calibration = (tmp_path / "calibration.json").stat().st_mtime_ns
    assert evaluate(spec, [slower], ibi, None, tmp_path, silent)[0]["friction_1_ps"] == row["friction_1_ps"]
    assert (tmp_path / "calibration.json").stat().st_mtime_ns == calibration


def test_no_friction_for_a_liquid_that_is_faster(liquid, ibi, tmp_path):
    faster = liquid | {"diffusion_nm2_ns": liquid["diffusion_nm2_ns"] * 3}
    (row,) = evaluate({**SPEC, "model": "ibi_dpd"}, [faster], ibi, None, tmp_path, silent)
    assert (row["thermostat"], row["friction_1_ps"], row["status"]) == ("nose_hoover", 0.0, "ok")


def test_a_run_that_cannot_be_is_a_row_with_its_reason(liquid, ibi, tmp_path):
    short = {**SPEC, "production_ps_100": 10, "replicas": 2}
    rows = evaluate(short, [liquid], ibi, None, tmp_path, silent)
    assert [(row["status"], row["replica"]) for row in rows] == [("failed", 0), ("failed", 1)]
    assert "too short" in rows[0]["reason"]


def test_a_torn_record_of_a_replica_is_made_again(liquid, ibi, tmp_path, capsys):
    short = {**SPEC, "production_ps_100": 10}
    rows = evaluate(short, [liquid], ibi, None, tmp_path, silent)
    (record,) = (tmp_path / "records").iterdir()
    record.write_bytes(record.read_bytes()[:-100])
    assert evaluate(short, [liquid], ibi, None, tmp_path, silent) == rows
    assert f"{record}: found" in capsys.readouterr().err
    assert read_record(record)["status"] == "failed"


@pytest.mark.parametrize("failed", ["atomistic", "inversion"])
def test_a_failed_parent_makes_failed_rows(failed, liquid, ibi, tmp_path):
    atomistic = liquid | {"status": "failed", "reason": "blew up"} if failed == "atomistic" else liquid
    parent = ibi | {"status": "failed", "reason": "blew up"} if failed == "inversion" else ibi
    scaled = {**SPEC, "model": "ibi_scaled", "scale_factors": [1.2, 1.5], "replicas": 2}
    rows = evaluate(scaled, [atomistic], parent, None, tmp_path, silent)
    assert [(row["scale_factor"], row["replica"]) for row in rows] == [(1.2, 0), (1.2, 1), (1.5, 0), (1.5, 1)]
    assert all(failed in row["reason"] and "blew up" in row["reason"] for row in rows)
    assert pq.read_schema(_written(tmp_path, rows)).names == TABLES["evaluation"].arrow_schema.names


@pytest.mark.parametrize(("model", "has_cost"), [("pair_fm", True), ("ibi", False)])
def test_a_force_matched_pair_potential_tells_what_its_dynamics_cost(model, has_cost, liquid, ibi, tmp_path):
    (row,) = evaluate({**SPEC, "model": model}, [liquid], ibi, None, tmp_path, silent)
    assert row["status"] == "ok"
    # 160 beads and some 80 ps take LAMMPS seconds at most.
    assert (0 < row.get("md_core_s_ns_bead", 0) < 30 / 0.08 / N_BEADS) == has_cost


def _written(directory, rows):
    write_record(directory / "row.parquet", "evaluation", rows[0])
    return directory / "row.parquet"


def test_command_line_scores_a_trained_model_and_its_density(liquid, liquids, tmp_path):
    tables = write_tables(tmp_path, liquids, "benzene")
    train(["--tables", str(tables), "--model", "mobcg", "--fold", "benzene", "--out", str(tmp_path / "model")])
    write_record(tmp_path / "atomistic.parquet", "atomistic", liquid)
    spec = {**SPEC, "model": "mobcg", "npt_ps_100": 60}
    words = ["--atomistic", tmp_path / "atomistic.parquet", "--model-dir", tmp_path / "model"]
    words += ["--spec", json.dumps(spec), "--work", tmp_path / "work", "--out", tmp_path / "eval.parquet"]
    assert main([str(word) for word in words]) == 0
    (row,) = read_rows(tmp_path / "eval.parquet")
    assert row["status"] == "ok", row["reason"]
    assert np.isfinite(row["score"])
    assert (row["density_1atm_kg_m3"] is None) == ("density" in (row["reason"] or ""))
    assert row["reference_run_ids"] == [liquid["run_id"]]
    assert row["weights_sha256"] == sha256_of(tmp_path / "model/weights.safetensors")


@pytest.fixture(scope="module")
def model_dir(liquids, tmp_path_factory):
    directory = tmp_path_factory.mktemp("trained")
    rows = with_multiples(with_friction(liquids, {"langevin": 1.5}))
    tables = write_tables(directory, rows, "benzene")
    train(["--tables", str(tables), "--model", "mobcg", "--fold", "benzene", "--out", str(directory / "model")])
    return directory / "model"


def test_friction_is_predicted_without_a_calibration_run(liquid, model_dir, tmp_path):
    slower = liquid | {"diffusion_nm2_ns": liquid["diffusion_nm2_ns"] / 20}
    spec = {**SPEC, "model": "mobcg_langevin"}
    lines: list[str] = []
    (row,) = evaluate(spec, [slower], None, model_dir, tmp_path, lines.append)
    assert (row["status"], row["thermostat"], row["scale_factor"]) == ("ok", "langevin", 1.0)
    assert row["friction_1_ps"] > 0
    assert row["diffusion_nm2_ns"] < 0.7 * liquid["diffusion_nm2_ns"]
    assert not (tmp_path / "calibration.json").exists()
    assert "of the training data" in lines[0]


def test_a_friction_that_was_never_learned_is_a_row_with_its_reason(liquid, model_dir, tmp_path):
    (row,) = evaluate({**SPEC, "model": "mobcg_dpd"}, [liquid], None, model_dir, tmp_path, silent)
    assert (row["status"], row["thermostat"]) == ("failed", "dpd")
    assert "no run with dpd friction" in row["reason"]


def test_each_setting_of_the_knob_is_a_row(liquid, model_dir, tmp_path):
    spec = {**SPEC, "model": "mobcg", "scale_factors": [1.0, 1.5]}
    lines: list[str] = []
    rows = evaluate(spec, [liquid], None, model_dir, tmp_path, lines.append)
    assert [(row["scale_factor"], row["status"]) for row in rows] == [(1.0, "ok"), (1.5, "ok")]
    own, turned = (np.array(row["potential_kj_mol"]) for row in rows)
    assert turned.min() < 1.2 * own.min()
    assert "factor 1.5: proposes U × " in lines[1]


def test_a_factor_that_a_model_without_a_knob_cannot_do_fails_alone(liquid, liquids, tmp_path):
    tables = write_tables(tmp_path, liquids, "benzene")
    train(["--tables", str(tables), "--model", "mobcg", "--fold", "benzene", "--out", str(tmp_path / "model")])
    spec = {**SPEC, "model": "mobcg", "scale_factors": [1.0, 1.5]}
    rows = evaluate(spec, [liquid], None, tmp_path / "model", tmp_path / "work", silent)
    assert [(row["scale_factor"], row["status"]) for row in rows] == [(1.0, "ok"), (1.5, "failed")]
    assert "knob: found 1.5" in rows[1]["reason"]
    assert rows[0]["weights_sha256"] == rows[1]["weights_sha256"]
    assert rows[1]["reference_run_ids"] == [liquid["run_id"]]


def test_a_model_that_learned_from_the_molecule_is_refused(liquid, liquids, tmp_path):
    tables = write_tables(tmp_path, liquids, "benzene")
    train(["--tables", str(tables), "--model", "mobcg", "--fold", "benzene", "--out", str(tmp_path / "model")])
    spec = {**SPEC, "model": "mobcg", "molecule_id": "neopentane"}
    with pytest.raises(InputError, match="fold that holds neopentane out"):
        evaluate(spec, [liquid | {"molecule_id": "neopentane"}], None, tmp_path / "model", tmp_path, silent)


def test_what_is_missing_is_named(liquid, tmp_path):
    with pytest.raises(InputError, match="--potential"):
        evaluate(SPEC, [liquid], None, None, tmp_path, silent)
    with pytest.raises(InputError, match="--model-dir"):
        evaluate({**SPEC, "model": "mobcg"}, [liquid], None, None, tmp_path, silent)
    with pytest.raises(InputError, match="allowed: ibi"):
        evaluate({**SPEC, "model": "magic"}, [liquid], None, None, tmp_path, silent)
