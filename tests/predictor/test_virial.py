import numpy as np
import pytest
from scipy.integrate import quad

from mobcg.coarse.simulate import measure, simulate
from mobcg.pair import R_NM, tabulate
from mobcg.predictor.virial import (
    cavity_logarithm,
    pressure_correction_kj_mol,
    pressure_response_bar,
    ramp,
    virial_pressure_bar,
)
from mobcg.units import BAR_PER_KJ_MOL_NM3, thermal_energy_kj_mol
from tests.predictor.cases import TEMPERATURE_K, well

KT = thermal_energy_kj_mol(TEMPERATURE_K)
DENSITY = 5.0
POTENTIAL = well(0.6, 0.48)


def test_second_virial_coefficient_of_a_dilute_gas():
    density = 1e-3
    r, energy, _ = tabulate(POTENTIAL)
    mayer = quad(lambda x: x**2 * np.expm1(-np.interp(x, r, energy) / KT), 0.05, 1.5, limit=400)[0] - 0.05**3 / 3
    expected = density * KT * (1 - 2 * np.pi * density * mayer) * BAR_PER_KJ_MOL_NM3
    cavity = cavity_logarithm(POTENTIAL[None], np.exp(-POTENTIAL / KT)[None], [TEMPERATURE_K])
    np.testing.assert_allclose(cavity, 0, atol=1e-9)
    (found,) = virial_pressure_bar(POTENTIAL[None], cavity, [density], [TEMPERATURE_K], [np.inf])
    ideal = density * KT * BAR_PER_KJ_MOL_NM3
    assert found - ideal == pytest.approx(expected - ideal, rel=1e-3)


@pytest.mark.parametrize("change_bar", [-400.0, 150.0])
def test_correction_changes_the_pressure_by_what_was_asked(change_bar):
    potential, cavity = np.stack([POTENTIAL, 1.5 * POTENTIAL]), np.tile(0.3 * np.exp(-((R_NM / 0.5) ** 4)), (2, 1))
    state = [DENSITY, 2.0], [TEMPERATURE_K, TEMPERATURE_K]
    before = virial_pressure_bar(potential, cavity, *state, [np.inf, np.inf])
    change = pressure_correction_kj_mol([change_bar, change_bar / 2], potential, cavity, *state)
    # At the same g(r): what the tail does to exp(−βU) is taken out of the cavity function.
    after = virial_pressure_bar(potential + change, cavity + change / KT, *state, [np.inf, np.inf])
    np.testing.assert_allclose(after - before, [change_bar, change_bar / 2], rtol=2e-3)


def test_a_change_of_structure_changes_the_pressure():
    rdf = np.exp(-POTENTIAL / KT)[None]
    cavity = 0.05 * np.exp(-(((R_NM - 0.6) / 0.15) ** 2))[None]
    state = [DENSITY], [TEMPERATURE_K], [np.inf]
    before, after = (virial_pressure_bar(POTENTIAL[None], lny, *state) for lny in (0 * cavity, cavity))
    found = pressure_response_bar(POTENTIAL[None], rdf * np.expm1(cavity), [DENSITY])
    np.testing.assert_allclose(found, after - before, rtol=0.02)


def test_ramp_is_flat_at_both_ends_and_zero_at_the_cutoff():
    assert ramp()[0] == pytest.approx(1, abs=1e-4)
    assert ramp()[-1] == pytest.approx(0, abs=1e-4)
    assert np.all(np.diff(ramp()) < 0)


def test_lammps_measures_the_same_pressure_and_the_correction_does_what_it_promises(tmp_path):
    def run(potential, name):
        found = measure(
            simulate(
                potential,
                mass_g_mol=25.0,
                temperature_k=TEMPERATURE_K,
                number_density_nm3=DENSITY,
                n_beads=160,
                thermostat="nose_hoover",
                friction_1_ps=0.0,
                equilibration_ps_100=5,
                production_ps_100=150,
                seed=3,
                directory=tmp_path / name,
            )
        )
        return np.array(found["rdf"]), found["pressure_bar"], found["pressure_bar_se"]

    rdf, pressure, error = run(POTENTIAL, "before")
    state = [DENSITY], [TEMPERATURE_K]
    cavity = cavity_logarithm(POTENTIAL[None], rdf[None], [TEMPERATURE_K])
    (virial,) = virial_pressure_bar(POTENTIAL[None], cavity, *state, [160])
    assert virial == pytest.approx(pressure, abs=4 * error + 5)
    (change,) = pressure_correction_kj_mol([-200.0], POTENTIAL[None], cavity, *state)
    moved, corrected, corrected_error = run(POTENTIAL + change, "after")
    assert corrected - pressure == pytest.approx(-200, abs=4 * np.hypot(error, corrected_error) + 10)
    assert np.abs(moved - rdf).mean() < 0.015
