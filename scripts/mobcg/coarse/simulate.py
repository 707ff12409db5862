"""Molecular dynamics of one-bead liquids with LAMMPS: pair potential, mass and friction in, bead trajectory out.

One `lmp` process makes one run: a lattice is shaken loose with limited displacements, equilibrated with a Langevin
thermostat, and then sampled under the thermostat asked for. The thermostat of the equilibration never reaches the
production, so dynamics are Nosé-Hoover unless a friction is the point.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobcg import programs
from mobcg.errors import SimulationError
from mobcg.observables import (
    BeadTrajectory,
    block_mean,
    displacement_curve,
    fit_window,
    radial_distribution,
    self_diffusion,
)
from mobcg.pair import R_EDGES_NM, tabulate, write_lammps_table
from mobcg.programs import ProgramError, machine_trouble
from mobcg.units import (
    ANGSTROM_PER_NM,
    BAR_PER_ATM,
    FS_PER_PS,
    KJ_PER_KCAL,
    mass_density_kg_m3,
    thermal_energy_kj_mol,
)

THERMOSTATS = ("nose_hoover", "langevin", "dpd")
# Every time below is that of a bead of 100 g/mol and grows with sqrt(m): by the mass law of classical liquids runs of
# all masses are then the same run in other units of time.
REFERENCE_MASS_G_MOL = 100.0
FRAME_PS_100 = 0.72
START_PS_100 = 1.0
EQUILIBRATION_DAMPING_PS_100 = 0.5
THERMOSTAT_PERIOD_PS_100 = 0.5
BAROSTAT_PERIOD_PS_100 = 5.0
# At 7, 12 and 16 fs, D, pressure and g of IBI potentials and of twice these are the same within their errors.
TIME_STEP_FS_100 = 12.0
# The time step is also kept below these fractions of the period of the fastest oscillation and of the time in which
# the friction stops a bead; D is then within 1 % of that of a vanishing step. Langevin dynamics are integrated with
# the scheme of Grønbech-Jensen and Farago, exact for free diffusion, DPD with velocities that lag by half a step.
OSCILLATION_FRACTION = 1 / 20
FRICTION_FRACTION = {"langevin": 1 / 5, "dpd": 1 / 20}
# Curvature counts where two beads still get to: up to this energy above the bottom of the well, in kT.
CURVATURE_ENERGY_KT = 8.0
MAX_HALVINGS = 2
START_STEP_NM = 0.01  # largest displacement in one step while overlaps of the start are pushed apart
START_JITTER = 0.05  # of a lattice constant
# Pairs closer than this feel the DPD friction: about the first coordination shell of a liquid of small molecules.
DPD_CUTOFF_NM = 1.0
SAMPLE_EVERY = 10  # steps between two samples of temperature and pressure
TEMPERATURE_TOLERANCE = 0.03
DRIFT_TOLERANCE_KT = 0.05  # of the conserved energy of Nosé-Hoover dynamics over the run, per bead
# The fastest of 0.08 to 0.4 nm at 1000 beads.
NEIGHBOUR_SKIN_NM = 0.125
# LAMMPS tabulates once more, equally spaced in r²: finer than the file, or the wall would be coarser than in it.
LAMMPS_TABLE_POINTS = 6000
# LAMMPS' vxmu2f of `units real`: its unit of viscosity × length × velocity in its unit of force (update.cpp).
VISCOSITY_FACTOR_REAL = 1.4393264316e4
# An NPT run is given up when its volume leaves this range around the start, and has no density when the means of the
# two halves of its production differ by more than DENSITY_DRIFT.
VOLUME_RANGE = (0.5, 2.0)
DENSITY_DRIFT = 0.02

TABLE_FILE, DATA_FILE, SCRIPT_FILE = "pair.table", "start.data", "run.in"
SAMPLES_FILE, FRAMES_FILE, LOG_FILE = "samples.txt", "frames.txt", "lmp.log"

Result = TypeVar("Result")


class UnmeasurableError(SimulationError):
    """Nothing was run: its box would be too small, or its production too short, for what is measured."""


@dataclass(frozen=True)
class CoarseRun:
    """A finished run: the trajectory and what LAMMPS measured on the way.

    Attributes
    ----------
    trajectory
        Frames of the production, unwrapped.
    thermostat, friction_1_ps
        As asked for.
    temperature_measured_k
        Mean kinetic temperature of the production.
    pressure_bar, pressure_bar_se
        Mean pressure (kinetic and conservative) and its standard error from time blocks.
    time_step_fs
        Time step that the run ended with.
    core_s_ns_bead
        Processor time of LAMMPS per nanosecond and bead, its start and the equilibration counted.
    retries
        Attempts before it, each with twice the time step of the next.
    """

    trajectory: BeadTrajectory
    thermostat: str
    friction_1_ps: float
    temperature_measured_k: float
    pressure_bar: float
    pressure_bar_se: float
    time_step_fs: float
    core_s_ns_bead: float
    retries: int = 0

    @property
    def production_ps(self) -> float:
        """Time between the first and the last frame."""
        return (len(self.trajectory.positions_nm) - 1) * self.trajectory.frame_ps

    @property
    def steps_per_core_s(self) -> float:
        """Steps a second of processor time."""
        steps_ns = FS_PER_PS**2 / self.time_step_fs
        return steps_ns / self.core_s_ns_bead / self.trajectory.positions_nm.shape[1]


@dataclass(frozen=True)
class NptRun:
    """Density of a run at constant pressure; None, with the reason, where the liquid does not hold one."""

    number_density_nm3: float | None
    number_density_nm3_se: float | None
    density_kg_m3: float | None
    density_kg_m3_se: float | None
    reason: str | None


def simulate(
    potential_kj_mol: ArrayLike,
    *,
    mass_g_mol: float,
    temperature_k: float,
    number_density_nm3: float,
    n_beads: int,
    thermostat: str,
    friction_1_ps: float,
    equilibration_ps_100: float,
    production_ps_100: float,
    seed: int,
    directory: Path,
) -> CoarseRun:
    r"""Run a one-bead liquid at constant volume and return its trajectory.

    Thermostats of the production: `nose_hoover` (fix nvt); `langevin`, a friction −m γ v_i and its noise on every bead;
    `dpd`, a friction −m γ (r̂_ij·v_ij) r̂_ij and its noise on every pair closer than `DPD_CUTOFF_NM`, which conserves
    momentum (Español and Warren, Europhys. Lett. 30, 191 (1995), with the weight w = 1 inside the cutoff). All three
    sample the canonical distribution, so structure and pressure do not depend on the choice; dynamics do.

    A run that crashes, heats or drifts is repeated with half the time step, `MAX_HALVINGS` times at most. The same
    arguments give the same trajectory, bit by bit.

    Parameters
    ----------
    potential_kj_mol
        (150,) on the common grid.
    mass_g_mol, temperature_k, number_density_nm3, n_beads
        The bead and its state point.
    thermostat
        One of `THERMOSTATS`.
    friction_1_ps
        γ above, in 1/ps; not used by `nose_hoover`.
    equilibration_ps_100, production_ps_100
        Lengths for a bead of 100 g/mol; multiplied by sqrt(m / 100).
    seed
        Any non-negative integer.
    directory
        Where the files of the run go; made when it is not there.

    Raises
    ------
    UnmeasurableError
        The run would be too small or too short to be measured.
    SimulationError
        It still fails with the smallest time step.
    ProgramError
        `lmp` is missing, lacks a package, or was killed: nothing that the potential is to blame for.
    """
    if thermostat not in THERMOSTATS:
        raise ValueError(f"thermostat {thermostat!r} is none of {THERMOSTATS}")
    state = _State(mass_g_mol, temperature_k, number_density_nm3, n_beads, seed)
    _check_measurable(state, production_ps_100)
    _write_inputs(directory, state, potential_kj_mol, spheres=thermostat == "dpd")

    def attempt(step_fs: float) -> CoarseRun:
        lengths = _Lengths.of(step_fs, mass_g_mol, equilibration_ps_100, production_ps_100)
        script = [
            *_equilibration(state, lengths, spheres=thermostat == "dpd"),
            *_thermostat(state, thermostat, friction_1_ps),
            *_sampling("c_conservative", "v_conserved"),
            f"dump frames all custom {lengths.frame_steps} {FRAMES_FILE} xu yu zu",
            "dump_modify frames sort id header no format float %.4f",
            f"run {lengths.production_steps}",
        ]
        before_s = programs.children_core_s()
        _run_lammps(directory, script)
        core_s = programs.children_core_s() - before_s
        return _read_run(directory, state, lengths, thermostat, friction_1_ps, core_s)

    longest_ps = friction_step_ps(thermostat, friction_1_ps, number_density_nm3)
    first_fs = time_step_fs(potential_kj_mol, mass_g_mol, temperature_k, longest_ps)
    run = _with_halvings(first_fs, attempt)
    return replace(run, retries=round(math.log2(first_fs / run.time_step_fs)))


def simulate_npt(
    potential_kj_mol: ArrayLike,
    *,
    mass_g_mol: float,
    temperature_k: float,
    number_density_nm3: float,
    n_beads: int,
    pressure_bar: float,
    equilibration_ps_100: float,
    production_ps_100: float,
    seed: int,
    directory: Path,
) -> NptRun:
    """Run a one-bead liquid at constant pressure (Nosé-Hoover) and return its density.

    The run starts from `number_density_nm3`; other parameters as in `simulate`. A liquid that evaporates, collapses or
    is still drifting at the end has no density here: `reason` says which.

    Raises
    ------
    SimulationError
        The run fails even with the smallest time step.
    ProgramError
        As in `simulate`.
    """
    state = _State(mass_g_mol, temperature_k, number_density_nm3, n_beads, seed)
    _write_inputs(directory, state, potential_kj_mol, spheres=False)

    def attempt(step_fs: float) -> NptRun:
        lengths = _Lengths.of(step_fs, mass_g_mol, equilibration_ps_100, production_ps_100)
        script = [
            *_equilibration(state, lengths, spheres=False),
            *_barostat(state, pressure_bar),
            *_sampling("v_volume"),
            f"run {lengths.equilibration_steps + lengths.production_steps}",
        ]
        _run_lammps(directory, script)
        _, temperatures, volumes = _read_samples(directory, 3).T
        low, high = (factor * (state.box_nm * ANGSTROM_PER_NM) ** 3 for factor in VOLUME_RANGE)
        settled = lengths.equilibration_steps // SAMPLE_EVERY
        # Else `_barostat` halted it: what bursts out of its volume cools down, and that is no fault of the time step.
        if low < volumes[-1] < high:
            _check_whole(directory, len(volumes), lengths.equilibration_steps + lengths.production_steps)
            _check_temperature(temperatures[settled:], temperature_k)
        return npt_density(volumes / ANGSTROM_PER_NM**3, settled, n_beads, mass_g_mol, state.box_nm**3)

    return _with_halvings(time_step_fs(potential_kj_mol, mass_g_mol, temperature_k), attempt)


def write_run(
    potential_kj_mol: ArrayLike,
    *,
    mass_g_mol: float,
    temperature_k: float,
    number_density_nm3: float,
    n_beads: int,
    thermostat: str,
    friction_1_ps: float,
    equilibration_ps_100: float,
    production_ps_100: float,
    seed: int,
    directory: Path,
) -> None:
    """Write the files of a run for someone else to start: `lmp -in run.in` in `directory`; nothing is run here.

    Parameters as in `simulate`. Instead of frames for us it writes g(r) (`rdf.txt`, 150 bins up to the cutoff), the
    mean squared displacement (`msd.txt`) and a log of temperature and pressure.
    """
    state = _State(mass_g_mol, temperature_k, number_density_nm3, n_beads, seed)
    spheres = thermostat == "dpd"
    _write_inputs(directory, state, potential_kj_mol, spheres)
    step_fs = time_step_fs(
        potential_kj_mol, mass_g_mol, temperature_k, friction_step_ps(thermostat, friction_1_ps, number_density_nm3)
    )
    lengths = _Lengths.of(step_fs, mass_g_mol, equilibration_ps_100, production_ps_100)
    frames = lengths.production_steps // lengths.frame_steps
    every = f"{lengths.frame_steps} {frames} {lengths.production_steps}"
    script = [
        "# One-bead liquid: `lmp -in run.in` in this directory. First shaken loose and equilibrated,",
        *_equilibration(state, lengths, spheres),
        "# then run under the thermostat of the model.",
        *_thermostat(state, thermostat, friction_1_ps),
        f"compute rdf all rdf {R_EDGES_NM.size - 1}",
        f"fix rdf all ave/time {every} c_rdf[*] mode vector file rdf.txt",
        "compute msd all msd com yes",
        f"fix msd all ave/time {lengths.frame_steps} 1 {lengths.frame_steps} c_msd[4] file msd.txt",
        "thermo_style custom step temp c_conservative",
        f"thermo {max(1, frames // 20) * lengths.frame_steps}",
        f"run {lengths.production_steps}",
    ]
    (directory / SCRIPT_FILE).write_text("\n".join(script) + "\n")


def measure(run: CoarseRun) -> dict[str, Any]:
    """Return the measured columns of the table `coarse` of one run, units as in `mobcg.schema`.

    `diffusion_yh_nm2_ns` is None under Langevin friction, which damps the flow that the correction is made for.

    Raises
    ------
    SimulationError
        The beads do not diffuse.
    """
    trajectory = run.trajectory
    structure = radial_distribution(trajectory.positions_nm, trajectory.box_length_nm)
    dynamics = self_diffusion(trajectory)
    if dynamics.diffusion_nm2_ns <= 0:
        raise SimulationError("frozen: the mean squared displacement does not grow")
    lag_ps, msd_nm2 = displacement_curve(trajectory)
    return {
        "temperature_measured_k": run.temperature_measured_k,
        "box_length_nm": trajectory.box_length_nm,
        "time_step_fs": run.time_step_fs,
        "retries": run.retries,
        "production_ps": run.production_ps,
        "diffusion_nm2_ns": dynamics.diffusion_nm2_ns,
        "diffusion_nm2_ns_se": dynamics.diffusion_nm2_ns_se,
        "diffusion_yh_nm2_ns": None if run.thermostat == "langevin" else dynamics.diffusion_yh_nm2_ns,
        "pressure_bar": run.pressure_bar,
        "pressure_bar_se": run.pressure_bar_se,
        "rdf": structure.rdf.tolist(),
        "rdf_se": structure.rdf_se.tolist(),
        "msd_time_ps": lag_ps.tolist(),
        "msd_nm2": msd_nm2.tolist(),
    }


def box_length_nm(n_beads: int, number_density_nm3: float) -> float:
    """Return the edge of the cubic box of N beads, L = (N/ρ)^(1/3)."""
    return (n_beads / number_density_nm3) ** (1 / 3)


def friction_step_ps(thermostat: str, friction_1_ps: float, number_density_nm3: float) -> float:
    """Return the longest time step (ps) that a friction allows, a fraction of the time in which it stops a bead.

    That time is 1/γ under Langevin dynamics and 3/(γ n) under DPD: n = (4/3)π r_c³ ρ neighbours of a bead each
    damp one direction of three.
    """
    if thermostat == "nose_hoover" or friction_1_ps == 0:
        return math.inf
    neighbours = 4 / 3 * math.pi * DPD_CUTOFF_NM**3 * number_density_nm3
    bead_friction_1_ps = friction_1_ps * (neighbours / 3 if thermostat == "dpd" else 1)
    return FRICTION_FRACTION[thermostat] / bead_friction_1_ps


def time_step_fs(
    potential_kj_mol: ArrayLike, mass_g_mol: float, temperature_k: float, friction_step_ps: float = math.inf
) -> float:
    """Return the time step (fs): `TIME_STEP_FS_100`·sqrt(m/100), or less for a stiff potential or a high friction.

    The fastest oscillation is that of a pair at the largest curvature k of U that it can reach, ω = sqrt(2k/m).
    """
    r_nm, energy, force = tabulate(potential_kj_mol)
    reachable = slice(_innermost_reachable(energy, thermal_energy_kj_mol(temperature_k)), None)
    curvature = float(np.max(-np.gradient(force, r_nm)[reachable]))
    period_ps = 2 * math.pi / math.sqrt(2 * curvature / mass_g_mol) if curvature > 0 else math.inf
    limit_ps = min(OSCILLATION_FRACTION * period_ps, friction_step_ps)
    return min(TIME_STEP_FS_100 * _time_unit(mass_g_mol), limit_ps * FS_PER_PS)


def _innermost_reachable(energy_kj_mol: NDArray, kt_kj_mol: float) -> int:
    """Return the index of the last point of the wall that is higher than what thermal beads climb."""
    high = np.flatnonzero(energy_kj_mol > energy_kj_mol.min() + CURVATURE_ENERGY_KT * kt_kj_mol)
    return int(high[-1]) if high.size else 0


def npt_density(
    volumes_nm3: NDArray, n_settling: int, n_beads: int, mass_g_mol: float, start_volume_nm3: float
) -> NptRun:
    """Return the density of a series of volumes (nm³), the first `n_settling` left out, or why it has none."""
    low, high = (start_volume_nm3 * factor for factor in VOLUME_RANGE)
    if volumes_nm3[-1] >= high:
        return _no_density(f"evaporates: the volume grew beyond {VOLUME_RANGE[1]:g} times that of the start")
    if volumes_nm3[-1] <= low:
        return _no_density(f"collapses: the volume shrank below {VOLUME_RANGE[0]:g} times that of the start")
    densities = n_beads / volumes_nm3[n_settling:]
    early, late = (half.mean() for half in np.array_split(densities, 2))
    if abs(late / early - 1) > DENSITY_DRIFT:
        return _no_density(f"the density still drifts: {100 * (late / early - 1):+.1f} % between the halves of the run")
    mean, error = block_mean(densities)
    return NptRun(mean, error, mass_density_kg_m3(mean, mass_g_mol), mass_density_kg_m3(error, mass_g_mol), None)


def _no_density(reason: str) -> NptRun:
    return NptRun(None, None, None, None, reason)


@dataclass(frozen=True)
class _State:
    """What the beads are and where they are in the phase diagram."""

    mass_g_mol: float
    temperature_k: float
    number_density_nm3: float
    n_beads: int
    seed: int

    @property
    def box_nm(self) -> float:
        return box_length_nm(self.n_beads, self.number_density_nm3)

    def lammps_seed(self, purpose: int) -> int:
        """Return a seed for LAMMPS, whose generators take 1 to 900,000,000."""
        return int(np.random.SeedSequence([self.seed, purpose]).generate_state(1)[0]) % 900_000_000 + 1


@dataclass(frozen=True)
class _Lengths:
    """A run in steps."""

    step_fs: float
    start_steps: int
    equilibration_steps: int
    frame_steps: int
    production_steps: int

    @classmethod
    def of(cls, step_fs: float, mass_g_mol: float, equilibration_ps_100: float, production_ps_100: float) -> _Lengths:
        unit_steps = _time_unit(mass_g_mol) * FS_PER_PS / step_fs  # steps in 1 ps of a bead of 100 g/mol
        frame_steps = max(1, round(FRAME_PS_100 * unit_steps))
        return cls(
            step_fs,
            round(START_PS_100 * unit_steps),
            round(equilibration_ps_100 * unit_steps),
            frame_steps,
            frame_steps * round(production_ps_100 * unit_steps / frame_steps),
        )

    @property
    def frame_ps(self) -> float:
        return self.frame_steps * self.step_fs / FS_PER_PS

    @property
    def nanoseconds(self) -> float:
        return (self.start_steps + self.equilibration_steps + self.production_steps) * self.step_fs / FS_PER_PS**2


def _time_unit(mass_g_mol: float) -> float:
    return math.sqrt(mass_g_mol / REFERENCE_MASS_G_MOL)


def _check_measurable(state: _State, production_ps_100: float) -> None:
    # Found out before the run instead of after it.
    if state.box_nm <= 2 * R_EDGES_NM[-1]:
        raise UnmeasurableError(
            f"{state.n_beads} beads make a box of {state.box_nm:.2f} nm; g(r) needs more than {2 * R_EDGES_NM[-1]:g} nm"
        )
    unit = _time_unit(state.mass_g_mol)
    window = fit_window(FRAME_PS_100 * unit, state.mass_g_mol, state.temperature_k, state.number_density_nm3)
    needed_ps_100 = 4 * window[-1] * FRAME_PS_100
    if production_ps_100 < needed_ps_100:
        raise UnmeasurableError(
            f"{production_ps_100:g} ps of production (at 100 g/mol) are too short: D needs {needed_ps_100:.0f} ps here"
        )


def _write_inputs(directory: Path, state: _State, potential_kj_mol: ArrayLike, spheres: bool) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    write_lammps_table(directory / TABLE_FILE, potential_kj_mol)
    positions = start_positions(state.n_beads, state.box_nm, state.lammps_seed(0)) * ANGSTROM_PER_NM
    edge = state.box_nm * ANGSTROM_PER_NM
    # A sphere of 1 Å has its mass through its density; the size only matters to the pair styles of `_dpd`.
    kind = f"1 1.0 {state.mass_g_mol / (math.pi / 6):.17g}" if spheres else "1"
    with (directory / DATA_FILE).open("w") as stream:
        stream.write(f"one-bead liquid\n\n{state.n_beads} atoms\n1 atom types\n\n")
        stream.writelines(f"0 {edge:.12g} {axis}lo {axis}hi\n" for axis in "xyz")
        stream.write("\nAtoms\n\n")
        stream.writelines(f"{i} {kind} {x:.5f} {y:.5f} {z:.5f}\n" for i, (x, y, z) in enumerate(positions, 1))


def start_positions(n_beads: int, box_nm: float, seed: int) -> NDArray[np.float64]:
    """Return (N, 3) positions in nm: random sites of the smallest cubic lattice that holds N, slightly displaced."""
    random = np.random.default_rng(seed)
    edge_sites = math.ceil(n_beads ** (1 / 3) - 1e-9)
    sites = np.stack(np.meshgrid(*[np.arange(edge_sites)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    sites = sites[np.sort(random.permutation(len(sites))[:n_beads])]
    return (sites + 0.5 + START_JITTER * random.uniform(-1, 1, sites.shape)) * box_nm / edge_sites


def _equilibration(state: _State, lengths: _Lengths, spheres: bool) -> list[str]:
    unit_fs = _time_unit(state.mass_g_mol) * FS_PER_PS
    temperature = state.temperature_k
    langevin = f"fix heat all langevin {temperature} {temperature} {EQUILIBRATION_DAMPING_PS_100 * unit_fs:.6g}"
    return [
        "units real",
        f"atom_style {'sphere' if spheres else 'atomic'}",
        *(["comm_modify vel yes"] if spheres else []),
        f"read_data {DATA_FILE}",
        *([] if spheres else [f"mass 1 {state.mass_g_mol:.17g}"]),
        f"pair_style table linear {LAMMPS_TABLE_POINTS}",
        f"pair_coeff 1 1 {TABLE_FILE} MOBCG",
        f"neighbor {NEIGHBOUR_SKIN_NM * ANGSTROM_PER_NM:g} bin",
        "neigh_modify every 1 delay 0 check yes",
        f"timestep {lengths.step_fs:.12g}",
        f"velocity all create {temperature} {state.lammps_seed(1)} dist gaussian",
        f"{langevin} {state.lammps_seed(2)} zero yes",
        f"fix move all nve/limit {START_STEP_NM * ANGSTROM_PER_NM:g}",
        "thermo 10000",
        f"run {lengths.start_steps}",
        "unfix move",
        "fix move all nve",
        f"run {lengths.equilibration_steps}",
        "unfix move",
        "unfix heat",
        "velocity all zero linear",
        "reset_timestep 0",
    ]


def _thermostat(state: _State, thermostat: str, friction_1_ps: float) -> list[str]:
    temperature = state.temperature_k
    period_fs = THERMOSTAT_PERIOD_PS_100 * _time_unit(state.mass_g_mol) * FS_PER_PS
    conservative = "compute conservative all pressure thermo_temp"
    conserved = "variable conserved equal econserve"
    if thermostat == "dpd":
        # The virial of friction and noise is zero on average: leaving it out leaves only its scatter out.
        return [*_dpd(state, friction_1_ps), "fix move all nve", f"{conservative} ke pair/hybrid table", conserved]
    if thermostat == "langevin":
        damping_fs = FS_PER_PS / friction_1_ps
        heat = f"fix heat all langevin {temperature} {temperature} {damping_fs:.12g} {state.lammps_seed(3)} "
        heat += "zero yes gjf vhalf"
        return [heat, "fix move all nve", conservative, conserved]
    return [f"fix move all nvt temp {temperature} {temperature} {period_fs:.6g}", conservative, conserved]


def _dpd(state: _State, friction_1_ps: float) -> list[str]:
    r"""Return the commands that add pair friction and noise to the table.

    Debian's LAMMPS has no DPD-BASIC package (`dpd/tstat`). The squeeze term of the pair styles `lubricate` (friction)
    and `brownian` (noise), cut off at the inner distance, is a DPD thermostat with w = 1: both have the resistance
    a = 6π μ R² / (4 (r_c − 2R)), constant inside r_c. In units other than `lj`, `brownian` multiplies the variance of
    its noise by the factor of the viscosity's unit three times instead of once, so its viscosity is divided by the
    square of that factor.
    """
    cutoff, radius = DPD_CUTOFF_NM * ANGSTROM_PER_NM, 0.5
    gamma_kcal_fs_mol_a2 = friction_1_ps * state.mass_g_mol / KJ_PER_KCAL / ANGSTROM_PER_NM**2 * FS_PER_PS
    viscosity = gamma_kcal_fs_mol_a2 / VISCOSITY_FACTOR_REAL * (cutoff - 2 * radius) / (1.5 * math.pi * radius**2)
    table = f"table linear {LAMMPS_TABLE_POINTS}"
    friction = f"lubricate {viscosity:.12g} 0 0 {cutoff:g} {cutoff:g} 1 0"
    noise = (
        f"brownian {viscosity / VISCOSITY_FACTOR_REAL**2:.12g} 0 0 {cutoff:g} {cutoff:g} "
        f"{state.temperature_k} {state.lammps_seed(3)} 1 0"
    )
    return [
        f"pair_style hybrid/overlay {table} {friction} {noise}",
        f"pair_coeff 1 1 table {TABLE_FILE} MOBCG",
        "pair_coeff 1 1 lubricate",
        "pair_coeff 1 1 brownian",
    ]


def _barostat(state: _State, pressure_bar: float) -> list[str]:
    unit_fs = _time_unit(state.mass_g_mol) * FS_PER_PS
    temperature, pressure_atm = state.temperature_k, pressure_bar / BAR_PER_ATM
    low, high = (factor * (state.box_nm * ANGSTROM_PER_NM) ** 3 for factor in VOLUME_RANGE)
    return [
        f"fix move all npt temp {temperature} {temperature} {THERMOSTAT_PERIOD_PS_100 * unit_fs:.6g} "
        f"iso {pressure_atm:.10g} {pressure_atm:.10g} {BAROSTAT_PERIOD_PS_100 * unit_fs:.6g}",
        "variable volume equal vol",
        f'variable outside equal "vol < {low:.10g} || vol > {high:.10g}"',
        f"fix outside all halt {SAMPLE_EVERY} v_outside > 0 error soft message no",
    ]


def _sampling(*quantities: str) -> list[str]:
    every = f"{SAMPLE_EVERY} 1 {SAMPLE_EVERY}"
    return [f"fix sample all ave/time {every} c_thermo_temp {' '.join(quantities)} file {SAMPLES_FILE} format ' %.10g'"]


def _with_halvings(step_fs: float, attempt: Callable[[float], Result]) -> Result:
    """Return the result of `attempt` at a time step, or at half of it where the simulation fails, and so on."""
    reasons = []
    for halvings in range(MAX_HALVINGS + 1):
        try:
            return attempt(step_fs / 2**halvings)
        except ProgramError as error:
            if not _blames_the_physics(error):
                raise
            reasons.append(f"time step {step_fs / 2**halvings:.2f} fs: lmp failed: {_lammps_error(error)}")
        except SimulationError as error:
            reasons.append(f"time step {step_fs / 2**halvings:.2f} fs: {error}")
    raise SimulationError("; ".join(reasons))


def _blames_the_physics(error: ProgramError) -> bool:
    if "Unrecognized" in error.tail or machine_trouble(error.tail, error.log.parent):
        return False
    crashes = (-signal.SIGSEGV, -signal.SIGFPE, -signal.SIGABRT)
    started = "LAMMPS (" in error.log.read_text(errors="replace")  # else its libraries gave out, MPI for one
    stopped_itself = 0 < error.returncode < 126  # 126 and more are a shell's
    return (stopped_itself and started) or error.returncode in crashes


def _lammps_error(error: ProgramError) -> str:
    lines = [line for line in error.tail.splitlines() if line.startswith("ERROR")]
    return lines[0] if lines else f"exit status {error.returncode}"


def _run_lammps(directory: Path, script: list[str]) -> None:
    for name in (SAMPLES_FILE, FRAMES_FILE, LOG_FILE):
        (directory / name).unlink(missing_ok=True)
    (directory / SCRIPT_FILE).write_text("\n".join(script) + "\n")
    # One thread for the same bits every time; Open MPI need not look for a daemon to run one process.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMPI_MCA_ess_singleton_isolated": "1"}
    programs.run(["lmp", "-in", SCRIPT_FILE, "-log", "none"], directory, directory / LOG_FILE, env=environment)


def _read_samples(directory: Path, columns: int) -> NDArray[np.float64]:
    """Return (samples, columns): step, temperature and what else was sampled."""
    path = directory / SAMPLES_FILE
    try:
        return np.loadtxt(path, ndmin=2).reshape(-1, columns)
    except (OSError, ValueError) as error:
        raise _torn(path, str(error)) from error


def _read_frames(directory: Path, n_frames: int, n_beads: int) -> NDArray[np.float64]:
    path = directory / FRAMES_FILE
    numbers = np.fromfile(path, sep=" ") if path.exists() else np.zeros(0)
    if numbers.size != n_frames * n_beads * 3:
        raise _torn(path, f"{numbers.size} of {n_frames * n_beads * 3} numbers")
    return numbers.reshape(n_frames, n_beads, 3)


def _torn(path: Path, found: str) -> ProgramError:
    # LAMMPS does not look whether what it writes arrives: on a full disk it ends well, with a torn file.
    return ProgramError(["lmp"], 0, path.with_name(LOG_FILE), f"{path.name} is torn, {found} (is the disk full?)")


def _check_whole(directory: Path, n_samples: int, n_steps: int) -> None:
    # LAMMPS ends with 0 as well when something stops its time loop early: only the product says that it got to the end.
    if n_samples != n_steps // SAMPLE_EVERY + 1:
        raise _torn(directory / SAMPLES_FILE, f"it holds {n_samples} of {n_steps // SAMPLE_EVERY + 1} samples")


def _read_run(
    directory: Path, state: _State, lengths: _Lengths, thermostat: str, friction_1_ps: float, core_s: float
) -> CoarseRun:
    _, temperatures, pressures_atm, conserved_kcal = _read_samples(directory, 4).T
    _check_whole(directory, len(temperatures), lengths.production_steps)
    _check_temperature(temperatures, state.temperature_k)
    if thermostat == "nose_hoover":
        _check_drift(conserved_kcal * KJ_PER_KCAL / state.n_beads, thermal_energy_kj_mol(state.temperature_k))
    n_frames = lengths.production_steps // lengths.frame_steps + 1
    positions = _read_frames(directory, n_frames, state.n_beads) / ANGSTROM_PER_NM
    pressure, error = block_mean(pressures_atm * BAR_PER_ATM)
    return CoarseRun(
        BeadTrajectory(positions, state.box_nm, lengths.frame_ps, state.mass_g_mol, state.temperature_k),
        thermostat,
        friction_1_ps,
        float(temperatures.mean()),
        pressure,
        error,
        lengths.step_fs,
        core_s / lengths.nanoseconds / state.n_beads,
    )


def _check_temperature(temperatures_k: NDArray, temperature_k: float) -> None:
    mean = float(temperatures_k.mean())
    if not abs(mean / temperature_k - 1) < TEMPERATURE_TOLERANCE:  # also where the mean is not a number
        raise SimulationError(f"the temperature is {mean:.1f} K instead of {temperature_k:g} K")


def _check_drift(conserved_kj_mol: NDArray, kt_kj_mol: float) -> None:
    tenth = max(1, conserved_kj_mol.size // 10)
    drift = float(conserved_kj_mol[-tenth:].mean() - conserved_kj_mol[:tenth].mean()) / kt_kj_mol
    if not abs(drift) < DRIFT_TOLERANCE_KT:
        raise SimulationError(f"the conserved energy drifts by {drift:.2g} kT per bead")
