r"""How much of the net forces any function of the centres of mass can explain: the noise floor of force matching.

    python -m mobcg.forcematch.noise_floor --spec '<json>' --run DIR --work DIR --out floor.json
        [--molecules-dir DIR] [--held-ps 60]

The net force on a bead is its mean over everything that the centres of mass leave open (how the molecules are turned),
which a coarse-grained model can learn, and noise around that mean, which none can:

    F = F̄(R) + δF,    R²_floor = ⟨F̄²⟩ / ⟨F²⟩

Springs hold the centres of mass where they are at the end of an atomistic run, and at its start; what the mean of the
forces over the time that they are held leaves of them is the noise (Noid et al., J. Chem. Phys. 128, 244114 (2008),
for the decomposition). DIR of `--run` is the work directory of that run, finished.
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
from scipy import fft

from mobcg.atomistic.beads import centres_of_mass, nearest_image, read_beads, whole_molecules
from mobcg.atomistic.force_field import molecule_files
from mobcg.atomistic.gromacs import Machine, Progress, Springs, Stage, UnfinishedError, run_stage
from mobcg.atomistic.simulate import EXIT_UNFINISHED, stop_at_s
from mobcg.doctor import require
from mobcg.errors import InputError
from mobcg.observables import BeadTrajectory
from mobcg.plan import Spec, run_id, seed
from mobcg.programs import versions
from mobcg.records import atomic_path, work_directory
from mobcg.step import run_step

STARTS = ("nvt", "nvt_equilibration")
BLOCKS = 6
# Of a centre of mass on its spring: long for the time step, short for a molecule's own motion.
SPRING_PERIOD_PS = 0.1
FRAME_PS = 0.1
# Velocities are drawn anew, and the springs begin to swing.
DISCARDED_PS = 5.0
CHUNK = 256


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

    The standard error is that of a ratio of two means over the beads, of whose forces there are many:
    SE = sqrt(Σ (s_i − R² v_i)² / (n (n − 1))) / ⟨v⟩ with s_i = m_b · m_b' and v_i = ⟨F_i²⟩.

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
    signals, totals = np.concatenate(signal), np.concatenate(total)
    share = signals.mean() / totals.mean()
    residuals = signals - share * totals
    error = np.sqrt(np.sum(residuals**2) / (len(residuals) * (len(residuals) - 1))) / totals.mean()
    return Floor(float(share), float(error), float(np.concatenate(whole).mean() / totals.mean()))


def force_autocorrelation(forces_kj_mol_nm: ArrayLike) -> NDArray[np.float64]:
    """Return C(t) = ⟨F(0) · F(t)⟩ / ⟨F²⟩ over beads and origins, (frames,); (frames, beads, 3), not less its mean."""
    forces = np.asarray(forces_kj_mol_nm, np.float64).reshape(len(forces_kj_mol_nm), -1)
    n_frames, products = len(forces), np.zeros(len(forces))
    for columns in np.array_split(forces, max(1, forces.shape[1] // CHUNK), axis=1):
        spectrum = fft.rfft(columns, 2 * n_frames, axis=0)  # zeros behind, so that the end is not before the beginning
        products += fft.irfft(np.abs(spectrum) ** 2, axis=0)[:n_frames].sum(axis=1)
    products /= np.arange(n_frames, 0, -1)
    return products / products[0]


def decorrelation_ps(trajectory: BeadTrajectory) -> float:
    r"""Return the time between two frames whose net forces are as good as independent (ps).

    The statistical inefficiency of the forces on a bead times the time between frames, g Δt with
    g = 1 + 2 Σ_k (1 − k/n) C(k Δt), summed until C first falls to 0 (Chodera et al., J. Chem. Theory Comput. 3, 26
    (2007)). A correlation that is over within one frame gives g ≈ 1, which is the time between frames itself.

    Raises
    ------
    InputError
        The trajectory has no forces.
    """
    if trajectory.forces_kj_mol_nm is None:
        advice = "Keep them with keep_trajectories: beads."
        raise InputError("noise floor", "forces_kj_mol_nm", None, "a bead trajectory with net forces", advice)
    return statistical_inefficiency(force_autocorrelation(trajectory.forces_kj_mol_nm)) * trajectory.frame_ps


def statistical_inefficiency(correlation: ArrayLike) -> float:
    """Return g = 1 + 2 Σ_k (1 − k/n) C_k until C first falls to 0; C from lag 0 on, (frames,), C_0 = 1."""
    values = np.asarray(correlation, np.float64)
    below = np.flatnonzero(values <= 0)
    end = int(below[0]) if below.size else len(values)
    lags = np.arange(1, end)
    return float(1 + 2 * np.sum((1 - lags / len(values)) * values[1:end]))


def hold(
    spec: Spec, run: Path, work: Path, machine: Machine, molecules_dir: Path = Path(), held_ps: float = 60.0
) -> dict[str, Any]:
    """Hold the centres of mass of a finished run's first and last configuration; return what the forces on them say.

    Parameters
    ----------
    spec
        Of the atomistic run; with `mapping` each bead is held.
    run, work
        Work directory of the finished run, which is only read, and of this one.
    held_ps
        How long forces are averaged.

    Raises
    ------
    InputError
        The run is not finished.
    UnstableError, UnfinishedError, ProgramError
        As `mobcg.atomistic.gromacs.run_stage`.
    """
    source = finished_directory(run)
    masses = molecule_files(spec, directory=molecules_dir).masses_g_mol
    groups = spec.get("mapping") or [list(range(masses.size))]
    for name in ("system.top", "molecule.itp", *(f"{start}.gro" for start in STARTS)):
        shutil.copyfile(source / name, work / name)
    progress = Progress(f"{spec['molecule']['id']} {run_id(spec)}")
    forces, displacements = [], []
    for start in STARTS:
        springs, box_length_nm = springs_on(work / f"{start}.gro", masses, groups)
        stage = Stage(
            f"held_{start}",
            DISCARDED_PS + held_ps,
            float(source.name.split("_")[1]),
            spec["temperature_k"],
            seed(spec, f"held {start} thermostat"),
            velocity_seed=seed(spec, f"held {start} velocities"),
            frame_ps=FRAME_PS,
        )
        run_stage(work, stage, work / f"{start}.gro", machine, progress, springs)
        beads = read_beads(work / f"{stage.name}.trr", masses, box_length_nm, groups)
        there = nearest_image(beads.positions_nm, springs.centres_nm, box_length_nm) - springs.centres_nm
        settled = beads.time_ps > DISCARDED_PS
        displacements.append(there[settled])
        # Forces in the trajectory are those of the atoms and of the springs.
        forces.append((beads.forces_kj_mol_nm + springs.spring_kj_mol_nm2[:, None] * there)[settled])
    return {
        "run_id": run_id(spec),
        "n_molecules": spec["n_molecules"],
        "beads_per_molecule": len(groups),
        "starts": len(STARTS),
        "held_ps": held_ps,
        **summary(forces),
        "displacement_rms_nm": float(np.sqrt(np.mean(np.square(displacements)))),
        "versions": versions("gmx", "mobcg"),
    }


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

    Raises
    ------
    InputError
        There is none.
    """
    finished = sorted(path.parent for path in run.glob("step_*_fs/nvt.gro"))
    if not finished:
        raise InputError(run, "", "no step_*_fs/nvt.gro", "work directory of a finished atomistic run", "Run it first.")
    return finished[0]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 1 program trouble, 2 wrong input, 75 start again)."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.forcematch.noise_floor", description=__doc__)
    parser.add_argument("--spec", required=True, type=json.loads, help="atomistic spec of the run, as JSON")
    parser.add_argument("--run", required=True, type=Path, help="work directory of that run, finished; only read")
    parser.add_argument("--work", required=True, type=Path, help="folder of this run, kept for a restart")
    parser.add_argument("--out", required=True, type=Path, help="floor (.json)")
    parser.add_argument("--molecules-dir", type=Path, default=Path(), help="where paths of own topologies start")
    parser.add_argument("--held-ps", type=float, default=60.0, help="how long forces are averaged")
    options = parser.parse_args(arguments)
    with work_directory(options.work) as work:
        try:
            require("gmx")
            machine = Machine(stop_at_s=stop_at_s(None))
            found = hold(options.spec, options.run, work, machine, options.molecules_dir, options.held_ps)
        except UnfinishedError as stopped:
            print(f"not finished: {stopped}; start the same command again to continue", file=sys.stderr)
            return EXIT_UNFINISHED
        except InputError as error:
            print(error, file=sys.stderr)
            return 2
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n")
        for trajectory in work.glob("*.trr"):
            trajectory.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
