r"""One step of molecular dynamics: the forces of a field, a Nosé-Hoover chain, velocity Verlet.

Own code in place of a library's: the chain is that of 3N − 3 degrees of freedom (the box does not move), its whole
state can be kept and given back, and a step costs little beside the field. In the units nm, ps, kJ/mol and g/mol the
equations hold without a factor. Pairs are found anew in every step, which is a few per cent of a network's time: there
is no list that could be out of date. Positions, velocities and sums are in double precision, the field in its own.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mobcg.forcematch.field import Beads, Field, Pairs, evaluate, pairs_within, smallest_distance_nm
from mobcg.forcematch.molecules import centres_of_mass
from mobcg.units import BAR_PER_KJ_MOL_NM3, BOLTZMANN_KJ_MOL_K, FS_PER_PS, thermal_energy_kj_mol

CHAIN_LENGTH = 3
# Time step of a bead of 100 g/mol, as in the coarse runs; it grows with sqrt(m).
TIME_STEP_FS_100 = 12.0
REFERENCE_MASS_G_MOL = 100.0
# The time step is also at most this fraction of the period of the fastest vibration.
OSCILLATION_FRACTION = 1 / 20
VIBRATION_ITERATIONS, VIBRATION_STEP_NM = 40, 1e-3
WARMING_STEPS, WARMING_FRACTION = 50, 1 / 3
MAX_DISPLACEMENT_NM = 0.1  # of a bead in one step: further it goes in no sound run


def time_unit(mass_g_mol: float) -> float:
    """Return sqrt(m / 100 g/mol): by the mass law runs of all masses are one run in such units of time."""
    return math.sqrt(mass_g_mol / REFERENCE_MASS_G_MOL)


class Forces:
    """Energy, forces and virial of one box, the field frozen; pairs are found anew at every call."""

    def __init__(self, model: Field, beads: Beads, box_length_nm: float):
        self.model = deepcopy(model).requires_grad_(False).eval()
        self.device = next(self.model.parameters()).device
        self.beads, self.box_length_nm = beads, box_length_nm

    def __call__(self, positions_nm: NDArray) -> tuple[float, NDArray[np.float64], float]:
        """Return energy (kJ/mol), forces (beads, 3) in kJ/mol/nm, and virial (kJ/mol)."""
        pairs = pairs_within(positions_nm[None], self.box_length_nm, self.model.cutoff_nm)
        on_device = Pairs(pairs.first.to(self.device), pairs.second.to(self.device))
        positions = torch.from_numpy(positions_nm[None]).to(self.device)
        found = evaluate(self.model, self.beads, positions, self.box_length_nm, on_device)
        forces = found.forces_kj_mol_nm[0].double().cpu().numpy()
        return float(found.energies_kj_mol[0]), forces, float(found.virials_kj_mol[0])

    def smallest_nm(self, positions_nm: NDArray) -> float:
        """Return the smallest distance between beads of two molecules, infinite where none are within the cutoff."""
        return smallest_distance_nm(positions_nm, self.beads, self.box_length_nm, self.model.cutoff_nm)


class Chain:
    """A Nosé-Hoover chain (Martyna, Klein and Tuckerman, J. Chem. Phys. 97, 2635 (1992)).

    Integrated as by Martyna, Tuckerman, Tobias and Klein, Mol. Phys. 87, 1117 (1996), eq. 29, in one substep.

    Parameters
    ----------
    freedom
        Degrees of freedom.
    temperature_k, period_ps
        The masses are freedom · kT τ² for the first and kT τ² for the others.
    """

    def __init__(self, freedom: int, temperature_k: float, period_ps: float, length: int = CHAIN_LENGTH):
        self.kt, self.freedom = thermal_energy_kj_mol(temperature_k), freedom
        self.masses = [self.kt * period_ps**2 * (freedom if link == 0 else 1) for link in range(length)]
        self.places, self.speeds = [0.0] * length, [0.0] * length

    def half_step(self, kinetic_kj_mol: float, step_ps: float) -> float:
        """Move the chain by half a time step and return the factor that it puts on the velocities."""
        half, links = step_ps / 2, range(len(self.masses))
        for link in reversed(links):
            self._push(link, kinetic_kj_mol, half)
        factor = math.exp(-half * self.speeds[0])
        self.places = [place + half * speed for place, speed in zip(self.places, self.speeds, strict=True)]
        for link in links:
            self._push(link, kinetic_kj_mol * factor**2, half)
        return factor

    def _push(self, link: int, kinetic_kj_mol: float, half_ps: float) -> None:
        if link == 0:
            drive = 2 * kinetic_kj_mol - self.freedom * self.kt
        else:
            drive = self.masses[link - 1] * self.speeds[link - 1] ** 2 - self.kt
        last = link == len(self.masses) - 1
        brake = 1.0 if last else math.exp(-half_ps / 4 * self.speeds[link + 1])
        self.speeds[link] = (self.speeds[link] * brake + half_ps / 2 * drive / self.masses[link]) * brake

    @property
    def energy_kj_mol(self) -> float:
        """What the chain adds to the conserved energy."""
        moving = sum(mass * speed**2 for mass, speed in zip(self.masses, self.speeds, strict=True)) / 2
        return moving + self.kt * (self.freedom * self.places[0] + sum(self.places[1:]))


@dataclass
class Motion:
    """Beads on their way.

    Attributes
    ----------
    positions_nm, velocities_nm_ps, forces_kj_mol_nm
        (beads, 3).
    energy_kj_mol, virial_kj_mol
        Of the positions.
    """

    find: Forces
    positions_nm: NDArray[np.float64]
    velocities_nm_ps: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Find the forces of the start."""
        self.masses = self.find.beads.masses_g_mol[:, None]
        self.energy_kj_mol, self.forces_kj_mol_nm, self.virial_kj_mol = self.find(self.positions_nm)

    @property
    def kinetic_kj_mol(self) -> float:
        """Kinetic energy."""
        return 0.5 * float((self.masses * self.velocities_nm_ps**2).sum())

    @property
    def temperature_k(self) -> float:
        """Kinetic temperature, of 3N − 3 degrees of freedom."""
        return 2 * self.kinetic_kj_mol / (3 * len(self.masses) - 3) / BOLTZMANN_KJ_MOL_K

    @property
    def pressure_bar(self) -> float:
        """Pressure of this instant, P V = N kT − W/3."""
        ideal = len(self.masses) * BOLTZMANN_KJ_MOL_K * self.temperature_k
        return (ideal - self.virial_kj_mol / 3) / self.find.box_length_nm**3 * BAR_PER_KJ_MOL_NM3

    def step(self, step_ps: float, chain: Chain | None) -> float:
        """Take a step of velocity Verlet, between two half steps of the chain; return the longest way of a bead (nm).

        Where that is `MAX_DISPLACEMENT_NM` or more, or no number, the beads stay where they were.
        """
        if chain is not None:
            self.velocities_nm_ps *= chain.half_step(self.kinetic_kj_mol, step_ps)
        self._kick(step_ps / 2)
        moved = step_ps * self.velocities_nm_ps
        furthest = float(np.sqrt((moved**2).sum(axis=1).max()))
        if not furthest < MAX_DISPLACEMENT_NM:
            return furthest
        self.positions_nm += moved
        self.energy_kj_mol, self.forces_kj_mol_nm, self.virial_kj_mol = self.find(self.positions_nm)
        self._kick(step_ps / 2)
        if chain is not None:
            self.velocities_nm_ps *= chain.half_step(self.kinetic_kj_mol, step_ps)
        return furthest

    def try_volume(self, volume_nm3: float, pressure_kj_mol_nm3: float, kt_kj_mol: float, chance: float) -> bool:
        """Take another volume, molecules moved with it as they are, with the probability of Metropolis; return whether.

        That is exp(−(ΔU + P ΔV)/kT + N ln(V'/V)) of N molecules (Frenkel and Smit, Understanding Molecular Simulation,
        2nd ed., eq. 5.4.11); `chance` is a random number of 0 to 1.
        """
        find, beads, old_nm = self.find, self.find.beads, self.find.box_length_nm
        new_nm = volume_nm3 ** (1 / 3)
        away = (new_nm / old_nm - 1) * centres_of_mass(self.positions_nm, beads)[beads.molecules]
        find.box_length_nm = new_nm
        energy, forces, virial = find(self.positions_nm + away)
        work = energy - self.energy_kj_mol + pressure_kj_mol_nm3 * (volume_nm3 - old_nm**3)
        exponent = 3 * beads.n_molecules * math.log(new_nm / old_nm) - work / kt_kj_mol
        # So written that an energy that is no number is not taken.
        if not (exponent >= 0 or chance < math.exp(exponent)):
            find.box_length_nm = old_nm
            return False
        self.positions_nm += away
        self.energy_kj_mol, self.forces_kj_mol_nm, self.virial_kj_mol = energy, forces, virial
        return True

    def _kick(self, time_ps: float) -> None:
        self.velocities_nm_ps += time_ps * self.forces_kj_mol_nm / self.masses


def maxwell_velocities(beads: Beads, temperature_k: float, seed: int) -> NDArray[np.float64]:
    """Return (beads, 3) velocities in nm/ps, Maxwell's, without net momentum."""
    masses = beads.masses_g_mol[:, None]
    random = np.random.default_rng(seed).standard_normal((len(beads), 3))
    velocities = random * np.sqrt(thermal_energy_kj_mol(temperature_k) / masses)
    return velocities - (masses * velocities).sum(axis=0) / masses.sum()


def longest_step_fs(
    model: Field, beads: Beads, positions_nm: NDArray, box_length_nm: float, temperature_k: float
) -> float:
    r"""Return the time step (fs): 12 fs · sqrt(m/100) of the lightest bead, or 1/20 of the fastest vibration's period.

    The highest frequency is the root of the largest eigenvalue of M^(-1/2) H M^(-1/2), H = −∂F/∂r: that of a stiff
    bond, or of two beads on the wall of their potential. Beads of a relaxed start are not on that wall, so it is looked
    for twice, at the start and after some steps at the temperature.
    """
    find, root = Forces(model, beads, box_length_nm), np.sqrt(beads.masses_g_mol)[:, None]
    limit_fs = TIME_STEP_FS_100 * time_unit(float(beads.masses_g_mol.min()))
    start_fs = min(limit_fs, _vibration_step_fs(find, root, positions_nm))
    # Of a harmonic solid at rest, half the kinetic energy becomes potential energy.
    motion = Motion(find, np.array(positions_nm, np.float64), maxwell_velocities(beads, 2 * temperature_k, seed=0))
    for _ in range(WARMING_STEPS):
        motion.step(WARMING_FRACTION * start_fs / FS_PER_PS, None)
    return min(start_fs, _vibration_step_fs(find, root, motion.positions_nm))


def _vibration_step_fs(find: Forces, root_masses: NDArray, positions_nm: NDArray) -> float:
    """Return a fraction of the period of the fastest vibration, by power iteration; H from differences of forces."""
    vector = np.random.default_rng(0).standard_normal(positions_nm.shape)
    squared = 0.0
    for _ in range(VIBRATION_ITERATIONS):
        away = vector / root_masses
        scale = VIBRATION_STEP_NM / np.sqrt((away**2).sum(axis=1).max())
        ahead, behind = (find(positions_nm + sign * scale * away)[1] for sign in (1, -1))
        image = (behind - ahead) / (2 * scale) / root_masses
        length = float(np.linalg.norm(image))
        squared = length / float(np.linalg.norm(vector))
        if not 0 < length < np.inf:  # no forces, or no numbers: dynamics will tell
            return math.inf
        vector = image / length
    return OSCILLATION_FRACTION * 2 * math.pi / math.sqrt(squared) * FS_PER_PS
