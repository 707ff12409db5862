"""Units: nm, ps, kJ/mol, g/mol, K and bar inside; the factors to what other programs read and write.

In these units energy = mass * length² / time² holds without a factor: 1 kJ/mol = 1 (g/mol) nm²/ps².
"""

from __future__ import annotations

from scipy import constants

BOLTZMANN_KJ_MOL_K = constants.R / 1000.0
AVOGADRO_1_MOL = constants.N_A
KJ_PER_KCAL = constants.calorie  # thermochemical, 4.184
BAR_PER_ATM = constants.atm / 1e5
BAR_PER_KJ_MOL_NM3 = 1e3 / constants.N_A / 1e-27 / 1e5  # pressure of 1 kJ/mol per nm³
ANGSTROM_PER_NM = 10.0
FS_PER_PS = 1000.0
NM2_NS_PER_NM2_PS = 1000.0
KG_M3_PER_G_MOL_NM3 = 1e-3 / constants.N_A / 1e-27  # density of 1 g/mol per nm³


def thermal_energy_kj_mol(temperature_k: float) -> float:
    """Return kT (kJ/mol) at a temperature (K)."""
    return BOLTZMANN_KJ_MOL_K * temperature_k


def number_density_nm3(density_kg_m3: float, molar_mass_g_mol: float) -> float:
    """Return the number density (1/nm³) of a liquid of the given mass density and molar mass."""
    return density_kg_m3 / (molar_mass_g_mol * KG_M3_PER_G_MOL_NM3)


def mass_density_kg_m3(number_density: float, molar_mass_g_mol: float) -> float:
    """Return the mass density (kg/m³) of a number density (1/nm³)."""
    return number_density * molar_mass_g_mol * KG_M3_PER_G_MOL_NM3


def reduced_time_ps(mass_g_mol: float, temperature_k: float, number_density: float) -> float:
    """Return the unit of time τ = ρ^(-1/3) sqrt(m/kT), in ps, of a one-component liquid.

    Two liquids with the same U/kT in reduced lengths move identically in units of τ, whatever their mass.
    """
    return number_density ** (-1 / 3) * (mass_g_mol / thermal_energy_kj_mol(temperature_k)) ** 0.5
