"""The plane of structure and mobility."""

from __future__ import annotations

import math

from mobcg.report.accuracy import plane
from mobcg.report.scores import Score
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
