"""What an atomistic run says as a bead liquid: g(r), mean squared displacement and D → one row of table `atomistic`.

python -m mobcg.atomistic.observe --spec '<json>' --beads beads.npz --out record.parquet
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mobcg.errors import InputError, SimulationError
from mobcg.observables import (
    BeadTrajectory,
    displacement_curve,
    neighbour_correlation,
    radial_distribution,
    self_diffusion,
)
from mobcg.plan import Spec, run_id
from mobcg.records import write_record
from mobcg.spec import force_field_id
from mobcg.step import run_step


def identity_columns(spec: Spec) -> dict[str, Any]:
    """Return the columns that the spec alone decides."""
    return {
        "run_id": run_id(spec),
        "molecule_id": spec["molecule"]["id"],
        "force_field_id": force_field_id(spec),
        "spec": spec,
        **{key: spec[key] for key in ("replica", "temperature_k", "pressure_bar", "n_molecules")},
    }


def record(spec: Spec, trajectory: BeadTrajectory) -> dict[str, Any]:
    """Return the row of table `atomistic`; a run that failed, or that is too short, has its reason and no results."""
    known = trajectory.metadata
    row = {
        **identity_columns(spec),
        "mass_g_mol": trajectory.mass_g_mol,
        **{key: known[key] for key in ("status", "reason", "versions")},
        "retries": known.get("retries"),  # trajectories of the first version do not say
    }
    if known["status"] != "ok":
        return row
    kept = ("density_kg_m3", "density_kg_m3_se", "density_settled", "temperature_centres_k", "time_step_fs")
    row |= {key: known[key] for key in kept}
    trajectory = trajectory.centres()
    row |= {
        "box_length_nm": trajectory.box_length_nm,
        "number_density_nm3": trajectory.number_density_nm3,
        "production_ps": (len(trajectory.positions_nm) - 1) * trajectory.frame_ps,
    }
    try:
        measured = observe(trajectory, spec)
    except SimulationError as error:
        return row | {"status": "failed", "reason": str(error)}
    if measured["diffusion_nm2_ns"] <= 0:
        return row | {"status": "failed", "reason": "frozen: the mean squared displacement does not grow"}
    return row | measured


def observe(trajectory: BeadTrajectory, spec: Spec) -> dict[str, Any]:
    """Return the columns of structure, displacement and D, all of centres of mass of molecules, whatever the beads.

    Raises
    ------
    SimulationError
        The trajectory is too short for D or for error bars, or its frames are too far apart.
    """
    trajectory = trajectory.centres()
    try:
        structure = radial_distribution(trajectory.positions_nm, trajectory.box_length_nm)
        diffusion = self_diffusion(trajectory)
    except ValueError as error:
        asked = f"lengths.nvt_ps {spec['lengths']['nvt_ps']:g}, frame_ps {spec['frame_ps']:g}"
        raise SimulationError(f"{error} ({asked})") from error
    lags_ps, msd_nm2 = displacement_curve(trajectory)
    together, together_se = neighbour_correlation(trajectory) or (None, None)
    return {
        "rdf": structure.rdf,
        "rdf_se": structure.rdf_se,
        "msd_time_ps": lags_ps,
        "msd_nm2": msd_nm2,
        "diffusion_nm2_ns": diffusion.diffusion_nm2_ns,
        "diffusion_nm2_ns_se": diffusion.diffusion_nm2_ns_se,
        "diffusion_yh_nm2_ns": diffusion.diffusion_yh_nm2_ns,
        "neighbour_correlation": together,
        "neighbour_correlation_se": together_se,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 2 wrong input)."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.atomistic.observe", description=__doc__)
    parser.add_argument("--spec", required=True, type=json.loads, help="atomistic spec as JSON")
    parser.add_argument("--beads", required=True, type=Path, help="bead trajectory of mobcg.atomistic.simulate")
    parser.add_argument("--out", required=True, type=Path, help="record (.parquet)")
    options = parser.parse_args(arguments)
    try:
        row = record(options.spec, BeadTrajectory.load(options.beads))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    write_record(options.out, "atomistic", row)
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
