import numpy as np
import pytest
from scipy.interpolate import make_lsq_spline

from mobcg.pair import R_NM, core_index, force
from mobcg.predictor.shaping import shape, smooth
from mobcg.units import thermal_energy_kj_mol
from tests.predictor.cases import TEMPERATURE_K, well

POTENTIAL = well(0.6, 0.48)
RDF = np.exp(-POTENTIAL / thermal_energy_kj_mol(TEMPERATURE_K))


def test_a_smooth_potential_stays_as_it_is():
    first = core_index(RDF)
    # The spline may round the wall; a tenth of kT at contact and a hundredth beyond it are not felt.
    deviation = np.abs(smooth(POTENTIAL[None], RDF[None], [first])[0] - POTENTIAL)[first:] / thermal_energy_kj_mol(
        TEMPERATURE_K
    )
    assert deviation.max() < 0.1
    assert deviation[10:].max() < 0.01


def test_noise_is_taken_out():
    noisy = POTENTIAL + 0.1 * np.random.default_rng(1).standard_normal(R_NM.size)
    beyond = slice(core_index(RDF) + 5, 140)
    rough = np.std(np.diff(force(noisy) - force(POTENTIAL))[beyond])
    shaped = np.std(np.diff(force(shape(noisy, RDF)) - force(POTENTIAL))[beyond])
    assert shaped < 0.1 * rough


def test_a_prediction_without_a_wall_at_contact_gets_one():
    hollow = np.where(R_NM < 0.52, -5 + 20 * R_NM, POTENTIAL)
    shaped = shape(hollow, RDF)
    assert np.all(np.diff(shaped[:52]) < 0)
    assert shaped[0] > 20


def test_no_wall_anywhere_is_an_error():
    with pytest.raises(ValueError, match="no repulsive wall"):
        shape(R_NM * 3.0, RDF)


def test_the_spline_is_the_weighted_least_squares_one():
    noisy = POTENTIAL + 0.3 * np.random.default_rng(2).standard_normal(R_NM.size)
    first = core_index(RDF)
    r, weights = R_NM[first:], R_NM[first:] * np.sqrt(np.clip(RDF[first:], 0.05, 2.0))
    inner = np.concatenate([np.arange(r[0], 0.8, 0.03), np.arange(0.8, 1.5, 0.06)])
    inner = inner[(inner > r[0] + 0.02) & (inner < r[-1] - 0.02)]
    knots = np.concatenate([np.full(4, r[0]), inner, np.full(4, r[-1])])
    expected = make_lsq_spline(r, noisy[first:], knots, k=3, w=weights)(r)
    np.testing.assert_allclose(smooth(noisy[None], RDF[None], [first])[0, first:], expected, rtol=1e-8, atol=1e-8)


def test_many_are_shaped_as_each_alone():
    random = np.random.default_rng(5)
    potentials = np.array([well(depth, contact) for depth in (0.3, 0.9) for contact in (0.45, 0.5, 0.55)])
    rdfs = np.exp(-potentials / thermal_energy_kj_mol(TEMPERATURE_K))
    potentials += 0.2 * random.standard_normal(potentials.shape)
    together = shape(potentials, rdfs)
    for row, (potential, rdf) in enumerate(zip(potentials, rdfs, strict=True)):
        np.testing.assert_allclose(together[row], shape(potential, rdf), rtol=1e-10, atol=1e-10)
