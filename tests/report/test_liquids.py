"""Averages over replicas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mobcg.pair import R_NM
from mobcg.report.liquids import Liquid, Variant, mean_msd, mean_of, mean_rdf, structural_variants
from mobcg.report.release import Release, liquid_names, span


def test_g_of_replicas_is_averaged_with_its_errors():
    rows = [{"rdf": np.full(150, g), "rdf_se": np.full(150, 0.02)} for g in (1.1, 1.102)]
    curve = mean_rdf([*rows, {"rdf": None}])
    assert curve.y == pytest.approx(np.full(150, 1.101))
    assert curve.y_se == pytest.approx(np.full(150, 0.02 / math.sqrt(2)))
    apart = [{"rdf": np.full(150, g), "rdf_se": np.full(150, 0.02)} for g in (1.0, 1.2)]
    assert mean_rdf(apart).y_se == pytest.approx(np.full(150, 0.1))
    assert curve.x is R_NM
    assert mean_rdf([{}]) is None


def test_msd_of_replicas_with_other_lags_is_read_at_common_ones():
    first = {"msd_time_ps": np.array([0.0, 1.0, 2.0, 3.0]), "msd_nm2": np.array([0.0, 6.0, 12.0, 18.0])}
    second = {"msd_time_ps": np.array([0.0, 0.5, 2.5]), "msd_nm2": np.array([0.0, 4.0, 20.0])}
    curve = mean_msd([first, second])
    assert curve.x == pytest.approx([0, 1, 2])
    assert curve.y == pytest.approx([0, 7, 14])
    assert curve.y_se == pytest.approx([0, 1, 2])
    assert np.isnan(mean_msd([first]).y_se).all()


def test_the_error_of_a_mean_is_the_larger_of_scatter_and_own_errors():
    rows = [{"d": 1.0, "d_se": 0.1}, {"d": 1.0, "d_se": 0.1}]
    assert mean_of(rows, "d") == pytest.approx((1.0, 0.1 / math.sqrt(2)))
    rows = [{"d": 1.0, "d_se": 0.1}, {"d": 3.0, "d_se": 0.1}]
    assert mean_of(rows, "d") == pytest.approx((2.0, 1.0))
    assert np.isnan(mean_of([{"d": None}], "d")).all()


def test_one_model_is_drawn_for_each_potential():
    models = ("ibi", "ibi_scaled", "ibi_dpd", "mobcg_dpd", "schnet")
    liquid = Liquid("x", "x", (), tuple(Variant(model, 1.0, ({},), ()) for model in models))
    assert [variant.model for variant in structural_variants(liquid)] == ["ibi", "mobcg_dpd", "schnet"]


def test_names_lose_their_brackets_unless_two_become_the_same():
    rows = [("a", "neopentane (2,2-dimethylpropane)"), ("b", "x (1)"), ("c", "x (2)")]
    release = Release("test", {"molecules": [{"molecule_id": key, "name": name} for key, name in rows]})
    assert liquid_names(release) == {"a": "neopentane", "b": "b", "c": "c"}


def test_a_span_of_equal_numbers_is_one_number():
    assert span(-1.361, -2.3, ".1f") == "−1.4 to −2.3"
    assert span(10.9, 11.2, ".0f") == "11"
