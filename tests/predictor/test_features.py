"""The basis that liquids are described in."""

import numpy as np
import pytest

from mobcg.pair import R_NM
from mobcg.predictor.features import Basis, describe
from mobcg.predictor.predict import one_state


def test_a_levelled_basis_raises_the_small_components():
    random = np.random.default_rng(2)
    spread = 2.0 ** -np.arange(6.0)
    axes = np.linalg.qr(random.standard_normal((160, 6)))[0]
    curves = random.standard_normal((400, 6)) * spread @ axes.T + 1.0
    plain, levelled = (basis.scores(curves).std(axis=0) for basis in (Basis.of(curves), Basis.levelled(curves)))
    assert levelled.shape == (6,)  # what is nothing but rounding is left out
    np.testing.assert_allclose(levelled, np.sqrt(plain[:6] / plain[0]), rtol=1e-4)


def test_pair_entropy_of_an_ideal_gas_and_of_a_hard_core():
    # g = 0 below σ and 1 beyond: s₂/k = −2πρ σ³/3 = −ρ B₂.
    for rdf, expected in ((np.ones(150), 0.0), (np.where(R_NM < 0.5, 0.0, 1.0), -2 * np.pi * 2.0 * 0.5**3 / 3)):
        found = describe(one_state(rdf, 2.0, 300.0, 80.0, 1.0)).entropy[0]
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-12)


def test_slowing_by_hard_cores_at_low_density_and_by_nothing():
    # S − 1 = ρ ĥ, ĥ that of a core of diameter σ, S + 1 → 2: by Parseval's theorem (2π/9) ρ σ³.
    density, sigma_nm = 0.02, 0.5
    for rdf, expected in (
        (np.ones(150), 0.0),
        (np.where(sigma_nm > R_NM, 0.0, 1.0), 2 * np.pi / 9 * density * sigma_nm**3),
    ):
        found = describe(one_state(rdf, density, 300.0, 80.0, 1.0)).slowing[0]
        assert found == pytest.approx(expected, rel=0.04, abs=1e-9)


def test_shear_of_an_ideal_gas():
    # ρ r_c³ ∫ y⁴ dy over y < 1, r_c = 1 nm
    assert describe(one_state(np.ones(150), 4.0, 300.0, 80.0, 1.0)).shear[0] == pytest.approx(4.0 / 5, rel=1e-4)


def test_features_scale_with_lengths(liquids):
    """Half the density and lengths by 2^(1/3): the same liquid, which is as slow in reduced units."""
    grown = 2 ** (1 / 3)
    rdf = np.interp(R_NM / grown, R_NM, liquids.rdf[0])
    same = describe(one_state(rdf, liquids.number_density_nm3[0] / 2, 300.0, 80.0, 1.0)).slowing[0]
    own = describe(one_state(liquids.rdf[0], liquids.number_density_nm3[0], 300.0, 80.0, 1.0)).slowing[0]
    assert same == pytest.approx(own, rel=0.1)
