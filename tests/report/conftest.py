"""A release made of analytic curves, so that every number of the report is known beforehand."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from mobcg.observables import rdf_error, rdf_r2, score
from mobcg.pair import R_NM, force, potential_of_mean_force, taper
from mobcg.plan import canonical_json, run_id
from mobcg.records import write_rows
from mobcg.report.release import Release, load_release
from mobcg.units import number_density_nm3

TEMPERATURE_K = 298.15
# molecule: molar mass, density, reference density, D, first peak, and α of IBI
LIQUIDS = {
    "benzene": ("benzene", 78.11, 864.0, 873.5, 1.79, 0.555, 3.4),
    "ethylbenzene": ("ethylbenzene", 106.17, 863.0, 862.5, 0.90, 0.60, 10.7),
}
PARENTS = ("ethylbenzene", "3-methylpentane", "2-3-4-trimethylpentane")
# model: (scale factor, α over that of IBI as a power, structure error put in)
MODELS = {
    ("ibi", 1.0): (1.0, 0.015),
    ("ibi_scaled", 1.2): (0.75, 0.05),
    ("ibi_scaled", 1.5): (0.35, 0.11),
    ("ibi_scaled", 1.8): (-0.1, 0.16),
    ("ibi_dpd", 1.0): (0.03, 0.017),
    ("bag2024", 1.0): (0.6, 0.1),
    ("mobcg", 1.0): (0.95, 0.03),
    ("mobcg_dpd", 1.0): (-0.04, 0.032),
}
PROGRAMS = {"lmp": "29 Sep 2021", "gmx": "2022.5", "mobcg": "0.1.0"}


def liquid_rdf(peak_nm: float, amplitude: float = 1.0) -> np.ndarray:
    """Return a g(r) with a core, a first peak and decaying shells."""
    wave = np.cos(2 * np.pi * (R_NM - peak_nm) / (0.87 * peak_nm)) * np.exp(-(R_NM - peak_nm) / 0.32)
    core = 1 / (1 + np.exp(-(R_NM - 0.82 * peak_nm) / 0.018))
    return np.clip(core * (1 + amplitude * 0.85 * np.where(peak_nm > R_NM, 1, wave)), 0, None)


def msd_curve(diffusion_nm2_ns: float) -> tuple[list[float], list[float]]:
    """Return lags (ps) and MSD (nm²): ballistic at first, diffusive with D in the end."""
    time = np.geomspace(0.3, 40, 40)
    return time.tolist(), (6e-3 * diffusion_nm2_ns * time * (1 - np.exp(-time / 0.8))).tolist()


TOGETHER = {"neighbour_correlation": 0.17, "neighbour_correlation_se": 0.004}


def _dynamics(diffusion: float, relative_error: float) -> dict:
    time, msd = msd_curve(diffusion)
    return {
        "diffusion_nm2_ns": diffusion,
        "diffusion_nm2_ns_se": relative_error * diffusion,
        "diffusion_yh_nm2_ns": 1.1 * diffusion,
        "msd_time_ps": time,
        "msd_nm2": msd,
    }


def _structure(rdf: np.ndarray, error: float) -> dict:
    return {"rdf": rdf.tolist(), "rdf_se": np.full_like(rdf, error).tolist()}


def molecules() -> list[dict]:
    return [
        {
            "molecule_id": molecule,
            "name": name,
            "smiles": "C",
            "inchikey": "VNWKTOKETHGBQD-UHFFFAOYSA-N",
            "formula": "CH4",
            "molar_mass_g_mol": mass,
            "n_atoms": 5,
            "role": "test",
            "temperature_k": TEMPERATURE_K,
            "pressure_bar": 1.01325,
            "reference_density_kg_m3": reference,
            "reference_density_source": "made up",
        }
        for molecule, (name, mass, _, reference, _, _, _) in LIQUIDS.items()
    ]


def atomistic(replicas: int = 2, synthetic: int = 3, seed: int = 0) -> list[dict]:
    random = np.random.default_rng(seed)
    rows = []
    for molecule, (_, mass, density, _, diffusion, peak, _) in LIQUIDS.items():
        draws = synthetic if molecule in PARENTS else 0
        for draw in range(-replicas, draws):
            kind = {"kind": "pristine"} if draw < 0 else {"kind": "synthetic", "draw": draw}
            wobble = 0.01 if draw < 0 else 0.3
            own_density = density * (1 + 0.1 * wobble * random.normal())
            spec = {"molecule": {"id": molecule}, "force_field": kind, "replica": max(draw + replicas, 0)}
            rows.append(
                {
                    "run_id": run_id(spec),
                    "molecule_id": molecule,
                    "force_field_id": run_id(kind),
                    "replica": draw + replicas if draw < 0 else 0,
                    "temperature_k": TEMPERATURE_K,
                    "pressure_bar": 1.01325,
                    "n_molecules": 200,
                    "mass_g_mol": mass,
                    "box_length_nm": 3.4,
                    "density_kg_m3": own_density,
                    "density_kg_m3_se": 1.2,
                    "number_density_nm3": number_density_nm3(own_density, mass),
                    "density_settled": draw != -2 or molecule != "ethylbenzene",
                    "time_step_fs": 2.0,
                    "production_ps": 1000.0,
                    **_dynamics(diffusion * float(np.exp(wobble * random.normal())), 0.02),
                    **TOGETHER,
                    **_structure(liquid_rdf(peak), 0.006),
                    "status": "ok",
                    "spec": canonical_json(spec),
                    "versions": {"gmx": "2022.5", "mobcg": "0.1.0"},
                }
            )
    return rows


def potentials(atomistic_rows: list[dict], seed: int = 1) -> list[dict]:
    random = np.random.default_rng(seed)
    rows = []
    for parent in atomistic_rows:
        if parent["replica"] > 0:
            continue
        u = potential_of_mean_force(parent["rdf"], TEMPERATURE_K)
        state = parent["molecule_id"], parent["force_field_id"]
        replicas = [row["run_id"] for row in atomistic_rows if (row["molecule_id"], row["force_field_id"]) == state]
        for corrected in (True, False):
            synthetic = '"synthetic"' in parent["spec"]
            if synthetic and not corrected:
                continue
            steps = np.arange(20)
            noise = np.exp(0.05 * random.normal(size=20))
            pressure = 1500 * np.exp(-steps / 3) if corrected else 900 + 900 * np.exp(-steps / 4)
            spec = {"parent_run_ids": replicas, "pressure_correction": corrected}
            rows.append(
                {
                    "potential_id": run_id(spec),
                    "molecule_id": parent["molecule_id"],
                    "origin": "ibi",
                    "parent_id": parent["run_id"],
                    "parent_run_ids": replicas,
                    "scale_factor": 1.0,
                    "temperature_k": TEMPERATURE_K,
                    "number_density_nm3": parent["number_density_nm3"],
                    "mass_g_mol": parent["mass_g_mol"],
                    "n_beads": 1000,
                    "potential_kj_mol": u.tolist(),
                    "force_kj_mol_nm": force(u).tolist(),
                    "pressure_corrected": corrected,
                    "pressure_bar": float(pressure[-1]),
                    "pressure_bar_se": 15.0,
                    "n_iterations": 20,
                    "rdf_deviation": 1.1,
                    "rdf_deviation_noise": 1.0,
                    "history_rdf_deviation": ((1 + 11 * np.exp(-steps / 1.5)) * noise).tolist(),
                    "history_pressure_bar": (pressure + 25 * random.normal(size=20)).tolist(),
                    "status": "ok",
                    "spec": canonical_json(spec),
                    "versions": {"csg_inverse": "2022.1", "lmp": "29 Sep 2021"},
                }
            )
    return rows


def coarse(potential_rows: list[dict], per_potential: int = 14, exponent: float = -0.5, seed: int = 2) -> list[dict]:
    random = np.random.default_rng(seed)
    rows = []
    for parent in potential_rows:
        base = 3 * float(np.exp(random.normal()))
        rdf = np.array(liquid_rdf(0.6))
        for draw in range(per_potential):
            mass = float(random.uniform(20, 200))
            thermostat = ("nose_hoover", "nose_hoover", "nose_hoover", "langevin", "dpd")[draw % 5]
            slower = 1.0 if thermostat == "nose_hoover" else float(random.uniform(0.2, 0.9))
            error = 0.015
            diffusion = base * slower * (mass / 100) ** exponent * (1 + error * random.normal())
            spec = {"potential": parent["potential_id"], "draw": draw, "mass_g_mol": mass}
            rows.append(
                {
                    "run_id": run_id(spec),
                    "molecule_id": parent["molecule_id"],
                    "potential_id": parent["potential_id"],
                    "mass_g_mol": mass,
                    "thermostat": thermostat,
                    "friction_1_ps": 0.0 if thermostat == "nose_hoover" else 1.5,
                    "temperature_k": TEMPERATURE_K,
                    "temperature_measured_k": TEMPERATURE_K,
                    "number_density_nm3": parent["number_density_nm3"],
                    "n_beads": 1000,
                    "box_length_nm": 5.5,
                    "time_step_fs": 5.0,
                    "production_ps": 200.0,
                    **_dynamics(diffusion, error),
                    "pressure_bar": 20.0,
                    "pressure_bar_se": 10.0,
                    **_structure(rdf + 0.006 * random.normal(size=rdf.size), 0.006),
                    "status": "ok",
                    "spec": canonical_json(spec),
                    "versions": {"lmp": "29 Sep 2021", "mobcg": "0.1.0"},
                }
            )
    return rows


def evaluation(replicas: int = 3, seed: int = 3) -> list[dict]:
    random = np.random.default_rng(seed)
    rows = []
    for molecule, (_, _, density, _, diffusion, peak, alpha_ibi) in LIQUIDS.items():
        reference = liquid_rdf(peak)
        for (model, factor), (power, error) in MODELS.items():
            for replica in range(replicas):
                alpha = float(alpha_ibi ** (power + 0.03 * random.normal()))
                rdf = liquid_rdf(peak) + error * 1.5 * np.sin(12 * R_NM) * (0.8 * peak < R_NM)
                rdf = np.clip(rdf + 0.004 * random.normal(size=rdf.size), 0, None) * (0.7 * peak < R_NM)
                e = rdf_error(rdf, reference)
                spec = {"molecule_id": molecule, "model": model, "scale_factor": factor, "replica": replica}
                u = taper(factor * potential_of_mean_force(reference, TEMPERATURE_K) * (1 - error))
                rows.append(
                    {
                        **spec,
                        "thermostat": "dpd" if "dpd" in model else "nose_hoover",
                        "friction_1_ps": 2.0 if "dpd" in model else 0.0,
                        "n_beads": 200,
                        "box_length_nm": 3.4,
                        **_dynamics(alpha * diffusion, 0.03),
                        **TOGETHER,
                        "alpha": alpha,
                        "alpha_se": alpha * float(np.hypot(0.03, 0.02)),
                        "rdf_error": e,
                        "rdf_error_se": 0.003,
                        "rdf_r2": rdf_r2(rdf, reference),
                        "pressure_bar": 60 + 20 * float(random.normal()),
                        "pressure_bar_se": 15.0,
                        "density_1atm_kg_m3": None if model == "ibi_dpd" else density * 1.02,
                        "density_1atm_kg_m3_se": None if model == "ibi_dpd" else 2.0,
                        "score": score(e, alpha),
                        "score_se": 0.05,
                        "potential_kj_mol": u.tolist(),
                        **_structure(rdf, 0.004),
                        "status": "ok",
                        "spec": canonical_json(spec),
                        "versions": PROGRAMS,
                    }
                )
    return rows


@pytest.fixture(scope="session")
def _tables() -> dict[str, list[dict]]:
    atomistic_rows = atomistic()
    potential_rows = potentials(atomistic_rows)
    return {
        "grid": [{"r_nm": r} for r in R_NM.tolist()],
        "molecules": molecules(),
        "atomistic": atomistic_rows,
        "potentials": potential_rows,
        "coarse": coarse(potential_rows),
        "evaluation": evaluation(),
    }


@pytest.fixture
def tables(_tables) -> dict[str, list[dict]]:
    """Rows of every table, the test's own to change."""
    return copy.deepcopy(_tables)


def write_release(directory: Path, tables: dict[str, list[dict]]) -> Path:
    """Write a release directory."""
    for name, rows in tables.items():
        write_rows(directory / "data" / f"{name}.parquet", name, rows)
    return directory


def read_back(directory: Path, **tables: list[dict]) -> Release:
    """Return these tables as a release read from disk."""
    return load_release(write_release(directory, tables))


def failed(row: dict, reason: str) -> dict:
    """Return the row of the same run, failed: keys and specification only."""
    kept = (
        *("run_id", "molecule_id", "force_field_id", "replica", "temperature_k", "pressure_bar", "n_molecules"),
        *("model", "scale_factor", "thermostat", "friction_1_ps", "potential_id", "mass_g_mol", "n_beads"),
        *("origin", "pressure_corrected", "spec", "versions"),
    )
    return {name: row[name] for name in kept if name in row} | {"status": "failed", "reason": reason}


@pytest.fixture
def release_dir(tmp_path, tables) -> Path:
    """A whole release on disk."""
    return write_release(tmp_path / "2026.11.0", tables)
