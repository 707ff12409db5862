import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from mobcg import pair
from mobcg.pair import BIN_WIDTH_NM, CUTOFF_NM, R_EDGES_NM, R_NM, TAPER_WIDTH_NM
from mobcg.units import thermal_energy_kj_mol

KT = thermal_energy_kj_mol(298.15)


def lennard_jones(r_nm: np.ndarray, sigma_nm: float = 0.5, epsilon_kj_mol: float = 2.0) -> np.ndarray:
    return 4 * epsilon_kj_mol * ((sigma_nm / r_nm) ** 12 - (sigma_nm / r_nm) ** 6)


@pytest.fixture(scope="module")
def potential() -> np.ndarray:
    first = int(np.searchsorted(R_NM, 0.43))
    return pair.taper(pair.extrapolate_core(lennard_jones(R_NM), first))


@pytest.fixture(scope="module")
def rdf() -> np.ndarray:
    """Return the g(r) of a dilute Lennard-Jones gas, exp(−U/kT): its W(r) is U itself."""
    return np.exp(-lennard_jones(R_NM) / KT)


def test_the_common_grid() -> None:
    assert R_NM.shape == (150,)
    assert R_NM[[0, -1]] == pytest.approx([0.005, 1.495], abs=1e-12)
    assert np.allclose(np.diff(R_NM), BIN_WIDTH_NM)
    assert R_EDGES_NM[-1] == CUTOFF_NM == 1.5


def test_taper_leaves_the_inside_and_ends_with_value_and_slope_zero() -> None:
    factor = pair.taper(np.ones(150))
    inside = CUTOFF_NM - TAPER_WIDTH_NM > R_NM
    assert np.all(factor[inside] == 1)
    assert np.all(np.diff(factor[~inside]) < 0)
    # Towards the cutoff the factor is the third order of the distance left: 10 (1 − x)³.
    left = (CUTOFF_NM - R_NM[-3:]) / TAPER_WIDTH_NM
    assert factor[-1] == pytest.approx(10 * left[-1] ** 3, rel=0.1)
    assert 0 < factor[-1] < factor[-2] < 0.03


def test_a_table_ends_with_no_energy_and_no_force(potential: np.ndarray) -> None:
    r, energy, strength = pair.tabulate(potential)
    assert r[-1] == CUTOFF_NM
    assert energy[-1] == pytest.approx(0, abs=1e-12)
    assert strength[-1] == pytest.approx(0, abs=1e-10)


def test_a_potential_that_does_not_end_at_zero_is_still_brought_there() -> None:
    tapered = pair.taper(np.full(150, -3.0))
    _, energy, strength = pair.tabulate(tapered)
    assert energy[-1] == pytest.approx(0, abs=1e-12)
    assert strength[-1] == pytest.approx(0, abs=1e-10)
    assert np.abs(strength).max() < 3 * 1.875 / TAPER_WIDTH_NM * 1.05  # the steepest slope of the factor is 15/8


def test_force_is_minus_the_derivative_of_the_tabulated_energy(potential: np.ndarray) -> None:
    r, energy, strength = pair.tabulate(potential, points=20_001)
    differences = -(energy[2:] - energy[:-2]) / (r[2:] - r[:-2])
    assert np.allclose(strength[1:-1], differences, rtol=2e-4, atol=2e-3)


def test_force_on_the_grid_is_the_analytic_one_where_the_potential_is_smooth(potential: np.ndarray) -> None:
    analytic = 24 * 2.0 * (2 * (0.5 / R_NM) ** 12 - (0.5 / R_NM) ** 6) / R_NM
    smooth = (R_NM > 0.5) & (R_NM < 1.35)
    assert np.allclose(pair.force(potential)[smooth], analytic[smooth], atol=0.05)


def test_force_of_the_grid_and_of_the_table_agree(potential: np.ndarray) -> None:
    r, _, strength = pair.tabulate(potential, points=2901)  # steps of 0.0005 nm: the grid's centres are among them
    at_centres = np.searchsorted(r, R_NM[R_NM > 0.06] - 1e-9)
    assert np.allclose(strength[at_centres], pair.force(potential)[R_NM > 0.06], rtol=1e-9, atol=1e-9)


def test_core_index_is_the_end_of_the_last_core_bin() -> None:
    g = np.ones(150)
    g[:40] = 0
    assert pair.core_index(g) == 40
    g[30] = 1e-3  # a stray pair below the threshold
    assert pair.core_index(g) == 40
    g[30] = 0.02  # a stray pair above it: the core ends where g stays up
    assert pair.core_index(g) == 40
    assert pair.core_index(np.ones(150)) == 0


def test_a_rdf_of_zero_is_no_liquid() -> None:
    with pytest.raises(ValueError, match="zero everywhere"):
        pair.core_index(np.zeros(150))
    with pytest.raises(ValueError, match="zero everywhere"):
        pair.potential_of_mean_force(np.zeros(150), 298.15)


def test_potential_of_mean_force_gives_a_dilute_gas_its_potential_back(rdf: np.ndarray) -> None:
    first = pair.core_index(rdf)
    inside = slice(first, int(np.searchsorted(R_NM, CUTOFF_NM - TAPER_WIDTH_NM)))
    back = pair.potential_of_mean_force(rdf, 298.15)
    assert np.allclose(back[inside], lennard_jones(R_NM)[inside], rtol=1e-12)
    assert np.all(np.isfinite(back))


def test_core_extrapolation_is_continuous_and_monotone(rdf: np.ndarray) -> None:
    first = pair.core_index(rdf)
    wall = pair.potential_of_mean_force(rdf, 298.15)
    assert np.all(np.diff(wall[: first + 3]) < 0)
    steps = np.diff(wall)
    # The step across the seam lies between its neighbours within the change of slope of the wall itself.
    assert steps[first - 1] == pytest.approx(steps[first], rel=0.5)
    # One decay length further in the wall stands by (e − 1) slope lengths higher.
    decay_nm = R_NM[first] / 5
    slope = -np.polyfit(R_NM[first : first + 4], wall[first : first + 4], 1)[0]
    inner = wall[first] + slope * decay_nm * (np.exp((R_NM[first] - R_NM[0]) / decay_nm) - 1)
    assert wall[0] == pytest.approx(inner, rel=1e-9)
    assert wall[0] > 10 * KT


def test_core_extrapolation_leaves_its_argument_and_the_rest_alone(rdf: np.ndarray) -> None:
    given = lennard_jones(R_NM)
    copy = given.copy()
    out = pair.extrapolate_core(given, 43)
    assert np.array_equal(given, copy)
    assert np.array_equal(out[43:], copy[43:])
    assert np.array_equal(pair.extrapolate_core(given, 0), copy)


@pytest.mark.parametrize("rising", [R_NM, np.zeros(150), -lennard_jones(R_NM)])
def test_a_core_without_a_wall_is_refused(rising: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no repulsive wall"):
        pair.extrapolate_core(rising, 43)


def test_many_curves_are_treated_as_each_alone(rdf: np.ndarray) -> None:
    shifted = np.array([np.roll(rdf, shift) for shift in (0, 3, 6)])
    shifted[:, :20] = 0
    potentials = np.array([-np.log(np.maximum(g, 1e-9)) for g in shifted])
    first = pair.core_index(shifted)
    assert first.tolist() == [int(pair.core_index(g)) for g in shifted]
    together = pair.extrapolate_core(potentials, first)
    for row in range(3):
        assert np.array_equal(together[row], pair.extrapolate_core(potentials[row], first[row]))


def test_the_table_file(tmp_path: Path, potential: np.ndarray) -> None:
    pair.write_lammps_table(tmp_path / "u.table", potential, "BEAD")
    lines = (tmp_path / "u.table").read_text().splitlines()
    assert lines[0] == "# UNITS: real"
    assert lines[2] == "BEAD"
    assert lines[3] == "N 2901 R 0.5 15"
    rows = np.loadtxt(lines[5:])
    r, energy, strength = pair.tabulate(potential)
    assert rows.shape == (2901, 4)
    assert np.array_equal(rows[:, 0], np.arange(1, 2902))
    assert np.allclose(rows[:, 1], r * 10, atol=1e-8)
    assert np.allclose(rows[:, 2] * 4.184, energy, rtol=1e-10)
    assert np.allclose(rows[:, 3] * 41.84, strength, rtol=1e-10)


@pytest.mark.skipif(shutil.which("lmp") is None, reason="lmp is not on PATH: the table is not read by real LAMMPS")
def test_lammps_reads_the_table_as_it_was_meant(tmp_path: Path, potential: np.ndarray) -> None:
    pair.write_lammps_table(tmp_path / "u.table", potential)
    (tmp_path / "in.lmp").write_text(
        "units real\natom_style atomic\nregion box block 0 40 0 40 0 40\ncreate_box 1 box\nmass 1 100\n"
        "pair_style table linear 2901\npair_coeff 1 1 u.table MOBCG 15.0\n"
        "pair_write 1 1 337 r 2.0 14.97 out.table BACK\n"
    )
    done = subprocess.run(
        ["lmp", "-in", "in.lmp", "-log", "none"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    # LAMMPS counts the forces that are not the derivative of the energies; at points of inflection it always does.
    warned = re.search(r"WARNING: (\d+) of 2901 force values in table MOBCG are inconsistent", done.stdout)
    assert warned is None or int(warned[1]) <= 5
    lines = (tmp_path / "out.table").read_text().splitlines()
    assert any("UNITS: real" in line for line in lines[:2])
    rows = np.array([line.split() for line in lines if len(line.split()) == 4 and line[0].isdigit()], float)
    assert rows.shape == (337, 4)
    spline = CubicSpline(np.append(R_NM, CUTOFF_NM), np.append(potential, 0.0), bc_type=("not-a-knot", (1, 0.0)))
    r_nm, energy_kj_mol, force_kj_mol_nm = rows[:, 1] / 10, rows[:, 2] * 4.184, rows[:, 3] * 41.84
    # LAMMPS interpolates linearly in r², which is worst on the wall.
    assert np.allclose(energy_kj_mol, spline(r_nm), rtol=3e-4, atol=1e-2)
    assert np.allclose(force_kj_mol_nm, -spline(r_nm, 1), rtol=1e-3, atol=1.0)
    well = r_nm > 0.5
    assert np.allclose(energy_kj_mol[well], spline(r_nm[well]), rtol=1e-3, atol=1e-4)
    assert np.allclose(force_kj_mol_nm[well], -spline(r_nm[well], 1), rtol=1e-3, atol=1e-2)


PERTURBATION = {"amplitude_kj_mol": [1.0, -0.5], "centre_nm": [0.8, 1.35], "width_nm": [0.05, 0.1]}


def test_a_perturbation_is_a_sum_of_gaussians_outside_the_core(potential: np.ndarray) -> None:
    change = pair.perturb(potential, PERTURBATION) - potential
    gaussians = sum(a * np.exp(-(((R_NM - c) / s) ** 2) / 2) for a, c, s in zip(*PERTURBATION.values(), strict=True))
    attractive = (potential < 0) & (R_NM < CUTOFF_NM - TAPER_WIDTH_NM)
    assert attractive.sum() > 50
    np.testing.assert_allclose(change[attractive], gaussians[attractive], atol=1e-12)
    assert abs(change[-1]) < 0.02 * abs(gaussians[-1])
    _, energy, strength = pair.tabulate(potential + change)
    assert (energy[-1], strength[-1]) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-10))


def test_a_perturbation_leaves_the_wall_alone(potential: np.ndarray) -> None:
    inside = {"amplitude_kj_mol": [1.2], "centre_nm": [0.45], "width_nm": [0.15]}
    change = pair.perturb(potential, inside) - potential
    wall = potential > 12 * KT
    assert wall.any()
    assert np.abs(change[wall]).max() < 0.1 * 1.2
    assert change.max() > 0.5 * 1.2  # but not what is outside
    assert np.all(np.diff((potential + change)[potential > 2 * KT]) < 0)


def test_a_derived_potential_is_scaled_first_and_perturbed_then(potential: np.ndarray) -> None:
    scaled = pair.derive(potential.tolist(), {"parent_id": "a", "scale_factor": 1.5})
    np.testing.assert_array_equal(scaled, 1.5 * potential)
    both = pair.derive(potential, {"scale_factor": 1.5, "perturbation": PERTURBATION})
    np.testing.assert_array_equal(both, pair.perturb(scaled, PERTURBATION))
