import math

import numpy as np
import pyarrow as pa
import pytest

from mobcg.errors import SimulationError
from mobcg.pair import R_NM
from mobcg.predictor.scoring import (
    mean_over_replicas,
    mean_reference,
    mobility,
    rdf_error_floor,
    rdf_error_se,
    score_se,
    scoreboard,
    scores,
)
from mobcg.records import to_arrow

FLAT = np.where(R_NM > 0.1, 1.0, 0.0)
WAVY = FLAT * (1 + 0.2 * np.sin(20 * R_NM))


def atomistic(diffusion: float, status: str = "ok", **other) -> dict:
    return {
        "run_id": f"{diffusion:g}",
        "molecule_id": "benzene",
        "temperature_k": 298.15,
        "n_molecules": 160,
        "mass_g_mol": 78.11,
        "number_density_nm3": 6.6,
        "diffusion_nm2_ns": diffusion,
        "diffusion_nm2_ns_se": 0.1,
        "rdf": (WAVY * diffusion).tolist(),
        "rdf_se": np.full(150, 0.02).tolist(),
        "status": status,
        "reason": None if status == "ok" else "blew up",
    } | other


def test_reference_is_the_mean_of_what_finished():
    reference = mean_reference([atomistic(2.0), atomistic(3.0, number_density_nm3=6.8), atomistic(9.0, "failed")])
    assert reference.run_ids == ("2", "3")
    assert reference.diffusion_nm2_ns == pytest.approx(2.5)
    assert reference.diffusion_nm2_ns_se == pytest.approx(0.5)  # the replicas scatter more than their own errors say
    assert reference.number_density_nm3 == pytest.approx(6.7)
    np.testing.assert_allclose(reference.rdf, WAVY * 2.5)
    np.testing.assert_allclose(reference.rdf_se[:5], 0.02 / math.sqrt(2))


def test_reference_of_nothing_says_why():
    with pytest.raises(SimulationError, match="blew up"):
        mean_reference([atomistic(2.0, "failed")])


def test_reference_of_two_liquids_is_refused():
    with pytest.raises(SimulationError, match="more than one liquid"):
        mean_reference([atomistic(2.0), atomistic(2.0, molecule_id="toluene")])


def test_mobility_by_hand():
    alpha, error = mobility(6.0, 0.3, 2.0, 0.2)
    assert alpha == pytest.approx(3.0)
    assert error == pytest.approx(3 * math.sqrt(0.05**2 + 0.1**2))


def test_scores_by_hand():
    reference = mean_reference([atomistic(1.0)])
    measured = {
        "diffusion_nm2_ns": 2.0,
        "diffusion_nm2_ns_se": 0.0,
        "rdf": (1.1 * WAVY).tolist(),
        "rdf_se": np.zeros(150).tolist(),
    }
    found = scores(measured, reference, seed=1)
    assert found["alpha"] == pytest.approx(2.0)
    assert found["rdf_error"] == pytest.approx(0.1)
    assert found["score"] == pytest.approx(math.sqrt(2))
    # SE(S) = sqrt((a SE(a))² + (b SE(b))²)/S with a = b = 1, SE(b) = 0.1/ln 2 and SE(a) = 10 SE(e)
    expected = math.hypot(10 * found["rdf_error_se"], 0.1 / math.log(2)) / math.sqrt(2)
    assert found["score_se"] == pytest.approx(expected, rel=0.01)


def test_rdf_error_se_of_a_shift_is_that_of_a_mean():
    # e = mean |g − r| over 140 bins, all shifted the same way: its scatter is σ sqrt(2/140), r's norm aside.
    se = np.full(150, 0.01)
    found = rdf_error_se(1.5 * FLAT, se, FLAT, np.zeros(150), seed=3)
    assert found == pytest.approx(0.01 / math.sqrt(140), rel=0.15)
    assert rdf_error_se(1.5 * FLAT, se, FLAT, np.zeros(150), seed=3) == found


def test_noise_alone_makes_an_rdf_error():
    generator = np.random.default_rng(0)
    se, reference_se = np.full(150, 0.03), np.full(150, 0.04)
    errors = [np.abs(0.05 * generator.standard_normal(140)).sum() / 140 for _ in range(400)]
    assert rdf_error_floor(se, FLAT, reference_se) == pytest.approx(np.mean(errors), rel=0.02)


def test_score_se_at_the_perfect_score_is_that_of_its_parts():
    assert score_se(0.0, 0.01, 1.0, 0.0) == pytest.approx(0.1)
    assert score_se(0.0, 0.01, 1.0, 0.1) == pytest.approx(math.hypot(0.1, 0.1 / math.log(2)))


def test_score_se_far_from_the_perfect_score_is_that_of_first_order():
    # S = sqrt(1 + 3²) from e = 0.1 and α = 8; ∂S/∂e = 10 · 1/S, ∂S/∂ln α = 1/ln 2 · 3/S
    expected = math.hypot(0.02, 0.1 / math.log(2) * 3) / math.sqrt(10)
    assert score_se(0.1, 0.002, 8.0, 0.8) == pytest.approx(expected, rel=0.002)


@pytest.mark.parametrize("alpha", [0.99938, 1.05, 1.3])
def test_score_se_near_the_kink_is_that_of_drawn_errors(alpha):
    e, e_se, alpha_se = 0.0135, 0.0015, 0.126
    x, y = np.random.default_rng(0).standard_normal((2, 200_000))
    away = np.hypot((e + e_se * x) / 0.1, (math.log(alpha) + alpha_se / alpha * y) / math.log(2))
    of_means = math.hypot(e / 0.1, math.log2(alpha))
    assert score_se(e, e_se, alpha, alpha_se) == pytest.approx(np.sqrt(np.mean((away - of_means) ** 2)), rel=0.01)


def row(model: str, factor: float, replica: int, alpha: float, error: float, status: str = "ok") -> dict:
    finished = {
        "alpha": alpha,
        "alpha_se": alpha * 0.05,
        "diffusion_nm2_ns": 2 * alpha,
        "diffusion_nm2_ns_se": 2 * alpha * 0.03,
        "rdf_error": error,
        "rdf_error_se": 0.004,
        "rdf_r2": 0.99,
        "pressure_bar": 10.0,
        "pressure_bar_se": 5.0,
        "score": 1.0,
        "score_se": 0.1,
    }
    return (finished if status == "ok" else {"reason": "lost atoms"}) | {
        "molecule_id": "benzene",
        "model": model,
        "replica": replica,
        "scale_factor": factor,
        "thermostat": "nose_hoover",
        "friction_1_ps": 0.0,
        "status": status,
        "spec": {},
        "versions": {},
    }


def board(*rows: dict) -> dict[tuple[str, float], dict]:
    return {(r["model"], r["scale_factor"]): r for r in scoreboard(to_arrow("evaluation", list(rows))).to_pylist()}


def test_scoreboard_means_by_hand():
    found = board(row("ibi", 1.0, 0, 3.0, 0.02), row("ibi", 1.0, 1, 5.0, 0.04), row("ibi", 1.0, 2, 0, 0, "failed"))
    ibi = found["ibi", 1.0]
    assert (ibi["replicas"], ibi["failed"], ibi["density_1atm_kg_m3"]) == (2, 1, None)
    assert ibi["alpha"] == pytest.approx(4.0)
    # scatter 1.0, and the 4 % of D_AA that both replicas share
    assert ibi["alpha_se"] == pytest.approx(math.hypot(1.0, 4 * 0.04))
    assert ibi["rdf_error"] == pytest.approx(0.03)
    assert ibi["rdf_error_se"] == pytest.approx(0.01)
    # S of the means, not the mean of the rows' S, which is 1 in both
    assert ibi["score"] == pytest.approx(math.hypot(0.3, 2.0))
    assert ibi["score_se"] == pytest.approx(score_se(0.03, 0.01, 4.0, ibi["alpha_se"]))


def test_replicas_that_agree_by_chance_keep_their_own_errors():
    rows = [row("ibi", 1.0, replica, 2.0, 0.012) for replica in range(4)]
    # α: 3 % of each run's own D, halved by four of them, and the 4 % of D_AA, which four do not make smaller
    assert mean_over_replicas(rows, "alpha") == pytest.approx((2.0, 2 * math.hypot(0.015, 0.04)))
    # e: much of it is the noise of g_AA, one and the same for all
    assert mean_over_replicas(rows, "rdf_error") == pytest.approx((0.012, 0.004))
    assert mean_over_replicas(rows, "pressure_bar") == pytest.approx((10.0, 2.5))
    assert mean_over_replicas(rows, "friction_1_ps") == (0.0, None)
    assert mean_over_replicas(rows, "density_1atm_kg_m3") == (None, None)


def test_two_replicas_on_both_sides_of_the_right_mobility_are_no_perfect_model():
    # α = 0.88 ± 0.08 and 1.12 ± 0.11 of neopentane: S of the means is that of e alone, but not known to 0.003
    found = board(row("ibi_dpd", 1.0, 0, 0.88231, 0.01376), row("ibi_dpd", 1.0, 1, 1.116448, 0.013207))
    assert found["ibi_dpd", 1.0]["score"] == pytest.approx(0.1348, abs=0.0001)
    assert 0.09 < found["ibi_dpd", 1.0]["score_se"] < 0.13


def test_scoreboard_marks_the_best_factor():
    found = board(
        row("ibi_scaled", 1.2, 0, 2.0, 0.05),
        row("ibi_scaled", 1.5, 0, 1.0, 0.11),
        row("ibi_scaled", 1.8, 0, 0.4, 0.15),
        row("ibi_scaled", 2.2, 0, 0, 0, "failed"),
        row("ibi", 1.0, 0, 3.0, 0.02),
    )
    assert [key for key, value in found.items() if value["best"]] == [("ibi", 1.0), ("ibi_scaled", 1.5)]
    assert found["ibi_scaled", 2.2]["score"] is None


def test_the_knob_of_mobcg_is_judged_by_its_own_choice():
    found = board(row("mobcg", 0.7, 0, 1.1, 0.02), row("mobcg", 1.0, 0, 1.9, 0.05), row("mobcg", 1.3, 0, 1.0, 0.02))
    assert [key for key, value in found.items() if value["best"]] == [("mobcg", 1.0)]


def test_a_single_replica_keeps_its_own_errors():
    ibi = board(row("ibi", 1.0, 0, 3.0, 0.02))["ibi", 1.0]
    assert ibi["alpha_se"] == pytest.approx(0.15)
    assert (ibi["rdf_error_se"], ibi["pressure_bar_se"]) == (0.004, 5.0)


def test_an_empty_table_makes_an_empty_board():
    assert scoreboard(to_arrow("evaluation", [])).num_rows == 0
    assert isinstance(scoreboard(to_arrow("evaluation", [])), pa.Table)
