import numpy as np
import pytest

from mobcg.atomistic.density import judge_density

BLOCKS, SAMPLES, MEAN, SIGMA, CORRELATION = 8, 400, 870.0, 11.0, 20  # samples of 0.1 ps, correlated over 2 ps


def fluctuations(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    decay = np.exp(-1 / CORRELATION)
    noise = random.normal(size=BLOCKS * SAMPLES) * SIGMA * np.sqrt(1 - decay**2)
    series = np.empty(BLOCKS * SAMPLES)
    value = 0.0
    for i, kick in enumerate(noise):
        value = decay * value + kick
        series[i] = value
    return series


def test_a_steady_density_settles_at_its_mean_with_the_right_error():
    judged = [judge_density((MEAN + fluctuations(seed)).reshape(BLOCKS, SAMPLES)) for seed in range(60)]
    assert sum(part.settled for part in judged) >= 57
    expected_se = SIGMA * np.sqrt(2 * CORRELATION / ((BLOCKS - 1) * SAMPLES))
    assert np.mean([part.se_kg_m3 for part in judged]) == pytest.approx(expected_se, rel=0.25)
    deviations = [(part.mean_kg_m3 - MEAN) / part.se_kg_m3 for part in judged]
    assert 0.7 < np.std(deviations) < 1.6


def test_a_drift_is_seen_and_its_beginning_is_left_out():
    time = np.arange(BLOCKS * SAMPLES)
    slow = MEAN - 150 * np.exp(-time / (1.5 * SAMPLES)) + fluctuations(1)
    early = judge_density(slow.reshape(BLOCKS, SAMPLES)[:3])
    late = judge_density(slow.reshape(BLOCKS, SAMPLES))
    assert not early.settled
    assert late.settled
    assert late.first_block >= 2
    assert late.mean_kg_m3 == pytest.approx(MEAN, abs=8)


def test_a_steady_drift_never_settles():
    drifting = MEAN + 0.05 * np.arange(BLOCKS * SAMPLES) + fluctuations(2)
    assert not judge_density(drifting.reshape(BLOCKS, SAMPLES)).settled


@pytest.mark.parametrize("blocks", [1, 2])
def test_too_few_blocks_are_never_settled(blocks):
    part = judge_density((MEAN + fluctuations(3)).reshape(BLOCKS, SAMPLES)[:blocks])
    assert not part.settled
    assert part.mean_kg_m3 == pytest.approx(MEAN, abs=15)


def test_precision_is_an_error_of_a_third_of_a_percent():
    few = judge_density((MEAN + 5 * fluctuations(4)).reshape(BLOCKS, SAMPLES)[:3])
    many = judge_density((MEAN + fluctuations(4)).reshape(BLOCKS, SAMPLES))
    assert not few.precise
    assert many.precise
