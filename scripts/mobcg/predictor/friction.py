r"""A friction on top of a pair potential: it lowers D as far as asked and leaves g(r) alone.

Einstein's D = (kT/m)/ν with the friction of the liquid itself, ν₀ = (kT/m)/D₀, and that of the thermostat, proportional
to its γ: ν = ν₀ + cγ. The constant c is near 1 for a dilute liquid and grows towards freezing, where what a bead loses
to the thermostat it would also have lost to its neighbours later; one run with a trial γ measures it. γ and ν in 1/ps.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobcg.coarse.simulate import DPD_CUTOFF_NM
from mobcg.predictor.reduced import reduced_diffusion
from mobcg.units import NM2_NS_PER_NM2_PS, thermal_energy_kj_mol

# ln D* of the liquids that `usual_constant` was fitted to.
USUAL_LOG_MOBILITY = (-4.0, 0.5)
DPD_POWER = 0.4


def total_friction_1_ps(diffusion_nm2_ns: float, mass_g_mol: float, temperature_k: float) -> float:
    """Return ν = (kT/m)/D in 1/ps, all friction that a bead feels."""
    return thermal_energy_kj_mol(temperature_k) / mass_g_mol / (diffusion_nm2_ns / NM2_NS_PER_NM2_PS)


def friction_constant(
    diffusion_nm2_ns: float, trial_diffusion_nm2_ns: float, trial_1_ps: float, mass_g_mol: float, temperature_k: float
) -> float:
    """Return c of ν = ν₀ + cγ from D without friction and D at one trial γ (dimensionless)."""
    without = total_friction_1_ps(diffusion_nm2_ns, mass_g_mol, temperature_k)
    return (total_friction_1_ps(trial_diffusion_nm2_ns, mass_g_mol, temperature_k) - without) / trial_1_ps


def usual_constant(log_mobility: ArrayLike, neighbours: ArrayLike, thermostat: str) -> NDArray[np.float64]:
    """Return c as far as it is known of liquids of many kinds, the same shape as x = ln D₀* (reduced).

    Langevin: ln c = −0.136 − 0.375 x + 0.050 x², fitted to runs; D comes out within 7 %. DPD: a third of the neighbours
    within the cutoff, each of which damps one direction of three, times a power of the same, fitted to a dozen runs:
    neighbours that move along damp less than a medium at rest.
    """
    x = np.clip(np.asarray(log_mobility, np.float64), *USUAL_LOG_MOBILITY)
    langevin = np.exp(-0.136 - 0.375 * x + 0.050 * x**2)
    return langevin**DPD_POWER * np.asarray(neighbours) / 3 if thermostat == "dpd" else langevin


def friction_for_1_ps(
    target_nm2_ns: float, diffusion_nm2_ns: float, constant: float, mass_g_mol: float, temperature_k: float
) -> float:
    """Return the γ (1/ps) at which D reaches the target; 0 where D is there or below without friction."""
    wanted = total_friction_1_ps(target_nm2_ns, mass_g_mol, temperature_k)
    return max(0.0, (wanted - total_friction_1_ps(diffusion_nm2_ns, mass_g_mol, temperature_k)) / constant)


def trial_friction_1_ps(
    target_nm2_ns: float,
    diffusion_nm2_ns: float,
    thermostat: str,
    mass_g_mol: float,
    temperature_k: float,
    number_density_nm3: float,
) -> float:
    """Return a first guess of γ (1/ps), so that the trial run is near the target and the rest is interpolation.

    c is `usual_constant`, with as many neighbours as the mean density gives.
    """
    x = math.log(reduced_diffusion(diffusion_nm2_ns, mass_g_mol, temperature_k, number_density_nm3))
    neighbours = 4 / 3 * math.pi * DPD_CUTOFF_NM**3 * number_density_nm3
    constant = float(usual_constant(x, neighbours, thermostat))
    return friction_for_1_ps(target_nm2_ns, diffusion_nm2_ns, constant, mass_g_mol, temperature_k)
