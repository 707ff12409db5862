r"""How much of the net forces any function of the centres of mass can explain: the noise floor of force matching.

    python -m mobcg.forcematch.noise_floor --spec '<json>' --run DIR --work DIR --out floor.json
        [--molecules-dir DIR] [--held-ps 25]

The net force on a bead is its mean over everything that the centres of mass leave open (how the molecules are turned),
which a coarse-grained model can learn, and noise around that mean, which none can:

    F = F̄(R) + δF,    R²_floor = ⟨F̄²⟩ / ⟨F²⟩

Springs hold the centres of mass where they are at the start of an atomistic run, at its end, and after each of some
free runs from there; what the mean of the forces over the time that they are held leaves of them is the noise (Noid et
al., J. Chem. Phys. 128, 244114 (2008), for the decomposition). Where a molecule is several beads each is held, and F is
the net force on the molecule: the bonds between its beads may be stiffer than the springs, so that the force along them
is not that of the start. DIR of `--run` is the work directory of that run, finished. Where that run failed, or this one
does, the floor is `failed` and the reason.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobcg.atomistic.beads import centres_of_mass, nearest_image, read_beads, whole_molecules
from mobcg.atomistic.force_field import molecule_files
from mobcg.atomistic.gromacs import Machine, Progress, Springs, Stage, UnfinishedError, run_stage
from mobcg.atomistic.simulate import EXIT_UNFINISHED, stop_at_s
from mobcg.doctor import require
from mobcg.errors import InputError, SimulationError
from mobcg.forcematch.frames import force_autocorrelation, statistical_inefficiency
from mobcg.observables import BeadTrajectory
from mobcg.plan import Spec, run_id, seed
from mobcg.programs import ProgramError, versions
from mobcg.records import atomic_path, work_directory
from mobcg.step import run_step
from mobcg.units import thermal_energy_kj_mol

OF_THE_RUN = ("nvt_equilibration", "nvt")
CONFIGURATIONS = 6
# Between two of them: long enough for molecules to leave their neighbours by the width of a cage.
FREE_PS = 10.0
BLOCKS = 6
# Of a centre of mass on its spring: long for the time step, short for a molecule's own motion.
SPRING_PERIOD_PS = 0.1
FRAME_PS = 0.1
# Velocities are drawn anew, and the springs begin to swing.
DISCARDED_PS = 5.0
# Centres of mass that stray by more than this times sqrt(kT/k) are not held.
MOST_DISPLACEMENT = 2.0


@dataclass(frozen=True)
class Floor:
    """Share of the squared force that is its mean (R²), its standard error, and what it would be uncorrected."""

    r2: float
    r2_se: float
    uncorrected: float


def mean_force_share(starts: Sequence[ArrayLike], n_blocks: int = BLOCKS) -> Floor:
    r"""Return ⟨F̄²⟩ / ⟨F²⟩ from forces that fluctuate about a constant mean on each bead.

    The square of a mean over a finite time has the noise of that mean in it. The product of the means over two blocks
    of time that do not touch has not, where blocks are longer than the noise is correlated:

        ⟨F̄²⟩ = ⟨ m_b · m_b' ⟩   over beads and pairs of blocks with |b − b'| ≥ 2.

    The standard error is that of a ratio of two means, SE = sqrt(Σ (s_i − R² v_i)² / (n (n − 1))) / ⟨v⟩ with
    s_i = m_b · m_b' and v_i = ⟨F_i²⟩: i counts the configurations, whose beads are all in one liquid, or the beads,
    whichever says more.

    Parameters
    ----------
    starts
        (frames, beads, 3) for each configuration of the centres of mass.

    Raises
    ------
    InputError
        There are fewer than four frames a block.
    """
    signal, total, whole = [], [], []
    for series in starts:
        forces = np.asarray(series, np.float64)
        if len(forces) < 4 * n_blocks:
            raise InputError("noise floor", "frames", len(forces), f"{4 * n_blocks} and more", "Hold for longer.")
        means = np.array([block.mean(axis=0) for block in np.array_split(forces, n_blocks)])
        products = np.einsum("aid,bid->abi", means, means)
        first, second = np.triu_indices(n_blocks, 2)
        signal.append(products[first, second].mean(axis=0))
        total.append(np.einsum("tid,tid->i", forces, forces) / len(forces))
        whole.append(np.sum(forces.mean(axis=0) ** 2, axis=1))
    share = np.mean(np.concatenate(signal)) / np.mean(np.concatenate(total))
    residuals = [one - share * other for one, other in zip(signal, total, strict=True)]
    errors = [np.std(np.concatenate(residuals), ddof=1) / sum(len(one) for one in residuals) ** 0.5]
    if len(starts) > 1:
        errors.append(np.std([one.mean() for one in residuals], ddof=1) / len(starts) ** 0.5)
    scale = np.mean(np.concatenate(total))
    return Floor(float(share), float(max(errors) / scale), float(np.concatenate(whole).mean() / scale))


def hold(
    spec: Spec, run: Path, work: Path, machine: Machine, molecules_dir: Path = Path(), held_ps: float = 25.0
) -> dict[str, Any]:
    """Hold the centres of mass of a finished run in `CONFIGURATIONS` of its states; return what the forces on them say.

    Parameters
    ----------
    spec
        Of the atomistic run; with `mapping` each bead is held, and forces are those on molecules.
    run, work
        Work directory of the finished run, which is only read, and of this one.
    held_ps
        How long forces are averaged, in each configuration.

    Raises
    ------
    InputError
        The run is not finished.
    SimulationError
        The run failed, or the centres of mass did not stay where they were held.
    UnstableError, UnfinishedError, ProgramError
        As `mobcg.atomistic.gromacs.run_stage`.
    """
    source = finished_directory(run)
    masses = molecule_files(spec, directory=molecules_dir).masses_g_mol
    groups = spec.get("mapping") or [list(range(masses.size))]
    for name in ("system.top", "molecule.itp", *(f"{start}.gro" for start in OF_THE_RUN)):
        shutil.copyfile(source / name, work / name)
    progress = Progress(f"{spec['molecule']['id']} {run_id(spec)}")

    def stage(name: str, length_ps: float, frame_ps: float | None) -> Stage:
        seeds = (seed(spec, f"{name} {what}") for what in ("thermostat", "velocities"))
        time_step_fs = float(source.name.split("_")[1])
        thermostat_seed, velocity_seed = seeds
        return Stage(
            name,
            length_ps,
            time_step_fs,
            spec["temperature_k"],
            thermostat_seed,
            velocity_seed=velocity_seed,
            frame_ps=frame_ps,
        )

    configurations = [work / f"{name}.gro" for name in OF_THE_RUN]
    for number in range(CONFIGURATIONS - len(OF_THE_RUN)):
        free = stage(f"free_{number}", FREE_PS, None)
        configurations.append(run_stage(work, free, configurations[-1], machine, progress))
    forces, displacements = [], []
    for configuration in configurations:
        springs, box_length_nm = springs_on(configuration, masses, groups)
        held = stage(f"held_{configuration.stem}", DISCARDED_PS + held_ps, FRAME_PS)
        run_stage(work, held, configuration, machine, progress, springs)
        beads = read_beads(work / f"{held.name}.trr", masses, box_length_nm, groups)
        there = nearest_image(beads.positions_nm, springs.centres_nm, box_length_nm) - springs.centres_nm
        settled = beads.time_ps > DISCARDED_PS
        displacements.append(there[settled])
        # Forces in the trajectory are those of the atoms and of the springs.
        clean = beads.forces_kj_mol_nm + springs.spring_kj_mol_nm2[:, None] * there
        forces.append(net_forces(clean[settled], len(groups)))
    strayed_nm = float(np.sqrt(np.mean(np.square(displacements))))
    thermal_nm = np.sqrt(thermal_energy_kj_mol(spec["temperature_k"]) * np.mean(1 / springs.spring_kj_mol_nm2))
    if strayed_nm > MOST_DISPLACEMENT * thermal_nm:
        raise SimulationError(f"the held centres of mass strayed by {strayed_nm:.4f} nm instead of {thermal_nm:.4f} nm")
    return {
        "n_molecules": spec["n_molecules"],
        "beads_per_molecule": len(groups),
        "configurations": len(configurations),
        **summary(forces),
        "displacement_rms_nm": strayed_nm,
    }


def net_forces(forces_kj_mol_nm: NDArray, beads_per_molecule: int) -> NDArray[np.float64]:
    """Return the net force on each molecule, (frames, molecules, 3), of those on its beads, (frames, beads, 3)."""
    return forces_kj_mol_nm.reshape(len(forces_kj_mol_nm), -1, beads_per_molecule, 3).sum(axis=2)


def summary(forces: Sequence[NDArray]) -> dict[str, Any]:
    """Return the floor, of all and of the first half of the time, and how the forces are correlated."""
    floor, first_half = mean_force_share(forces), mean_force_share([series[: len(series) // 2] for series in forces])
    correlation = np.mean([force_autocorrelation(series) for series in forces], axis=0)
    lags = np.unique(np.geomspace(1, len(correlation) // 2, 40).round().astype(int))
    noise = (correlation - floor.r2) / (1 - floor.r2)
    return {
        "r2_floor": floor.r2,
        "r2_floor_se": floor.r2_se,
        "r2_floor_uncorrected": floor.uncorrected,
        "r2_floor_first_half": first_half.r2,
        "r2_floor_first_half_se": first_half.r2_se,
        "force_rms_kj_mol_nm": float(np.sqrt(np.mean(np.square(forces)))),
        "noise_decorrelation_ps": statistical_inefficiency(noise) * FRAME_PS,
        "correlation_time_ps": (lags * FRAME_PS).tolist(),
        "correlation": correlation[lags].tolist(),
    }


def springs_on(gro: Path, masses_g_mol: NDArray, groups: Sequence[Sequence[int]]) -> tuple[Springs, float]:
    """Return springs on the beads of a configuration, all of the period `SPRING_PERIOD_PS`, and its edge (nm)."""
    lines = gro.read_text().rstrip("\n").split("\n")
    box_length_nm = float(lines[-1].split()[0])
    positions = np.array([[float(line[start : start + 8]) for start in (20, 28, 36)] for line in lines[2:-1]])
    whole = whole_molecules(positions.reshape(-1, masses_g_mol.size, 3), box_length_nm)
    centres = np.stack([centres_of_mass(whole[:, group], masses_g_mol[group]) for group in groups], axis=1)
    masses = np.array([masses_g_mol[group].sum() for group in groups])
    first = masses_g_mol.size * np.arange(len(whole))
    atoms = [start + np.array(group) for start in first for group in groups]
    springs = np.tile(masses * (2 * np.pi / SPRING_PERIOD_PS) ** 2, len(whole))
    return Springs(atoms, centres.reshape(-1, 3), springs), box_length_nm


def finished_directory(run: Path) -> Path:
    """Return the folder, named after the time step, that a finished run's configurations lie in.

    Time steps that were too long, which a file `failed` tells of, may have left configurations too.

    Raises
    ------
    SimulationError
        The run failed.
    InputError
        It is not finished.
    """
    finished = sorted(path.parent for path in run.glob("step_*_fs/nvt.gro") if not (path.parent / "failed").exists())
    if finished:
        return finished[0]
    if (beads := run / "beads.npz").exists():
        known = BeadTrajectory.load(beads).metadata
        if known["status"] != "ok":
            raise SimulationError(f"the atomistic run failed: {known['reason']}")
    elif (run / "spec.json").exists():  # which a run leaves in the end; its beads were not kept
        raise SimulationError("the atomistic run failed; its record says why")
    raise InputError(run, "", "no step_*_fs/nvt.gro", "work directory of a finished atomistic run", "Run it first.")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 1 program trouble, 2 wrong input, 75 start again)."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.forcematch.noise_floor", description=__doc__)
    parser.add_argument("--spec", required=True, type=json.loads, help="atomistic spec of the run, as JSON")
    parser.add_argument("--run", required=True, type=Path, help="work directory of that run, finished; only read")
    parser.add_argument("--work", required=True, type=Path, help="folder of this run, kept for a restart")
    parser.add_argument("--out", required=True, type=Path, help="floor (.json)")
    parser.add_argument("--molecules-dir", type=Path, default=Path(), help="where paths of own topologies start")
    parser.add_argument("--held-ps", type=float, default=25.0, help="how long forces are averaged")
    options = parser.parse_args(arguments)
    with work_directory(options.work) as work:
        try:
            require("gmx")
            machine = Machine(stop_at_s=stop_at_s(None))
            found = hold(options.spec, options.run, work, machine, options.molecules_dir, options.held_ps)
        except ProgramError:
            raise
        except SimulationError as error:
            print(f"failed: {error}", flush=True)
            found = {"failed": str(error)}
        except UnfinishedError as stopped:
            print(f"not finished: {stopped}; start the same command again to continue", file=sys.stderr)
            return EXIT_UNFINISHED
        except InputError as error:
            print(error, file=sys.stderr)
            return 2
        found |= {"run_id": run_id(options.spec), "held_ps": options.held_ps, "versions": versions("gmx", "mobcg")}
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n")
        for path in work.iterdir():
            if path.name != ".lock":
                path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
