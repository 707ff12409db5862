"""The plane of structure and mobility."""

from __future__ import annotations

import math

from mobcg.report.accuracy import plane, scoreboard
from mobcg.report.scores import Score, Summary
from mobcg.report.style import drawing


def score(model: str, error: float, alpha: float, factor: float = 1.0) -> Score:
    total = math.hypot(error / 0.1, math.log2(alpha))
    nothing = (math.nan,) * 5
    return Score("x", "x", model, factor, 3, 0, alpha, 0.1 * alpha, error, 0.002, *nothing, total, 0.1)


FRONT = [score("ibi", 0.02, 4.0), score("ibi_scaled", 0.1, 1.0, 1.5)]


def test_models_are_compared_with_the_front_at_their_own_error():
    # halfway along the front, ln α is half of ln 4: α = 2
    with drawing():
        better, worse = (plane([*FRONT, score("mobcg", 0.06, alpha)], []).seen for alpha in (1.9, 2.1))
    assert "mobcg in 1 of 1" in better
    assert "mobcg in 0 of 1" in worse


def test_too_slow_counts_as_much_as_too_fast():
    with drawing():
        assert "mobcg in 0 of 1" in plane([*FRONT, score("mobcg", 0.06, 1 / 2.1)], []).seen


def test_the_front_says_nothing_beyond_its_ends():
    far, near = score("mobcg", 0.39, 0.9), score("mobcg_dpd", 0.06, 1.0)
    left = score("ibi_dpd", 0.005, 1.0)
    with drawing():
        some, none = plane([*FRONT, far, near, left], []).seen, plane([*FRONT, far], []).seen
    assert some == (
        "At its own e, nearer to α = 1 than the front of the multiples of IBI: mobcg + DPD in 1 of 1 liquids. "
        "Not counted, e outside the range of the front: mobcg in 1, IBI + DPD in 1 liquids."
    )
    assert none == "Not counted, e outside the range of the front: mobcg in 1 liquids."


def test_a_friction_that_leaves_g_alone_is_compared_with_the_end_of_the_front():
    # e of the same potential run again: 0.019 ± 0.002 beside 0.020 ± 0.002
    with drawing():
        assert plane([*FRONT, score("ibi_dpd", 0.019, 1.1)], []).seen.endswith("IBI + DPD in 1 of 1 liquids.")


def test_the_best_mean_is_named_with_those_not_told_apart_from_it():
    def mean(model, total, error, factor=1.0, **marks):
        return Summary(model, factor, 1, 1.0, 0.1, 0.1 * total, 0.002, total, error, True, **marks)

    liquid = score("ibi", 0.02, 1.0)
    best, near, far = mean("ibi", 0.2, 0.1, best=True), mean("ibi_dpd", 0.3, 0.1, tied=True), mean("mobcg", 2.0, 0.1)
    turned = mean("mobcg", 0.1, 0.1, 1.3)
    with drawing():
        tied = scoreboard([liquid], [best, near, far, turned], []).seen
        alone = scoreboard([liquid], [best, far], []).seen
    assert tied.endswith("next IBI + DPD, S = 0.30 ± 0.10. Not told apart from it: IBI + DPD.")
    assert alone.endswith("next mobcg, S = 2.00 ± 0.10. No other is as good within its errors.")


def test_without_multiples_of_ibi_there_is_no_front():
    with drawing():
        exhibit = plane([FRONT[0], score("mobcg", 0.06, 1.9)], [])
    assert "There is no front" in exhibit.seen


def test_a_perfect_model_alone_has_no_contour_to_draw():
    with drawing():
        assert plane([score("mobcg", 0.01, 1.0)], []).figure.axes


def test_the_knob_is_a_curve_and_its_settings_are_no_models_of_their_own():
    knob = [score("mobcg", 0.02, 3.0, 0.7), score("mobcg", 0.06, 1.9), score("mobcg", 0.12, 1.2, 1.3)]
    with drawing():
        exhibit = plane([*FRONT, *knob], [])
    assert "mobcg in 1 of 1" in exhibit.seen
    curves = [line for line in exhibit.figure.axes[0].lines if list(line.get_ydata()) == [3.0, 1.9, 1.2]]
    assert [list(line.get_xdata()) for line in curves] == [[0.02, 0.06, 0.12]]
