import math
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from mobcg import programs
from mobcg.coarse.simulate import (
    CoarseRun,
    friction_step_ps,
    measure,
    npt_density,
    simulate,
    simulate_npt,
    start_positions,
    time_step_fs,
    write_run,
)
from mobcg.errors import SimulationError
from mobcg.observables import finite_size_factor, neighbour_correlation, rdf_error
from mobcg.pair import R_NM
from mobcg.programs import ProgramError
from mobcg.schema import TABLES
from mobcg.units import (
    BAR_PER_KJ_MOL_NM3,
    BOLTZMANN_KJ_MOL_K,
    KJ_PER_KCAL,
    NM2_NS_PER_NM2_PS,
    mass_density_kg_m3,
    thermal_energy_kj_mol,
)
from tests.coarse.cases import (
    BOTTOMLESS,
    SOFT,
    SOFT_STATE,
    TEMPERATURE_K,
    lennard_jones,
    lennard_jones_kj_mol,
    tapered_lennard_jones_kj_mol,
)

KT = thermal_energy_kj_mol(TEMPERATURE_K)
# All but an ideal gas: a core of less than 0.1 nm keeps beads off the innermost distance of the table.
NEARLY_IDEAL = 60 * np.exp(-((R_NM / 0.06) ** 2))
# Two g(r) of one liquid, each of a run of this length, differ by about this much.
RDF_NOISE = 0.02


def run(directory: Path, potential=SOFT, **changes) -> CoarseRun:
    return simulate(potential, **{**SOFT_STATE, **changes}, directory=directory)


@pytest.fixture(scope="module")
def soft(tmp_path_factory) -> dict:
    return measure(run(tmp_path_factory.mktemp("soft"), n_beads=300))


# --- pure functions


def test_time_step_grows_with_the_root_of_the_mass():
    assert time_step_fs(SOFT, 100.0, TEMPERATURE_K) == pytest.approx(12.0)
    assert time_step_fs(SOFT, 25.0, TEMPERATURE_K) == pytest.approx(6.0)


def test_time_step_of_a_stiff_wall_is_a_fraction_of_its_period():
    stiffness_kj_mol_nm2, mass_g_mol = 2e5, 100.0
    well = 0.5 * stiffness_kj_mol_nm2 * (R_NM - 0.5) ** 2
    potential = np.where(R_NM < 0.5, well, 0.0)
    period_fs = 2 * math.pi * math.sqrt(mass_g_mol / (2 * stiffness_kj_mol_nm2)) * 1000
    # The spline rounds the corner at 0.5 nm and overshoots the curvature there.
    assert time_step_fs(potential, mass_g_mol, TEMPERATURE_K) == pytest.approx(period_fs / 20, rel=0.2)


def test_time_step_of_a_high_friction():
    assert friction_step_ps("nose_hoover", 0.0, 5.0) == friction_step_ps("langevin", 0.0, 5.0) == math.inf
    assert friction_step_ps("langevin", 40.0, 5.0) == pytest.approx(0.005)
    assert friction_step_ps("dpd", 40.0, 5.0) < 0.005 / 20
    assert time_step_fs(SOFT, 100.0, TEMPERATURE_K, 0.001) == pytest.approx(1.0)


@pytest.mark.parametrize("n_beads", [160, 216, 500])
def test_start_has_no_overlaps(n_beads):
    positions = start_positions(n_beads, 3.2, seed=3)
    apart = positions[:, None] - positions[None]
    apart -= 3.2 * np.round(apart / 3.2)
    distances = np.sqrt((apart**2).sum(-1))[np.triu_indices(n_beads, 1)]
    assert positions.shape == (n_beads, 3)
    assert positions.min() > 0
    assert positions.max() < 3.2
    assert distances.min() > 0.85 * 3.2 / math.ceil(n_beads ** (1 / 3) - 1e-9)


def test_npt_density_of_a_steady_box():
    volumes = 100 + np.random.default_rng(0).normal(0, 1, 1000)
    result = npt_density(volumes, 100, 500, 80.0, 90.0)
    assert result.reason is None
    assert result.number_density_nm3 == pytest.approx(5.0, rel=1e-3)
    assert 0 < result.number_density_nm3_se < 0.01
    assert result.density_kg_m3 == pytest.approx(mass_density_kg_m3(result.number_density_nm3, 80.0))


@pytest.mark.parametrize(
    ("volumes", "reason"),
    [
        (np.linspace(100, 201, 500), "evaporates"),
        (np.linspace(100, 49, 500), "collapses"),
        (np.linspace(100, 110, 500), "drifts"),
    ],
)
def test_npt_density_of_a_box_that_runs_away(volumes, reason):
    result = npt_density(volumes, 50, 500, 80.0, 100.0)
    assert result.number_density_nm3 is result.density_kg_m3 is None
    assert reason in result.reason


# --- what cannot be measured or run


def test_too_small_a_box_is_refused_before_the_run(tmp_path):
    with pytest.raises(SimulationError, match=r"132 beads make a box of 3\.00 nm"):
        run(tmp_path / "run", n_beads=132)
    assert not (tmp_path / "run").exists()


def test_too_short_a_run_is_refused_before_the_run(tmp_path):
    with pytest.raises(SimulationError, match="too short"):
        run(tmp_path, production_ps_100=100.0)


def test_a_potential_that_cannot_run_fails_with_the_reason_of_every_attempt(tmp_path):
    with pytest.raises(SimulationError, match=r"(?s)12\.00 fs.*6\.00 fs.*3\.00 fs.*ERROR") as caught:
        run(tmp_path, BOTTOMLESS)
    assert not isinstance(caught.value, ProgramError)


def test_a_missing_lammps_is_not_the_fault_of_the_potential(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramError, match="lmp") as caught:
        run(tmp_path)
    assert caught.value.returncode == 127


def test_a_lammps_whose_libraries_give_out_is_not_the_fault_of_the_potential(tmp_path, monkeypatch):
    monkeypatch.setenv("OMPI_MCA_pml", "no_such_component")
    with pytest.raises(ProgramError, match="MPI") as caught:
        run(tmp_path / "run")
    assert caught.value.returncode > 0


def test_a_run_inside_a_job_step_is_a_run_by_itself(tmp_path, monkeypatch):
    for name in ("SLURM_NODELIST", "SLURM_JOBID", "SLURM_STEP_ID", "SLURM_STEPID", "SLURM_NTASKS"):
        monkeypatch.setenv(name, "1")
    assert run(tmp_path).temperature_measured_k == pytest.approx(TEMPERATURE_K, rel=0.03)


@pytest.mark.parametrize("torn", ["frames.txt", "samples.txt"])
def test_a_disk_that_fills_up_is_no_failure_of_the_run(tmp_path, monkeypatch, torn):
    # LAMMPS ends well when what it writes does not arrive.
    (tmp_path / "lmp").write_text(f'#!/bin/sh\n{shutil.which("lmp")} "$@"; truncate -s 1001 {torn}\n')
    (tmp_path / "lmp").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ProgramError, match=f"exit status 0, but {torn} is torn.*is the disk full"):
        run(tmp_path / "run", n_beads=140)


def test_a_full_disk_is_no_failure_of_the_run(tmp_path, monkeypatch):
    (tmp_path / "lmp").write_text("#!/bin/sh\necho 'LAMMPS ('; echo 'ERROR: file x: No space left on device'; exit 1\n")
    (tmp_path / "lmp").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ProgramError, match="No space left"):
        run(tmp_path / "run")


def test_a_killed_lammps_is_not_the_fault_of_the_potential(tmp_path, monkeypatch):
    killed = tmp_path / "lmp"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(ProgramError) as caught:
        run(tmp_path / "run")
    assert caught.value.returncode == -signal.SIGKILL


@pytest.fixture
def lmp_that_stops_early(tmp_path, monkeypatch) -> None:
    """The real program, told to end every `run` after a second; its exit status is 0."""
    cut_short = tmp_path / "lmp"
    sed = "s/^units real/&\\ntimer timeout 0:0:1 every 100/"
    cut_short.write_text(f"#!/bin/sh\nsed '{sed}' \"$2\" > cut.in && exec {shutil.which('lmp')} -in cut.in -log none\n")
    cut_short.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.usefixtures("lmp_that_stops_early")
def test_a_lammps_that_ends_well_but_early_is_caught(tmp_path):
    with pytest.raises(ProgramError, match="exit status 0"):
        run(tmp_path / "run", production_ps_100=2000.0)


@pytest.mark.usefixtures("lmp_that_stops_early")
def test_a_lammps_that_ends_well_but_early_is_caught_at_constant_pressure_too(tmp_path):
    keys = ("mass_g_mol", "temperature_k", "number_density_nm3", "n_beads", "equilibration_ps_100", "seed")
    state = {key: SOFT_STATE[key] for key in keys} | {"production_ps_100": 2000.0, "pressure_bar": 1000.0}
    with pytest.raises(ProgramError, match="exit status 0"):
        simulate_npt(SOFT, **state, directory=tmp_path / "run")


def test_too_long_a_time_step_is_halved(tmp_path, monkeypatch):
    monkeypatch.setattr("mobcg.coarse.simulate.TIME_STEP_FS_100", 100.0)
    monkeypatch.setattr("mobcg.coarse.simulate.OSCILLATION_FRACTION", 1.0)
    limit_fs = time_step_fs(SOFT, 100.0, TEMPERATURE_K)
    result = run(tmp_path)
    assert result.retries in (1, 2)
    assert result.time_step_fs == pytest.approx(limit_fs / 2**result.retries)
    assert measure(result)["retries"] == result.retries
    # What it cost is that of the attempt that succeeded.
    nanoseconds = result.steps_per_core_s * result.time_step_fs / 1e6
    assert 0 < result.core_s_ns_bead == pytest.approx(1 / nanoseconds / SOFT_STATE["n_beads"])
    assert result.temperature_measured_k == pytest.approx(TEMPERATURE_K, rel=0.02)


# --- energy, pressure and noise against closed forms


@pytest.mark.parametrize("thermostat", ["nose_hoover", "langevin", "dpd"])
def test_energy_and_pressure_are_those_of_a_direct_sum(tmp_path, thermostat):
    """In a box of 3.20 nm, twice the cutoff and no room for the neighbour skin."""
    n, box_nm = 160, (160 / 4.9) ** (1 / 3)
    result = run(tmp_path, thermostat=thermostat, friction_1_ps=0.0 if thermostat == "nose_hoover" else 0.3)
    samples = np.loadtxt(tmp_path / "samples.txt")
    frame_steps = round(result.trajectory.frame_ps * 1000 / result.time_step_fs)
    assert frame_steps % 10 == 0  # every frame has a sample
    for frame in (0, 50, 190):
        step, temperature_k, pressure_atm, conserved_kcal = samples[frame * frame_steps // 10]
        assert step == frame * frame_steps
        energy, virial = _direct_sum(result.trajectory.positions_nm[frame], box_nm, 1.5, 0.5)
        kinetic = 1.5 * (n - 1) * BOLTZMANN_KJ_MOL_K * temperature_k
        pressure_bar = (2 * kinetic + virial) / (3 * box_nm**3) * BAR_PER_KJ_MOL_NM3
        # A run starts with nothing in the bath; a DPD run keeps no account of it.
        if frame == 0 or thermostat == "dpd":
            assert (conserved_kcal * KJ_PER_KCAL - kinetic) / n == pytest.approx(energy / n, abs=2e-3 * KT)
        assert pressure_atm * 1.01325 == pytest.approx(pressure_bar, abs=1.0)


def _direct_sum(positions_nm, box_nm, epsilon, sigma):
    i, j = np.triu_indices(len(positions_nm), 1)
    apart = positions_nm[i] - positions_nm[j]
    r = np.sqrt(((apart - box_nm * np.round(apart / box_nm)) ** 2).sum(-1))
    r = r[r < 1.5]
    energy = tapered_lennard_jones_kj_mol(r, epsilon, sigma).sum()
    dr = 1e-6
    slope = tapered_lennard_jones_kj_mol(r + dr, epsilon, sigma) - tapered_lennard_jones_kj_mol(r - dr, epsilon, sigma)
    return energy, -(r * slope / (2 * dr)).sum()


def test_langevin_friction_of_an_ideal_gas(tmp_path):
    """D = kT/(mγ)."""
    measured = measure(run(tmp_path, NEARLY_IDEAL, thermostat="langevin", friction_1_ps=4.0))
    exact = KT / (100 * 4.0) * NM2_NS_PER_NM2_PS
    assert measured["diffusion_nm2_ns"] == pytest.approx(exact, rel=0.08)
    assert measured["diffusion_yh_nm2_ns"] is None
    assert measured["pressure_bar"] == pytest.approx(4.9 * KT * BAR_PER_KJ_MOL_NM3, rel=0.05)


def test_dpd_friction_of_an_ideal_gas(tmp_path):
    """MSD(t) = (6 kT/m) (Γt − 1 + exp(−Γt)) / Γ², Γ = γn/3 with n neighbours within the cutoff.

    Only at short times and a low friction: later, neighbours that are dragged along make the beads diffuse faster
    (Groot and Warren, J. Chem. Phys. 107, 4423 (1997), find the same).
    """
    measured = measure(run(tmp_path, NEARLY_IDEAL, thermostat="dpd", friction_1_ps=0.1))
    bead_friction_1_ps = 0.1 * 4 / 9 * math.pi * 4.9
    decay = bead_friction_1_ps * measured["msd_time_ps"][2]
    exact_nm2 = 6 * KT / 100 * (decay - 1 + math.exp(-decay)) / bead_friction_1_ps**2
    assert decay > 1
    assert measured["msd_nm2"][2] == pytest.approx(exact_nm2, rel=0.06)
    assert measured["temperature_measured_k"] == pytest.approx(TEMPERATURE_K, rel=0.01)


# --- physics of the liquid


def test_columns_are_those_of_the_table(soft):
    assert set(soft) <= set(TABLES["coarse"].arrow_schema.names)
    assert len(soft["rdf"]) == len(soft["rdf_se"]) == R_NM.size
    lag_ps, msd_nm2 = np.array(soft["msd_time_ps"]), np.array(soft["msd_nm2"])
    assert 30 <= lag_ps.size <= 60
    assert np.all(np.diff(lag_ps) > 0)
    slope = np.polyfit(lag_ps[-10:], msd_nm2[-10:], 1)[0] / 6 * NM2_NS_PER_NM2_PS
    assert slope == pytest.approx(soft["diffusion_nm2_ns"], rel=0.15)
    assert soft["production_ps"] == pytest.approx(140, abs=0.7)


def test_temperature(soft):
    assert soft["temperature_measured_k"] == pytest.approx(TEMPERATURE_K, rel=0.01)


@pytest.mark.parametrize("mass_g_mol", [25.0, 180.0])
def test_diffusion_goes_with_the_mass_to_minus_one_half_and_structure_does_not(soft, tmp_path, mass_g_mol):
    other = measure(run(tmp_path, n_beads=300, mass_g_mol=mass_g_mol, seed=2))
    unit = math.sqrt(mass_g_mol / 100)
    assert other["diffusion_nm2_ns"] * unit == pytest.approx(soft["diffusion_nm2_ns"], rel=0.15)
    assert rdf_error(other["rdf"], soft["rdf"]) < RDF_NOISE
    assert other["production_ps"] == pytest.approx(soft["production_ps"] * unit)


def test_beads_of_all_masses_start_on_the_same_path_in_their_own_time(tmp_path):
    """With the same seed, until rounding errors have grown: every time of the run scales with sqrt(m)."""
    light, heavy = (
        run(tmp_path / str(mass), mass_g_mol=mass, equilibration_ps_100=1.0).trajectory for mass in (50.0, 200.0)
    )
    assert heavy.frame_ps == pytest.approx(2 * light.frame_ps)
    np.testing.assert_allclose(heavy.positions_nm[:3], light.positions_nm[:3], atol=1e-4)


def test_langevin_friction_adds_to_that_of_the_liquid_and_keeps_the_structure(soft, tmp_path):
    """D = (kT/m) / (ν0 + cγ), one c for all γ."""
    without = _friction_1_ps(soft)
    slopes = []
    for friction in (2.0, 10.0):
        damped = measure(run(tmp_path, n_beads=300, thermostat="langevin", friction_1_ps=friction))
        slopes.append((_friction_1_ps(damped) - without) / friction)
        assert rdf_error(damped["rdf"], soft["rdf"]) < RDF_NOISE
        pressure_se = math.hypot(damped["pressure_bar_se"], soft["pressure_bar_se"])
        assert damped["pressure_bar"] == pytest.approx(soft["pressure_bar"], abs=5 * pressure_se)
    assert slopes[0] > 1
    assert slopes[1] == pytest.approx(slopes[0], rel=0.2)


def test_dpd_friction_slows_diffusion_keeps_the_structure_and_conserves_momentum(soft, tmp_path):
    result = run(tmp_path, thermostat="dpd", friction_1_ps=0.5)
    damped = measure(result)
    assert damped["diffusion_nm2_ns"] < 0.5 * soft["diffusion_nm2_ns"]
    assert damped["diffusion_yh_nm2_ns"] > damped["diffusion_nm2_ns"]
    assert rdf_error(damped["rdf"], soft["rdf"]) < 1.5 * RDF_NOISE
    pressure_se = math.hypot(damped["pressure_bar_se"], soft["pressure_bar_se"])
    assert damped["pressure_bar"] == pytest.approx(soft["pressure_bar"], abs=5 * pressure_se)
    # The momentum was set to zero before the production: the centre of mass stays where it is, to the printed digits.
    centre = result.trajectory.positions_nm.mean(axis=1)
    assert np.abs(centre - centre[0]).max() < 1e-5


def _friction_1_ps(measured: dict) -> float:
    return KT / 100 / (measured["diffusion_nm2_ns"] / NM2_NS_PER_NM2_PS)


def test_same_seed_same_bits(tmp_path):
    first, again, other = (run(tmp_path / str(i), seed=seed) for i, seed in enumerate((1, 1, 2)))
    assert np.array_equal(first.trajectory.positions_nm, again.trajectory.positions_nm)
    assert (first.pressure_bar, first.temperature_measured_k) == (again.pressure_bar, again.temperature_measured_k)
    assert not np.array_equal(first.trajectory.positions_nm, other.trajectory.positions_nm)


# --- the Lennard-Jones liquid of the literature

EPSILON, SIGMA = 2.0, 0.45  # the potential is the untapered one up to 3.1 σ


def _lennard_jones(directory: Path, reduced_temperature: float, reduced_density: float, production_ps: float) -> dict:
    return measure(
        run(
            directory,
            lennard_jones(EPSILON, SIGMA),
            temperature_k=reduced_temperature * EPSILON / BOLTZMANN_KJ_MOL_K,
            number_density_nm3=reduced_density / SIGMA**3,
            n_beads=320,
            equilibration_ps_100=20.0,
            production_ps_100=production_ps,
        )
    )


def test_pressure_of_the_lennard_jones_liquid(tmp_path):
    """p* = 0.5536 at T* = 0.85, ρ* = 0.82 (NIST Standard Reference Simulation Website, Monte Carlo, full tail)."""
    measured = _lennard_jones(tmp_path, 0.85, 0.82, 140.0)
    density = 0.82 / SIGMA**3
    r = np.linspace(1.4, 100, 500_000)
    beyond = lennard_jones_kj_mol(r, EPSILON, SIGMA) - tapered_lennard_jones_kj_mol(r, EPSILON, SIGMA)
    tail = -2 * math.pi / 3 * density**2 * np.trapezoid(np.gradient(beyond, r) * r**3, r)
    reduced = SIGMA**3 / EPSILON
    pressure = (measured["pressure_bar"] / BAR_PER_KJ_MOL_NM3 + tail) * reduced
    assert pressure == pytest.approx(0.55355, abs=0.06)
    assert R_NM[np.argmax(measured["rdf"])] == pytest.approx(1.09 * SIGMA, abs=0.011)


def test_diffusion_of_the_lennard_jones_liquid(tmp_path):
    """D = 2.43e-5 cm²/s for 864 beads at 94.4 K, L = 10.229 σ (Rahman, Phys. Rev. 136, A405 (1964)).

    ε/k = 120 K, σ = 0.34 nm and m = 39.95: T* = 0.787, ρ* = 0.807, D* = D sqrt(m/ε)/σ = 0.0452; corrected for the size
    of either box.
    """
    measured = _lennard_jones(tmp_path, 94.4 / 120, 864 / 10.229**3, 200.0)
    reduced = measured["diffusion_yh_nm2_ns"] / NM2_NS_PER_NM2_PS * math.sqrt(100 / EPSILON) / SIGMA
    assert reduced == pytest.approx(0.0452 * finite_size_factor(864), rel=0.12)
    assert max(measured["rdf"]) == pytest.approx(2.84, abs=0.12)


# --- constant pressure


def test_npt_holds_the_density_at_which_the_pressure_is_the_one_asked_for(tmp_path):
    potential = lennard_jones(3.0, 0.5)
    state = {key: SOFT_STATE[key] for key in ("mass_g_mol", "temperature_k", "seed")} | {"n_beads": 250}
    lengths = {"equilibration_ps_100": 30.0, "production_ps_100": 140.0}
    held = simulate_npt(
        potential, **state, **lengths, number_density_nm3=5.8, pressure_bar=1.01325, directory=tmp_path / "npt"
    )
    assert held.reason is None
    at_density = run(tmp_path / "nvt", potential, **state, number_density_nm3=held.number_density_nm3)
    # A liquid this stiff answers 1 % of density with about 70 bar.
    assert at_density.pressure_bar == pytest.approx(1.0, abs=60)


@pytest.mark.parametrize("pressure_bar", [1.01325, -3000.0], ids=["slowly", "so fast that it cools"])
def test_npt_of_a_liquid_that_only_its_box_held_together_evaporates(pressure_bar, tmp_path):
    state = {key: SOFT_STATE[key] for key in ("mass_g_mol", "temperature_k", "number_density_nm3", "n_beads", "seed")}
    lengths = {"equilibration_ps_100": 20.0, "production_ps_100": 60.0}
    gone = simulate_npt(SOFT, **state, **lengths, pressure_bar=pressure_bar, directory=tmp_path)
    assert gone.number_density_nm3 is None
    assert "evaporates" in gone.reason


@pytest.mark.parametrize(("thermostat", "friction_1_ps"), [("nose_hoover", 0.0), ("dpd", 0.5)])
def test_a_written_run_is_the_run_that_would_have_been_made(thermostat, friction_1_ps, tmp_path):
    state = SOFT_STATE | {"thermostat": thermostat, "friction_1_ps": friction_1_ps, "production_ps_100": 140.0}
    write_run(SOFT, **state, directory=tmp_path / "written")
    programs.run(["lmp", "-in", "run.in", "-log", "none"], tmp_path / "written", tmp_path / "written/log")
    found = np.loadtxt(tmp_path / "written/rdf.txt", skiprows=4)
    assert found.shape == (150, 4)
    np.testing.assert_allclose(found[:, 1] / 10, R_NM, atol=1e-9)
    here = measure(simulate(SOFT, **state, directory=tmp_path / "here"))
    assert rdf_error(found[:, 2], here["rdf"]) < 0.02
    time, displacement = np.loadtxt(tmp_path / "written/msd.txt").T
    step_fs = float((tmp_path / "written/run.in").read_text().split("timestep ")[1].split()[0])
    slope = np.polyfit(time * step_fs, displacement, 1)[0] / 6 * 1e4  # Å²/fs to nm²/ns
    assert slope == pytest.approx(here["diffusion_nm2_ns"], rel=0.4)


def test_neighbours_move_together_under_pair_friction_and_hardly_under_background_friction(tmp_path):
    found = {
        thermostat: neighbour_correlation(
            run(
                tmp_path / thermostat,
                thermostat=thermostat,
                friction_1_ps=friction,
                n_beads=300,
                production_ps_100=300.0,
            ).trajectory
        )
        for thermostat, friction in (("nose_hoover", 0.0), ("dpd", 1.0), ("langevin", 6.0))
    }
    (free, free_se), (pair, pair_se), (background, background_se) = found.values()
    assert free > 3 * free_se
    assert pair > background + 3 * np.hypot(pair_se, background_se)
    assert background < 0.7 * pair
