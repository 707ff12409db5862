import pytest
from scipy import constants

from mobcg import units


def test_thermal_energy_at_room_temperature() -> None:
    assert units.thermal_energy_kj_mol(298.15) == pytest.approx(2.47896, abs=1e-5)


def test_number_density_of_water() -> None:
    molecules_per_litre = 997.05e-3 / 18.01528e-3 * 1e3 * constants.N_A / 1e3  # 997.05 kg/m³
    assert units.number_density_nm3(997.05, 18.01528) == pytest.approx(molecules_per_litre * 1e-24, rel=1e-12)
    assert units.number_density_nm3(997.05, 18.01528) == pytest.approx(33.33, abs=0.01)


def test_densities_are_each_others_inverse() -> None:
    assert units.mass_density_kg_m3(units.number_density_nm3(873.5, 78.114), 78.114) == pytest.approx(873.5, rel=1e-14)


def test_pressure_unit_against_si() -> None:
    ideal_gas_bar = 5e27 * constants.k * 300 / 1e5
    assert 5 * units.thermal_energy_kj_mol(300) * units.BAR_PER_KJ_MOL_NM3 == pytest.approx(ideal_gas_bar, rel=1e-12)


def test_reduced_time_against_si() -> None:
    mass_kg, edge_m = 0.1 / constants.N_A, (5e27) ** (-1 / 3)
    tau_s = edge_m * (mass_kg / (constants.k * 298.15)) ** 0.5
    assert units.reduced_time_ps(100.0, 298.15, 5.0) == pytest.approx(tau_s * 1e12, rel=1e-12)


def test_reduced_time_grows_with_the_root_of_the_mass() -> None:
    assert units.reduced_time_ps(400, 298.15, 5) == pytest.approx(2 * units.reduced_time_ps(100, 298.15, 5), rel=1e-14)


def test_factors_of_other_programs() -> None:
    assert units.KJ_PER_KCAL == 4.184
    assert units.BAR_PER_ATM == 1.01325
    assert units.NM2_NS_PER_NM2_PS == 1000  # 1 nm²/ps is 1000 nm²/ns
