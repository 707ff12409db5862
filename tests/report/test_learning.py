"""What the predictor knows of itself, drawn from the records of its training."""

from __future__ import annotations

import json

import pytest

from mobcg.errors import InputError
from mobcg.report.learning import learning, reliability
from mobcg.report.release import load_release
from mobcg.report.style import drawing

RECORDS = {
    "mobcg": {
        "history": {
            "closure_error_kt": 0.1,
            "learning_curve": [
                {"parents": 10, "liquids": 12, "error_kt": 0.08},
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
    assert "n^-0.50" in exhibit.seen
    assert "mobcg: 0.05 kT with parents left out, 0.01 by rows;" in exhibit.seen
    assert "0.2 kcal/mol with parents left out, 0.05 by rows." in exhibit.seen
    bars = [patch.get_height() for patch in exhibit.figure.axes[1].patches]
    assert bars == pytest.approx([1, 1, 0.2, 0.25])


def test_error_bars_that_are_too_small_are_seen():
    with drawing():
        exhibit = reliability(RECORDS)
    assert "U / kT: found 2.00 of what was predicted (10 rows)" in exhibit.seen
    assert "ln c, DPD: found 0.00" in exhibit.seen


@pytest.mark.parametrize("draw", [learning, reliability])
def test_without_a_model_there_is_nothing_to_show(draw):
    with drawing():
        assert "Nothing to show" in draw({}).seen


def test_training_records_come_with_the_release(release_dir):
    path = release_dir / "models/mobcg/training.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(RECORDS["mobcg"]))
    assert load_release(release_dir).training == {"mobcg": RECORDS["mobcg"]}
    path.write_text("{")
    with pytest.raises(InputError, match="training records"):
        load_release(release_dir)
