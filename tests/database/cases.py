"""A release of analytic liquids: real plan, real ids, records from formulas that obey the physics that is checked.

g(r) is that of a dilute Lennard-Jones fluid with a decaying shell structure, U its potential of mean force, D a smooth
function of the potential that obeys the mass law exactly, the MSD is c + 6 D t, and p the virial of U and g(r).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mobcg.coarse.prior_shard import potential_row
from mobcg.database import card, descriptor, diff, manifest
from mobcg.database.potential_files import write_release_potentials
from mobcg.observables import finite_size_factor, rdf_error, rdf_r2, score
from mobcg.pair import BIN_WIDTH_NM, R_NM, derive, force, potential_of_mean_force
from mobcg.plan import (
    Plan,
    canonical_json,
    expand_shard,
    load_plan,
    prior_potentials,
    run_id,
    seed,
)
from mobcg.records import write_record, write_rows
from mobcg.schema import TABLES
from mobcg.spec import derived_potential_id, force_field_id
from mobcg.units import BAR_PER_KJ_MOL_NM3, mass_density_kg_m3, number_density_nm3, thermal_energy_kj_mol
from mobcg.weights import save_weights

ROOT = Path(__file__).resolve().parents[2]
VERSION = "2026.11.0-test"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
VERSIONS = canonical_json({"mobcg": "0.1.0", "analytic": "1"})
MOLECULES = ("benzene", "neopentane", "ethylbenzene")
SCALE = {
    "name": "test",
    "molecules": list(MOLECULES),
    "atomistic": {"box_length_nm": 3.2, "replicas": 2},
    "synthetic": {"draws": {"ethylbenzene": 3}},
    "coarse": {
        "n_beads": 400,
        "records_per_potential": 7,
        "perturbed_records_per_potential": 1,
        "records_per_shard": 10,
    },
    "prior": {"liquids": 5, "liquids_per_shard": 3, "n_beads": 400, "friction_share": 0.5},
    "evaluation": {"replicas": 2, "models": ["ibi", "ibi_scaled", "ibi_langevin", "mobcg"], "scale_factors": [1.2]},
}


def analytic_rdf(contact_nm: float, wave_nm: float) -> np.ndarray:
    """Return a g(r) with a core, a first peak and shells that decay to 1, (150,)."""
    shells = 0.9 * np.cos(2 * np.pi * (R_NM - 1.1 * contact_nm) / wave_nm) * np.exp(-(R_NM - contact_nm) / 0.25)
    return np.exp(-((contact_nm / R_NM) ** 12)) * np.maximum(1 + shells, 0.05)


def rdf_of(molecule_id: str, variant: int = 0) -> np.ndarray:
    """Return the g(r) of a liquid; synthetic force fields are variants of it."""
    contact = {"benzene": 0.46, "neopentane": 0.52, "ethylbenzene": 0.50, "n-heptane": 0.48}[molecule_id]
    return analytic_rdf(contact + 0.004 * variant, 0.5)


def motion(diffusion_nm2_ns: float, noise: float, n_beads: int) -> dict[str, Any]:
    """Return D, its error, its value in an infinite box and an MSD that agrees with them."""
    time_ps = np.linspace(1.0, 30.0, 30)
    return {
        "diffusion_nm2_ns": diffusion_nm2_ns,
        "diffusion_nm2_ns_se": noise * diffusion_nm2_ns,
        "diffusion_yh_nm2_ns": finite_size_factor(n_beads) * diffusion_nm2_ns,
        "msd_time_ps": time_ps.tolist(),
        "msd_nm2": (0.002 + 6e-3 * diffusion_nm2_ns * time_ps).tolist(),
    }


TOGETHER = {"neighbour_correlation": 0.17, "neighbour_correlation_se": 0.004}


def structure(rdf: np.ndarray) -> dict[str, Any]:
    """Return g(r) with the error of a long run."""
    return {"rdf": rdf.tolist(), "rdf_se": (0.004 * np.sqrt(rdf)).tolist()}


def pressure_bar(potential: np.ndarray, rdf: np.ndarray, density_nm3: float, temperature_k: float) -> float:
    """Return the virial pressure ρkT + (2π/3) ρ² ∫ F g r³ dr."""
    pairs = 2 * np.pi / 3 * density_nm3**2 * np.sum(force(potential) * rdf * R_NM**3) * BIN_WIDTH_NM
    return (density_nm3 * thermal_energy_kj_mol(temperature_k) + pairs) * BAR_PER_KJ_MOL_NM3


def write_models(directory: Path) -> Path:
    """Write the trained model that the evaluations name, as it stands in a release."""
    save_weights(directory / "mobcg", "mobcg", {}, {"layer": np.arange(6.0).reshape(2, 3)})
    return directory


def jitter(spec: Mapping[str, Any]) -> float:
    """Return a factor within half a per cent of 1 that belongs to a spec: the noise of its run."""
    return 1 + 0.005 * np.random.default_rng(seed(spec, "jitter")).uniform(-1, 1)


def status(reason: str | None = None) -> dict[str, Any]:
    return {"status": "failed" if reason else "ok", "reason": reason, "versions": VERSIONS}


@dataclass
class Chain:
    """Stand-in for the rooms above: writes the record of every spec of a plan."""

    directory: Path
    plan: Plan

    def paths(self) -> dict[str, list[Path]]:
        """Write all records; return table → files."""
        self.states: dict[str, dict[str, Any]] = {}
        return {
            "atomistic": [self.atomistic(*item) for item in self.plan.atomistic.items()],
            "potentials": [self.potential(*item) for item in self.plan.inversions.items()]
            + [self.prior_potentials(*item) for item in self.plan.prior_shards.items()],
            "coarse": [self.shard(*item) for item in (self.plan.shards | self.plan.prior_shards).items()],
            "evaluation": [self.evaluation(*item) for item in self.plan.evaluations.items()],
        }

    def atomistic(self, name: str, spec: dict[str, Any]) -> Path:
        path = self.directory / "atomistic" / f"{name}.parquet"
        molecule = spec["molecule"]["id"]
        mass = self.plan.species[molecule].molar_mass_g_mol
        draw = spec["force_field"].get("draw", -1) + 1
        density = number_density_nm3(spec["start_density_kg_m3"] * jitter(spec), mass)
        state = {"molecule_id": molecule, "mass_g_mol": mass, "number_density_nm3": density}
        rdf = rdf_of(molecule, draw)
        self.states[name] = {**state, "rdf": rdf, "n_beads": spec["n_molecules"]}
        row = {
            "run_id": name,
            **state,
            "force_field_id": force_field_id(spec),
            "replica": spec["replica"],
            "temperature_k": spec["temperature_k"],
            "pressure_bar": spec["pressure_bar"],
            "n_molecules": spec["n_molecules"],
            "box_length_nm": (spec["n_molecules"] / density) ** (1 / 3),
            "density_kg_m3": mass_density_kg_m3(density, mass),
            "density_kg_m3_se": 0.8,
            "density_settled": True,
            "time_step_fs": 2.0,
            "production_ps": spec["lengths"]["nvt_ps"],
            **motion(1.5 * jitter(spec) * (1 + 0.1 * draw), 0.03, spec["n_molecules"]),
            **TOGETHER,
            **structure(rdf),
            "spec": spec,
            **status(),
        }
        write_record(path, "atomistic", row)
        return path

    def potential(self, name: str, spec: dict[str, Any]) -> Path:
        path = self.directory / "inversion" / f"{name}.parquet"
        parents = [self.states[run] for run in spec["parent_run_ids"]]
        density = float(np.mean([parent["number_density_nm3"] for parent in parents]))
        state = parents[0] | {"number_density_nm3": density}
        potential = potential_of_mean_force(state["rdf"], spec["temperature_k"])
        self.states[name] = {**state, "potential": potential}
        row = {
            "potential_id": name,
            "molecule_id": state["molecule_id"],
            "origin": "ibi",
            "parent_id": spec["parent_run_ids"][0],
            "parent_run_ids": spec["parent_run_ids"],
            "scale_factor": 1.0,
            "temperature_k": spec["temperature_k"],
            "number_density_nm3": state["number_density_nm3"],
            "mass_g_mol": state["mass_g_mol"],
            "n_beads": state["n_beads"],
            "potential_kj_mol": potential.tolist(),
            "force_kj_mol_nm": force(potential).tolist(),
            "pressure_corrected": spec["pressure_correction"],
            "pressure_bar": 12.0,
            "pressure_bar_se": 9.0,
            "n_iterations": 3,
            "rdf_deviation": 0.9,
            "rdf_deviation_noise": 0.8,
            "history_rdf_deviation": [9.0, 2.0, 0.9],
            "history_pressure_bar": [900.0, 200.0, 12.0],
            "history_potential_kj_mol": [potential.tolist()] * 3,
            "spec": spec,
            **status(),
        }
        write_record(path, "potentials", row)
        return path

    def prior_potentials(self, name: str, shard: dict[str, Any]) -> Path:
        """Write the potentials that are drawn for real; the runs of them are analytic liquids."""
        path = self.directory / "prior" / f"{name}.parquet"
        rows = [potential_row(*item) for item in prior_potentials(shard).items()]
        for row in rows:
            density = row["number_density_nm3"]
            rdf = analytic_rdf(0.85 * density ** (-1 / 3), 0.5)
            state = {"molecule_id": None, "number_density_nm3": density, "rdf": rdf}
            self.states[row["potential_id"]] = state | {"potential": row["potential_kj_mol"]}
        write_rows(path, "potentials", rows)
        return path

    def shard(self, name: str, shard: dict[str, Any]) -> Path:
        path = self.directory / "coarse" / f"{name}.parquet"
        write_rows(path, "coarse", [self.coarse(spec) for spec in expand_shard(shard)])
        return path

    def coarse(self, spec: dict[str, Any]) -> dict[str, Any]:
        parent, factor = spec["potential"]["parent_id"], spec["potential"]["scale_factor"]
        state = self.states[parent]
        asked = {
            "run_id": run_id(spec),
            "molecule_id": state["molecule_id"],
            "potential_id": derived_potential_id(spec["potential"]),
            **{key: spec[key] for key in ("mass_g_mol", "thermostat", "friction_1_ps", "temperature_k", "n_beads")},
            "spec": spec,
        }
        if spec["draw"] == 6 and "perturbation" not in spec["potential"]:
            return asked | status("the temperature ran away at every time step tried")
        free = 8.0 * np.sqrt(100 / spec["mass_g_mol"]) / factor
        friction = spec["friction_1_ps"] * np.sqrt(spec["mass_g_mol"] / 100) * (8 if spec["thermostat"] == "dpd" else 1)
        rdf = np.maximum(1 + (state["rdf"] - 1) * min(1.0, 0.9 + 0.1 * factor), 0)
        rdf[state["rdf"] < 0.01] = 0
        potential, density = derive(state["potential"], spec["potential"]), state["number_density_nm3"]
        return asked | {
            "number_density_nm3": state["number_density_nm3"],
            "box_length_nm": (spec["n_beads"] / state["number_density_nm3"]) ** (1 / 3),
            "temperature_measured_k": spec["temperature_k"] * 1.001,
            "time_step_fs": 5.0,
            "production_ps": spec["production_ps_100"] * np.sqrt(spec["mass_g_mol"] / 100),
            "pressure_bar": pressure_bar(potential, rdf, density, spec["temperature_k"]),
            "pressure_bar_se": 12.0,
            **motion(free / (1 + friction) * jitter(spec), 0.02, spec["n_beads"]),
            **structure(rdf),
            **status(),
        }

    def evaluation(self, name: str, spec: dict[str, Any]) -> Path:
        path = self.directory / "evaluation" / f"{name}.parquet"
        state = self.states[spec["parent_potential_id"]]
        molecule, model = spec["molecule_id"], spec["model"]
        parents = self.plan.inversions[spec["parent_potential_id"]]["parent_run_ids"]
        reference = np.mean([1.5 * jitter(self.plan.atomistic[run]) for run in parents])
        rows = []
        for factor in spec["scale_factors"]:
            for replica in range(spec["replicas"]):
                own = {key: value for key, value in spec.items() if key not in ("replicas", "scale_factors")}
                own |= {"scale_factor": factor, "replica": replica}
                alpha = {"ibi": 4.0, "ibi_scaled": 2.0, "ibi_langevin": 1.05, "mobcg": 1.4}[model] * jitter(own)
                rdf = rdf_of(molecule) * (1 + 0.01 * replica * np.sin(8 * R_NM))
                error, potential = rdf_error(rdf, rdf_of(molecule)), factor * state["potential"]
                density, temperature = state["number_density_nm3"], self.plan.molecules[molecule].temperature_k
                parts = np.array([error / 0.1, np.log(alpha) / np.log(2)])
                part_errors = np.array([0.004 / 0.1, 0.03 / np.log(2)])
                rows.append(
                    {
                        "molecule_id": molecule,
                        "model": model,
                        "replica": replica,
                        "scale_factor": factor,
                        "thermostat": "langevin" if model == "ibi_langevin" else "nose_hoover",
                        "friction_1_ps": 2.5 if model == "ibi_langevin" else 0.0,
                        "reference_run_ids": parents,
                        "weights_sha256": "5" * 64 if model == "mobcg" else None,
                        "n_beads": state["n_beads"],
                        "box_length_nm": (state["n_beads"] / density) ** (1 / 3),
                        **motion(alpha * reference, 0.02, state["n_beads"]),
                        **TOGETHER,
                        "alpha": alpha,
                        "alpha_se": 0.03 * alpha,
                        "rdf_error": error,
                        "rdf_error_se": 0.004,
                        "rdf_r2": rdf_r2(rdf, rdf_of(molecule)),
                        "pressure_bar": pressure_bar(potential, rdf, density, temperature),
                        "pressure_bar_se": 9.0,
                        "score": score(error, alpha),
                        "score_se": np.linalg.norm(parts * part_errors) / np.linalg.norm(parts),
                        "potential_kj_mol": potential.tolist(),
                        **structure(rdf),
                        "spec": own,
                        **status(),
                    }
                )
        write_rows(path, "evaluation", rows)
        return path


HEPTANE = """\
id: n-heptane
name: heptane
smiles: CCCCCCC
inchikey: IMNFDUFMRHMDMM-UHFFFAOYSA-N
reference_density_kg_m3: 679.6
reference_density_source: reference equation of state
"""


def make_plan(directory: Path, molecules: tuple[str, ...] = MOLECULES, base_release: Path | None = None) -> Plan:
    """Return the plan of the small test scale for some molecules; n-heptane is one that a contributor adds."""
    molecules_dir = directory / "molecules"
    molecules_dir.mkdir(parents=True, exist_ok=True)
    for name in molecules:
        source = ROOT / "config" / "molecules" / f"{name}.yaml"
        text = HEPTANE if name == "n-heptane" else source.read_text(encoding="utf-8")
        (molecules_dir / f"{name}.yaml").write_text(text, encoding="utf-8")
    draws = {name: count for name, count in SCALE["synthetic"]["draws"].items() if name in molecules}
    scale = directory / "test.yaml"
    scale.write_text(yaml.safe_dump({**SCALE, "molecules": list(molecules), "synthetic": {"draws": draws}}))
    config = {"scale": str(scale), "version": "2026.11.0", "molecules_dir": str(molecules_dir)}
    return load_plan(config | {"base_release": str(base_release) if base_release else None})


@dataclass
class Inputs:
    """What `mobcg.database.build` wants."""

    molecules: list[dict[str, Any]]
    records: dict[str, list[Path]]

    def write(self, path: Path) -> Path:
        records = {table: list(map(str, paths)) for table, paths in self.records.items()}
        path.write_text(json.dumps({"molecules": self.molecules, "records": records}))
        return path


class Editable:
    """A copy of the release that a test spoils; `sign` makes checksums and descriptors fit again, as a forger would."""

    def __init__(self, release: Path, directory: Path) -> None:
        self.path = shutil.copytree(release, directory / release.name)

    def table(self, name: str) -> Path:
        return self.path / "data" / f"{name}.parquet"

    def rows(self, name: str) -> list[dict[str, Any]]:
        return pq.read_table(self.table(name)).to_pylist()

    def write(self, name: str, rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> None:
        """Write rows as they are, with the footer that the file had; columns may be null where they must not.

        The potential files are made anew from the evaluations.
        """
        schema = schema or pq.read_schema(self.table(name))
        nullable = pa.schema([field.with_nullable(True) for field in schema], metadata=schema.metadata)
        pq.write_table(pa.Table.from_pylist(rows, schema=nullable), self.table(name), compression="zstd")
        if name == "evaluation":
            shutil.rmtree(self.path / "potentials")
            write_release_potentials(self.table(name), self.path / "potentials")

    def change(self, name: str, row: int, /, **columns: Any) -> str:
        """Change one row of a table, sign, and return its key as findings name it."""
        rows = self.rows(name)
        rows[row] |= columns
        self.write(name, rows)
        self.sign()
        return "/".join(str(rows[row][key]) for key in TABLES[name].key)

    def tell(self) -> None:
        """Write data card and differences anew, for a release that is changed and yet sound."""
        (self.path / "README.md").write_text(card.card(self.path), encoding="utf-8")
        told = manifest.json_text(diff.diff(None, self.path, VERSION))
        (self.path / "diff.json").write_text(told, encoding="utf-8")

    def sign(self) -> None:
        descriptor.write_descriptors(self.path)
        (self.path / manifest.CHECKSUMS).write_text(manifest.checksums_text(self.path))
