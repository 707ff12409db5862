"""What the predictor knows of itself, drawn from the records of its training."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from mobcg.errors import InputError
from mobcg.report.learning import learning, reliability, replica_chi_square
from mobcg.report.release import load_release
from mobcg.report.style import drawing

RECORDS = {
    "mobcg": {
        "history": {
            "closure_error_kt": 0.1,
            "learning_curve": [
                {"parents": 10, "liquids": 12, "error_kt": 0.08},
                {"parents": 30, "liquids": 36, "error_kt": 0.08 * 3**-0.5},
                {"parents": 90, "liquids": 100, "error_kt": 0.08 * 9**-0.5},
                {"parents": 270, "liquids": 300, "error_kt": 0.08 * 27**-0.5},
                {"parents": 1000, "liquids": 1200, "error_kt": 0.008},
            ],
            "splits": {"rows": 40, "parents_left_out_kt": 0.05, "rows_left_out_kt": 0.01},
            "reliability": {
                "potential_kt": {"predicted": [0.01, 0.02], "found": [0.02, 0.04], "rows": [5, 5]},
                "dpd": {"predicted": [0.05], "found": [0.0], "rows": [1]},
            },
        }
    },
    "bag2024": {"history": {"outer_left_out_mae_kcal_mol": 0.2, "outer_random_rows_mae_kcal_mol": 0.05}},
}


def test_learning_curve_says_how_fast_the_error_falls_and_what_random_rows_hide():
    with drawing():
        exhibit = learning(RECORDS)
    assert "0.008 kT with 1000 parent potentials" in exhibit.seen
    assert "the error goes as n^b, b = −0.5000 ± 0.0001 (5 points)" in exhibit.seen
    assert "mobcg: 0.05 kT with parents left out, 0.01 by rows;" in exhibit.seen
    assert "0.2 kcal/mol with parents left out, 0.05 by rows." in exhibit.seen
    bars = [patch.get_height() for patch in exhibit.figure.axes[1].patches]
    assert bars == pytest.approx([1, 1, 0.2, 0.25])


def test_a_law_has_an_error_and_takes_five_points():
    records = copy.deepcopy(RECORDS)
    curve = records["mobcg"]["history"]["learning_curve"]
    noise = np.array([0.1, -0.1, 0.1, -0.1, 0.1])
    for point, off in zip(curve, noise, strict=True):
        point["error_kt"] *= float(np.exp(off))
    x, y = (np.log([point[key] for point in curve]) for key in ("parents", "error_kt"))
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    assert covariance[0, 0] ** 0.5 == pytest.approx(0.035, abs=0.01)
    with drawing():
        whole = learning(records)
        curve.pop(1)
        few = learning(records)
    assert f"b = −{-slope:.3f} ± {covariance[0, 0] ** 0.5:.3f} (5 points)" in whole.seen
    assert "4 points are too few for a law" in few.seen
    assert "n^" not in few.seen


def replicas(model: str, scatter: float, groups: int = 400, members: int = 3) -> list[dict]:
    noise = np.random.default_rng(0).normal(size=(groups, members))
    return [
        {"molecule_id": "x", "model": model, "scale_factor": float(g + 1), "pressure_bar": 100 * g + scatter * own}
        | {"pressure_bar_se": 2.0}
        for g, row in enumerate(noise)
        for own in row
    ]


def test_chi_square_of_replicas_tells_honest_errors_from_small_ones():
    for scatter, expected in ((2.0, 1.0), (6.0, 9.0)):
        value, freedom = replica_chi_square(replicas("ibi", scatter), "pressure_bar")
        assert freedom == 800
        assert value == pytest.approx(expected, rel=0.1)


def test_chi_square_by_hand_leaves_out_what_has_no_replica_or_no_error():
    rows = [
        {"molecule_id": "x", "model": model, "scale_factor": 1.0, "density_1atm_kg_m3": value}
        | {"density_1atm_kg_m3_se": error}
        for model, value, error in (
            ("ibi", 800.0, 1.0),
            ("ibi", 804.0, 3.0),
            ("ibi", None, None),
            ("mobcg", 700.0, 1.0),
            ("bag2024", 700.0, 1.0),
            ("bag2024", 900.0, None),
        )
    ]
    # (2² + 2²) over the mean of 1² and 3², one degree of freedom
    assert replica_chi_square(rows, "density_1atm_kg_m3") == (pytest.approx(8 / 5), 1)
    assert replica_chi_square(rows[3:4], "density_1atm_kg_m3")[1] == 0


def test_the_errors_of_the_runs_are_judged_beside_those_of_the_model():
    rows = replicas("ibi", 6.0)
    value, _ = replica_chi_square(rows, "pressure_bar")
    with drawing():
        both, alone = reliability(RECORDS, rows), reliability({}, rows)
    sentence = f"Scatter of replicas over their standard errors, χ²/ν: pressure {value:.2f} (ν = 800)."
    assert both.seen.endswith(sentence)
    assert both.seen.startswith("Over all held-out rows")
    assert alone.seen == sentence
    assert [len(exhibit.figure.axes) for exhibit in (both, alone)] == [3, 1]


def test_error_bars_that_are_too_small_are_seen():
    with drawing():
        exhibit = reliability(RECORDS, [])
    assert "U / kT: found 2.00 of what was predicted (10 rows)" in exhibit.seen
    assert "ln c, DPD: found 0.00" in exhibit.seen


def test_without_a_model_there_is_nothing_to_show():
    with drawing():
        assert "Nothing to show" in learning({}).seen
        assert "Nothing to show" in reliability({}, []).seen


def test_training_records_come_with_the_release(release_dir):
    path = release_dir / "models/mobcg/training.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(RECORDS["mobcg"]))
    assert load_release(release_dir).training == {"mobcg": RECORDS["mobcg"]}
    path.write_text("{")
    with pytest.raises(InputError, match="training records"):
        load_release(release_dir)
