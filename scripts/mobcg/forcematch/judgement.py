"""Run a model at the state of an atomistic liquid, from several of its frames, and judge what comes of it.

`python -m mobcg.forcematch.judgement --spec JSON --beads FILE.npz [FILE.npz …] (--model-dir DIR | --potential RECORD)
--work DIR --out FILE.parquet`

A many-body model runs here, from atomistic frames, at constant temperature, and where that ends stable or frozen also
at constant energy, and at 1 atm for its density. A pair potential (pair_fm, an inversion's) runs in LAMMPS at constant
temperature, from a lattice shaken loose, and here at constant energy. One row a run; a run that blows up, freezes or
collapses is a row that says so. Started again it goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mobcg.coarse.simulate import CoarseRun, UnmeasurableError, measure, npt_density
from mobcg.coarse.simulate import simulate as simulate_pairs
from mobcg.errors import InputError, SimulationError
from mobcg.forcematch.beads_of import beads_of
from mobcg.forcematch.dynamics import Run, fingerprint, simulate
from mobcg.forcematch.field import Beads, Field, accelerator
from mobcg.forcematch.judge import Liquid, Verdict, collapsed, energy_drift_kt_ns, judge, moving, wrong_temperature
from mobcg.forcematch.motion import Forces
from mobcg.forcematch.pair_fm import PairForce
from mobcg.forcematch.pair_table import PairTable
from mobcg.forcematch.starts import relaxed, resized
from mobcg.forcematch.storage import load
from mobcg.observables import BeadTrajectory, block_mean, displacement_curve, radial_distribution, self_diffusion
from mobcg.pair import CUTOFF_NM
from mobcg.programs import ProgramError, versions
from mobcg.records import atomic_path, read_record, work_directory, write_json
from mobcg.spec import Spec, canonical_json, run_id
from mobcg.spec import seed as spec_seed
from mobcg.step import run_step
from mobcg.units import BAR_PER_ATM, FS_PER_PS

# A pair potential runs in seconds: at least long enough for a self-diffusion coefficient, at 100 g/mol.
PAIR_PS_100 = 200.0
LEAST_FRAMES = 10  # that a g(r) is made of
NO_DENSITY = "no density"  # verdict of a run at 1 atm that holds none
SOUND = ("stable", "frozen")  # verdicts at constant temperature after which the other ensembles are run
CURVE = pa.list_(pa.float64())
NUMBERS = (
    "temperature_k", "temperature_measured_k", "box_length_nm", "mass_g_mol", "time_step_fs", "production_ps",
    "diffusion_nm2_ns", "diffusion_nm2_ns_se", "diffusion_yh_nm2_ns", "pressure_bar", "pressure_bar_se",
    "molecule_energy_kj_mol", "molecule_energy_kj_mol_se", "smallest_distance_nm", "energy_drift_kt_ns",
    "density_1atm_kg_m3", "density_1atm_kg_m3_se", "steps_per_core_s", "core_s_ns_bead",
    "atomistic_pressure_bar", "atomistic_pressure_bar_se",
)  # fmt: skip
CURVES = (
    "rdf", "rdf_se", "bead_rdf", "bead_rdf_se", "atomistic_bead_rdf", "atomistic_bead_rdf_se", "msd_time_ps", "msd_nm2",
)  # fmt: skip
SCHEMA = pa.schema(
    [
        ("judgement_id", pa.string()),
        ("model", pa.string()),
        ("start", pa.int64()),
        ("ensemble", pa.string()),
        ("n_molecules", pa.int64()),
        ("n_beads", pa.int64()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        *((name, pa.float64()) for name in NUMBERS),
        *((name, CURVE) for name in CURVES),
        ("device", pa.string()),
        ("spec", pa.string()),
        ("versions", pa.string()),
    ]
)


@dataclass(frozen=True)
class Start:
    """Where a run begins.

    Attributes
    ----------
    beads, positions_nm, box_length_nm, temperature_k
        What is run: positions (beads, 3).
    liquid
        What the atomistic liquid is like.
    measured
        What of its run the rows repeat: g(r) of beads of different molecules, where there are several in each, and the
        pressure, where it is known.
    """

    beads: Beads
    positions_nm: NDArray[np.float64]
    box_length_nm: float
    temperature_k: float
    liquid: Liquid
    measured: Mapping[str, Any]


def starts(spec: Spec, trajectories: Sequence[BeadTrajectory]) -> list[Start]:
    """Return the starts of a judgement: frames far apart, of the trajectories in turn, in boxes of the size asked for.

    Raises
    ------
    SimulationError
        No trajectory has frames: the atomistic runs failed. Or a box of the size asked for is too small for g(r).
    """
    usable = [trajectory for trajectory in trajectories if len(trajectory.positions_nm)]
    if not usable:
        reasons = "; ".join(str(trajectory.metadata.get("reason")) for trajectory in trajectories)
        raise SimulationError(f"no atomistic run of this liquid finished: {reasons}")
    found = []
    for number in range(spec["starts"]):
        trajectory = usable[number % len(usable)]
        frames = len(trajectory.positions_nm)
        frame = (number // len(usable) + 1) * frames // (spec["starts"] // len(usable) + 2)
        beads, edge_nm = beads_of(trajectory), trajectory.box_length_nm
        liquid = Liquid.of(trajectory.positions_nm, beads, edge_nm)
        measured = _of_atomistic(trajectory, beads)
        positions = trajectory.positions_nm[frame]
        if spec["n_molecules"] is not None:
            seed = spec_seed(spec, f"molecules of start {number}")
            positions, beads, edge_nm = resized(positions, beads, edge_nm, spec["n_molecules"], seed)
        if edge_nm <= 2 * CUTOFF_NM:
            made = f"{beads.n_molecules} molecules make a box of {edge_nm:.2f} nm"
            raise SimulationError(f"{made}; g(r) needs more than {2 * CUTOFF_NM:g} nm")
        found.append(Start(beads, positions, edge_nm, trajectory.temperature_k, liquid, measured))
    return found


def _of_atomistic(trajectory: BeadTrajectory, beads: Beads) -> dict[str, Any]:
    known = trajectory.metadata
    row = {f"atomistic_pressure_bar{end}": known.get(f"pressure_measured_bar{end}") for end in ("", "_se")}
    if len(beads) == beads.n_molecules:
        return row
    inter = radial_distribution(trajectory.positions_nm, trajectory.box_length_nm, molecules=beads.molecules)
    return row | {"atomistic_bead_rdf": inter.rdf.tolist(), "atomistic_bead_rdf_se": inter.rdf_se.tolist()}


def judged(
    spec: Spec,
    model: Field | NDArray,
    trajectories: Sequence[BeadTrajectory],
    work: Path,
    report: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Return the rows of a judgement; finished runs are kept in `work` and not run again.

    Parameters
    ----------
    spec
        starts, equilibration_ps, nvt_ps, nve_ps and npt_ps (0: none), n_molecules (None: as in the trajectories).
    model
        A many-body field, or a pair potential (150,) on the common grid.
    """
    field = model if isinstance(model, Field) else PairTable(model).to(accelerator())
    others = [ensemble for ensemble in ("nve", "npt") if spec[f"{ensemble}_ps"] > 0]
    rows = []
    for number, start in enumerate(starts(spec, trajectories)):
        settled: dict[str, Any] = {}
        for ensemble in ("nvt", *others):
            if ensemble != "nvt" and settled["verdict"] not in SOUND:
                break
            stem = f"{run_id(spec)}.{_mark(model)}.{number}.{ensemble}"
            path = work / f"{stem}.json"
            if not path.is_file():
                name = f"{spec['model']}, start {number}, {ensemble}"

                def say(line: str, name: str = name) -> None:
                    report(f"{name}: {line}")

                if ensemble == "nvt" and not isinstance(model, Field):
                    row = _pairwise(spec, model, start, number, work / stem)
                else:
                    step_fs = settled.get("time_step_fs")
                    row = _in_this_engine(spec, field, start, number, ensemble, step_fs, work / stem, say)
                write_json(path, row)
                say(f"{row['verdict']}: {row['reason']}")
            row = json.loads(path.read_text())
            settled = settled or row
            rows.append({"judgement_id": run_id(spec), "spec": canonical_json(spec)} | row)
    return rows


def _mark(model: Field | NDArray) -> str:
    """Return what tells the numbers of two models apart: finished runs are those of this very one."""
    digest = fingerprint(model) if isinstance(model, Field) else hashlib.sha256(model.tobytes()).hexdigest()
    return digest[:12]


def _in_this_engine(
    spec: Spec,
    model: Field,
    start: Start,
    number: int,
    ensemble: str,
    time_step_fs: float | None,
    stem: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    production_ps, pressure_bar = spec[f"{ensemble}_ps"], None
    if ensemble == "npt":  # so much of it is left out
        production_ps, pressure_bar = production_ps + spec["equilibration_ps"], BAR_PER_ATM
    positions_nm = relaxed(model, start.beads, start.positions_nm, start.box_length_nm)

    def checkpoint(attempt: int) -> Path:
        return Path(f"{stem}.{attempt}.checkpoint.npz")

    def attempt(count: int, time_step_fs: float | None) -> tuple[Run, dict[str, Any]]:
        run = simulate(
            model,
            start.beads,
            positions_nm,
            start.box_length_nm,
            temperature_k=start.temperature_k,
            ensemble=ensemble,
            equilibration_ps=spec["equilibration_ps"],
            production_ps=production_ps,
            seed=spec_seed(spec, f"velocities of start {number}"),
            pressure_bar=pressure_bar,
            time_step_fs=time_step_fs,
            say=say,
            checkpoint=checkpoint(count),
        )
        if ensemble == "npt":
            return run, density_at_1atm(run, spec["equilibration_ps"], start)
        verdict = judge(run, start.liquid)
        return run, {"verdict": verdict.status, "reason": verdict.reason} | _of_run(run)

    run, found = attempt(0, time_step_fs)
    # Perhaps it was only too fast for a steep wall. Steps too long by a factor of 5 to 20 drift or blow up, and do not
    # collapse: a collapse is the potential's own.
    if found["verdict"] == "unstable":
        say(f"{found['reason']} Again with half the time step.")
        run, found = attempt(1, run.time_step_fs / 2)
        found["reason"] = f"With a time step of {run.time_step_fs:.2f} fs: {found['reason']}"
    for count in range(2):
        checkpoint(count).unlink(missing_ok=True)
    ran = {"versions": canonical_json({**versions("mobcg"), "torch": torch.__version__})}
    ran["device"] = next(model.parameters()).device.type
    return _row(spec, start, number, ensemble) | _cost(run) | ran | found


def density_at_1atm(run: Run, settling_ps: float, start: Start) -> dict[str, Any]:
    """Return verdict, reason and density of a run at constant pressure; a liquid that evaporates has none."""
    if run.failure is not None:
        return {"verdict": NO_DENSITY if run.burst else "unstable", "reason": run.failure}
    settled, n_molecules = int((run.times_ps < settling_ps).sum()), run.n_molecules
    off = wrong_temperature(run.temperatures_k[settled:], start.temperature_k)
    if off is not None:
        return {"verdict": "unstable", "reason": off}
    mass_g_mol = float(run.beads.masses_g_mol.sum()) / n_molecules
    npt = npt_density(run.volumes_nm3, settled, n_molecules, mass_g_mol, start.box_length_nm**3)
    if npt.density_kg_m3 is None:
        return {"verdict": NO_DENSITY, "reason": npt.reason}
    found = {"density_1atm_kg_m3": npt.density_kg_m3, "density_1atm_kg_m3_se": npt.density_kg_m3_se}
    return {"verdict": "stable", "reason": f"{npt.density_kg_m3:.1f} kg/m³ at 1 atm."} | found


def _row(spec: Spec, start: Start, number: int, ensemble: str) -> dict[str, Any]:
    n_molecules = start.beads.n_molecules
    return {
        "model": spec["model"],
        "start": number,
        "ensemble": ensemble,
        "n_molecules": n_molecules,
        "n_beads": len(start.beads),
        "temperature_k": start.temperature_k,
        "box_length_nm": start.box_length_nm,
        "mass_g_mol": float(start.beads.masses_g_mol.sum()) / n_molecules,
        **start.measured,
    }


def _cost(run: Run) -> dict[str, Any]:
    """Return how long a run went, and what it cost in processor time, whatever else the machine did."""
    steps_ns = FS_PER_PS * FS_PER_PS / run.time_step_fs
    return {
        "time_step_fs": run.time_step_fs,
        "production_ps": float(run.times_ps[-1]) if len(run.times_ps) else 0.0,
        "steps_per_core_s": run.steps_per_core_s,
        "core_s_ns_bead": steps_ns / run.steps_per_core_s / len(run.beads),
    }


def _of_run(run: Run) -> dict[str, Any]:
    """Return what a run measured; nothing of one that blew up."""
    if run.failure is not None:
        return {}
    row: dict[str, Any] = {}
    if len(run.trajectory.positions_nm) >= LEAST_FRAMES:
        row |= structure_and_dynamics(run.centres)
        row |= structure_of_beads(run)
    energy, pressure = run.molecule_energy_kj_mol, run.pressure_bar
    return row | {
        "temperature_measured_k": float(run.temperatures_k.mean()),
        "pressure_bar": pressure[0],
        "pressure_bar_se": pressure[1],
        "molecule_energy_kj_mol": energy[0],
        "molecule_energy_kj_mol_se": energy[1],
        "smallest_distance_nm": float(run.smallest_nm.min()),
        "energy_drift_kt_ns": energy_drift_kt_ns(run),
    }


def structure_of_beads(run: Run) -> dict[str, Any]:
    """Return g(r) of beads of different molecules; nothing for one bead a molecule, whose g(r) is that of centres."""
    if len(run.beads) == run.n_molecules:
        return {}
    box_nm, molecules = run.trajectory.box_length_nm, run.beads.molecules
    inter = radial_distribution(run.trajectory.positions_nm, box_nm, molecules=molecules)
    return {"bead_rdf": inter.rdf.tolist(), "bead_rdf_se": inter.rdf_se.tolist()}


def structure_and_dynamics(centres: BeadTrajectory) -> dict[str, Any]:
    """Return g(r) and D of centres of mass; D where the run is long enough for it."""
    structure = radial_distribution(centres.positions_nm, centres.box_length_nm)
    row: dict[str, Any] = {"rdf": structure.rdf.tolist(), "rdf_se": structure.rdf_se.tolist()}
    try:
        dynamics = self_diffusion(centres)
    except (SimulationError, ValueError):
        return row
    lag_ps, msd_nm2 = displacement_curve(centres)
    return row | vars(dynamics) | {"msd_time_ps": lag_ps.tolist(), "msd_nm2": msd_nm2.tolist()}


def _pairwise(spec: Spec, potential_kj_mol: NDArray, start: Start, number: int, directory: Path) -> dict[str, Any]:
    row = _row(spec, start, number, "nvt") | {"versions": canonical_json(versions("lmp", "mobcg"))}
    per_100 = (row["mass_g_mol"] / 100) ** 0.5
    try:
        run = simulate_pairs(
            potential_kj_mol,
            mass_g_mol=row["mass_g_mol"],
            temperature_k=start.temperature_k,
            number_density_nm3=row["n_molecules"] / start.box_length_nm**3,
            n_beads=row["n_molecules"],
            thermostat="nose_hoover",
            friction_1_ps=0.0,
            equilibration_ps_100=spec["equilibration_ps"] / per_100,
            production_ps_100=max(spec["nvt_ps"] / per_100, PAIR_PS_100),
            seed=spec_seed(spec, f"velocities of start {number}"),
            directory=directory,
        )
        return row | _of_pairs(run, start) | of_frames(PairTable(potential_kj_mol), run.trajectory, start.beads)
    except ProgramError:
        raise
    except UnmeasurableError as error:
        return row | {"verdict": "failed", "reason": str(error)}
    except SimulationError as error:
        status = "frozen" if str(error).startswith("frozen") else "unstable"
        return row | {"verdict": status, "reason": str(error)}
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _of_pairs(run: CoarseRun, start: Start) -> dict[str, Any]:
    """Return verdict and measurements; of temperature and drift LAMMPS' own run is judged by `mobcg.coarse`."""
    found = {name: value for name, value in measure(run).items() if name in SCHEMA.names}
    collapse = collapsed(run.trajectory, start.beads, start.liquid)
    verdict = moving(run.trajectory) if collapse is None else Verdict("collapsed", collapse)
    found |= {"core_s_ns_bead": run.core_s_ns_bead, "steps_per_core_s": run.steps_per_core_s}
    return found | {"verdict": verdict.status, "reason": f"{verdict.reason} {run.temperature_measured_k:.1f} K."}


def of_frames(field: Field, trajectory: BeadTrajectory, beads: Beads) -> dict[str, float]:
    """Return energy per molecule and smallest distance of the frames of a run in which nobody measured either."""
    find = Forces(field, beads, trajectory.box_length_nm)
    energy = block_mean([find(frame)[0] / beads.n_molecules for frame in trajectory.positions_nm])
    return {
        "molecule_energy_kj_mol": energy[0],
        "molecule_energy_kj_mol_se": energy[1],
        "smallest_distance_nm": min(find.smallest_nm(frame) for frame in trajectory.positions_nm),
    }


def model_of(options: argparse.Namespace) -> Field | NDArray:
    """Return the model that the command line names: a field, or a pair potential (150,).

    Raises
    ------
    InputError
        It cannot be read.
    SimulationError
        The inversion failed.
    """
    if options.model_dir is not None:
        model = load(options.model_dir)
        return model.potential_kj_mol()[0] if isinstance(model, PairForce) else model.for_dynamics().to(accelerator())
    record = read_record(options.potential)
    if record["status"] != "ok":
        raise SimulationError(f"the inversion failed: {record['reason']}")
    return np.array(record["potential_kj_mol"], np.float64)


def failed(spec: Spec, trajectory: BeadTrajectory, reason: str) -> dict[str, Any]:
    """Return the row of a judgement for which nothing could be run."""
    n_beads = trajectory.positions_nm.shape[1]
    return {
        "judgement_id": run_id(spec),
        "spec": canonical_json(spec),
        "versions": canonical_json(versions("mobcg")),
        "model": spec["model"],
        "start": 0,
        "ensemble": "nvt",
        "n_beads": n_beads,
        "n_molecules": n_beads // trajectory.beads_per_molecule,
        "temperature_k": trajectory.temperature_k,
        "verdict": "failed",
        "reason": reason,
    }


def write_judgement(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows as Parquet."""
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), temporary, compression="zstd")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.forcematch.judgement", description=__doc__.split("\n")[0])
    parser.add_argument("--spec", type=json.loads, required=True, help="the judgement, as JSON")
    parser.add_argument("--beads", type=Path, nargs="+", required=True, help="bead trajectories of the liquid")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model-dir", type=Path, help="a model that mobcg.forcematch.train wrote")
    source.add_argument("--potential", type=Path, help="record of an inverted potential")
    parser.add_argument("--work", type=Path, required=True, help="directory for runs in progress and finished ones")
    parser.add_argument("--out", type=Path, required=True, help="the rows, as Parquet")
    options = parser.parse_args(arguments)
    threadpool_limits(1)
    torch.set_num_threads(1)
    try:
        with work_directory(options.work):
            trajectories = [BeadTrajectory.load(path) for path in options.beads]
            try:
                model = model_of(options)
                rows = judged(options.spec, model, trajectories, options.work, lambda line: print(line, flush=True))
            except SimulationError as error:
                if isinstance(error, ProgramError):
                    raise
                rows = [failed(options.spec, trajectories[0], str(error))]
            write_judgement(options.out, rows)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
