import pytest

from mobcg.predictor.friction import (
    friction_constant,
    friction_for_1_ps,
    total_friction_1_ps,
    trial_friction_1_ps,
)

MASS, TEMPERATURE = 100.0, 300.0
KT_OVER_M = 2.494338785445972 / 100  # nm²/ps²


def diffusion(constant: float, friction_1_ps: float, own_1_ps: float = 2.0) -> float:
    """D in nm²/ns of a bead that obeys ν = ν₀ + cγ exactly."""
    return KT_OVER_M / (own_1_ps + constant * friction_1_ps) * 1000


def test_total_friction_by_hand():
    assert total_friction_1_ps(diffusion(0.0, 0.0), MASS, TEMPERATURE) == pytest.approx(2.0)


@pytest.mark.parametrize("constant", [1.1, 7.2])
def test_one_trial_run_gives_the_friction_of_any_target(constant):
    without, at_trial = diffusion(constant, 0), diffusion(constant, 0.8)
    found = friction_constant(without, at_trial, 0.8, MASS, TEMPERATURE)
    assert found == pytest.approx(constant)
    target = diffusion(constant, 5.5)
    assert friction_for_1_ps(target, without, found, MASS, TEMPERATURE) == pytest.approx(5.5)


def test_no_friction_where_the_liquid_is_slow_already():
    assert friction_for_1_ps(diffusion(2, 0) * 1.01, diffusion(2, 0), 2.0, MASS, TEMPERATURE) == 0.0


def test_trial_friction_is_in_proportion_for_both_thermostats():
    # D₀ = 12.2 nm²/ns of a bead of 100 g/mol: c ≈ 2.2 was measured for Langevin friction.
    langevin = trial_friction_1_ps(3.0, 12.2, "langevin", MASS, TEMPERATURE, 5.0)
    wanted = total_friction_1_ps(3.0, MASS, TEMPERATURE) - total_friction_1_ps(12.2, MASS, TEMPERATURE)
    assert wanted / langevin == pytest.approx(2.2, rel=0.25)
    assert trial_friction_1_ps(3.0, 12.2, "dpd", MASS, TEMPERATURE, 5.0) < langevin
