import numpy as np
import pytest
from scipy.integrate import trapezoid

from mobcg.pair import R_NM
from mobcg.predictor.closure import closure, direct_correlation, indirect_correlation, infinite_rdf


def total_correlation(depth: float, width_nm: float, density: float) -> np.ndarray:
    """h(r) of the liquid whose c(r) is a Gaussian, from the Ornstein-Zernike equation in Fourier space."""
    k = np.linspace(1e-6, 80, 40001)
    c_k = -depth * np.pi**1.5 * width_nm**3 * np.exp(-((k * width_nm) ** 2) / 4)
    h_k = c_k / (1 - density * c_k)
    return np.array([trapezoid(k * np.sin(k * r) * h_k, k) / (2 * np.pi**2 * r) for r in R_NM])


@pytest.mark.parametrize("density", [0.1, 3.0, 6.0])
def test_direct_correlation_of_a_known_liquid(density):
    depth, width = 0.9, 0.3
    c = direct_correlation(1 + total_correlation(depth, width, density), density)
    np.testing.assert_allclose(c, -depth * np.exp(-((R_NM / width) ** 2)), atol=4e-3)


def test_a_dilute_gas_has_no_indirect_correlation():
    rdf = 1 - np.exp(-((R_NM / 0.4) ** 2))
    np.testing.assert_allclose(indirect_correlation(rdf, 1e-6), 0, atol=1e-5)


def test_closure_is_hypernetted_chain_beyond_contact_and_less_inside():
    np.testing.assert_allclose(closure([-0.7, 0.0]), [-0.7, 0.0])
    assert closure([2.0])[0] == pytest.approx(2 - 4 / (2 * 2.6))


def test_infinite_rdf_takes_the_finite_box_out():
    # The tail of N beads in a box, normalised by N − 1, lies (1 − S(0))/N above 1.
    np.testing.assert_allclose(infinite_rdf(np.full(150, 1 + (1 - 0.04) / 160), 160), 1.0, atol=1e-4)
    np.testing.assert_array_equal(infinite_rdf(np.ones(150), np.inf), 1.0)


def test_many_liquids_are_as_each_alone():
    random = np.random.default_rng(3)
    density, n_beads = random.uniform(0.5, 6, 40), random.choice([160.0, 1000.0, np.inf], 40)
    rdf = 1 - np.exp(-((R_NM / random.uniform(0.3, 0.6, (40, 1))) ** 4))
    together = direct_correlation(infinite_rdf(rdf, n_beads), density)
    for row in range(40):
        alone = direct_correlation(infinite_rdf(rdf[row], n_beads[row]), density[row])
        np.testing.assert_allclose(together[row], alone, rtol=1e-9, atol=1e-9)
