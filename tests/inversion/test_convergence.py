import numpy as np
import pytest

from mobcg.inversion.convergence import (
    LEAST_ITERATIONS,
    WINDOW,
    Iteration,
    Target,
    average_potential,
    deviation,
    expected_deviation,
    is_converged,
    judge,
    mean_target,
)
from mobcg.pair import R_NM

G = np.where(R_NM < 0.4, 0.0, 1 + np.exp(-4 * R_NM) * np.cos(12 * R_NM))
SIGMA = np.where(R_NM < 0.4, 0.0, 0.02 * G)


def iteration(rdf=G, variance=0.01, pressure_bar=1.0, potential=0.0):
    return Iteration(np.full(150, potential), rdf, np.full(150, variance**2), pressure_bar, 2.0)


def test_expected_deviation_of_synthetic_blocks():
    random = np.random.default_rng(1)
    found, expected = [], []
    for _ in range(100):
        target = G + random.normal(size=(5, 150)) * SIGMA * 5**0.5
        sampled = G + random.normal(size=(6, 150)) * SIGMA * 0.5 * 6**0.5
        found.append(deviation(sampled.mean(axis=0), target.mean(axis=0)))
        expected.append(expected_deviation(target.var(axis=0, ddof=1) / 5, sampled.var(axis=0, ddof=1) / 6))
    assert np.mean(expected) == pytest.approx(np.mean(found), rel=0.03)


def test_mean_target_of_replicas_has_a_smaller_variance():
    rdf, variance = mean_target([G, G + 0.02], [SIGMA, SIGMA])
    np.testing.assert_allclose(rdf, G + 0.01)
    np.testing.assert_allclose(variance, SIGMA**2 / 2)


def test_converged_only_when_structure_and_pressure_are_and_late_enough():
    target = Target(G, np.zeros(150), 1.0)
    good = [iteration()] * LEAST_ITERATIONS
    assert is_converged(good, target)
    assert not is_converged(good[1:], target)
    assert not is_converged([*good, *[iteration(pressure_bar=60.0)] * WINDOW], target)
    assert not is_converged([*good, *[iteration(rdf=G + 0.02)] * WINDOW], target)


def test_pressure_is_left_alone_without_a_target():
    target = Target(G, np.zeros(150), None)
    assert is_converged([iteration(pressure_bar=900.0)] * LEAST_ITERATIONS, target)


def test_noise_counts_the_sampling_of_an_iteration_and_of_the_one_before():
    verdict = judge([iteration(variance=0.01)] * WINDOW, Target(G, np.full(150, 1e-4), None))
    assert verdict.noise == pytest.approx(150 * np.sqrt(2 / np.pi) * np.sqrt(3e-4))


def test_error_of_the_pressure_sees_the_scatter_between_iterations():
    pressures = np.array([-60.0, 60.0, -60.0, 60.0])
    verdict = judge([iteration(pressure_bar=p) for p in pressures], Target(G, np.zeros(150), 1.0))
    assert verdict.pressure_bar_se == pytest.approx(pressures.std(ddof=1) / 2)


def test_outliers_stay_out_of_the_average():
    iterations = [iteration(rdf=G + 0.01, potential=float(k)) for k in range(WINDOW)]
    iterations[-1] = iteration(rdf=G + 0.03, potential=1000.0)
    expected = np.mean(np.arange(WINDOW - 1))
    np.testing.assert_allclose(average_potential(iterations, Target(G, np.zeros(150), None)), expected)
