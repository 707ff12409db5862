"""Judged runs become rows of the scoreboard, and proposals become records."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mobcg.pair import R_NM
from mobcg.predictor.evaluate import Dynamics, predicted_candidate
from mobcg.predictor.force_matched import evaluation_rows, main
from mobcg.predictor.models import mobcg
from mobcg.predictor.propose import main as propose
from mobcg.predictor.propose import proposed_row
from mobcg.predictor.scoring import Reference, mean_reference
from mobcg.predictor.storage import load_model
from mobcg.predictor.train import main as train
from mobcg.records import read_record, read_rows, to_arrow, write_record
from tests.predictor.cases import TEMPERATURE_K, with_friction, with_multiples, write_tables

RDF = 1 - np.exp(-((R_NM / 0.5) ** 12))
REFERENCE = Reference(("a" * 16,), 78.0, 298.15, 6.7, 200, 1.8, 0.05, RDF, np.full(150, 0.005))
SPEC = {"kind": "evaluation", "protocol": 1, "molecule_id": "benzene", "model": "schnet", "judgement_id": "0" * 16}


def judged(start: int, ensemble: str = "nvt", verdict: str = "stable", diffusion: float | None = 3.6) -> dict:
    return {
        "start": start,
        "ensemble": ensemble,
        "verdict": verdict,
        "reason": f"it was {verdict}",
        "n_molecules": 200,
        "box_length_nm": 3.1,
        "diffusion_nm2_ns": diffusion,
        "diffusion_nm2_ns_se": diffusion and 0.1,
        "diffusion_yh_nm2_ns": diffusion and 4.1,
        "pressure_bar": 3900.0,
        "pressure_bar_se": 10.0,
        "core_s_ns_bead": 0.5,
        "rdf": (RDF * 1.02).tolist(),
        "rdf_se": [0.005] * 150,
        "msd_time_ps": [1.0, 2.0],
        "msd_nm2": [0.01, 0.02],
    }


def atomistic() -> dict:
    return {
        "run_id": "a" * 16,
        "molecule_id": "benzene",
        "force_field_id": "f",
        "replica": 0,
        "temperature_k": TEMPERATURE_K,
        "pressure_bar": 1.0,
        "n_molecules": 200,
        "mass_g_mol": 78.0,
        "number_density_nm3": 5.0,
        "diffusion_nm2_ns": 1.8,
        "diffusion_nm2_ns_se": 0.05,
        "rdf": RDF.tolist(),
        "rdf_se": [0.005] * 150,
        "status": "ok",
        "spec": {},
        "versions": {},
    }


def test_runs_at_constant_temperature_are_the_replicas():
    rows = evaluation_rows(SPEC, [judged(0), judged(0, "nve"), judged(1)], REFERENCE)
    assert [row["replica"] for row in rows] == [0, 1]
    assert rows[0]["alpha"] == pytest.approx(2.0)
    assert rows[0]["rdf_error"] == pytest.approx(0.02, rel=0.01)
    assert rows[0]["score"] > 1
    assert rows[0]["n_beads"] == 200
    table = to_arrow("evaluation", rows)  # every column of the schema that a score has
    assert table["status"].to_pylist() == ["ok", "ok"]


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (judged(0, verdict="collapsed"), "collapsed: it was collapsed"),
        (judged(0, diffusion=None), "too short for a self-diffusion coefficient"),
    ],
)
def test_what_is_no_liquid_is_a_failed_row_with_the_reason(run, reason):
    (row,) = evaluation_rows(SPEC, [run], REFERENCE)
    assert row["status"] == "failed"
    assert row["reason"] == reason
    assert "alpha" not in row


def test_the_command_writes_records(tmp_path):
    pq.write_table(pa.Table.from_pylist([judged(0), judged(1)]), tmp_path / "judged.parquet")
    write_record(tmp_path / "atomistic.parquet", "atomistic", atomistic())
    words = ["--spec", json.dumps(SPEC), "--judgement", str(tmp_path / "judged.parquet")]
    words += ["--atomistic", str(tmp_path / "atomistic.parquet"), "--out", str(tmp_path / "rows.parquet")]
    (tmp_path / "training.json").write_text(json.dumps({"core_s": 24.0, "weights_sha256": "5" * 64}))
    assert main([*words, "--training", str(tmp_path / "training.json")]) == 0
    rows = read_rows(tmp_path / "rows.parquet")
    assert [row["replica"] for row in rows] == [0, 1]
    assert {(row["training_core_s"], row["md_core_s_ns_bead"]) for row in rows} == {(24.0, 0.5)}
    assert {(row["weights_sha256"], *row["reference_run_ids"]) for row in rows} == {("5" * 64, "a" * 16)}
    (tmp_path / "training.json").write_text(json.dumps({"failure": "the loss is nan"}))
    assert main([*words, "--training", str(tmp_path / "training.json")]) == 0
    assert read_rows(tmp_path / "rows.parquet")[0]["training_core_s"] is None


def test_a_liquid_whose_atomistic_runs_all_failed_has_a_failed_row_for_each_start(tmp_path):
    pq.write_table(pa.Table.from_pylist([judged(0), judged(0, "npt"), judged(1)]), tmp_path / "judged.parquet")
    failed = {**atomistic(), "status": "failed", "reason": "blew up", "rdf": None, "diffusion_nm2_ns": None}
    write_record(tmp_path / "atomistic.parquet", "atomistic", failed)
    (tmp_path / "training.json").write_text(json.dumps({"core_s": 24.0}))
    words = ["--spec", json.dumps(SPEC), "--training", str(tmp_path / "training.json")]
    words += ["--judgement", str(tmp_path / "judged.parquet"), "--atomistic", str(tmp_path / "atomistic.parquet")]
    assert main([*words, "--out", str(tmp_path / "rows.parquet")]) == 0
    rows = read_rows(tmp_path / "rows.parquet")
    assert [(row["replica"], row["status"], row["reference_run_ids"]) for row in rows] == [
        (0, "failed", None),
        (1, "failed", None),
    ]
    assert all("no atomistic run of this liquid finished: blew up" in row["reason"] for row in rows)


def test_the_density_at_1_atm_is_that_of_the_run_from_the_same_start():
    held = {**judged(1, "npt"), "density_1atm_kg_m3": 870.0, "density_1atm_kg_m3_se": 2.0}
    lost = {**judged(0, "npt", verdict="no density"), "reason": "it evaporates"}
    first, second = evaluation_rows(SPEC, [judged(0), lost, judged(1), held], REFERENCE)
    assert first["status"] == second["status"] == "ok"
    assert first["reason"] == "no density at 1 atm: it evaporates"
    assert "density_1atm_kg_m3" not in first
    assert (second["density_1atm_kg_m3"], second["density_1atm_kg_m3_se"]) == (870.0, 2.0)


def test_what_drifts_at_constant_energy_keeps_its_scores_and_says_so():
    drifting = {**judged(0, "nve", verdict="unstable"), "reason": "The conserved energy drifts."}
    lost = {**judged(0, "npt", verdict="no density"), "reason": "it evaporates"}
    rows = evaluation_rows(SPEC, [judged(0), drifting, judged(1), judged(1, "nve")], REFERENCE)
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert rows[0]["alpha"] == pytest.approx(2.0)
    assert [row.get("reason") for row in rows] == ["unstable at constant energy: The conserved energy drifts.", None]
    (both,) = evaluation_rows(SPEC, [judged(0), drifting, lost], REFERENCE)
    expected = "no density at 1 atm: it evaporates; unstable at constant energy: The conserved energy drifts."
    assert both["reason"] == expected


def test_a_proposal_that_cannot_be_is_a_failed_record(liquids, tmp_path):
    model = mobcg.train(with_friction(liquids, {"dpd": 7.0}), mobcg.DEFAULTS, 1, lambda line: None)
    # A wall that begins to rise outwards: no potential that can be run.
    shapeless = mobcg.Model(model.settings, model.arrays)
    object.__setattr__(shapeless, "raw_potential", lambda structure, states, *residual: (np.ones((1, 150)) * R_NM,) * 2)
    row = {**atomistic(), "rdf": liquids.rdf[0].tolist(), "number_density_nm3": float(liquids.number_density_nm3[0])}
    for each, record, reason in (
        (model, row | {"status": "failed", "reason": "blew up"}, "blew up"),
        (shapeless, row, "no repulsive wall"),
    ):
        path = tmp_path / "potential.parquet"
        write_record(path, "potentials", proposed_row(each, "5" * 64, record))
        found = read_record(path)
        assert (found["status"], found["parent_id"], found["potential_kj_mol"]) == ("failed", "a" * 16, None)
        assert reason in found["reason"]
        assert found["potential_id"] == proposed_row(model, "5" * 64, row)["potential_id"]


def test_a_proposal_is_a_record_of_a_potential(liquids, tmp_path, capsys):
    tables = write_tables(tmp_path, with_multiples(with_friction(liquids, {"dpd": 7.0})), "benzene")
    model = tmp_path / "model"
    assert train(["--tables", str(tables), "--model", "mobcg", "--fold", "benzene", "--out", str(model)]) == 0
    row = {**atomistic(), "rdf": liquids.rdf[0].tolist(), "number_density_nm3": float(liquids.number_density_nm3[0])}
    write_record(tmp_path / "atomistic.parquet", "atomistic", row)
    words = ["--atomistic", str(tmp_path / "atomistic.parquet"), "--out", str(tmp_path / "potential.parquet")]
    assert propose(["--model-dir", str(model), *words]) == 0
    record = read_record(tmp_path / "potential.parquet")
    assert record["origin"] == "predicted"
    assert record["parent_id"] == "a" * 16
    # It is the potential of the row mobcg of the scoreboard, which runs without friction, its knob at its own choice.
    scored = {**SPEC, "model": "mobcg"}
    candidate = predicted_candidate(load_model(model), scored, 1.0, mean_reference([row]), lambda line: None)
    assert candidate.dynamics == Dynamics("nose_hoover", 0.0)
    np.testing.assert_array_equal(record["potential_kj_mol"], candidate.potential_kj_mol)
    structural = predicted_candidate(
        load_model(model), {**SPEC, "model": "mobcg_dpd"}, 1.0, mean_reference([row]), lambda line: None
    )
    assert not np.allclose(record["potential_kj_mol"], structural.potential_kj_mol, atol=0.05)
    # A model that saw the molecule must not propose for it.
    assert train(["--tables", str(tables), "--model", "mobcg", "--fold", "benzene", "--out", str(tmp_path / "b")]) == 0
    training = json.loads((tmp_path / "b/training.json").read_text())
    (tmp_path / "b/training.json").write_text(json.dumps(training | {"trained_on_molecules": ["benzene"]}))
    capsys.readouterr()
    assert propose(["--model-dir", str(tmp_path / "b"), *words]) == 2
    assert "benzene" in capsys.readouterr().err
