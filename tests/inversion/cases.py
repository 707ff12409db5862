"""A liquid whose pair potential is known, sampled by LAMMPS, as if it were an atomistic run."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import MDAnalysis
import numpy as np

from mobcg import pair, plan, programs
from mobcg.inversion import votca
from mobcg.units import thermal_energy_kj_mol

TEMPERATURE_K = 298.15
N_BEADS = 200
NUMBER_DENSITY_NM3 = 4.6
BOX_LENGTH_NM = (N_BEADS / NUMBER_DENSITY_NM3) ** (1 / 3)


def known_potential():
    """U = ε(2 (r₀/r)⁹ − 3 (r₀/r)⁶), ε = 0.6 kT, r₀ = 0.56 nm, tapered."""
    x = 0.56 / np.maximum(pair.R_NM, 0.2)
    potential = 0.6 * thermal_energy_kj_mol(TEMPERATURE_K) * (2 * x**9 - 3 * x**6)
    potential = pair.taper(pair.extrapolate_core(potential, 38))
    potential[-1] = 0.0
    return potential


def sample(where: Path, potential, production_ps, seed):
    """Run LAMMPS with the input of an iteration and leave its files in `where`; return its positions in nm."""
    settings = votca.Settings(TEMPERATURE_K, NUMBER_DENSITY_NM3, None, 1, production_ps)
    (where / "start.data").write_text(votca.lattice_data(N_BEADS, BOX_LENGTH_NM, seed))
    (where / votca.SCRIPT_FILE).write_text(votca.lammps_script(settings))
    (where / votca.START_FILE).write_text(votca.start_script(settings, 1, seed))
    pair.write_lammps_table(where / votca.TABLE_FILE, potential, votca.TABLE_KEYWORD)
    programs.run(["lmp", "-in", votca.SCRIPT_FILE, "-screen", "none"], cwd=where, log=where / "log")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = MDAnalysis.Universe(
            str(where / "start.data"),
            str(where / "trajectory.dump"),
            topology_format="DATA",
            format="LAMMPSDUMP",
            atom_style="id type x y z",
            lammps_coordinate_convention="scaled",
        )
        return np.array([frame.positions.copy() for frame in universe.trajectory]) / 10


@dataclass
class KnownLiquid:
    potential_kj_mol: np.ndarray
    pressure_bar: float
    parent: dict

    def spec(self, **changes):
        return {
            "kind": "inversion",
            "protocol": 1,
            "molecule_id": "known",
            "parent_run_ids": [self.parent["run_id"]],
            "temperature_k": TEMPERATURE_K,
            "pressure_correction": True,
            "target_pressure_bar": round(self.pressure_bar, 1),
            "iterations_max": 25,
            "iteration_ps_100": 60,
        } | changes


def parent_row(rdf, rdf_se):
    spec = {"kind": "atomistic", "molecule": {"id": "known"}}
    return {
        "run_id": plan.run_id(spec),
        "molecule_id": "known",
        "force_field_id": "known",
        "replica": 0,
        "temperature_k": TEMPERATURE_K,
        "pressure_bar": 1.0,
        "n_molecules": N_BEADS,
        "mass_g_mol": 78.11,
        "box_length_nm": BOX_LENGTH_NM,
        "number_density_nm3": NUMBER_DENSITY_NM3,
        "rdf": list(rdf),
        "rdf_se": list(rdf_se),
        "status": "ok",
        "reason": None,
        "spec": spec,
        "versions": {},
    }
