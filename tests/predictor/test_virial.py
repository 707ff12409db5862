import numpy as np
import pytest
from scipy.integrate import quad

from mobcg.coarse.simulate import measure, simulate
from mobcg.pair import R_NM, tabulate
from mobcg.predictor.virial import cavity_logarithm, pressure_correction_kj_mol, ramp, virial_pressure_bar
from mobcg.units import BAR_PER_KJ_MOL_NM3, thermal_energy_kj_mol
from tests.predictor.cases import TEMPERATURE_K, well

KT = thermal_energy_kj_mol(TEMPERATURE_K)
POTENTIAL = well(0.6, 0.48)


def test_second_virial_coefficient_of_a_dilute_gas():
    density = 1e-3
    r, energy, _ = tabulate(POTENTIAL)
    mayer = quad(lambda x: x**2 * np.expm1(-np.interp(x, r, energy) / KT), 0.05, 1.5, limit=400)[0] - 0.05**3 / 3
    expected = density * KT * (1 - 2 * np.pi * density * mayer) * BAR_PER_KJ_MOL_NM3
    cavity = cavity_logarithm(POTENTIAL, np.exp(-POTENTIAL / KT), TEMPERATURE_K)
    np.testing.assert_allclose(cavity, 0, atol=1e-9)
    found = virial_pressure_bar(POTENTIAL, cavity, density, TEMPERATURE_K)
    ideal = density * KT * BAR_PER_KJ_MOL_NM3
    assert found - ideal == pytest.approx(expected - ideal, rel=1e-3)


@pytest.mark.parametrize("change_bar", [-400.0, 150.0])
def test_correction_changes_the_pressure_by_what_was_asked(change_bar):
    cavity = np.where(R_NM < 0.6, 0.3, 0.0)
    before = virial_pressure_bar(POTENTIAL, cavity, 5.0, TEMPERATURE_K)
    change = pressure_correction_kj_mol(change_bar, POTENTIAL, cavity, 5.0, TEMPERATURE_K)
    # At the same g(r): what the tail does to exp(−βU) is taken out of the cavity function.
    after = virial_pressure_bar(POTENTIAL + change, cavity + change / KT, 5.0, TEMPERATURE_K)
    assert after - before == pytest.approx(change_bar, rel=2e-3)


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
                number_density_nm3=5.0,
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
    cavity = cavity_logarithm(POTENTIAL, rdf, TEMPERATURE_K)
    assert virial_pressure_bar(POTENTIAL, cavity, 5.0, TEMPERATURE_K, 160) == pytest.approx(pressure, abs=4 * error + 5)
    change = pressure_correction_kj_mol(-200.0, POTENTIAL, cavity, 5.0, TEMPERATURE_K)
    moved, corrected, corrected_error = run(POTENTIAL + change, "after")
    assert corrected - pressure == pytest.approx(-200, abs=4 * np.hypot(error, corrected_error) + 10)
    assert np.abs(moved - rdf).mean() < 0.015
