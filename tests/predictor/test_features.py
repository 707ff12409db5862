"""The basis that liquids are described in."""

import numpy as np

from mobcg.predictor.features import Basis


def test_a_levelled_basis_raises_the_small_components():
    random = np.random.default_rng(2)
    spread = 2.0 ** -np.arange(6.0)
    axes = np.linalg.qr(random.standard_normal((160, 6)))[0]
    curves = random.standard_normal((400, 6)) * spread @ axes.T + 1.0
    plain, levelled = (basis.scores(curves).std(axis=0) for basis in (Basis.of(curves), Basis.levelled(curves)))
    assert levelled.shape == (6,)  # what is nothing but rounding is left out
    np.testing.assert_allclose(levelled, np.sqrt(plain[:6] / plain[0]), rtol=1e-4)
