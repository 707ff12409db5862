import math

import numpy as np
import pytest

from mobcg.coarse.integral_equation import DISTANCE_NM, WAVE_1_NM, NoSolutionError, _to_distances, _to_waves, solve
from mobcg.coarse.simulate import measure, simulate
from mobcg.pair import R_NM
from mobcg.units import thermal_energy_kj_mol
from tests.coarse.cases import SOFT, SOFT_STATE, TEMPERATURE_K, lennard_jones

KT = thermal_energy_kj_mol(TEMPERATURE_K)


def test_transforms_are_those_of_a_gaussian_and_each_others_inverse():
    """∫ exp(−r²/2s²) exp(ikr) d³r = (2π)^(3/2) s³ exp(−k²s²/2)."""
    width_nm = 0.3
    gaussian = np.exp(-((DISTANCE_NM / width_nm) ** 2) / 2)
    exact = (2 * math.pi) ** 1.5 * width_nm**3 * np.exp(-((WAVE_1_NM * width_nm) ** 2) / 2)
    np.testing.assert_allclose(_to_waves(gaussian), exact, atol=1e-10)
    np.testing.assert_allclose(_to_distances(exact), gaussian, atol=1e-10)


def test_an_ideal_gas_has_no_structure():
    structure = solve(np.zeros(150), 6.0)
    np.testing.assert_allclose(structure.rdf, 1)
    np.testing.assert_allclose(structure.structure_factor, 1)


def test_a_dilute_gas():
    """g = exp(−U/kT) and S(0) = 1 − 2 B₂ ρ."""
    density_nm3, energy = 0.02, SOFT / KT
    structure = solve(energy, density_nm3)
    second_virial_nm3 = -2 * math.pi * np.sum((np.exp(-energy) - 1) * R_NM**2) * 0.01
    np.testing.assert_allclose(structure.rdf, np.exp(-energy), atol=0.01)
    assert structure.structure_factor[0] == pytest.approx(1 - 2 * second_virial_nm3 * density_nm3, abs=5e-4)


def hard_spheres(packing, **options):
    """Return S(0) and g at contact over those of Carnahan and Starling, J. Chem. Phys. 51, 635 (1969)."""
    diameter_nm = 0.5
    energy = np.where(diameter_nm > R_NM, 60.0, 0.0)
    structure = solve(energy, packing / (math.pi / 6 * diameter_nm**3), **options)
    compressibility = (1 - packing) ** 4 / ((1 + 2 * packing) ** 2 + packing**3 * (packing - 4))
    contact = (1 - packing / 2) / (1 - packing) ** 3
    assert structure.rdf[:50].max() < 1e-6
    at_contact = 1.5 * structure.rdf[50] - 0.5 * structure.rdf[51]  # half a bin further in
    return structure.structure_factor[0] / compressibility, at_contact / contact


@pytest.mark.parametrize("packing", [0.2, 0.3, 0.4])
def test_hard_spheres(packing):
    assert hard_spheres(packing) == (pytest.approx(1, abs=0.1), pytest.approx(1, abs=0.04))


def test_the_plain_chain_makes_hard_spheres_too_compressible():
    assert hard_spheres(0.4, bridge=0)[0] > 1.25


def test_a_liquid_against_its_simulation(tmp_path):
    run = measure(simulate(SOFT, **{**SOFT_STATE, "n_beads": 300}, directory=tmp_path))
    structure = solve(SOFT / KT, SOFT_STATE["number_density_nm3"])
    deviation = np.abs(structure.rdf - run["rdf"])[10:].sum() / np.sum(run["rdf"][10:])
    assert deviation < 0.03
    assert structure.rdf.max() == pytest.approx(max(run["rdf"]), rel=0.05)


def test_the_lennard_jones_liquid_at_its_triple_point():
    """Peak of g of Rahman, Phys. Rev. 136, A405 (1964), at T* = 0.787, ρ* = 0.807; S peaks below 2.85, a liquid."""
    structure = solve(lennard_jones(KT / 0.787, 0.5) / KT, 0.807 / 0.5**3)
    assert structure.rdf.max() == pytest.approx(2.84, rel=0.07)
    assert 2 < structure.structure_factor.max() < 2.85


@pytest.mark.parametrize("reduced_density", [0.3, 0.5, 0.65])
def test_a_two_phase_region_has_no_homogeneous_solution(reduced_density):
    with pytest.raises(NoSolutionError):
        solve(lennard_jones(KT / 0.8, 0.5) / KT, reduced_density / 0.5**3)
