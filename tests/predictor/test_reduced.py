import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from mobcg.pair import R_NM, taper
from mobcg.predictor.reduced import X, from_reduced, reduced_diffusion, to_reduced


@pytest.mark.parametrize("scale", [0.7, 1.9])
def test_scaling_lengths_leaves_the_reduced_curve_alone(scale):
    curve = 1 + np.sin(9 * R_NM) * np.exp(-R_NM)
    original = to_reduced(R_NM, curve, 5.0, outside=1.0)
    scaled = to_reduced(scale * R_NM, curve, 5.0 / scale**3, outside=1.0)
    np.testing.assert_allclose(scaled, original, rtol=1e-12, atol=1e-12)


def test_reduced_and_back_is_the_same_curve():
    curve = taper(np.cos(7 * R_NM) * np.exp(-R_NM))
    density = 4.0
    inside = R_NM * density ** (1 / 3) < X[-1]
    back = from_reduced(R_NM, to_reduced(R_NM, curve, density, outside=0.0), density)
    np.testing.assert_allclose(back[inside], curve[inside], atol=5e-4)
    assert np.all(back[~inside] == 0)


def test_beyond_the_reach_of_a_dilute_liquid_stands_the_limit():
    reduced = to_reduced(R_NM, np.full(150, 0.3), 1.0, outside=1.0)
    assert np.all(reduced[X > 1.5] == 1.0)
    np.testing.assert_allclose(reduced[X < 1.4], 0.3)


def test_reduced_diffusion_follows_mass_temperature_and_length():
    reference = reduced_diffusion(5.0, 100.0, 300.0, 5.0)
    assert reduced_diffusion(5.0 / 2, 400.0, 300.0, 5.0) == pytest.approx(reference)
    assert reduced_diffusion(5.0 * 2, 100.0, 1200.0, 5.0) == pytest.approx(reference)
    assert reduced_diffusion(5.0 * 2, 100.0, 300.0, 5.0 / 8) == pytest.approx(reference)
    # D sqrt(m/kT) ρ^(1/3) by hand: 5e-3 nm²/ps, sqrt(100/2.49434) ps/nm, 5^(1/3)/nm
    assert reference == pytest.approx(5e-3 * np.sqrt(100 / 2.494339) * 5 ** (1 / 3), rel=1e-6)


def test_many_curves_are_splined_each_at_its_own_density():
    random = np.random.default_rng(4)
    density, curves = random.uniform(0.5, 9, 30), random.normal(size=(30, 150))
    together = to_reduced(R_NM, curves, density, outside=0.7)
    back = from_reduced(R_NM, together, density)
    for row, rho in enumerate(density):
        x = R_NM * rho ** (1 / 3)
        expected = np.where(x[-1] < X, 0.7, CubicSpline(x, curves[row])(np.clip(X, x[0], x[-1])))
        np.testing.assert_allclose(together[row], expected, rtol=1e-9, atol=1e-9)
        expected = np.where(x <= X[-1], CubicSpline(X, together[row])(np.clip(x, X[0], X[-1])), 0.0)
        np.testing.assert_allclose(back[row], expected, rtol=1e-9, atol=1e-9)


def test_an_error_does_not_end_where_the_reduced_grid_does():
    density, errors = np.array([2.0, 9.0]), np.array([0.2 + 0.1 * X, 0.5 - 0.1 * X])
    found = from_reduced(R_NM, errors, density, continued=True)
    beyond = R_NM * np.cbrt(density)[:, None] > X[-1]
    assert beyond.sum(axis=1).tolist() == [0, 35]
    np.testing.assert_allclose(found[beyond], errors[1, -1])
    np.testing.assert_array_equal(found[~beyond], from_reduced(R_NM, errors, density)[~beyond])
