"""Run a coarse-grained model of one liquid and score it against the atomistic liquid, replica by replica.

`python -m mobcg.predictor.evaluate --spec JSON --atomistic RECORD [--atomistic RECORD …] [--potential RECORD]
[--model-dir DIR] [--training FILE] --work DIR --out FILE`

Every run is in the box of the atomistic liquid: same number of beads, same edge, same temperature. A finished replica
is a record in the work directory and is not run again; a run that fails is a row with the reason.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mobcg.coarse.simulate import measure, simulate, simulate_npt
from mobcg.doctor import require
from mobcg.errors import InputError, SimulationError
from mobcg.observables import neighbour_correlation
from mobcg.plan import Spec, run_id
from mobcg.plan import seed as plan_seed
from mobcg.predictor.friction import friction_constant, friction_for_1_ps, trial_friction_1_ps
from mobcg.predictor.predict import one_state, propose
from mobcg.predictor.scoring import Reference, mean_reference, scores
from mobcg.predictor.storage import load_model
from mobcg.programs import ProgramError, versions
from mobcg.records import read_record, work_directory, write_json, write_record, write_rows
from mobcg.schema import TRAINED_MODELS
from mobcg.step import run_step
from mobcg.units import BAR_PER_ATM
from mobcg.weights import HEADER

# Those whose potential is a record: inverted, or fitted to forces.
RECORDED_MODELS = ("ibi", "ibi_scaled", "ibi_dpd", "ibi_langevin", "pair_fm")
# What the model's name says about the thermostat of its runs.
FRICTION_MODELS = {"ibi_dpd": "dpd", "ibi_langevin": "langevin", "mobcg_dpd": "dpd", "mobcg_langevin": "langevin"}


@dataclass(frozen=True)
class Dynamics:
    """Thermostat and friction (1/ps) of the production runs of a model."""

    thermostat: str
    friction_1_ps: float


@dataclass(frozen=True)
class Candidate:
    """What is run for one factor: potential (150,) in kJ/mol, thermostat and friction."""

    potential_kj_mol: NDArray[np.float64]
    dynamics: Dynamics


def factors(spec: Spec) -> list[float]:
    """Return the constants that multiply the potential, one set of replicas each."""
    return [float(factor) for factor in spec.get("scale_factors", [spec.get("scale_factor", 1.0)])]


def replica_spec(spec: Spec, factor: float, replica: int) -> Spec:
    """Return the spec of one run: that of the evaluation, for one factor and one replica."""
    kept = {key: value for key, value in spec.items() if key not in ("replicas", "scale_factors")}
    return {**kept, "scale_factor": factor, "replica": replica}


def parent_potential(record: dict[str, Any]) -> NDArray[np.float64]:
    """Return the potential of a record of the table `potentials`.

    Raises
    ------
    SimulationError
        The inversion failed.
    """
    if record["status"] != "ok":
        raise SimulationError(f"the inversion failed: {record['reason']}")
    return np.array(record["potential_kj_mol"], np.float64)


def trained_model(model_dir: Path, molecule_id: str) -> Any:
    """Return the model in a directory, which must not have learned from the molecule that it is to be scored on.

    Raises
    ------
    InputError
        It has, or there is no model.
    """
    record = model_dir / "training.json"
    if not record.is_file():
        raise InputError(model_dir, "", "no training.json", "a model written by `mobcg.predictor.train`")
    known = json.loads(record.read_text())["trained_on_molecules"]
    if molecule_id in known:
        advice = f"Give the model of the fold that holds {molecule_id} out."
        raise InputError(model_dir, "trained_on_molecules", molecule_id, "molecules that are not scored here", advice)
    return load_model(model_dir)


def predicted_candidate(
    model: Any, spec: Spec, factor: float, reference: Reference, report: Callable[[str], None]
) -> Candidate:
    """Return what a trained model proposes for the atomistic liquid: no run of it, and no inversion, goes in.

    `factor` turns the knob of `mobcg`; the pressure aimed at is 1 atm. Models without friction, knob or pressure give
    their potential alone.

    Raises
    ------
    SimulationError
        What it proposes cannot be run, or it never learned what is asked for: a friction, a factor other than 1.
    """
    thermostat = FRICTION_MODELS.get(spec["model"], "nose_hoover")
    if thermostat != "nose_hoover" and thermostat not in model.processes:
        raise SimulationError(f"the model learned from no run with {thermostat} friction")
    state = one_state(
        reference.rdf,
        reference.number_density_nm3,
        reference.temperature_k,
        reference.mass_g_mol,
        reference.diffusion_nm2_ns,
        reference.n_molecules,
    )
    try:
        proposal = propose(model, state, thermostat, knob=factor)
    except InputError as error:
        raise SimulationError(f"the model cannot propose for it: {error}") from None
    friction = 0.0 if proposal.friction_1_ps is None else float(proposal.friction_1_ps[0])
    report(
        f"{spec['molecule_id']}, {spec['model']}, factor {factor:g}: proposes U × {proposal.scale_factor[0]:.2f}, "
        f"friction {friction:.3g}/ps; expects α {proposal.alpha[0]:.2f} ± {proposal.alpha_se[0]:.2f}, "
        f"rdf_error {proposal.rdf_error[0]:.3f}; {proposal.verdict[0]} of the training data (distance "
        f"{proposal.distance[0]:.2f})"
    )
    dynamics = Dynamics(thermostat, friction) if friction > 0 else Dynamics("nose_hoover", 0.0)
    return Candidate(proposal.potential_kj_mol[0], dynamics)


def evaluate(
    spec: Spec,
    atomistic: list[dict[str, Any]],
    potential_record: dict[str, Any] | None,
    model_dir: Path | None,
    work: Path,
    report: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Return the rows of the table `evaluation` that a spec asks for, running what is not in `work` yet.

    Parameters
    ----------
    spec
        molecule_id, model, replicas, equilibration_ps_100, production_ps_100, npt_ps_100 (0: no NPT run) and
        scale_factor or scale_factors.
    atomistic
        Rows of the table `atomistic`: the replicas of the liquid.
    potential_record
        Row of the table `potentials`, for the models made from it.
    model_dir
        The trained model, for the others.
    work
        Directory for records and runs; see `mobcg.records.work_directory`.
    report
        Called with each line of progress.

    Raises
    ------
    InputError
        The spec names an unknown model, or what the model needs was not given.
    ProgramError
        `lmp` cannot be run.
    """
    _check(spec, potential_record, model_dir)
    model, origin = None, {}
    if spec["model"] in TRAINED_MODELS:
        model = trained_model(model_dir, spec["molecule_id"])
        origin = {"weights_sha256": json.loads((model_dir / HEADER).read_text())["weights_sha256"]}
    jobs = [(factor, replica) for factor in factors(spec) for replica in range(spec["replicas"])]
    try:
        reference = mean_reference(atomistic)
        origin |= {"reference_run_ids": list(reference.run_ids)}
        if spec["model"] in RECORDED_MODELS:
            potential = parent_potential(potential_record)
            dynamics = _dynamics(spec, potential, reference, work, report)
            candidates = {factor: Candidate(factor * potential, dynamics) for factor in factors(spec)}
        else:
            candidates = {
                factor: _candidate_or_reason(model, spec, factor, reference, report) for factor in factors(spec)
            }
    except ProgramError:
        raise
    except SimulationError as error:
        report(f"{spec['molecule_id']}, {spec['model']}: {error}")
        return [_failed_row(spec, factor, replica, str(error)) | origin for factor, replica in jobs]
    rows, started, done = [], time.monotonic(), 0
    for count, (factor, replica) in enumerate(jobs, 1):
        path = work / "records" / f"{run_id(replica_spec(spec, factor, replica))}.parquet"
        candidate = candidates[factor]
        if isinstance(candidate, str):
            row = _failed_row(spec, factor, replica, candidate)
        elif (row := _finished(path, candidate)) is None:
            row = _run_replica(spec, factor, replica, candidate, reference, work)
            write_record(path, "evaluation", row)
            done += 1
        left_s = (time.monotonic() - started) / max(done, 1) * (len(jobs) - count)
        report(f"{spec['molecule_id']}, {spec['model']}, run {count}/{len(jobs)}: {_summary(row)}; {left_s:.0f} s left")
        rows.append(row | origin)
    return rows


def _candidate_or_reason(
    model: Any, spec: Spec, factor: float, reference: Reference, report: Callable[[str], None]
) -> Candidate | str:
    """Return what a trained model proposes for one factor, or why it cannot: the other factors are still run."""
    try:
        return predicted_candidate(model, spec, factor, reference, report)
    except SimulationError as error:
        return str(error)


def _check(spec: Spec, potential_record: dict[str, Any] | None, model_dir: Path | None) -> None:
    model = spec.get("model")
    if model not in (*RECORDED_MODELS, *TRAINED_MODELS):
        raise InputError("--spec", "model", model, " | ".join((*RECORDED_MODELS, *TRAINED_MODELS)))
    if model in RECORDED_MODELS and potential_record is None:
        raise InputError(
            "--potential", "", None, f"the record of a potential of {spec['molecule_id']}", f"{model} is made from it."
        )
    if model in TRAINED_MODELS and model_dir is None:
        allowed = f"the trained {TRAINED_MODELS[model]} of the fold {spec['molecule_id']}"
        raise InputError("--model-dir", "", None, allowed)


def _run_replica(
    spec: Spec,
    factor: float,
    replica: int,
    candidate: Candidate,
    reference: Reference,
    work: Path,
) -> dict[str, Any]:
    own_spec = replica_spec(spec, factor, replica)
    potential, dynamics = candidate.potential_kj_mol, candidate.dynamics
    directory = work / "runs" / run_id(own_spec)
    row = _row(own_spec, dynamics) | {"n_beads": reference.n_molecules, "potential_kj_mol": potential.tolist()}
    try:
        seed = plan_seed(own_spec, "coarse run")
        run = simulate(
            potential,
            **_state(reference),
            thermostat=dynamics.thermostat,
            friction_1_ps=dynamics.friction_1_ps,
            equilibration_ps_100=spec["equilibration_ps_100"],
            production_ps_100=spec["production_ps_100"],
            seed=seed,
            directory=directory / "nvt",
        )
        measured = measure(run)
        columns = {name: value for name, value in measured.items() if name in EVALUATION_COLUMNS}
        together, together_se = neighbour_correlation(run.trajectory) or (None, None)
        cost = {"md_core_s_ns_bead": run.core_s_ns_bead} if spec["model"] == "pair_fm" else {}
        return (
            row
            | columns
            | cost
            | {"neighbour_correlation": together, "neighbour_correlation_se": together_se}
            | scores(measured, reference, seed)
            | _density(spec, own_spec, potential, reference, directory)
        )
    except ProgramError:
        raise
    except SimulationError as error:
        return row | {"status": "failed", "reason": str(error)}
    finally:
        shutil.rmtree(directory, ignore_errors=True)


EVALUATION_COLUMNS = frozenset(
    {
        "box_length_nm",
        "diffusion_nm2_ns",
        "diffusion_nm2_ns_se",
        "diffusion_yh_nm2_ns",
        "pressure_bar",
        "pressure_bar_se",
        "rdf",
        "rdf_se",
        "retries",
        "msd_time_ps",
        "msd_nm2",
    }
)


def _state(reference: Reference) -> dict[str, Any]:
    return {
        "mass_g_mol": reference.mass_g_mol,
        "temperature_k": reference.temperature_k,
        "number_density_nm3": reference.number_density_nm3,
        "n_beads": reference.n_molecules,
    }


def _density(
    spec: Spec, own_spec: Spec, potential: NDArray, reference: Reference, directory: Path
) -> dict[str, float | str | None]:
    """Return the density at 1 atm, or why there is none: a liquid that evaporates is a result, not a failure."""
    if not spec.get("npt_ps_100"):
        return {}
    try:
        npt = simulate_npt(
            potential,
            **_state(reference),
            pressure_bar=BAR_PER_ATM,
            equilibration_ps_100=spec["equilibration_ps_100"],
            production_ps_100=spec["npt_ps_100"],
            seed=plan_seed(own_spec, "npt run"),
            directory=directory / "npt",
        )
    except ProgramError:
        raise
    except SimulationError as error:
        return {"reason": f"no density at 1 atm: {error}"}
    if npt.density_kg_m3 is None:
        return {"reason": f"no density at 1 atm: {npt.reason}"}
    return {"density_1atm_kg_m3": npt.density_kg_m3, "density_1atm_kg_m3_se": npt.density_kg_m3_se}


def _dynamics(
    spec: Spec, potential: NDArray, reference: Reference, work: Path, report: Callable[[str], None]
) -> Dynamics:
    """Return thermostat and friction of the model; calibrated by one run, and kept, where the model has a friction."""
    thermostat = FRICTION_MODELS.get(spec["model"])
    if thermostat is None:
        return Dynamics("nose_hoover", 0.0)
    path = work / "calibration.json"
    question = {"spec": spec, "target_nm2_ns": reference.diffusion_nm2_ns, "potential_kj_mol": potential.tolist()}
    if (found := _known(path)).get("question") == question:
        return Dynamics(**found["dynamics"])
    answer = _calibrate(spec, thermostat, potential, reference, work, report)
    write_json(path, {"question": question, "dynamics": vars(answer)})
    return answer


def _known(path: Path) -> dict[str, Any]:
    """Return what an earlier start found out; nothing where its file is missing or torn."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _calibrate(
    spec: Spec, thermostat: str, potential: NDArray, reference: Reference, work: Path, report: Callable[[str], None]
) -> Dynamics:
    bead = reference.mass_g_mol, reference.temperature_k

    def diffusion(thermostat: str, friction_1_ps: float) -> float:
        directory = work / "runs" / f"calibration_{thermostat}"
        try:
            run = simulate(
                potential,
                **_state(reference),
                thermostat=thermostat,
                friction_1_ps=friction_1_ps,
                equilibration_ps_100=spec["equilibration_ps_100"],
                production_ps_100=spec["production_ps_100"],
                seed=plan_seed(spec, f"calibration {thermostat}"),
                directory=directory,
            )
            return measure(run)["diffusion_nm2_ns"]
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    target, without = reference.diffusion_nm2_ns, diffusion("nose_hoover", 0.0)
    if without <= target:
        report(f"{spec['model']}: D {without:.3g} nm²/ns is below the atomistic {target:.3g} already: no friction")
        return Dynamics("nose_hoover", 0.0)
    trial = trial_friction_1_ps(target, without, thermostat, *bead, reference.number_density_nm3)
    at_trial = diffusion(thermostat, trial)
    if at_trial >= without:
        raise SimulationError(
            f"calibration: D {at_trial:.3g} nm²/ns at a friction of {trial:.3g}/ps is not below {without:.3g} without"
        )
    constant = friction_constant(without, at_trial, trial, *bead)
    friction = friction_for_1_ps(target, without, constant, *bead)
    report(
        f"{spec['model']}: D {without:.3g} nm²/ns without friction, {at_trial:.3g} at {trial:.3g}/ps; "
        f"{friction:.3g}/ps for {target:.3g}"
    )
    return Dynamics(thermostat, friction)


def _row(own_spec: Spec, dynamics: Dynamics) -> dict[str, Any]:
    return {
        "molecule_id": own_spec["molecule_id"],
        "model": own_spec["model"],
        "replica": own_spec["replica"],
        "scale_factor": own_spec["scale_factor"],
        **vars(dynamics),
        "status": "ok",
        "spec": own_spec,
        "versions": versions("lmp", "mobcg"),
    }


def _failed_row(spec: Spec, factor: float, replica: int, reason: str) -> dict[str, Any]:
    dynamics = Dynamics(FRICTION_MODELS.get(spec["model"], "nose_hoover"), 0.0)
    return _row(replica_spec(spec, factor, replica), dynamics) | {"status": "failed", "reason": reason}


def _finished(path: Path, candidate: Candidate) -> dict[str, Any] | None:
    """Return the record of a run that is there already, if it is of this potential and friction."""
    if not path.is_file():
        return None
    try:
        row = read_record(path)
    except InputError as error:
        print(f"{error} It is run again.", file=sys.stderr, flush=True)
        return None
    found = row["potential_kj_mol"], row["thermostat"], row["friction_1_ps"]
    dynamics = candidate.dynamics
    asked = candidate.potential_kj_mol.tolist(), dynamics.thermostat, dynamics.friction_1_ps
    return row if found == asked else None


def training_columns(path: Path) -> dict[str, float | str | None]:
    """Return `training_core_s` and `weights_sha256` from the record of a training; None of one that diverged."""
    record = json.loads(path.read_text())
    return {"training_core_s": record.get("core_s"), "weights_sha256": record.get("weights_sha256")}


def _summary(row: dict[str, Any]) -> str:
    if row["status"] != "ok":
        return f"failed: {row['reason']}"
    return (
        f"factor {row['scale_factor']:g}, α {row['alpha']:.2f}, rdf_error {row['rdf_error']:.3f}, S {row['score']:.2f}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.predictor.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("--spec", type=json.loads, required=True, help="the evaluation, as JSON")
    parser.add_argument(
        "--atomistic", type=Path, action="extend", nargs="+", required=True, help="record; once for each replica"
    )
    parser.add_argument("--potential", type=Path, help="record of the IBI potential")
    parser.add_argument("--model-dir", type=Path, help="trained model of the fold that holds this molecule out")
    parser.add_argument("--training", type=Path, help="training.json of a force-matched potential")
    parser.add_argument("--work", type=Path, required=True, help="directory for runs and finished replicas")
    parser.add_argument("--out", type=Path, required=True, help="the rows, as Parquet")
    options = parser.parse_args(arguments)
    threadpool_limits(1)  # one core for lmp, one for the rest: more only get into each other's way
    try:
        require("lmp")
        with work_directory(options.work):
            rows = evaluate(
                options.spec,
                [read_record(path) for path in options.atomistic],
                None if options.potential is None else read_record(options.potential),
                options.model_dir,
                options.work,
                lambda line: print(line, flush=True),
            )
            if options.training is not None:
                training = training_columns(options.training)
                rows = [row | training for row in rows]
            write_rows(options.out, "evaluation", rows)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
