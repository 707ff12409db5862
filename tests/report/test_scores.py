"""The scoreboard's numbers, computed by hand."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest

from mobcg.predictor.scoring import scoreboard
from mobcg.records import to_arrow
from mobcg.report.liquids import Liquid
from mobcg.report.scores import all_atom, csv_text, markdown, measured, score_liquids, summarise

NAMES = {"benzene": "benzene", "neopentane": "neopentane"}


def row(molecule: str, model: str, replica: int, alpha: float, error: float, factor: float = 1.0, **more) -> dict:
    """Return a row of the table evaluation: D_AA is 2 ± 0.04 nm²/ns, D of the model known to 3 %."""
    return {
        "molecule_id": molecule,
        "model": model,
        "replica": replica,
        "scale_factor": factor,
        "thermostat": "nose_hoover",
        "friction_1_ps": 0.0,
        "diffusion_nm2_ns": 2 * alpha,
        "diffusion_nm2_ns_se": 0.06 * alpha,
        "alpha": alpha,
        "alpha_se": alpha * math.hypot(0.03, 0.02),
        "rdf_error": error,
        "rdf_error_se": 0.002,
        "rdf_r2": 0.98,
        "pressure_bar": 10.0,
        "pressure_bar_se": 5.0,
        "status": "ok",
        "spec": "{}",
        "versions": "{}",
    } | more


def scored(rows: list[dict]):
    return score_liquids(scoreboard(to_arrow("evaluation", rows)).to_pylist(), NAMES)


def test_means_over_replicas_are_those_of_a_calculator():
    (only,) = scored([row("benzene", "ibi", 0, 3.0, 0.020), row("benzene", "ibi", 1, 5.0, 0.030)])
    assert (only.replicas, only.failed) == (2, 0)
    assert only.alpha == pytest.approx(4.0)
    # scatter: half the difference, 1.0; the 2 % of D_AA are shared by both replicas
    assert only.alpha_se == pytest.approx(math.hypot(1.0, 0.02 * 4.0))
    assert only.rdf_error == pytest.approx(0.025)
    assert only.rdf_error_se == pytest.approx(0.005)
    assert only.score == pytest.approx(math.hypot(0.25, 2.0))
    assert only.pressure_bar == pytest.approx(10.0)
    assert math.isnan(only.density_1atm_kg_m3)


def test_means_over_liquids():
    scores = scored(
        [row("benzene", "mobcg", i, 2.0, 0.02) for i in (0, 1)]
        + [row("neopentane", "mobcg", i, 8.0, 0.04) for i in (0, 1)]
    )
    (summary,) = summarise(scores)
    assert summary.alpha == pytest.approx(4.0)  # geometric
    assert summary.rdf_error == pytest.approx(0.03)
    assert summary.score == pytest.approx((math.hypot(0.2, 1) + math.hypot(0.4, 3)) / 2)
    # relative errors of α: 3 % of two runs' own D, 2 % of D_AA; ln of the geometric mean: root sum of squares over two
    of_each = math.hypot(0.03 / math.sqrt(2), 0.02)
    assert summary.alpha_se == pytest.approx(4.0 * math.hypot(of_each, of_each) / 2)
    assert summary.complete
    assert summary.best


def test_best_and_tied_are_marked():
    scores = scored(
        [row("benzene", "ibi", i, 4.0 + 0.1 * i, 0.02) for i in (0, 1)]
        + [row("benzene", "mobcg", i, 1.10 + 0.10 * i, 0.04) for i in (0, 1)]
        + [row("benzene", "ibi_dpd", i, 1.05 + 0.10 * i, 0.04) for i in (0, 1)]
    )
    marks = {score.model: (score.best, score.tied) for score in scores}
    assert marks == {"ibi": (False, False), "mobcg": (False, True), "ibi_dpd": (True, False)}


def test_replicas_that_agree_by_chance_do_not_make_a_winner():
    scores = scored(
        [row("benzene", "ibi_dpd", i, 1.0, 0.0122 + 1e-5 * i) for i in (0, 1)]
        + [row("benzene", "ibi_langevin", i, 1.0, 0.0130 + 1e-5 * i) for i in (0, 1)]
        + [row("benzene", "mobcg", i, 1.0, 0.0500 + 1e-5 * i) for i in (0, 1)]
    )
    marks = {score.model: (score.best, score.tied) for score in scores}
    assert marks == {"ibi_dpd": (True, False), "ibi_langevin": (False, True), "mobcg": (False, False)}
    assert {s.model: (s.best, s.tied) for s in summarise(scores)} == marks
    text = markdown(scores, summarise(scores), [], rough=False)
    last = [
        line.split(" | ")[-1].removesuffix(" |") for line in text.splitlines() if line.startswith(("| mean", "| **"))
    ]
    assert last == ["**best**", "tied", "", "**best**"]


def test_a_model_that_misses_a_liquid_is_never_the_best_of_all():
    scores = scored(
        [row("benzene", "ibi", i, 3.0, 0.02) for i in (0, 1)]
        + [row("neopentane", "ibi", i, 3.0, 0.02) for i in (0, 1)]
        + [row("benzene", "mobcg", i, 1.0, 0.02) for i in (0, 1)]
    )
    best = {summary.model: (summary.best, summary.complete) for summary in summarise(scores)}
    assert best == {"ibi": (True, True), "mobcg": (False, False)}
    assert "1 liquids only" in markdown(scores, summarise(scores), [], rough=False)


def test_each_scale_factor_is_a_row_of_its_own():
    scores = scored([row("benzene", "ibi_scaled", 0, 1 / s, 0.1 * s, factor=s) for s in (1.8, 1.2)])
    assert [score.label for score in scores] == ["IBI × 1.2", "IBI × 1.8"]


def test_failed_replicas_are_counted_and_leave_no_number():
    bad = {"molecule_id": "benzene", "model": "mobcg", "scale_factor": 1.0, "thermostat": "nose_hoover"}
    bad |= {"friction_1_ps": 0.0, "status": "failed", "reason": "lost atoms", "spec": "{}", "versions": "{}"}
    scores = scored([row("benzene", "ibi", 0, 3.0, 0.02), bad | {"replica": 0}, bad | {"replica": 1}])
    assert [(score.model, score.replicas, score.failed) for score in scores] == [("ibi", 1, 0), ("mobcg", 0, 2)]
    assert math.isnan(scores[1].alpha)
    text = markdown(scores, summarise(scores), [], rough=False)
    assert "| benzene | mobcg | 0 of 2 | – | – |" in text


def test_markdown_marks_the_best_and_says_when_numbers_are_rough():
    scores = scored([row("benzene", "ibi", 0, 3.0, 0.02), row("benzene", "mobcg", 0, 1.0, 0.02)])
    text = markdown(scores, summarise(scores), [], rough=True)
    assert "**benzene** | **mobcg** |" in text
    assert "rough" in text
    assert "rough" not in markdown(scores, summarise(scores), [], rough=False)


def test_csv_holds_the_unrounded_numbers_and_empty_cells():
    scores = scored([row("benzene", "ibi", 0, 10 / 3, 0.02)])
    liquid, mean = csv.DictReader(io.StringIO(csv_text(scores, summarise(scores), [])))
    assert float(liquid["alpha"]) == 10 / 3
    assert liquid["density_1atm_kg_m3"] == ""
    assert liquid["best"] == "true"
    assert (mean["molecule_id"], float(mean["alpha"])) == ("all", pytest.approx(10 / 3))


def test_no_rows_give_an_empty_scoreboard():
    assert scored([]) == []
    assert summarise([]) == []
    assert "No model was scored" in markdown([], [], [], rough=False)


def test_the_atomistic_liquid_opens_its_models_as_what_they_are_compared_with():
    runs = tuple({"density_kg_m3": d, "density_kg_m3_se": 1.0, "pressure_bar": 1.01325} for d in (866.0, 870.0))
    references = all_atom([Liquid("benzene", "benzene", runs, ()), Liquid("neopentane", "neopentane", (), ())])
    scores = scored([row("benzene", "ibi", 0, 3.0, 0.02), row("neopentane", "ibi", 0, 3.0, 0.02)])
    lines = markdown(scores, summarise(scores), references, rough=False).splitlines()
    place = lines.index("| benzene | all-atom | 2 | 1 | 0 | 1.000 | 1.01 (set) | 868.0 ± 2.0 | 0 | reference |")
    assert lines[place + 1].startswith("| **benzene** | **IBI** |")
    assert sum("all-atom |" in line for line in lines) == 1
    first, *_ = csv.DictReader(io.StringIO(csv_text(scores, summarise(scores), references)))
    assert (first["model"], first["pressure_bar"], float(first["density_1atm_kg_m3"])) == ("all_atom", "", 868.0)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.23456, 0.0123, "1.235 ± 0.012"),
        (1915.4, 23.0, "1915 ± 23"),
        (-310.2, 4.04, "−310.2 ± 4.0"),
        (0.0138780, 9.8e-6, "0.01388 ± 0.00001"),
        (3.14159, np.nan, "3.14"),
        (np.nan, 0.1, "–"),
    ],
)
def test_numbers_are_rounded_by_their_error(value, error, text):
    assert measured(value, error) == text


def test_settings_of_a_knob_are_shown_but_never_the_best():
    rows = [
        row("benzene", "mobcg", i, alpha, 0.02, factor) for i in (0, 1) for factor, alpha in ((1.0, 1.9), (1.3, 1.0))
    ]
    own, turned = scored(rows)
    assert (own.label, own.best) == ("mobcg", True)
    assert (turned.label, turned.best, turned.tied) == ("mobcg, knob × 1.3", False, False)
    assert [summary.best for summary in summarise([own, turned])] == [True, False]
