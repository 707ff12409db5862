"""Molecular dynamics of a field: from positions to a trajectory, through interruptions, and out of every accident.

A run that blows up ends there: it is a result (`Run.failure`), not an error.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mobcg.coarse.simulate import VOLUME_RANGE
from mobcg.forcematch.field import Beads, Field
from mobcg.forcematch.molecules import centres_of_mass, whole_molecules
from mobcg.forcematch.motion import (
    MAX_DISPLACEMENT_NM,
    Chain,
    Forces,
    Motion,
    longest_step_fs,
    maxwell_velocities,
    time_unit,
)
from mobcg.observables import BeadTrajectory, block_mean
from mobcg.records import atomic_path
from mobcg.units import BAR_PER_KJ_MOL_NM3, FS_PER_PS

ENSEMBLES = ("nvt", "nve", "npt")
# Times of a molecule of 100 g/mol, as in the coarse runs; they grow with sqrt(m).
FRAME_PS_100 = 0.72
THERMOSTAT_PERIOD_PS_100 = 0.5
SAMPLE_EVERY = 10  # steps
# At constant pressure the volume is moved now and then, by so much that about half of the moves are taken.
VOLUME_EVERY = 10  # steps
VOLUME_FRACTION = 0.03  # of the volume: the largest of the first moves
TRIALS, TOO_FEW, TOO_MANY, ADAPTATION = 20, 0.25, 0.75, 1.1
# What no sound run does: the temperature, in units of that asked for, in so many steps on end, and the potential energy
# per bead, counted from the start, in kT.
HOT, HOT_STEPS = 2.0, 100
MAX_ENERGY_KT = 1000.0
PROGRESS_INTERVAL_S = 5.0
CHECKPOINT_INTERVAL_S = 30.0


@dataclass(frozen=True)
class Run:
    """A run, finished or blown up. Series are (samples,), one each `SAMPLE_EVERY` steps of the production.

    Attributes
    ----------
    trajectory
        Every bead, unwrapped, molecules whole; its `mass_g_mol` is the mean mass of a bead.
    beads
        What the beads are.
    ensemble, time_step_fs
        "nvt", "nve" or "npt", and the time step that was used.
    times_ps, temperatures_k, potential_kj_mol, conserved_kj_mol, pressures_bar
        Series; energies are of the whole box. Conserved is what the equations of motion keep: the total energy, with
        that of the thermostat where there is one. The first sample is the start of the production.
    volumes_nm3
        Series; they change at constant pressure, where `trajectory` has no frames.
    smallest_nm
        Series of the smallest distance between beads of two molecules; infinite where no pair is within the cutoff.
    failure
        Why the run was stopped, or None.
    core_s, steps_per_core_s
        Processor time that the steps took, restarts included.
    burst
        Whether it was stopped because its volume left `VOLUME_RANGE`, or the box was down to twice the cutoff.
    """

    trajectory: BeadTrajectory
    beads: Beads
    ensemble: str
    time_step_fs: float
    times_ps: NDArray[np.float64]
    temperatures_k: NDArray[np.float64]
    potential_kj_mol: NDArray[np.float64]
    conserved_kj_mol: NDArray[np.float64]
    pressures_bar: NDArray[np.float64]
    smallest_nm: NDArray[np.float64]
    volumes_nm3: NDArray[np.float64]
    failure: str | None
    core_s: float
    steps_per_core_s: float
    burst: bool = False

    @property
    def n_molecules(self) -> int:
        """Number of molecules."""
        return self.beads.n_molecules

    @property
    def pressure_bar(self) -> tuple[float, float]:
        """Mean pressure and its standard error from time blocks, P V = N kT − W/3."""
        return block_mean(self.pressures_bar)

    @property
    def molecule_energy_kj_mol(self) -> tuple[float, float]:
        """Mean potential energy per molecule and its standard error from time blocks."""
        return block_mean(self.potential_kj_mol / self.n_molecules)

    @property
    def centres(self) -> BeadTrajectory:
        """The centre of mass of each molecule, unwrapped."""
        whole = self.trajectory
        mass = float(self.beads.masses_g_mol.sum()) / self.n_molecules
        positions = centres_of_mass(whole.positions_nm, self.beads)
        return BeadTrajectory(positions, whole.box_length_nm, whole.frame_ps, mass, whole.temperature_k)


def simulate(
    model: Field,
    beads: Beads,
    positions_nm: NDArray,
    box_length_nm: float,
    *,
    temperature_k: float,
    ensemble: str,
    equilibration_ps: float,
    production_ps: float,
    seed: int,
    pressure_bar: float | None = None,
    time_step_fs: float | None = None,
    say: Callable[[str], None] | None = None,
    checkpoint: Path | None = None,
) -> Run:
    """Run a field from some positions: equilibration at constant volume and temperature, then production.

    At constant energy ("nve") the production begins with the mean energy of the second half of the equilibration, so
    that its temperature is that asked for and not that of an instant. At constant pressure ("npt") volumes are tried by
    Metropolis' rule between steps at constant temperature; a run whose volume leaves `VOLUME_RANGE` ends there, and so
    does one whose box is down to twice the cutoff. The same arguments give the same bits on one thread, whether or not
    the run was interrupted.

    Parameters
    ----------
    model
        The field; it is left as it is.
    positions_nm
        (beads, 3), wrapped or not, without overlaps (`mobcg.forcematch.starts.relaxed`).
    temperature_k, ensemble
        Of the run; `ensemble` is one of `ENSEMBLES`.
    equilibration_ps, production_ps
        Lengths, rounded up to whole frames.
    seed
        Of the velocities, Maxwell's, and of the volumes.
    pressure_bar
        Of the ensemble "npt".
    time_step_fs
        `longest_step_fs` of the start where it is None.
    say
        Takes a line on the run's progress, with the time left, every few seconds.
    checkpoint
        A file that is written now and then, atomically, and gone on from when it is there and of this very run. It
        stays when the run is over.

    Raises
    ------
    InputError
        The box is less than twice the cutoff.
    ValueError
        The ensemble is unknown, or there is no production, or a pressure is missing.
    """
    if ensemble not in ENSEMBLES:
        raise ValueError(f"ensemble {ensemble!r} is none of {ENSEMBLES}")
    if (ensemble == "npt") != (pressure_bar is not None):
        raise ValueError(f"ensemble {ensemble!r} and pressure {pressure_bar} bar")
    if production_ps <= 0:
        raise ValueError(f"{production_ps:g} ps of production are no run")
    start = whole_molecules(positions_nm, beads, box_length_nm)
    step_fs = time_step_fs or longest_step_fs(model, beads, start, box_length_nm, temperature_k)
    unit = time_unit(float(beads.masses_g_mol.sum()) / beads.n_molecules)
    plan = _Plan.of(ensemble, step_fs, FRAME_PS_100 * unit, equilibration_ps, production_ps)
    asked = [plan.settling, plan.producing, step_fs, ensemble, temperature_k, box_length_nm, seed, pressure_bar]
    identity = _identity(asked, model, beads, start)
    state = (checkpoint and _State.load(checkpoint, identity)) or _State(
        start,
        maxwell_velocities(beads, temperature_k, seed),
        box_length_nm,
        largest_nm3=VOLUME_FRACTION * box_length_nm**3,
    )
    motion = Motion(Forces(model, beads, state.box_length_nm), state.positions_nm, state.velocities_nm_ps)
    chain = Chain(3 * len(beads) - 3, temperature_k, THERMOSTAT_PERIOD_PS_100 * unit)
    barostat = None if pressure_bar is None else _Barostat(pressure_bar / BAR_PER_KJ_MOL_NM3, box_length_nm**3, seed)
    runner = _Runner(motion, chain, state, plan, temperature_k, say, checkpoint, identity, barostat)
    failure = runner.run()
    samples = np.array(state.samples).reshape(-1, 7).T
    frames = np.array(state.frames).reshape(-1, len(beads), 3)
    mean_mass = float(beads.masses_g_mol.mean())
    trajectory = BeadTrajectory(frames, box_length_nm, plan.frame_steps * plan.step_ps, mean_mass, temperature_k)
    return Run(
        trajectory, beads, ensemble, step_fs, *samples, failure, state.core_s, state.step / state.core_s, runner.burst
    )


def fingerprint(model: Field) -> str:
    """Return the SHA-256 of all numbers of a field, in hexadecimal."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        if isinstance(value, torch.Tensor):  # hippynn keeps constants of its own among them
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def steps_per_second(
    model: Field, beads: Beads, positions_nm: NDArray, box_length_nm: float, seconds: float = 2.0
) -> float:
    """Return how many steps of molecular dynamics a second makes, pairs, forces and motion included."""
    positions = whole_molecules(positions_nm, beads, box_length_nm)
    motion = Motion(Forces(model, beads, box_length_nm), positions, np.zeros_like(positions))
    step_ps = 1 / FS_PER_PS  # so short that the beads hardly leave where they are

    def timed(enough_s: float) -> float:
        steps, begun_s = 0, time.perf_counter()
        while steps == 0 or time.perf_counter() - begun_s < enough_s:
            motion.step(step_ps, None)
            steps += 1
        return steps / (time.perf_counter() - begun_s)

    timed(seconds / 10)  # what a field compiles or allocates, it does in its first steps
    return timed(seconds)


@dataclass(frozen=True)
class _Plan:
    """A run in steps."""

    ensemble: str
    step_ps: float
    frame_steps: int
    settling: int
    producing: int

    @classmethod
    def of(cls, ensemble: str, step_fs: float, frame_ps: float, settling_ps: float, producing_ps: float) -> _Plan:
        step_ps = step_fs / FS_PER_PS
        frame_steps = max(1, round(frame_ps / step_ps))
        frames = (math.ceil(length_ps / (frame_steps * step_ps) - 1e-9) for length_ps in (settling_ps, producing_ps))
        return cls(ensemble, step_ps, frame_steps, *(frame_steps * count for count in frames))

    @property
    def steps(self) -> int:
        return self.settling + self.producing

    def has_thermostat(self, step: int) -> bool:
        return self.ensemble != "nve" or step < self.settling


@dataclass
class _State:
    """All that a checkpoint holds."""

    positions_nm: NDArray[np.float64]
    velocities_nm_ps: NDArray[np.float64]
    box_length_nm: float
    largest_nm3: float  # change of the volume
    trials: int = 0  # of volumes, since the largest change was last looked at
    taken: int = 0
    chain: list[list[float]] | None = None
    step: int = 0
    hot_steps: int = 0
    start_kj_mol: float | None = None  # potential energy of the start
    settled_kj_mol: float = 0.0  # sum of the total energies of the second half of the equilibration
    core_s: float = 0.0
    samples: list[list[float]] = field(default_factory=list)
    frames: list[NDArray[np.float64]] = field(default_factory=list)

    def save(self, path: Path, identity: str) -> None:
        plain = {name: value for name, value in vars(self).items() if not isinstance(value, np.ndarray)}
        del plain["frames"], plain["samples"]
        arrays = {"positions_nm": self.positions_nm, "velocities_nm_ps": self.velocities_nm_ps}
        lists = {"frames": np.array(self.frames), "samples": np.array(self.samples)}
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, header=np.array(json.dumps([identity, plain])), **arrays, **lists)

    @classmethod
    def load(cls, path: Path, identity: str) -> _State | None:
        """Return the state in a checkpoint, or None where there is none, or that of another run."""
        try:
            with np.load(path, allow_pickle=False) as saved:
                found, plain = json.loads(str(saved["header"]))
                if found != identity:
                    return None
                moving = saved["positions_nm"], saved["velocities_nm_ps"]
                return cls(*moving, **plain, samples=saved["samples"].tolist(), frames=list(saved["frames"]))
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return None


def _identity(asked: list, model: Field, beads: Beads, start_nm: NDArray) -> str:
    """Return a hash of all that decides about a run."""
    digest = hashlib.sha256(json.dumps([fingerprint(model), asked]).encode())
    for array in (start_nm, beads.kinds, beads.molecules, beads.masses_g_mol, beads.bonds):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Barostat:
    """Tries volumes."""

    pressure_kj_mol_nm3: float
    start_nm3: float
    seed: int

    def act(self, motion: Motion, state: _State, kt_kj_mol: float) -> str | None:
        """Try a volume; return why the run has to end, or None."""
        # A stream for each step, so that a run that goes on needs to know no more than the step.
        random = np.random.default_rng([self.seed, state.step])
        find, change = motion.find, random.uniform(-1, 1) * state.largest_nm3
        volume = find.box_length_nm**3 + change
        least = (2 * find.model.cutoff_nm) ** 3
        if volume <= least:
            return f"it collapses: the box shrank to twice the cutoff, {2 * find.model.cutoff_nm:g} nm"
        state.taken += motion.try_volume(volume, self.pressure_kj_mol_nm3, kt_kj_mol, random.random())
        state.trials += 1
        state.box_length_nm = find.box_length_nm
        if state.trials == TRIALS:
            rate = state.taken / state.trials
            factor = 1 / ADAPTATION if rate < TOO_FEW else ADAPTATION if rate > TOO_MANY else 1.0
            state.largest_nm3, state.trials, state.taken = state.largest_nm3 * factor, 0, 0
        times = find.box_length_nm**3 / self.start_nm3
        if VOLUME_RANGE[0] < times < VOLUME_RANGE[1]:
            return None
        return f"it {'evaporates' if times > 1 else 'collapses'}: the volume is {times:.2f} times that of the start"


@dataclass
class _Runner:
    """Takes the steps of a plan and looks after them."""

    motion: Motion
    chain: Chain
    state: _State
    plan: _Plan
    temperature_k: float
    say: Callable[[str], None] | None
    checkpoint: Path | None
    identity: str
    barostat: _Barostat | None
    burst: bool = False

    def run(self) -> str | None:
        """Go on from the state to the end of the plan; return why it was stopped before that, or None."""
        state, plan = self.state, self.plan
        if state.chain is not None:
            self.chain.places, self.chain.speeds = state.chain
        if state.start_kj_mol is None:
            state.start_kj_mol = self.motion.energy_kj_mol
            self._record()
        first, begun_s = state.step, time.monotonic()
        said_s = saved_s = begun_s
        spent_s = state.core_s - time.process_time()
        trouble = None
        while trouble is None and state.step < plan.steps:
            trouble = self._step()
            now_s = time.monotonic()
            state.core_s = spent_s + time.process_time()
            if self.checkpoint and now_s - saved_s >= CHECKPOINT_INTERVAL_S:
                state.save(self.checkpoint, self.identity)
                saved_s = now_s
            if self.say and now_s - said_s >= PROGRESS_INTERVAL_S:
                self._tell((state.step - first) / (now_s - begun_s))
                said_s = now_s
        if trouble is None:
            return None
        stage = "equilibration" if state.step <= plan.settling else "production"
        return f"{trouble}, {state.step * plan.step_ps:.3f} ps after the start, in the {stage}"

    def _step(self) -> str | None:
        state, motion = self.state, self.motion
        furthest = motion.step(self.plan.step_ps, self.chain if self.plan.has_thermostat(state.step) else None)
        state.step += 1
        if not furthest < MAX_DISPLACEMENT_NM:  # also where it is not a number
            return f"a bead would have moved by {furthest:.3g} nm in one step"
        above_kt = (motion.energy_kj_mol - state.start_kj_mol) / len(motion.positions_nm) / self.chain.kt
        if not abs(above_kt) < MAX_ENERGY_KT:
            return f"the potential energy is {above_kt:+.3g} kT per bead from that of the start"
        temperature = motion.temperature_k
        state.hot_steps = state.hot_steps + 1 if temperature > HOT * self.temperature_k else 0
        if state.hot_steps >= HOT_STEPS:
            return f"the temperature was above {HOT * self.temperature_k:.0f} K for {HOT_STEPS} steps"
        if self.barostat and state.step > self.plan.settling and state.step % VOLUME_EVERY == 0:
            trouble = self.barostat.act(motion, state, self.chain.kt)
            if trouble is not None:
                self.burst = True
                return trouble
        self._record()
        return None

    def _record(self) -> None:
        state, plan, motion = self.state, self.plan, self.motion
        if plan.settling // 2 < state.step <= plan.settling:
            state.settled_kj_mol += motion.energy_kj_mol + motion.kinetic_kj_mol
        if plan.ensemble == "nve" and state.step == plan.settling > 0:
            self._take_mean_energy()
        done = state.step - plan.settling
        if done >= 0 and done % SAMPLE_EVERY == 0:
            state.samples.append(self._sample(done))
        if done >= 0 and done % plan.frame_steps == 0 and self.barostat is None:
            state.frames.append(motion.positions_nm.copy())
        state.chain = [self.chain.places, self.chain.speeds]

    def _take_mean_energy(self) -> None:
        mean = self.state.settled_kj_mol / (self.plan.settling - self.plan.settling // 2)
        kinetic = mean - self.motion.energy_kj_mol
        if kinetic > 0:
            self.motion.velocities_nm_ps *= math.sqrt(kinetic / self.motion.kinetic_kj_mol)

    def _sample(self, done: int) -> list[float]:
        motion = self.motion
        conserved = motion.energy_kj_mol + motion.kinetic_kj_mol
        if self.plan.has_thermostat(self.state.step):
            conserved += self.chain.energy_kj_mol
        smallest = motion.find.smallest_nm(motion.positions_nm)
        time_ps, temperature = done * self.plan.step_ps, motion.temperature_k
        volume = motion.find.box_length_nm**3
        return [time_ps, temperature, motion.energy_kj_mol, conserved, motion.pressure_bar, smallest, volume]

    def _tell(self, rate: float) -> None:
        plan, done, to_do = self.plan, self.state.step, self.plan.steps - self.state.step
        minutes, seconds = divmod(round(to_do / rate), 60)
        far = f"{done * plan.step_ps:.1f} of {plan.steps * plan.step_ps:.1f} ps at {self.motion.temperature_k:.0f} K"
        left = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"
        self.say(f"{plan.ensemble.upper()}: {far}, {rate:.0f} steps/s, {left}")
