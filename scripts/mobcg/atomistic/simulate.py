"""One atomistic run: box, minimisation, squeeze, NPT until the density has settled, NVT at that density → beads.

A spec with `density_kg_m3` asks for that density instead: the squeezed box is brought to it, without NPT. One with
`mapping`, groups of the atoms of a molecule, gets a bead for each group; without it a molecule is one bead.

    python -m mobcg.atomistic.simulate --spec '<json>' --work DIR --out beads.npz [--molecules-dir DIR]
        [--threads 1] [--max-hours H] [--keep-beads] [--keep-atoms]

Started again after any interruption it goes on where it was. With one thread the result is bitwise the same however
often that happened. A run whose physics fails gives a file without frames and with the reason. Inside a Slurm job it
stops with a checkpoint before the job's time is up. What is left in DIR of a finished run (`FINISHED`) is enough to
repeat its production bit by bit, and not more.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mobcg.atomistic.beads import Beads, read_beads, scale_molecules, whole_molecules
from mobcg.atomistic.density import SettledDensity, judge_density
from mobcg.atomistic.force_field import MoleculeFiles, molecule_files
from mobcg.atomistic.gromacs import (
    ENERGY_INTERVAL_PS,
    Machine,
    Progress,
    Stage,
    UnfinishedError,
    UnstableError,
    minimise,
    remove_products,
    run_stage,
    stage_energies,
    steps,
    take_whole_gro,
    write_compressed_trajectory,
)
from mobcg.atomistic.topology import format_top
from mobcg.doctor import require
from mobcg.errors import InputError, SimulationError
from mobcg.molecule import molecule_beads
from mobcg.observables import BeadTrajectory, MoleculeBeads, block_mean
from mobcg.pair import CUTOFF_NM
from mobcg.plan import Spec, canonical_json, run_id, seed
from mobcg.programs import ProgramError, job_seconds_left, run, versions
from mobcg.records import atomic_path, link, work_directory
from mobcg.step import run_step
from mobcg.units import mass_density_kg_m3, number_density_nm3

# Fractions of the expected density at which molecules are inserted: looser where the tighter does not take them all.
INSERTION_FRACTIONS = (0.65, 0.5, 0.35)
SQUEEZE_BAR = 1000.0
SQUEEZE_K = 450.0
SQUEEZE_TIME_STEP_FS = 1.0
HALVINGS = 2
LEAST_DENSITY_FRACTION = 0.5
# A step too long heats before it crashes; the mean over thousands of degrees of freedom fluctuates by far less.
TEMPERATURE_TOLERANCE = 0.03
BLOCKS_LIKELY = 3
# A box is brought to a density asked for in steps of at most this change of its edge, the energy minimised after each.
SCALING_STEP = 0.02
UNSETTLED = "the density was still drifting when npt_max_ps was reached"
UNITS = {
    "positions_nm": "nm",
    "forces_kj_mol_nm": "kJ/mol/nm",
    "potential_kj_mol": "kJ/mol",
    "box_length_nm": "nm",
    "frame_ps": "ps",
    "mass_g_mol": "g/mol",
    "temperature_k": "K",
}
EXIT_UNFINISHED = 75  # EX_TEMPFAIL of sysexits.h: start again
EQUILIBRATED_FILE = "equilibrated.json"
# What stays of a finished run: topology, the box it began with, the parameters of each stage, the state that the
# production starts from, its last frame, and the logs (compressed, with the version and the command of each program).
FINISHED = (
    "molecule.itp",
    "molecule.gro",
    "system.top",
    "box.gro",
    "*.mdp",
    EQUILIBRATED_FILE,
    "nvt_equilibration.gro",
    "nvt_equilibration.cpt",
    "nvt.gro",
    "nvt.xtc",
    "*.log.gz",
    "*.out",
)
# Kept free at the end of a batch job, for mdrun's last checkpoint: this long, or this fraction of what is left.
JOB_MARGIN_S = 120.0
JOB_MARGIN_FRACTION = 0.1


def simulate(spec: Spec, work: Path, machine: Machine, molecules_dir: Path = Path()) -> BeadTrajectory:
    """Run or continue the simulation that a spec asks for.

    Parameters
    ----------
    spec
        Atomistic spec of `mobcg.plan`.
    work
        Folder of this run alone; holds what a restart needs.
    machine
        Threads and time.
    molecules_dir
        Where paths of a user's own topology start.

    Returns
    -------
    BeadTrajectory
        With metadata `status` "ok", or without frames, `status` "failed" and the `reason`.

    Raises
    ------
    InputError
        The molecule or its force field cannot be simulated as asked.
    UnfinishedError
        The time was up; the next call continues.
    ProgramError
        GROMACS failed for a reason that is not the run's: not installed, no space, killed.
    """
    files = molecule_files(spec, directory=molecules_dir)
    molecule = mapped_molecule(spec, files)
    check_density(spec, files)
    progress = Progress(f"{spec['molecule']['id']} {run_id(spec)}")
    steps_fs = [files.time_step_fs / 2**halving for halving in range(HALVINGS + 1)]
    reason = ""
    for retries, time_step_fs in enumerate(steps_fs):
        directory = work / f"step_{time_step_fs:g}_fs"
        verdict = directory / "failed"
        try:
            if verdict.exists():
                raise UnstableError(verdict.read_text())
            beads = simulate_at(spec, files, time_step_fs, directory, machine, progress)
            beads.metadata["retries"] = retries
            return replace(beads, molecule=molecule)
        except UnstableError as error:
            reason = f"unstable with time steps down to {time_step_fs:g} fs: {error}"
            verdict.write_text(str(error))
            progress.say(f"unstable at {time_step_fs:g} fs: {error}")
        except ProgramError:
            raise
        except SimulationError as error:  # what no smaller time step would mend
            reason = str(error)
            break
    progress.say(f"failed: {reason}")
    return replace(without_frames(spec, files, reason, retries), molecule=molecule)


def mapped_molecule(spec: Spec, files: MoleculeFiles) -> MoleculeBeads | None:
    """Return the beads of a molecule that a spec's `mapping` asks for; None for one bead.

    Raises
    ------
    InputError
        The mapping does not fit the molecule, or the order of its atoms is not that of the SMILES.
    """
    if "mapping" not in spec:
        return None
    if spec["force_field"]["kind"] == "file":
        advice = "The order of the atoms in a topology of your own is not that of the SMILES."
        raise InputError("spec", "mapping", spec["force_field"]["itp"], "molecules without a topology", advice)
    return molecule_beads(spec["molecule"]["smiles"], spec["mapping"], files.masses_g_mol, "spec")


def check_density(spec: Spec, files: MoleculeFiles) -> None:
    """Check that a density asked for is one, and that its box is large enough.

    Raises
    ------
    InputError
        It is not.
    """
    if "density_kg_m3" not in spec:
        return
    density = spec["density_kg_m3"]
    if not (isinstance(density, float | int) and 0 < density < math.inf):
        raise InputError("spec", "density_kg_m3", density, "a density in kg/m3, above 0")
    edge_nm = box_edge_nm(spec, files, density)
    if edge_nm <= 2 * CUTOFF_NM:
        found = f"{density:g}, with {spec['n_molecules']} molecules a box of {edge_nm:.3f} nm"
        advice = f"Take more molecules: g(r) reaches {CUTOFF_NM} nm, twice that must fit."
        raise InputError("spec", "density_kg_m3", found, f"a box of more than {2 * CUTOFF_NM:g} nm", advice)


def without_frames(spec: Spec, files: MoleculeFiles, reason: str, retries: int) -> BeadTrajectory:
    """Return the result of a run that failed: no frames, no box, and the reason in its metadata."""
    return BeadTrajectory(
        positions_nm=np.zeros((0, spec["n_molecules"] * len(spec.get("mapping", [()])), 3)),
        box_length_nm=math.nan,
        frame_ps=spec["frame_ps"],
        mass_g_mol=float(files.masses_g_mol.sum()),
        temperature_k=spec["temperature_k"],
        metadata={"status": "failed", "reason": reason, "retries": retries, **provenance(spec)},
    )


def provenance(spec: Spec) -> dict[str, Any]:
    """Return what a bead trajectory says about where it is from, and in which units it is."""
    return {"run_id": run_id(spec), "spec": spec, "units": UNITS, "versions": versions("gmx", "mobcg")}


def simulate_at(
    spec: Spec, files: MoleculeFiles, time_step_fs: float, directory: Path, machine: Machine, progress: Progress
) -> BeadTrajectory:
    """Run or continue all stages with one time step; raises what `simulate` turns into a failed result, too."""
    directory.mkdir(parents=True, exist_ok=True)
    write_molecule(directory, files, spec["n_molecules"])
    stages = planned_stages(spec, time_step_fs)
    progress.later_steps = stages["nvt"].n_steps
    state = directory / EQUILIBRATED_FILE
    if not state.exists():
        _write_json(state, equilibrate(spec, files, stages, directory, machine, progress))
    known = json.loads(state.read_text())
    density, box_length_nm = SettledDensity(**known["density"]), known["box_length_nm"]
    beads = produce(spec, files, stages["nvt"], directory, box_length_nm, machine, progress)
    return collect(spec, files, directory, box_length_nm, stages["nvt"], density, beads)


def equilibrate(
    spec: Spec, files: MoleculeFiles, stages: Mapping[str, Stage], directory: Path, machine: Machine, progress: Progress
) -> dict[str, Any]:
    """Run or continue all that comes before the production; return the density found and the edge of its box (nm)."""
    box = fill_box(directory, spec, files)
    relaxed = minimise(directory, box, "minimised", machine)
    progress.later_steps = sum(stage.n_steps for stage in stages.values())
    if "npt" in stages:
        progress.later_steps += (BLOCKS_LIKELY - 1) * stages["npt"].n_steps

    def advance(stage: Stage, before: Path) -> Path:
        progress.later_steps = max(0, progress.later_steps - stage.n_steps)
        return run_stage(directory, stage, before, machine, progress)

    last = advance(stages["squeeze"], relaxed)
    if "density_kg_m3" in spec:
        density = SettledDensity(float(spec["density_kg_m3"]), 0.0, settled=True, first_block=0)
        start, box_length_nm = bring_to_density(directory, last, spec, files, machine)
    else:
        density, last = settle(spec, stages["npt"].time_step_fs, directory, last, advance, progress)
        start, box_length_nm = rescale(directory, last, density.mean_kg_m3, spec, files)
    advance(stages["nvt_equilibration"], start)
    return {"density": asdict(density), "box_length_nm": box_length_nm}


def settle(
    spec: Spec,
    time_step_fs: float,
    directory: Path,
    last: Path,
    advance: Callable[[Stage, Path], Path],
    progress: Progress,
) -> tuple[SettledDensity, Path]:
    """Run NPT blocks until the density has settled or the time for that is up; return it and the last configuration."""
    blocks: list[Stage] = []
    while True:
        block = npt_block(spec, time_step_fs, len(blocks))
        last = advance(block, last)
        blocks.append(block)
        density = density_of(directory, blocks)
        progress.say(
            f"density {density.mean_kg_m3:.1f} ± {density.se_kg_m3:.1f} kg/m3 after {len(blocks)} NPT blocks, "
            + ("settled" if density.settled else "not settled yet")
        )
        time_is_up = (len(blocks) + 1) * block.duration_ps > spec["lengths"]["npt_max_ps"]
        if time_is_up or (density.settled and density.precise):
            return density, last


def produce(
    spec: Spec,
    files: MoleculeFiles,
    production: Stage,
    directory: Path,
    box_length_nm: float,
    machine: Machine,
    progress: Progress,
) -> Beads:
    """Run or continue the production; return its beads. Where its trajectory is lost or torn it is run once more.

    Raises
    ------
    UnfinishedError
        Frames are missing even so.
    """
    n_frames = production.n_steps // steps(spec["frame_ps"], production.time_step_fs) + 1
    frame_times_ps = np.round(np.arange(n_frames) * spec["frame_ps"], 3)
    progress.later_steps = 0
    for _ in range(2):
        run_stage(directory, production, directory / "nvt_equilibration.gro", machine, progress)
        beads = _beads_if_readable(directory / "nvt.trr", files, box_length_nm, spec.get("mapping"))
        if beads is not None and np.array_equal(np.round(beads.time_ps, 3), frame_times_ps):
            return beads
        progress.say("nvt: frames are missing from its trajectory; it is run again")
        remove_products(directory, "nvt")
    raise UnfinishedError("nvt: frames are missing from its trajectory")


def _beads_if_readable(
    trr: Path, files: MoleculeFiles, box_length_nm: float, groups: Sequence[Sequence[int]] | None
) -> Beads | None:
    try:
        return read_beads(trr, files.masses_g_mol, box_length_nm, groups) if trr.exists() else None
    except (OSError, EOFError):
        return None


def _write_json(path: Path, content: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def planned_stages(spec: Spec, time_step_fs: float) -> dict[str, Stage]:
    """Return the stages by name, the first NPT block standing for all of them.

    At a density asked for there is no NPT; its equilibration begins with new velocities, as the energy was minimised,
    and lasts an NPT block longer.
    """
    lengths, temperature_k, given = spec["lengths"], spec["temperature_k"], "density_kg_m3" in spec
    squeeze = Stage(
        "squeeze",
        lengths["squeeze_ps"],
        min(SQUEEZE_TIME_STEP_FS, time_step_fs),
        max(SQUEEZE_K, temperature_k),
        seed(spec, "squeeze thermostat"),
        pressure_bar=SQUEEZE_BAR,
        velocity_seed=seed(spec, "velocities"),
    )
    equilibration = Stage(
        "nvt_equilibration",
        lengths["nvt_equilibration_ps"] + (lengths["npt_block_ps"] if given else 0),
        time_step_fs,
        temperature_k,
        seed(spec, "nvt equilibration thermostat"),
        velocity_seed=seed(spec, "nvt equilibration velocities") if given else None,
    )
    production = Stage(
        "nvt",
        lengths["nvt_ps"],
        time_step_fs,
        temperature_k,
        seed(spec, "nvt thermostat"),
        frame_ps=spec["frame_ps"],
        langevin=False,
    )
    stages = {stage.name: stage for stage in (squeeze, equilibration, production)}
    return stages if given else stages | {"npt": npt_block(spec, time_step_fs, 0)}


def npt_block(spec: Spec, time_step_fs: float, index: int) -> Stage:
    """Return one block of the NPT stage."""
    return Stage(
        f"npt_{index:02d}",
        spec["lengths"]["npt_block_ps"],
        time_step_fs,
        spec["temperature_k"],
        seed(spec, f"npt {index} thermostat"),
        pressure_bar=spec["pressure_bar"],
    )


def write_molecule(directory: Path, files: MoleculeFiles, n_molecules: int) -> None:
    """Write the molecule's topology and coordinates and the system's topology."""
    (directory / "molecule.itp").write_text(files.itp)
    (directory / "molecule.gro").write_text(files.gro)
    includes = [*files.force_field_includes, "molecule.itp"]
    (directory / "system.top").write_text(format_top(includes, files.molecule_name, n_molecules))


def fill_box(directory: Path, spec: Spec, files: MoleculeFiles) -> Path:
    """Insert all molecules at random into a cubic box, looser than the liquid; return the configuration.

    Raises
    ------
    SimulationError
        They do not fit even at the loosest density.
    """
    done = directory / "box.gro"
    if done.exists():
        return done
    expected = number_density_nm3(spec["start_density_kg_m3"], float(files.masses_g_mol.sum()))
    for fraction in INSERTION_FRACTIONS:
        edge_nm = f"{(spec['n_molecules'] / (fraction * expected)) ** (1 / 3):.4f}"
        command = ["gmx", "-quiet", "insert-molecules", "-ci", "molecule.gro", "-nmol", str(spec["n_molecules"])]
        command += ["-box", edge_nm, edge_nm, edge_nm, "-seed", str(seed(spec, "insertion")), "-try", "50"]
        trial = directory / "box.trial.gro"
        run([*command, "-o", trial.name], cwd=directory, log=directory / "box.out")
        with trial.open() as stream:
            next(stream)
            n_atoms = int(next(stream))
        if n_atoms == spec["n_molecules"] * files.masses_g_mol.size:
            return take_whole_gro(trial, done, directory / "box.out")
    raise SimulationError(f"{spec['n_molecules']} molecules do not fit into a box of a third of the liquid's density")


def density_of(directory: Path, blocks: Sequence[Stage]) -> SettledDensity:
    """Judge the density of the NPT blocks."""
    # The first sample of a block is the last of the one before.
    return judge_density([stage_energies(directory, block, ["Density"])[1:, 1] for block in blocks])


def rescale(directory: Path, last: Path, density_kg_m3: float, spec: Spec, files: MoleculeFiles) -> tuple[Path, float]:
    """Bring the last NPT configuration to the mean density by moving whole molecules; return it and the edge (nm).

    Raises
    ------
    SimulationError
        Half the expected density or less, which is no liquid, or a box too small for g(r) to 1.5 nm.
    """
    if density_kg_m3 < LEAST_DENSITY_FRACTION * spec["start_density_kg_m3"]:
        raise SimulationError(
            f"evaporated: the density fell to {density_kg_m3:.0f} kg/m3, "
            f"less than half of the {spec['start_density_kg_m3']:g} kg/m3 expected"
        )
    box_length_nm = box_edge_nm(spec, files, density_kg_m3)
    if box_length_nm <= 2 * CUTOFF_NM:
        raise SimulationError(
            f"the box of {spec['n_molecules']} molecules came out as {box_length_nm:.3f} nm "
            f"at {density_kg_m3:.1f} kg/m3; "
            f"g(r) to {CUTOFF_NM} nm needs more than {2 * CUTOFF_NM:g} nm, so more molecules"
        )
    done = directory / "rescaled.gro"
    if not done.exists():
        trial = directory / "rescaled.trial.gro"
        trial.write_text(rescaled_gro(last.read_text(), files.masses_g_mol, box_length_nm))
        trial.rename(done)
    return done, box_length_nm


def box_edge_nm(spec: Spec, files: MoleculeFiles, density_kg_m3: float) -> float:
    """Return the edge of the box at a density, rounded as the .gro file holds it: run and analysis have one box."""
    number_density = number_density_nm3(density_kg_m3, float(files.masses_g_mol.sum()))
    return round((spec["n_molecules"] / number_density) ** (1 / 3), 5)


def bring_to_density(
    directory: Path, last: Path, spec: Spec, files: MoleculeFiles, machine: Machine
) -> tuple[Path, float]:
    """Bring a configuration to the density that the spec asks for; return it, minimised, and the edge of its box (nm).

    Whole molecules are moved, a little at a time, so that they never come to lie in each other.
    """
    edge_nm = box_edge_nm(spec, files, spec["density_kg_m3"])
    first_nm = float(last.read_text().rstrip("\n").rpartition("\n")[2].split()[0])
    n_steps = max(1, math.ceil(abs(math.log(edge_nm / first_nm)) / math.log1p(SCALING_STEP)))
    for number in range(1, n_steps + 1):
        length_nm = edge_nm if number == n_steps else first_nm * (edge_nm / first_nm) ** (number / n_steps)
        scaled = directory / f"scaled_{number:02d}.gro"
        if not scaled.exists():
            with atomic_path(scaled) as temporary:
                temporary.write_text(rescaled_gro(last.read_text(), files.masses_g_mol, length_nm))
        last = minimise(directory, scaled, f"relaxed_{number:02d}", machine)
    return last, edge_nm


def rescaled_gro(gro: str, masses_g_mol: np.ndarray, box_length_nm: float) -> str:
    """Return a .gro text with its whole molecules scaled into a cubic box of another edge; velocities are kept."""
    title, count, *atoms, box = gro.rstrip("\n").split("\n")
    positions = np.array([[float(line[start : start + 8]) for start in (20, 28, 36)] for line in atoms])
    old_length_nm = float(box.split()[0])
    whole = whole_molecules(positions.reshape(-1, masses_g_mol.size, 3), old_length_nm)
    scaled = scale_molecules(whole, masses_g_mol, box_length_nm / old_length_nm).reshape(-1, 3)
    lines = [f"{line[:20]}{x:8.3f}{y:8.3f}{z:8.3f}{line[44:]}" for line, (x, y, z) in zip(atoms, scaled, strict=True)]
    return "\n".join([title, count, *lines, f"{box_length_nm:10.5f}" * 3]) + "\n"


def collect(
    spec: Spec,
    files: MoleculeFiles,
    directory: Path,
    box_length_nm: float,
    production: Stage,
    density: SettledDensity,
    beads: Beads,
) -> BeadTrajectory:
    """Return the beads of the production with what the record needs to know about the run.

    Raises
    ------
    UnstableError
        The temperature is not the thermostat's: the time step was too long without a crash.
    """
    energies = stage_energies(directory, production, ["Potential", "Temperature", "Pressure"])
    temperature_k = float(energies[:, 2].mean())
    if abs(temperature_k / spec["temperature_k"] - 1) > TEMPERATURE_TOLERANCE:
        raise UnstableError(f"nvt: the mean temperature was {temperature_k:.1f} K")
    every = round(spec["frame_ps"] / ENERGY_INTERVAL_PS)
    mass_g_mol = float(files.masses_g_mol.sum())
    pressure_bar, pressure_bar_se = block_mean(energies[:, 3])
    return BeadTrajectory(
        positions_nm=beads.positions_nm,
        box_length_nm=box_length_nm,
        frame_ps=spec["frame_ps"],
        mass_g_mol=mass_g_mol,
        temperature_k=spec["temperature_k"],
        forces_kj_mol_nm=beads.forces_kj_mol_nm,
        metadata={
            "status": "ok",
            "reason": None if density.settled else UNSETTLED,
            "density_kg_m3": mass_density_kg_m3(spec["n_molecules"] / box_length_nm**3, mass_g_mol),
            "density_kg_m3_se": density.se_kg_m3,
            "density_settled": None if "density_kg_m3" in spec else density.settled,
            "time_step_fs": production.time_step_fs,
            "temperature_measured_k": temperature_k,
            "temperature_centres_k": beads.temperature_k,
            "pressure_measured_bar": pressure_bar,
            "pressure_measured_bar_se": pressure_bar_se,
            "potential_kj_mol": energies[::every, 1].tolist(),
            **provenance(spec),
        },
    )


def clear_up(work: Path, spec: Spec, result: BeadTrajectory, keep_atoms: bool) -> None:
    """Leave of a finished run what repeats it (`FINISHED`); of a failed one all but its trajectories, to look into."""
    (work / "spec.json").write_text(canonical_json(spec) + "\n")
    _write_json(work / "versions.json", result.metadata["versions"])
    done = result.metadata["status"] == "ok"
    for directory in work.glob("step_*"):
        if done and keep_atoms and (directory / "nvt.trr").exists():
            write_compressed_trajectory(directory, "nvt")
        for log in directory.glob("*.log") if done else ():
            with log.open("rb") as text, gzip.GzipFile(f"{log}.gz", "wb", mtime=0) as packed:
                shutil.copyfileobj(text, packed)
        kept = {path for pattern in FINISHED for path in directory.glob(pattern)} - {*directory.glob("*.mdout.mdp")}
        for path in directory.iterdir():
            if path.suffix in (".trr", ".pdb") or (done and path not in kept and path.name != "failed"):
                path.unlink()


def finished_beads(path: Path) -> BeadTrajectory | None:
    """Return the result of an earlier start; None where it is missing or not whole, and then removed."""
    if not path.exists():
        return None
    try:
        return BeadTrajectory.load(path)
    except InputError as error:
        print(f"{error} It is made again.", file=sys.stderr, flush=True)
        path.unlink()
        return None


def stop_at_s(max_hours: float | None) -> float | None:
    """Return the reading of `time.monotonic` to stop at: after `max_hours`, or before the end of the batch job."""
    if max_hours is not None:
        return time.monotonic() + 3600 * max_hours
    left_s = job_seconds_left()
    return None if left_s is None else time.monotonic() + left_s - min(JOB_MARGIN_S, JOB_MARGIN_FRACTION * left_s)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 1 program trouble, 2 wrong input, 75 start again)."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.atomistic.simulate", description=__doc__)
    parser.add_argument("--spec", required=True, type=json.loads, help="atomistic spec as JSON")
    parser.add_argument("--work", required=True, type=Path, help="folder of this run, kept for a restart")
    parser.add_argument("--out", required=True, type=Path, help="bead trajectory (.npz)")
    parser.add_argument("--molecules-dir", type=Path, default=Path(), help="where paths of own topologies start")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-hours", type=float, help="stop after this long, whatever the batch job allows")
    parser.add_argument("--keep-beads", action="store_true", help="keep the result in DIR as well, under a second name")
    parser.add_argument("--keep-atoms", action="store_true", help="keep the atoms' positions as well, as .xtc in DIR")
    options = parser.parse_args(arguments)
    machine = Machine(options.threads, stop_at_s(options.max_hours))
    with work_directory(options.work) as work:
        # Snakemake removes the output of a job that it lost sight of; simulated is simulated.
        finished = work / "beads.npz"
        try:
            result = finished_beads(finished)
            if result is None:
                require("gmx")
                result = simulate(options.spec, work, machine, options.molecules_dir)
                result.save(finished)
        except UnfinishedError as stopped:
            print(f"not finished: {stopped}; start the same command again to continue", file=sys.stderr)
            return EXIT_UNFINISHED
        except InputError as error:
            print(error, file=sys.stderr)
            return 2
        except ProgramError as error:
            print(error, file=sys.stderr)
            return 1
        link(finished, options.out)
        clear_up(work, options.spec, result, options.keep_atoms)
        if not options.keep_beads:
            finished.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
