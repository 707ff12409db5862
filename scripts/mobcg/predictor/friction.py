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


def total_friction_1_ps(diffusion_nm2_ns: float, mass_g_mol: float, temperature_k: float) -> float:
    """Return ν = (kT/m)/D in 1/ps, all friction that a bead feels."""
    return thermal_energy_kj_mol(temperature_k) / mass_g_mol / (diffusion_nm2_ns / NM2_NS_PER_NM2_PS)


def friction_constant(
    diffusion_nm2_ns: float, trial_diffusion_nm2_ns: float, trial_1_ps: float, mass_g_mol: float, temperature_k: float
) -> float:
    """Return c of ν = ν₀ + cγ from D without friction and D at one trial γ (dimensionless)."""
    without = total_friction_1_ps(diffusion_nm2_ns, mass_g_mol, temperature_k)
    return (total_friction_1_ps(trial_diffusion_nm2_ns, mass_g_mol, temperature_k) - without) / trial_1_ps


def usual_constant(log_mobility: ArrayLike) -> NDArray[np.float64]:
    """Return c of Langevin friction, ln c = −0.136 − 0.375 x + 0.050 x², x = ln D₀* (reduced); same shape.

    Fitted to runs of liquids of many kinds; D comes out within 7 %.
    """
    x = np.asarray(log_mobility, np.float64)
    return np.exp(-0.136 - 0.375 * x + 0.050 * x**2)


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

    c is `usual_constant`; for DPD γ is turned into the friction of a bead among neighbours at rest.
    """
    x = math.log(reduced_diffusion(diffusion_nm2_ns, mass_g_mol, temperature_k, number_density_nm3))
    constant = float(usual_constant(x))
    if thermostat == "dpd":
        # Each neighbour within the cutoff damps one direction of three.
        constant *= 4 / 9 * math.pi * DPD_CUTOFF_NM**3 * number_density_nm3
    return friction_for_1_ps(target_nm2_ns, diffusion_nm2_ns, constant, mass_g_mol, temperature_k)
