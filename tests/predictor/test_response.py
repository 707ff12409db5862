import numpy as np

from mobcg.pair import R_NM
from mobcg.predictor.closure import indirect_correlation
from mobcg.predictor.response import rdf_response

BUMP = 0.01 * np.exp(-(((R_NM - 0.8) / 0.1) ** 2))


def test_a_dilute_gas_answers_with_the_boltzmann_factor():
    rdf = 1 - np.exp(-((R_NM / 0.4) ** 4))
    np.testing.assert_allclose(rdf_response(rdf, 1e-6, BUMP), -rdf * BUMP, atol=1e-6)


def test_a_weak_potential_in_an_ideal_gas_is_screened_as_in_the_random_phase():
    # g = 1: ρh = S − 1 with 1/S = 1 + ρ βΔU(k), to first order in ΔU: h(r) = −βΔU(r)
    np.testing.assert_allclose(rdf_response(np.ones(150), 5.0, BUMP), -BUMP, atol=1e-5)


def test_a_slow_change_moves_a_dense_liquid_less_than_a_sharp_one():
    shell = np.cos(2 * np.pi * (R_NM - 0.55) / 0.5) * np.exp(-(R_NM - 0.55) / 0.3)
    rdf = np.where(R_NM < 0.45, 0.0, 1 + 0.6 * shell)
    slow = np.abs(rdf_response(rdf, 6.0, 0.05 * (1 - (R_NM / 1.5) ** 2) ** 2)).sum()
    sharp = np.abs(rdf_response(rdf, 6.0, 0.05 * np.exp(-(((R_NM - 0.6) / 0.08) ** 2)))).sum()
    assert slow < 0.5 * sharp


def test_many_curves_are_answered_as_each_alone():
    shell = np.cos(2 * np.pi * (R_NM - 0.55) / 0.5) * np.exp(-(R_NM - 0.55) / 0.3)
    rdf = np.where(R_NM < 0.45, 0.0, 1 + np.array([[0.3], [0.6]]) * shell)
    density, change = np.array([5.0, 6.0]), np.array([BUMP, -2 * BUMP])
    together = rdf_response(rdf, density, change, indirect_correlation(rdf, density))
    for row in range(2):
        np.testing.assert_allclose(together[row], rdf_response(rdf[row], density[row], change[row]), atol=1e-12)
