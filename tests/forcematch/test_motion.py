import math

import numpy as np
import pytest

from mobcg.forcematch.field import Beads
from mobcg.forcematch.molecules import whole_molecules
from mobcg.forcematch.motion import Chain, Forces, Motion, longest_step_fs, maxwell_velocities
from mobcg.forcematch.pair_table import PairTable
from mobcg.observables import block_mean
from mobcg.units import ANGSTROM_PER_NM, FS_PER_PS, thermal_energy_kj_mol
from tests.forcematch.boxes import TEMPERATURE_K, dimers, lattice
from tests.forcematch.fields import SoftSpheres, Well
from tests.inversion.cases import known_potential

KT = thermal_energy_kj_mol(TEMPERATURE_K)


def moving(box, field=None) -> Motion:
    beads, positions, edge = box
    velocities = maxwell_velocities(beads, TEMPERATURE_K, seed=4)
    return Motion(Forces(field or SoftSpheres(), beads, edge), positions.copy(), velocities)


def energies(motion: Motion, step_ps: float, steps: int) -> np.ndarray:
    found = []
    for _ in range(steps):
        motion.step(step_ps, None)
        found.append(motion.energy_kj_mol + motion.kinetic_kj_mol)
    return np.array(found) / len(motion.masses) / KT


def test_velocities_are_those_of_the_temperature_and_do_not_move_the_box():
    beads = Beads(np.zeros(4000, int), np.arange(4000), np.tile([20.0, 180.0], 2000), np.zeros((0, 2), int))
    velocities = maxwell_velocities(beads, TEMPERATURE_K, seed=0)
    np.testing.assert_allclose(beads.masses_g_mol @ velocities, 0, atol=1e-9)
    for kind in (0, 1):
        spread = beads.masses_g_mol[kind] * (velocities[kind::2] ** 2).mean()
        assert spread == pytest.approx(KT, rel=4 * math.sqrt(2 / 6000))


def test_the_energy_is_kept_the_better_the_shorter_the_step():
    """Velocity Verlet: what the energy strays by goes with the square of the step."""
    strays = [energies(moving(lattice()), step_ps, round(3.2 / step_ps)).std() for step_ps in (0.04, 0.02)]
    assert strays[0] < 1e-3
    assert strays[0] / strays[1] > 3


def test_momentum_is_kept():
    motion, chain = moving(dimers()), Chain(3 * 60 - 3, TEMPERATURE_K, 0.2)
    for _ in range(200):
        motion.step(0.002, chain)
    np.testing.assert_allclose((motion.masses * motion.velocities_nm_ps).sum(axis=0), 0, atol=1e-8)


def test_the_chain_samples_the_canonical_kinetic_energy():
    """Mean and variance of a temperature of f degrees of freedom: T and 2 T²/f, and what is to be kept is kept."""
    motion, chain = moving(lattice()), Chain(3 * 60 - 3, TEMPERATURE_K, 0.2)
    temperatures, kept = [], []
    for _ in range(3000):
        motion.step(0.02, chain)
        temperatures.append(motion.temperature_k)
        kept.append((motion.energy_kj_mol + motion.kinetic_kj_mol + chain.energy_kj_mol) / 60 / KT)
    temperatures = np.array(temperatures[300:])
    assert temperatures.mean() == pytest.approx(TEMPERATURE_K, rel=0.01)
    assert temperatures.std() == pytest.approx(TEMPERATURE_K * math.sqrt(2 / (3 * 60 - 3)), rel=0.25)
    assert np.ptp(kept) < 5e-3


def test_each_kind_of_bead_has_its_share_of_the_kinetic_energy():
    motion, chain = moving(dimers()), Chain(3 * 60 - 3, TEMPERATURE_K, 0.1)
    shares = []
    for _ in range(2000):
        motion.step(0.005, chain)
        shares.append((motion.masses * motion.velocities_nm_ps**2).sum(axis=1).reshape(-1, 2).mean(axis=0) / 3 / KT)
    light, heavy = np.mean(shares[300:], axis=0)
    assert light == pytest.approx(1, abs=0.2)
    assert heavy == pytest.approx(1, abs=0.2)


def test_the_chain_is_that_of_ase():
    """One link, the temperature lowered there so that 3N degrees of freedom hold what 3N − 3 hold here."""
    ase = pytest.importorskip("ase", reason="ASE, which this chain is compared with, is not installed")
    from ase.calculators.calculator import Calculator, all_changes
    from ase.md.nose_hoover_chain import NoseHooverChainNVT

    beads, positions, edge = lattice()
    find = Forces(SoftSpheres(), beads, edge)
    kj_mol, angstrom, picosecond = ase.units.kJ / ase.units.mol, ANGSTROM_PER_NM, FS_PER_PS * ase.units.fs

    class Ours(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=None, system_changes=all_changes):
            energy, forces, _ = find(atoms.positions / angstrom)
            self.results = {"energy": energy * kj_mol, "forces": forces * kj_mol / angstrom}

    motion, n = moving((beads, positions, edge)), len(beads)
    velocities = motion.velocities_nm_ps * angstrom / picosecond
    atoms = ase.Atoms(
        f"X{n}", positions * angstrom, masses=beads.masses_g_mol, velocities=velocities, calculator=Ours()
    )
    step_ps, period_ps = 0.01, 0.1
    chain = Chain(3 * n - 3, TEMPERATURE_K, period_ps, length=1)
    temperature = TEMPERATURE_K * (n - 1) / n
    theirs = NoseHooverChainNVT(atoms, step_ps * picosecond, temperature, period_ps * picosecond, tchain=1)
    for _ in range(100):
        motion.step(step_ps, chain)
    theirs.run(100)
    travelled = np.abs(motion.positions_nm - positions).max()
    assert travelled > 0.1
    assert np.abs(motion.positions_nm - atoms.positions / angstrom).max() < 1e-4 * travelled


def test_the_step_follows_the_stiffest_bond():
    """Period 2π sqrt(μ/k) of two beads on a spring, μ their reduced mass."""
    beads = Beads(np.zeros(2, int), np.zeros(2, int), np.array([20.0, 60.0]), np.array([[0, 1]]))
    positions = np.array([[0.0, 0.0, 0.0], [0.15, 0.0, 0.0]])
    stiff = SoftSpheres(bond_kj_mol_nm2=1e5)
    expected = 2 * math.pi * math.sqrt(15.0 / 1e5) / 20 * FS_PER_PS
    assert longest_step_fs(stiff, beads, positions, 3.0, TEMPERATURE_K) == pytest.approx(expected, rel=1e-3)


def test_the_step_of_soft_beads_is_that_of_the_lightest_mass():
    _, positions, edge = lattice()
    beads = Beads(np.zeros(60, int), np.arange(60), np.r_[25.0, np.full(59, 100.0)], np.zeros((0, 2), int))
    assert longest_step_fs(Well(0.1), beads, positions, edge, TEMPERATURE_K) == pytest.approx(6.0)


def test_the_step_follows_the_wall_that_hot_beads_climb():
    beads, positions, edge = lattice(100, 3.65)
    steps = [longest_step_fs(PairTable(known_potential()), beads, positions, edge, kelvin) for kelvin in (1, 300, 2e4)]
    assert steps[0] == steps[1] == pytest.approx(12 * 0.78**0.5)
    assert steps[2] < 0.8 * steps[0]


def test_the_smallest_distance_is_between_molecules():
    beads, positions, edge = dimers()
    apart = positions[:, None] - positions[None]
    distance = np.linalg.norm(apart - edge * np.round(apart / edge), axis=2)
    distance[beads.molecules[:, None] == beads.molecules[None]] = np.inf
    assert Forces(SoftSpheres(), beads, edge).smallest_nm(positions) == pytest.approx(distance.min())
    assert Forces(SoftSpheres(cutoff_nm=0.01), beads, edge).smallest_nm(positions) == np.inf


def test_pressure_of_free_beads():
    motion = moving(lattice(), SoftSpheres(epsilon_kj_mol=0.0))
    beads, _, edge = lattice()
    pascal = len(beads) / (edge * 1e-9) ** 3 * 1.380649e-23 * motion.temperature_k
    assert motion.pressure_bar == pytest.approx(pascal / 1e5)


def test_volumes_of_free_beads_are_those_of_the_ideal_gas():
    """Of molecules that feel nothing: exp(−PV/kT) V^N, with mean (N + 1) kT/P and variance (N + 1) (kT/P)²."""
    for box, n in ((lattice(20), 20), (dimers(20), 20)):
        motion, random = moving(box, SoftSpheres(0.0, 0.2, bond_kj_mol_nm2=0.0)), np.random.default_rng(0)
        kt_over_p = motion.find.box_length_nm**3 / (n + 1)
        volumes = []
        for _ in range(6000):
            volume = motion.find.box_length_nm**3 + random.uniform(-12, 12) * kt_over_p
            if volume > 0.1:  # of 3 nm³ and more
                motion.try_volume(volume, KT / kt_over_p, KT, random.random())
            volumes.append(motion.find.box_length_nm**3 / kt_over_p)
        mean, error = block_mean(np.array(volumes))
        assert error < 0.02 * mean
        assert mean == pytest.approx(n + 1, abs=4 * error)
        assert np.std(volumes) == pytest.approx((n + 1) ** 0.5, rel=0.15)


def test_a_volume_without_an_energy_is_not_taken():
    motion = moving(lattice())
    edge, energy, positions = motion.find.box_length_nm, motion.energy_kj_mol, motion.positions_nm.copy()
    motion.find.model.epsilon_kj_mol.data.fill_(math.nan)
    assert not motion.try_volume(1.01 * edge**3, 0.0, KT, chance=0.0)
    assert (motion.find.box_length_nm, motion.energy_kj_mol) == (edge, energy)
    np.testing.assert_array_equal(motion.positions_nm, positions)


def test_molecules_keep_their_shape_in_another_volume():
    beads, positions, edge = dimers()
    motion = moving((beads, whole_molecules(positions, beads, edge), edge))
    before = np.diff(motion.positions_nm.reshape(-1, 2, 3), axis=1)
    assert motion.try_volume(1.1 * edge**3, -1e6, KT, chance=0.5)
    assert motion.find.box_length_nm == pytest.approx(1.1 ** (1 / 3) * edge)
    np.testing.assert_allclose(np.diff(motion.positions_nm.reshape(-1, 2, 3), axis=1), before, atol=1e-12)
