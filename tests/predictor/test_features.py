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
