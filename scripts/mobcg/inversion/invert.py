"""Step: the g(r) of atomistic replicas → the pair potential that reproduces it, by VOTCA's `csg_inverse` and LAMMPS.

python -m mobcg.inversion.invert --spec JSON --parent RECORD [--parent RECORD ...] --work DIR --out RECORD
"""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import gzip
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobcg.doctor import require
from mobcg.errors import InputError, SimulationError
from mobcg.inversion import iteration, votca
from mobcg.inversion.convergence import (
    Iteration,
    Target,
    average_potential,
    deviation,
    is_converged,
    judge,
    mean_target,
)
from mobcg.observables import rdf_error
from mobcg.pair import CUTOFF_NM, core_index, force, potential_of_mean_force
from mobcg.plan import canonical_json, run_id, seed
from mobcg.programs import ProgramError, machine_trouble, run, versions
from mobcg.records import atomic_path, read_record, work_directory, write_record
from mobcg.step import run_step

# Tried in this order; a crash or a runaway is often cured by smaller updates and a smaller time step.
ATTEMPTS = ({}, {"update_scale": 0.5, "time_step_fs": 2.5})
# An inversion whose last g(r) is further from the target than this (∫|Δg| / ∫g) has not reproduced the structure.
LARGEST_RDF_ERROR = 0.05
FIRST_FACTOR = 0.7
PROGRAMS = ("csg_inverse", "lmp", "mobcg")


@dataclasses.dataclass(frozen=True)
class Liquid:
    """The liquid of the parent records: its state, the target of the inversion and the potential that it starts from.

    `first_potential_kj_mol` is that of `first_potential`, (150,).
    """

    molecule_id: str
    temperature_k: float
    number_density_nm3: float
    n_beads: int
    mass_g_mol: float
    target: Target
    first_potential_kj_mol: NDArray[np.float64]

    @property
    def box_length_nm(self) -> float:
        """Edge of the cubic box."""
        return (self.n_beads / self.number_density_nm3) ** (1 / 3)


def order_parents(spec: Mapping[str, Any], parents: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the parent records in the order of the spec.

    Raises
    ------
    InputError
        They are not the ones that the spec names.
    """
    found = {row["run_id"]: row for row in parents}
    wanted = list(spec["parent_run_ids"])
    if sorted(found) != sorted(wanted) or len(found) != len(parents):
        raise InputError("--parent", "run_id", sorted(row["run_id"] for row in parents), f"exactly {sorted(wanted)}")
    return [found[name] for name in wanted]


def failed_parent(parents: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why a parent cannot be inverted, None where all can."""
    for row in parents:
        if row["status"] != "ok":
            return f"the atomistic run {row['run_id']} failed: {row['reason']}"
    return None


def first_potential(rdf: NDArray[np.float64], temperature_k: float) -> NDArray[np.float64]:
    """Return the potential that the inversion starts from, (150,) in kJ/mol: −kT ln g times `FIRST_FACTOR`.

    The potential of mean force counts the structure of the neighbours twice: a liquid near freezing freezes with it,
    and the g(r) of a crystal leads the updates astray. A weaker one is approached from the side of the liquid.

    Raises
    ------
    ValueError
        As `mobcg.pair.potential_of_mean_force`.
    """
    return FIRST_FACTOR * potential_of_mean_force(rdf, temperature_k)


def liquid_of(spec: Mapping[str, Any], parents: Sequence[Mapping[str, Any]]) -> Liquid:
    """Return the liquid of some good parent records, replicas of one another; its g(r) is zero in the core.

    Raises
    ------
    InputError
        The parents are not replicas of one another, or ran at another temperature than the spec's.
    SimulationError
        Their g(r) is not that of a liquid, or the box is too small for it.
    """
    for key in ("molecule_id", "n_molecules", "temperature_k"):
        values = {row[key] for row in parents}
        if len(values) > 1:
            raise InputError("--parent", key, sorted(values), "one value: replicas of one run")
    first = parents[0]
    if abs(first["temperature_k"] - spec["temperature_k"]) > 1e-6:
        raise InputError("--spec", "temperature_k", spec["temperature_k"], f"{first['temperature_k']}, the parents'")
    rdf, variance = mean_target([row["rdf"] for row in parents], [row["rdf_se"] for row in parents])
    if not (np.isfinite(rdf).all() and np.isfinite(variance).all()):
        raise SimulationError("the g(r) of the atomistic run holds values that are not finite")
    try:
        rdf[: core_index(rdf)] = 0.0
        potential = first_potential(rdf, spec["temperature_k"])
    except ValueError as error:
        raise SimulationError(str(error)) from error
    potential[-1] = 0.0
    pressure = spec["target_pressure_bar"] if spec["pressure_correction"] else None
    liquid = Liquid(
        first["molecule_id"],
        spec["temperature_k"],
        float(np.mean([row["number_density_nm3"] for row in parents])),
        first["n_molecules"],
        first["mass_g_mol"],
        Target(rdf, variance, pressure),
        potential,
    )
    if liquid.box_length_nm <= 2 * CUTOFF_NM:
        raise SimulationError(
            f"the box of the atomistic run is {liquid.box_length_nm:.3f} nm, g(r) up to {CUTOFF_NM} nm needs more than "
            f"{2 * CUTOFF_NM} nm: take more molecules"
        )
    return liquid


def prepare(main_dir: Path, spec: Mapping[str, Any], liquid: Liquid, settings: votca.Settings) -> None:
    """Lay out the main directory of `csg_inverse`; what another question left in it is removed first."""
    control = {
        "settings": dataclasses.asdict(settings),
        "n_beads": liquid.n_beads,
        "rdf": liquid.target.rdf.tolist(),
        "rdf_variance": liquid.target.rdf_variance.tolist(),
        "seeds": [1 + seed(spec, f"iteration {k}") % votca.LARGEST_SEED for k in range(1, settings.iterations_max + 1)],
    }
    files = {
        iteration.CONTROL_FILE: json.dumps(control, sort_keys=True),
        "settings.xml": votca.settings_xml(settings),
        votca.SCRIPT_FILE: votca.lammps_script(settings),
        "start.data": votca.lattice_data(liquid.n_beads, liquid.box_length_nm, seed(spec, "lattice")),
    }
    identity = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    marker = main_dir / "identity"
    if not (marker.is_file() and marker.read_text() == identity):
        shutil.rmtree(main_dir, ignore_errors=True)
        main_dir.mkdir(parents=True)
    # Each time, though they are the same: what a machine left torn when it went down would be blamed on the liquid.
    for name, text in files.items():
        (main_dir / name).write_text(text)
    (main_dir / votca.TOPOLOGY_FILE).write_text(files["start.data"])
    votca.write_table(main_dir / votca.TARGET_FILE, votca.to_votca_rdf(liquid.target.rdf, liquid.n_beads))
    votca.write_table(main_dir / votca.FIRST_POTENTIAL_FILE, liquid.first_potential_kj_mol)
    with atomic_path(marker) as temporary:
        temporary.write_text(identity)
    shutil.rmtree(main_dir / votca.HOOKS_DIR, ignore_errors=True)
    (main_dir / votca.HOOKS_DIR).mkdir()
    for name, text in votca.hooks(sys.executable, str(shutil.which("csg_property"))).items():
        path = main_dir / votca.HOOKS_DIR / name
        path.write_text(text)
        path.chmod(0o755)


def last_done(main_dir: Path) -> int:
    """Return the number of the last whole iteration; 0 is the preparation, −1 not even that."""
    done = -1
    while _is_whole(iteration.step_dir(main_dir, done + 1), preparation=done == -1):
        done += 1
    return done


def _is_whole(step_dir: Path, preparation: bool) -> bool:
    if not (step_dir / "done").is_file():
        return False
    try:
        return preparation or bool(votca.read_iteration(step_dir, n_beads=2))
    except (OSError, ValueError, IndexError) as error:
        print(f"{step_dir}: torn ({error}); it is run again", file=sys.stderr, flush=True)
        return False


def _can_be_followed(step_dir: Path) -> bool:
    """Return whether the next iteration finds what it begins with: of the earlier ones that is not kept."""
    try:
        votca.read_table(step_dir / f"{votca.PAIR}.pot.new")
    except (OSError, ValueError, IndexError):
        return False
    return (step_dir / votca.LAST_FRAME_FILE).is_file()


def remove_unfinished(main_dir: Path, done: int) -> None:
    """Remove what a killed inversion left after its last whole iteration: VOTCA resumes a half one only by luck."""
    for path in main_dir.glob("step_*"):
        if int(path.name.removeprefix("step_")) > done:
            shutil.rmtree(path)
    (main_dir / "done").unlink(missing_ok=True)


def is_finished(main_dir: Path, done: int, settings: votca.Settings) -> bool:
    """Return whether no iteration is left to do."""
    converged = (iteration.step_dir(main_dir, done) / votca.STOP_FILE).is_file()
    return converged or done >= settings.iterations_max


def failure_reason(main_dir: Path, failed: int) -> str | None:
    """Return why an iteration failed, in words for a user; None where the machine, not the liquid, is to blame."""
    log = main_dir / "inverse.log"
    text = log.read_text(errors="replace") if log.is_file() else ""
    if "ERROR:" not in text or "Killed" in text or machine_trouble(text, main_dir):
        return None
    lammps_log = iteration.step_dir(main_dir, failed) / "lammps.log"
    if "critical: 'lmp " in text and not lammps_log.is_file():
        return None  # it did not even start: its libraries gave out, MPI for one
    if lammps_log.is_file():
        errors = [line for line in lammps_log.read_text(errors="replace").splitlines() if line.startswith("ERROR")]
        if errors:
            return f"LAMMPS stopped in iteration {failed}: {errors[0].removeprefix('ERROR').strip(': ')}"
    said = re.findall(r"^ValueError: (.+)$", text, re.MULTILINE) or re.findall(
        r"^# (.*failed.*?) *#$", text, re.MULTILINE
    )
    return f"iteration {failed}: {said[-1] if said else 'csg_inverse stopped with an error'}"


def iterate(main_dir: Path, settings: votca.Settings, n_beads: int) -> list[Iteration]:
    """Run `csg_inverse` to its end, from wherever it stands, and return what its iterations sampled.

    Raises
    ------
    SimulationError
        It failed on this liquid.
    ProgramError
        It failed because of the machine.
    """
    done = last_done(main_dir)
    if not is_finished(main_dir, done, settings):
        if done > 0 and not _can_be_followed(iteration.step_dir(main_dir, done)):
            done = -1
        remove_unfinished(main_dir, done)
        if done > 0:
            print(f"continuing after iteration {done}", flush=True)
        first = main_dir / votca.FIRST_POTENTIAL_FILE
        latest = iteration.step_dir(main_dir, done) / f"{votca.PAIR}.pot.new"
        iteration.lay_out(main_dir, max(done, 0) + 1, latest if done > 0 else first)
        (main_dir / "inverse.log").unlink(missing_ok=True)
        # VOTCA's scripts use the descriptors 3 and 4, and bash those from 10 on, for themselves.
        progress = fcntl.fcntl(1, fcntl.F_DUPFD, 100)
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str((main_dir / votca.HOOKS_DIR).resolve()), os.environ["PATH"]]),
            "OMP_NUM_THREADS": "1",
            iteration.PROGRESS_FD: str(progress),
        }
        try:
            command = ["csg_inverse", "--options", "settings.xml", "--nocolor"]
            run(command, cwd=main_dir, log=main_dir / "csg_inverse.log", env=environment)
        except ProgramError as error:
            reason = failure_reason(main_dir, last_done(main_dir) + 1)
            if reason is None:
                raise
            raise SimulationError(reason) from error
        finally:
            os.close(progress)
        done = last_done(main_dir)
        if not is_finished(main_dir, done, settings):
            raise ProgramError(command, 0, main_dir / "csg_inverse.log")
    return iteration.read_iterations(main_dir, done, n_beads)


def check_structure(iterations: Sequence[Iteration], target: Target) -> None:
    """Raise `SimulationError` where the last g(r) is far from the target."""
    error = rdf_error(iterations[-1].rdf, target.rdf)
    if error > LARGEST_RDF_ERROR:
        raise SimulationError(
            f"after {len(iterations)} iterations g(r) is still {100 * error:.0f} % from the target "
            f"(at most {100 * LARGEST_RDF_ERROR:.0f} % is accepted)"
        )


def try_once(main_dir: Path, spec: Mapping[str, Any], liquid: Liquid, changes: Mapping[str, float]) -> list[Iteration]:
    """Return the iterations of one attempt; what it failed of is kept, so that it is not tried twice.

    Raises
    ------
    SimulationError
        The attempt failed.
    """
    settings = votca.Settings(
        liquid.temperature_k,
        liquid.number_density_nm3,
        liquid.target.pressure_bar,
        spec["iterations_max"],
        spec["iteration_ps_100"],
        **changes,
    )
    prepare(main_dir, spec, liquid, settings)
    failed = main_dir / "failed"
    if failed.is_file():
        raise SimulationError(failed.read_text())
    try:
        iterations = iterate(main_dir, settings, liquid.n_beads)
        check_structure(iterations, liquid.target)
    except ProgramError:
        raise
    except SimulationError as error:
        with atomic_path(failed) as temporary:
            temporary.write_text(str(error))
        raise
    return iterations


def try_all(work_dir: Path, spec: Mapping[str, Any], liquid: Liquid) -> tuple[list[Iteration], int]:
    """Return the iterations of the first attempt that succeeds, and how many failed before it.

    Raises
    ------
    SimulationError
        None succeeds.
    """
    reasons: list[str] = []
    for number, changes in enumerate(ATTEMPTS, start=1):
        try:
            return try_once(work_dir / f"attempt_{number}", spec, liquid, changes), len(reasons)
        except ProgramError:
            raise
        except SimulationError as error:
            print(f"attempt {number} of {len(ATTEMPTS)} failed: {error}", flush=True)
            reasons.append(str(error))
    raise SimulationError("; then, with smaller updates and a smaller time step: ".join(reasons))


def result_columns(iterations: Sequence[Iteration], target: Target) -> dict[str, Any]:
    """Return the columns of a good record that the iterations give."""
    verdict = judge(iterations, target)
    potential = average_potential(iterations, target)
    reason = None
    if not is_converged(iterations, target):
        what = [name for name, good in (("g(r)", verdict.structure), ("pressure", verdict.pressure)) if not good]
        reason = f"stopped after {len(iterations)} iterations, {' and '.join(what) or 'the last ones'} not yet settled"
    return {
        "potential_kj_mol": potential.tolist(),
        "force_kj_mol_nm": force(potential).tolist(),
        "pressure_bar": verdict.pressure_bar,
        "pressure_bar_se": verdict.pressure_bar_se,
        "n_iterations": len(iterations),
        "rdf_deviation": verdict.deviation,
        "rdf_deviation_noise": verdict.noise,
        "history_rdf_deviation": [deviation(each.rdf, target.rdf) for each in iterations],
        "history_pressure_bar": [each.pressure_bar for each in iterations],
        "history_potential_kj_mol": [each.potential_kj_mol.tolist() for each in iterations],
        "status": "ok",
        "reason": reason,
    }


def invert(spec: Mapping[str, Any], parents: Sequence[Mapping[str, Any]], work_dir: Path) -> dict[str, Any]:
    """Return the record (table `potentials`) of an inversion, continuing what `work_dir` holds of it.

    Raises
    ------
    InputError
        Spec and parents do not belong together, or `work_dir` has a blank in its path.
    ProgramError
        A program is missing or the machine failed; nothing is known about the liquid.
    """
    if any(character.isspace() for character in str(work_dir.resolve())):
        raise InputError("--work", "", str(work_dir), "a path without blanks", "csg_inverse cannot work in such a one.")
    parents = order_parents(spec, parents)
    row = {
        "potential_id": run_id(spec),
        "molecule_id": parents[0]["molecule_id"],
        "origin": "ibi",
        "parent_id": parents[0]["run_id"],
        "parent_run_ids": [parent["run_id"] for parent in parents],
        "scale_factor": 1.0,
        "temperature_k": spec["temperature_k"],
        "mass_g_mol": parents[0]["mass_g_mol"],
        "n_beads": parents[0]["n_molecules"],
        "pressure_corrected": spec["pressure_correction"],
        "spec": spec,
        "versions": versions(*PROGRAMS),
    }
    reason = failed_parent(parents)
    if reason is not None:
        return row | {"status": "failed", "reason": reason}
    try:
        liquid = liquid_of(spec, parents)
        row["number_density_nm3"] = liquid.number_density_nm3
        with work_directory(work_dir):
            iterations, retries = try_all(work_dir, spec, liquid)
            columns = result_columns(iterations, liquid.target) | {"retries": retries}
            clear_up(work_dir, spec)
            return row | columns
    except ProgramError:
        raise
    except SimulationError as error:
        return row | {"status": "failed", "reason": str(error)}


def clear_up(work_dir: Path, spec: Mapping[str, Any]) -> None:
    """Leave of a finished inversion its inputs, its log and the curves of each iteration, and the last frame."""
    (work_dir / "spec.json").write_text(canonical_json(spec) + "\n")
    for main_dir in work_dir.glob("attempt_*"):
        last = last_done(main_dir)
        for step_dir in main_dir.glob("step_*"):
            kept = iteration.KEPT | ({votca.LAST_FRAME_FILE} if step_dir.name.endswith(f"{last:03d}") else set())
            for path in step_dir.iterdir():
                if path.name not in kept:
                    path.unlink()
        shutil.rmtree(main_dir / votca.HOOKS_DIR, ignore_errors=True)
        (main_dir / votca.TABLE_FILE).unlink(missing_ok=True)
        log = main_dir / "inverse.log"
        if log.exists():
            with log.open("rb") as text, gzip.GzipFile(f"{log}.gz", "wb", mtime=0) as packed:
                shutil.copyfileobj(text, packed)
            log.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the step from the command line; the status is 1 where the input is wrong or the machine failed."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.inversion.invert", description=__doc__.splitlines()[0])
    parser.add_argument("--spec", required=True, type=json.loads, help="what to invert and how, as JSON")
    parser.add_argument(
        "--parent", required=True, type=Path, action="extend", nargs="+", help="record of an atomistic replica"
    )
    parser.add_argument("--work", required=True, type=Path, help="directory for the work in progress")
    parser.add_argument("--out", required=True, type=Path, help="record to write")
    options = parser.parse_args(arguments)
    try:
        require("csg_inverse", "csg_stat", "lmp")
        row = invert(options.spec, [read_record(path) for path in options.parent], options.work)
        write_record(options.out, "potentials", row)
    except (InputError, SimulationError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.out}: {row['status']}" + (f", {row['reason']}" if row["reason"] else ""), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
