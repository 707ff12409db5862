from dataclasses import replace

import numpy as np
import pytest

from mobcg.coarse.integral_equation import solve
from mobcg.observables import rdf_error
from mobcg.pair import R_NM
from mobcg.predictor.dataset import merge_masses
from mobcg.predictor.features import describe
from mobcg.predictor.knob import (
    FACTORS,
    Start,
    best_factor,
    compressibility_factor,
    multiple,
    respond,
    scaled_pairs,
    train_knob,
)
from mobcg.predictor.mobility import logarithm_of_mobility
from mobcg.predictor.virial import ramp
from mobcg.units import thermal_energy_kj_mol
from tests.predictor.cases import TEMPERATURE_K, well, with_multiples


def test_multiples_are_recognised(liquids):
    potential = liquids.potential_kj_mol[0]
    assert multiple(potential, 1.7 * potential) == pytest.approx(1.7)
    assert multiple(potential, potential + 0.05 * np.exp(-(((R_NM - 0.9) / 0.1) ** 2))) is None
    assert multiple(potential, liquids.potential_kj_mol[3]) is None


def test_pairs_are_of_one_parent_and_one_state(liquids):
    merged = merge_masses(with_multiples(liquids, factors=(1.3, 1.7)))
    pairs = scaled_pairs(merged)
    assert len(pairs) == 6 * 3
    for a, b, log_factor in pairs:
        assert merged.parent_potential_id[a] == merged.parent_potential_id[b]
        ratio = merged.potential_kj_mol[b, 50] / merged.potential_kj_mol[a, 50]
        assert np.exp(log_factor) == pytest.approx(ratio)


@pytest.fixture(scope="module")
def knob(liquids):
    merged = merge_masses(with_multiples(liquids))
    structure = describe(merged)
    groups = np.unique(merged.parent_potential_id, return_inverse=True)[1]
    process, left_out = train_knob(merged, structure, groups)
    first = np.flatnonzero(np.isin(merged.potential_id, liquids.potential_id))
    start = Start.of(logarithm_of_mobility(merged), merged.potential_kj_mol, structure, merged).take(first)
    return process, left_out, start, compressibility_factor(merged.pressure_bar, merged)[first]


def test_the_response_that_was_put_in_comes_out(knob):
    process, left_out, start, z = knob
    found = respond(process, start, z, np.tile([1.0, 1.5, 2.0], (6, 1)))
    slowed = -12 * start.rdf_response[:, None] * np.log([1, 1.5, 2])
    np.testing.assert_allclose(found.log_mobility - start.log_mobility[:, None], slowed, atol=0.03)
    np.testing.assert_allclose(found.rdf_error[:, 0], 0)
    assert (np.diff(found.rdf_error) > 0).all()
    assert np.sqrt(np.mean(left_out.errors[:, 0] ** 2)) < 0.1


def test_the_knob_is_turned_no_further_than_it_pays(knob):
    process, _, start, _ = knob
    alone = best_factor(process, start, start.log_mobility)
    np.testing.assert_array_equal(alone, 1.0)
    slower = best_factor(process, start, start.log_mobility - 0.8)
    faster = best_factor(process, start, start.log_mobility + 0.8)
    assert (slower > 1).all()
    assert (faster < 1).all()
    # Without an error of structure to mind, this s would take ln D all the way.
    assert (slower < np.exp(0.8 / (12 * start.rdf_response)) + 0.05).all()


def test_the_factor_has_the_smallest_score_of_all(knob):
    process, _, start, z = knob
    wanted, start = start.log_mobility - 1.0, replace(start, rdf_error=np.full(6, 0.02))
    chosen = best_factor(process, start, wanted)
    found = respond(process, start, z, np.broadcast_to(FACTORS, (6, FACTORS.size)))
    error = found.rdf_error**2 + found.rdf_error_se**2 + (0.02 * FACTORS) ** 2
    mobility = (found.log_mobility - wanted[:, None]) ** 2 + found.log_mobility_se**2 + found.own_log_mobility_se**2
    score = error / 0.1**2 + mobility / np.log(2) ** 2
    np.testing.assert_allclose(chosen, FACTORS[np.argmin(score, axis=1)], atol=0.05)


def test_the_less_is_known_of_a_multiple_the_less_is_dared(knob):
    process, _, start, _ = knob
    wanted = start.log_mobility - 0.8
    sure, unsure = (best_factor(process.with_errors_times(times), start, wanted) for times in (1e-3, 1e6))
    assert (sure > 1.2).all()
    assert (unsure < 1.1).all()


def dense_liquid(liquids):
    """A dense liquid of the integral equation, whose g(r) belongs to its potential."""
    one, kt = merge_masses(liquids).take([0]), thermal_energy_kj_mol(TEMPERATURE_K)
    potential, density = well(0.9, 0.5), 5.0
    rdf = solve(potential / kt, density).rdf
    state = {"number_density_nm3": np.array([density]), "n_beads": np.array([np.inf])}
    return replace(one, rdf=rdf[None], potential_kj_mol=potential[None], **state)


def test_linear_response_is_that_of_a_small_multiple(liquids):
    liquid, kt = dense_liquid(liquids), thermal_energy_kj_mol(TEMPERATURE_K)
    start = Start.of(np.zeros(1), liquid.potential_kj_mol, describe(liquid), liquid)
    scaled = solve(1.02 * liquid.potential_kj_mol[0] / kt, 5.0, bridge=0.0).rdf
    moved = rdf_error(scaled, solve(liquid.potential_kj_mol[0] / kt, 5.0, bridge=0.0).rdf)
    assert start.rdf_response[0] == pytest.approx(moved / np.log(1.02), rel=0.3)


def test_a_ramp_for_the_pressure_hardly_changes_what_a_multiple_does(liquids):
    liquid = dense_liquid(liquids)
    potential, kt = liquid.potential_kj_mol, thermal_energy_kj_mol(TEMPERATURE_K)
    ramped = potential - 0.3 * kt * ramp()
    inputs, shifted = (
        Start.of(np.zeros(1), u, describe(liquid), liquid).inputs(np.zeros(1)) for u in (potential, ramped)
    )
    np.testing.assert_allclose(shifted, inputs, atol=0.2)


def test_nothing_is_proposed_that_would_freeze(knob):
    process, _, start, z = knob
    near_freezing = replace(start, log_mobility=np.full(6, np.log(0.03)))
    chosen = best_factor(process, near_freezing, np.full(6, np.log(0.005)))
    found = respond(process, near_freezing, z, chosen[:, None])
    assert (found.log_mobility[:, 0] > np.log(0.0245)).all()
    frozen = replace(start, log_mobility=np.full(6, np.log(0.001)))
    np.testing.assert_array_equal(best_factor(process, frozen, np.full(6, np.log(0.0005))), 1.0)


def test_a_stronger_potential_is_never_expected_to_be_faster(liquids):
    merged = merge_masses(with_multiples(liquids, slowing=-6.0))
    structure = describe(merged)
    process, _ = train_knob(merged, structure, np.unique(merged.parent_potential_id, return_inverse=True)[1])
    start = Start.of(logarithm_of_mobility(merged), merged.potential_kj_mol, structure, merged)
    z = compressibility_factor(merged.pressure_bar, merged)
    found = respond(process, start, z, np.broadcast_to(FACTORS, (len(merged), FACTORS.size)))
    assert (np.diff(found.log_mobility) <= 0).all()


def test_an_error_of_the_potential_is_multiplied_with_it(knob):
    process, _, start, z = knob
    wrong = replace(start, rdf_error=np.full(6, 0.01))
    found = respond(process, wrong, z, np.tile([1.0, 2.0], (6, 1)))
    np.testing.assert_allclose(found.own_rdf_error, np.tile([0.01, 0.02], (6, 1)))
    # The made-up rows slow by 12 times the linear response of g.
    np.testing.assert_allclose(found.own_log_mobility_se[:, 1], 0.24, rtol=0.05)
    wanted = start.log_mobility - 0.8
    assert (
        best_factor(process, replace(start, rdf_error=np.full(6, 0.05)), wanted) < best_factor(process, start, wanted)
    ).all()
