import dataclasses

import numpy as np
import pytest

from mobcg.observables import finite_size_factor
from mobcg.predictor.dataset import merge_masses
from mobcg.predictor.features import Basis, describe
from mobcg.predictor.mobility import (
    box_factor,
    largest_log_ratio,
    logarithm_of_mobility,
    predict_friction,
    train_friction,
)
from tests.predictor.cases import with_friction

LANGEVIN = {"langevin": 1.5}


def trained(rows, thermostat="langevin"):
    merged = merge_masses(rows)
    structure = describe(merged)
    groups = np.unique(merged.parent_potential_id, return_inverse=True)[1]
    return merged, structure, train_friction(rows, merged, scores_of(structure), structure, groups, thermostat)


def scores_of(structure):
    return Basis.of(structure.curves).scores(structure.curves)


def test_box_factor_is_one_where_the_box_is_not_known():
    np.testing.assert_allclose(box_factor([np.inf, 1000]), 1.0)
    assert box_factor(200.0) == pytest.approx(finite_size_factor(200) / finite_size_factor(1000))
    assert box_factor(200.0) > 1 > box_factor(5000.0)


def test_mobility_is_reduced(liquids):
    small = dataclasses.replace(liquids, n_beads=np.full(len(liquids), 1000.0))
    heavy = dataclasses.replace(
        small,
        mass_g_mol=4 * small.mass_g_mol,
        diffusion_nm2_ns=small.diffusion_nm2_ns / 2,
        temperature_k=small.temperature_k,
    )
    np.testing.assert_allclose(logarithm_of_mobility(heavy), logarithm_of_mobility(small))


@pytest.mark.parametrize("thermostat", ["langevin", "dpd"])
def test_friction_brings_d_to_the_target(thermostat, liquids):
    # Beads beyond counting: no correction for the box, which would not be that of the made-up rows.
    boundless = dataclasses.replace(liquids, n_beads=np.full(len(liquids), np.inf))
    rows = with_friction(boundless, {thermostat: 1.5})
    merged, structure, (process, left_out) = trained(rows, thermostat)
    mobility = logarithm_of_mobility(merged)
    for slower in (1.5, 4.0):
        states = dataclasses.replace(merged, diffusion_nm2_ns=merged.diffusion_nm2_ns / slower)
        gamma, error, log_ratio = predict_friction(
            process, mobility, 0 * mobility, scores_of(structure), structure, states, thermostat
        )
        kt_m = 0.00831446 * states.temperature_k / states.mass_g_mol
        own = kt_m / (merged.diffusion_nm2_ns / 1000)
        reached = 1000 * kt_m / (own + 1.5 * gamma)
        np.testing.assert_allclose(reached, states.diffusion_nm2_ns, rtol=0.04)
        np.testing.assert_allclose(log_ratio, np.log(slower))
        assert (error < 0.1).all()
    assert np.sqrt(np.mean(left_out.errors**2)) < 0.1


def test_no_friction_for_a_liquid_that_is_slow_already(liquids):
    merged, structure, (process, _) = trained(with_friction(liquids, LANGEVIN))
    fast = dataclasses.replace(merged, diffusion_nm2_ns=2 * merged.diffusion_nm2_ns)
    mobility = logarithm_of_mobility(merged)
    gamma, error, _ = predict_friction(
        process, mobility, np.full(len(merged), 0.07), scores_of(structure), structure, fast, "langevin"
    )
    assert (gamma == 0).all()
    np.testing.assert_allclose(error, 0.07)


def test_friction_follows_the_mass(liquids):
    merged, structure, (process, _) = trained(with_friction(liquids, LANGEVIN))
    states = dataclasses.replace(merged, diffusion_nm2_ns=merged.diffusion_nm2_ns / 3)
    heavy = dataclasses.replace(states, mass_g_mol=4 * states.mass_g_mol, diffusion_nm2_ns=states.diffusion_nm2_ns / 2)
    mobility = logarithm_of_mobility(merged)
    first, second = (
        predict_friction(process, mobility, 0 * mobility, scores_of(structure), structure, rows, "langevin")[0]
        for rows in (states, heavy)
    )
    np.testing.assert_allclose(second, first / 2)


def test_a_run_with_friction_may_have_another_mass_than_its_twin(liquids):
    rows = with_friction(liquids, LANGEVIN)
    slowed = rows.thermostat == "langevin"
    # By the mass law four times the mass is the same run in twice the time.
    other = dataclasses.replace(
        rows,
        mass_g_mol=np.where(slowed, 4, 1) * rows.mass_g_mol,
        diffusion_nm2_ns=rows.diffusion_nm2_ns / np.where(slowed, 2, 1),
        diffusion_nm2_ns_se=rows.diffusion_nm2_ns_se / np.where(slowed, 2, 1),
        friction_1_ps=rows.friction_1_ps / np.where(slowed, 2, 1),
    )
    first, second = (trained(each)[2][0] for each in (rows, other))
    np.testing.assert_allclose(second.inputs, first.inputs, rtol=1e-5)
    np.testing.assert_allclose(second.mean(first.inputs, first.terms), first.mean(first.inputs, first.terms), rtol=1e-4)


def test_rows_without_a_twin_or_an_effect_teach_nothing(liquids):
    assert trained(liquids)[2] is None
    weak = with_friction(liquids, LANGEVIN, frictions_1_ps=(1e-3,))
    assert trained(weak)[2] is None
    alone = with_friction(liquids, LANGEVIN)
    assert trained(alone.take((alone.thermostat == "nose_hoover") & (alone.potential_id == "benzene-0")))[2] is None


def test_reach_of_the_training_rows_is_remembered(liquids):
    rows = with_friction(dataclasses.replace(liquids, n_beads=np.full(len(liquids), np.inf)), LANGEVIN)
    _, _, (process, _) = trained(rows)
    kt_m = 0.00831446 * rows.temperature_k[0] / rows.mass_g_mol[0]
    own = kt_m / (rows.diffusion_nm2_ns[0] / 1000)
    assert largest_log_ratio(process) == pytest.approx(np.log(1 + 1.5 * 8.0 / own), rel=1e-3)
