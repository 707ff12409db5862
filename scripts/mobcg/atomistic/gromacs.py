"""Running GROMACS so that a killed run goes on where it was: run parameters, one stage at a time, progress, energies.

A stage is done when its `<stage>.gro` is there; it gets that name only after mdrun wrote it whole. Until then the
checkpoint says where to go on; where that is torn, the one before it, which GROMACS keeps. The short stages at constant
pressure start over. All times in ps,
temperatures in K, pressures in bar.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobcg.errors import InputError, SimulationError
from mobcg.programs import ProgramError, machine_trouble, run
from mobcg.units import FS_PER_PS

ENERGY_INTERVAL_PS = 0.1
PROGRESS_INTERVAL_S = 8.0
# What mdrun says, besides a signal, when the physics and not the machine gave out.
CRASH_SIGNS = (
    r"Too many LINCS warnings",
    r"energy is \S+, which is (?:not finite|extremely high)",
    r"particles communicated to PME rank",
    r"moved more than the distance allowed",
    r"shorter than twice the cut-off",
    r"box vectors has become shorter",
    r"box size became too small",
    r"domain decomposition grid has shifted too much",
    r"too large compared to the .* cut-?off",
    r"Water molecule .* can not be settled",
)
CRASH_SIGNALS = (-6, -8, -11, -7, 134, 135, 136, 139)


class UnfinishedError(Exception):
    """A stage stopped before its end without failing; the next start of the step continues it."""


class UnstableError(SimulationError):
    """The integration broke down; a smaller time step may hold."""


@dataclass(frozen=True)
class Machine:
    """How programs may use the machine: nothing here changes the physics.

    One thread gives bitwise the same trajectory every time. `stop_at_s` is a reading of `time.monotonic`.
    """

    threads: int = 1
    stop_at_s: float | None = None
    checkpoint_minutes: float = 2.0


@dataclass(frozen=True)
class Stage:
    """One stretch of molecular dynamics.

    `velocity_seed` draws new velocities; without it they are continued from the stage before. `pressure_bar` None keeps
    the box. `frame_ps` writes positions and forces at that interval, velocities at ten times it. `langevin` brings each
    degree of freedom to the temperature; without it the motion is undisturbed (see `dynamics_options`).
    """

    name: str
    duration_ps: float
    time_step_fs: float
    temperature_k: float
    thermostat_seed: int
    pressure_bar: float | None = None
    velocity_seed: int | None = None
    frame_ps: float | None = None
    langevin: bool = True

    @property
    def n_steps(self) -> int:
        """Steps of the stage."""
        return steps(self.duration_ps, self.time_step_fs)


@dataclass(frozen=True)
class Springs:
    """Harmonic springs that hold the centre of mass of each of some groups of atoms where it is.

    Attributes
    ----------
    atoms
        (groups,): the atoms of each group, counted from 0 through the whole system.
    centres_nm
        (groups, 3): where the centres are held.
    spring_kj_mol_nm2
        (groups,).
    """

    atoms: Sequence[NDArray[np.int64]]
    centres_nm: NDArray[np.float64]
    spring_kj_mol_nm2: NDArray[np.float64]

    def options(self) -> dict[str, object]:
        """Return the run parameters of GROMACS' pull code: three directions a group, against a point in space."""
        options: dict[str, object] = {"pull": "yes", "pull-nstxout": 0, "pull-nstfout": 0, "comm-mode": "none"}
        options |= {"pull-ngroups": len(self.atoms), "pull-ncoords": 3 * len(self.atoms)}
        options |= {f"pull-group{number}-name": f"group{number}" for number in range(1, len(self.atoms) + 1)}
        for number, (centre, spring) in enumerate(zip(self.centres_nm, self.spring_kj_mol_nm2, strict=True)):
            for axis, direction in enumerate(("1 0 0", "0 1 0", "0 0 1")):
                name = f"pull-coord{3 * number + axis + 1}"
                options |= {
                    f"{name}-type": "umbrella",
                    f"{name}-geometry": "direction",
                    f"{name}-groups": f"0 {number + 1}",
                    f"{name}-origin": " ".join(f"{value:.6f}" for value in centre),
                    f"{name}-vec": direction,
                    f"{name}-k": f"{spring:.6g}",
                }
        return options

    def index(self) -> str:
        """Return the groups, and all atoms together, as the text of an .ndx file; one atom a line, as lines are cut."""
        groups = {f"group{number + 1}": atoms for number, atoms in enumerate(self.atoms)}
        groups["System"] = np.sort(np.concatenate(self.atoms))
        return "".join(f"[ {name} ]\n" + "".join(f"{atom + 1}\n" for atom in atoms) for name, atoms in groups.items())


def steps(interval_ps: float, time_step_fs: float) -> int:
    """Return how many time steps make an interval.

    Raises
    ------
    InputError
        It is no whole number of steps.
    """
    count = interval_ps * FS_PER_PS / time_step_fs
    if count < 1 or abs(count - round(count)) > 1e-6:
        raise InputError("spec", "time (ps)", interval_ps, f"multiples of the time step of {time_step_fs} fs")
    return round(count)


# Cutoffs as OPLS-AA liquids are usually run; the tail of the Lennard-Jones attraction is corrected for. The tolerance
# of the pair list is tighter than GROMACS' default, with which 200 benzene lost 3.6 kJ/mol/ps, cooling translation by
# up to 30 K below the thermostat; with this one 0.08, at the same speed (mdrun chooses nstlist anew). What is left
# comes from the time step: the thermostat of the production holds leap-frog's kinetic energy at the half steps, and a
# mode of angular frequency ω has kT tan θ / θ of it, sin θ = ω dt / 2. Fast modes have more than kT, so slow ones,
# centres of mass and rotation, settle colder than asked for: benzene by 1.2 % at 2 fs (`temperature_centres_k` tells).
COMMON_OPTIONS: Mapping[str, object] = {
    "cutoff-scheme": "Verlet",
    "nstlist": 20,
    "verlet-buffer-tolerance": 1e-4,
    "coulombtype": "PME",
    "rcoulomb": 1.0,
    "rvdw": 1.0,
    "fourierspacing": 0.12,
    "DispCorr": "EnerPres",
}

LANGEVIN: Mapping[str, object] = {"integrator": "sd", "tau-t": 0.5}
VELOCITY_RESCALING: Mapping[str, object] = {"integrator": "md", "tcoupl": "v-rescale", "tau-t": 1.0, "nsttcouple": 10}


def minimisation_options(n_steps: int = 500) -> dict[str, object]:
    """Return the run parameters of a steepest-descent minimisation."""
    return {**COMMON_OPTIONS, "integrator": "steep", "nsteps": n_steps, "emtol": 100.0, "emstep": 0.005}


def dynamics_options(stage: Stage) -> dict[str, object]:
    """Return the run parameters of a stage.

    Equilibration is Langevin dynamics (friction 2/ps), which heats and cools every degree of freedom by itself. The
    vibrations of a small stiff molecule exchange energy with its translation over tens of ps (35 ps measured for
    benzene), and a thermostat of the total kinetic energy leaves the partition as it finds it: after minimisation the
    centres of mass of benzene stayed at 340 K under a thermostat of 298 K for 200 ps, with 6 % too low a density and
    nearly twice the self-diffusion.

    Production is stochastic velocity rescaling (Bussi, Donadio, Parrinello, J. Chem. Phys. 126, 014101 (2007)). It acts
    on the kinetic energy of the whole box only, conserves momentum and leaves self-diffusion undisturbed (Basconi,
    Shirts, J. Chem. Theory Comput. 9, 2887 (2013)).

    The barostat is stochastic cell rescaling (Bernetti, Bussi, J. Chem. Phys. 153, 114107 (2020)). It strains the bonds
    with the box; at a short coupling time in large steps that noise returns as pressure (1700 instead of 1000 bar rms),
    so it acts every other step with 2 ps.
    """
    energy_steps = steps(ENERGY_INTERVAL_PS, stage.time_step_fs)
    options = {
        **COMMON_OPTIONS,
        **(LANGEVIN if stage.langevin else VELOCITY_RESCALING),
        "dt": stage.time_step_fs / FS_PER_PS,
        "nsteps": stage.n_steps,
        "constraints": "h-bonds",
        "constraint-algorithm": "lincs",
        "continuation": "yes" if stage.velocity_seed is None else "no",
        "tc-grps": "System",
        "ref-t": stage.temperature_k,
        "ld-seed": stage.thermostat_seed,
        "comm-mode": "linear",
        "nstcomm": 100,
        "nstcalcenergy": energy_steps,
        "nstenergy": energy_steps,
        "nstlog": 5 * energy_steps,
    }
    if stage.pressure_bar is not None:
        options |= {
            "pcoupl": "C-rescale",
            "pcoupltype": "isotropic",
            "tau-p": 2.0,
            "ref-p": stage.pressure_bar,
            "compressibility": 1e-4,  # 1/bar, a hydrocarbon liquid's
            "nstpcouple": 2,
        }
    if stage.velocity_seed is not None:
        options |= {"gen-vel": "yes", "gen-temp": stage.temperature_k, "gen-seed": stage.velocity_seed}
    if stage.frame_ps is not None:
        frame_steps = steps(stage.frame_ps, stage.time_step_fs)
        options |= {"nstxout": frame_steps, "nstfout": frame_steps, "nstvout": 10 * frame_steps}
    return options


def format_mdp(options: Mapping[str, object]) -> str:
    """Return run parameters as the text of an .mdp file."""
    return "".join(f"{name} = {value}\n" for name, value in options.items())


def minimise(directory: Path, start: Path, name: str, machine: Machine) -> Path:
    """Minimise the energy of a configuration; return the relaxed one. Nothing is done twice."""
    done = directory / f"{name}.gro"
    if not done.exists():
        remove_products(directory, name)
        _prepare(directory, name, minimisation_options(), start, None)
        _mdrun(directory, name, machine)
        _finish(directory, name)
    return done


def run_stage(
    directory: Path, stage: Stage, before: Path, machine: Machine, progress: Progress, springs: Springs | None = None
) -> Path:
    """Run or continue one stage of dynamics; return its final configuration.

    Parameters
    ----------
    directory
        Holds `system.top`; all files of the stage are named after it.
    before
        Final .gro of the stage before; a checkpoint of the same name beside it gives full-precision velocities.
    springs
        On centres of mass of all of the atoms; the forces in the trajectory hold theirs, too.

    Raises
    ------
    UnstableError
        The integration broke down.
    UnfinishedError
        The machine's time was up.
    ProgramError
        A program failed for another reason: not installed, no space, killed.
    """
    done = directory / f"{stage.name}.gro"
    if done.exists():
        return done
    checkpoint, before_that = (directory / f"{stage.name}{which}.cpt" for which in ("", "_prev"))
    if before_that.exists() and not checkpoint.exists():
        before_that.replace(checkpoint)
    # The barostat of GROMACS 2022 does not go on bit by bit from a checkpoint; its stages are short and start over.
    continued = checkpoint.exists() and stage.pressure_bar is None
    try:
        if not continued:
            remove_products(directory, stage.name)
            state = before.with_suffix(".cpt") if stage.velocity_seed is None else None
            _prepare(directory, stage.name, dynamics_options(stage), before, state, springs)
        with progress.watch(stage, directory / f"{stage.name}.log"):
            _mdrun(directory, stage.name, machine)
    except ProgramError as error:
        by_itself = 0 < error.returncode < 126  # 126 and more are a shell's: not found, or a signal
        if not continued or not by_itself or machine_trouble(_last_output(error.log), directory):
            raise
        progress.say(f"{stage.name}: its checkpoint or what belongs to it is torn; going back")
        if before_that.exists():
            before_that.replace(checkpoint)
        else:
            remove_products(directory, stage.name)
        return run_stage(directory, stage, before, machine, progress, springs)
    _finish(directory, stage.name)
    return done


def crash_sign(returncode: int, output: str) -> str | None:
    """Return what shows that the integration broke down; None where mdrun ended for another reason."""
    unwrapped = " ".join(output.split())
    for sign in CRASH_SIGNS:
        if found := re.search(sign, unwrapped):
            return found.group(0)
    return "mdrun crashed" if returncode in CRASH_SIGNALS else None


def _last_output(log: Path) -> str:
    return log.read_text(errors="replace").rpartition("\n$ ")[2]


def remove_products(directory: Path, name: str) -> None:
    """Remove all that a stage has written, so that it starts over."""
    for pattern in (f"{name}.*", f"{name}_prev.cpt", f"{name}_step*", f"#{name}.*"):
        for path in directory.glob(pattern):
            path.unlink()


def _prepare(
    directory: Path,
    name: str,
    options: Mapping[str, object],
    start: Path,
    state: Path | None,
    springs: Springs | None = None,
) -> None:
    (directory / f"{name}.mdp").write_text(format_mdp({**options, **(springs.options() if springs else {})}))
    command = ["gmx", "-quiet", "grompp", "-f", f"{name}.mdp", "-c", start.name, "-p", "system.top"]
    command += ["-o", f"{name}.tpr", "-po", f"{name}.mdout"]
    if springs is not None:
        (directory / f"{name}.ndx").write_text(springs.index())
        # It warns that atoms without a spring would drift from those with one; here all have one.
        command += ["-n", f"{name}.ndx", "-maxwarn", "1"]
    if state is not None and state.exists():
        command += ["-t", state.name]
    run(command, cwd=directory, log=directory / f"{name}.out")


def _mdrun(directory: Path, name: str, machine: Machine) -> None:
    command = ["gmx", "-quiet", "mdrun", "-deffnm", name, "-c", f"{name}.last.gro", "-cpi", f"{name}.cpt"]
    command += ["-ntmpi", "1", "-ntomp", str(machine.threads), "-pin", "off", "-reprod"]
    command += ["-cpt", str(machine.checkpoint_minutes)]
    if machine.stop_at_s is not None:
        left_s = machine.stop_at_s - time.monotonic()
        if left_s <= 0:
            raise UnfinishedError(name)
        command += ["-maxh", f"{left_s / 3600:.5f}"]
    log = directory / f"{name}.out"
    try:
        run(command, cwd=directory, log=log)
    except ProgramError as error:
        output = _last_output(log)
        sign = crash_sign(error.returncode, output)
        if sign is None or machine_trouble(output, directory):
            raise
        raise UnstableError(f"{name}: {sign}") from error


def _finish(directory: Path, name: str) -> None:
    # mdrun exits with 0 also when -maxh stopped it: only the final configuration says that it got to the end.
    last = directory / f"{name}.last.gro"
    if not last.exists():
        raise UnfinishedError(name)
    take_whole_gro(last, directory / f"{name}.gro", directory / f"{name}.out")


def take_whole_gro(written: Path, name: Path, log: Path) -> Path:
    """Give a configuration that GROMACS wrote its name; returns that.

    Raises
    ------
    ProgramError
        It is torn: on a full disk GROMACS ends well all the same.
    """
    lines = written.read_text().split("\n")
    if not (len(lines) > 2 and lines[1].strip() == str(len(lines) - 4) and len(lines[-2].split()) in (3, 9)):
        written.unlink()
        raise ProgramError(["gmx"], 0, log, f"{written.name} is torn (is the disk full?)")
    with written.open("rb") as stream:
        os.fsync(stream.fileno())
    return written.rename(name)


def write_compressed_trajectory(directory: Path, name: str) -> None:
    """Turn a stage's .trr into an .xtc: positions to 0.001 nm, in a sixth of the space."""
    part = f"{name}.part.xtc"
    command = ["gmx", "-quiet", "trjconv", "-f", f"{name}.trr", "-s", f"{name}.tpr", "-o", part]
    run(command, cwd=directory, log=directory / f"{name}.trjconv.out", stdin="System\n")
    (directory / part).rename(directory / f"{name}.xtc")


def stage_energies(directory: Path, stage: Stage, terms: Sequence[str]) -> np.ndarray:
    """Return what `read_energies` does of a stage that is done.

    Raises
    ------
    UnfinishedError
        Samples are missing; the stage's files are removed, so that the next start makes them again.
    """
    energies = read_energies(directory / f"{stage.name}.edr", terms)
    if len(energies) <= stage.n_steps // steps(ENERGY_INTERVAL_PS, stage.time_step_fs):
        remove_products(directory, stage.name)
        raise UnfinishedError(f"{stage.name}: samples are missing from its energies")
    return energies


def read_energies(path: Path, terms: Sequence[str]) -> np.ndarray:
    """Return time (ps) and energy terms of an .edr file, shape (n, 1 + len(terms)), in GROMACS' units.

    Terms keep GROMACS' own order in the file; ask for them in that order.
    """
    xvg = path.with_suffix(".xvg")
    xvg.unlink(missing_ok=True)
    command = ["gmx", "-quiet", "energy", "-f", path.name, "-o", xvg.name, "-xvg", "none", "-dp"]
    run(command, cwd=path.parent, log=path.with_suffix(".energy.out"), stdin="\n".join([*terms, "", ""]))
    return np.loadtxt(xvg, ndmin=2)


@dataclass
class Progress:
    """Prints how far a run is, at least every ten seconds: stage, ps done, ns/day, time left.

    `later_steps` are the steps of the stages still to come, as far as known.
    """

    label: str
    later_steps: int = 0

    def say(self, text: str) -> None:
        """Print one line."""
        print(f"{self.label}: {text}", flush=True)

    @contextmanager
    def watch(self, stage: Stage, log: Path) -> Iterator[None]:
        """Report on a stage from mdrun's log while the block runs."""
        over = threading.Event()
        watcher = threading.Thread(target=self._report, args=(stage, log, over), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def _report(self, stage: Stage, log: Path, over: threading.Event) -> None:
        self.say(f"{stage.name}: {stage.duration_ps:g} ps at {stage.time_step_fs:g} fs")
        started_s, first_ps = time.monotonic(), last_time_ps(log)
        while not over.wait(PROGRESS_INTERVAL_S):
            done_ps = last_time_ps(log)
            rate = (done_ps - first_ps) / (time.monotonic() - started_s)
            line = f"{stage.name}: {done_ps:.1f} of {stage.duration_ps:g} ps"
            if rate > 0:
                stage_left_s = (stage.duration_ps - done_ps) / rate
                later_s = self.later_steps * stage.time_step_fs / FS_PER_PS / rate
                line += f", {rate * 86.4:.1f} ns/day, {_clock(stage_left_s)} left"
                line += f", about {_clock(stage_left_s + later_s)} for the run"
            self.say(line)


def last_time_ps(log: Path) -> float:
    """Return the last time (ps) that mdrun's log reports; 0 where there is none yet."""
    if not log.exists():
        return 0.0
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 20_000))
        times = re.findall(rb"Step +Time\n +\d+ +([\d.]+)\n", stream.read())
    return float(times[-1]) if times else 0.0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
