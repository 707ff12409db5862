"""Small liquids made on paper: enough for models to learn from in seconds, no simulation behind them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from mobcg.pair import R_NM, taper
from mobcg.predictor.dataset import Liquids
from mobcg.predictor.features import describe
from mobcg.predictor.knob import Start
from mobcg.records import write_rows
from mobcg.units import thermal_energy_kj_mol

TEMPERATURE_K = 298.15
MOLECULES = ("benzene", "mesitylene", "neopentane")


def well(depth_kt: float, contact_nm: float) -> np.ndarray:
    """A smooth soft wall with one well, (150,), kJ/mol."""
    wall = np.exp(np.minimum((contact_nm - R_NM) / 0.03, 7.0))
    attraction = depth_kt * np.exp(-0.5 * ((R_NM - 1.2 * contact_nm) / 0.1) ** 2)
    return taper(thermal_energy_kj_mol(TEMPERATURE_K) * (wall - attraction))


def small_liquids() -> Liquids:
    """18 rows: 6 parent potentials of 3 molecules, each with 3 masses; g(r) = exp(−U/kT), the dilute limit."""
    rows = [
        (molecule, parent, 0.3 + 0.15 * parent + 0.05 * number, 0.46 + 0.02 * number, mass)
        for number, molecule in enumerate(MOLECULES)
        for parent in range(2)
        for mass in (40.0, 90.0, 160.0)
    ]
    potential = np.array([well(depth, contact) for _, _, depth, contact, _ in rows])
    mass_g_mol = np.array([row[-1] for row in rows])
    return Liquids(
        rdf=np.exp(-potential / thermal_energy_kj_mol(TEMPERATURE_K)),
        number_density_nm3=np.full(len(rows), 2.0),
        temperature_k=np.full(len(rows), TEMPERATURE_K),
        mass_g_mol=mass_g_mol,
        diffusion_nm2_ns=8.0 * np.sqrt(100 / mass_g_mol),
        n_beads=np.full(len(rows), 1e9),
        potential_kj_mol=potential,
        diffusion_nm2_ns_se=0.1 * np.sqrt(100 / mass_g_mol),
        pressure_bar=np.full(len(rows), 50.0),
        friction_1_ps=np.zeros(len(rows)),
        thermostat=np.full(len(rows), "nose_hoover"),
        run_id=np.array([f"{i:016x}" for i in range(len(rows))]),
        potential_id=np.array([f"{molecule}-{parent}" for molecule, parent, *_ in rows]),
        parent_molecule_id=np.array([row[0] for row in rows]),
        parent_potential_id=np.array([f"{molecule}-{parent}" for molecule, parent, *_ in rows]),
    )


def with_friction(liquids: Liquids, constants: dict[str, float], frictions_1_ps=(0.5, 2.0, 8.0)) -> Liquids:
    """The liquids and runs of the first mass of each with friction, whose D is (kT/m)/(ν₀ + cγ), c as given."""
    first = liquids.take(np.arange(len(liquids)) % 3 == 0)
    parts = [liquids]
    for thermostat, constant in constants.items():
        for number, friction in enumerate(frictions_1_ps):
            kt_m = thermal_energy_kj_mol(TEMPERATURE_K) / first.mass_g_mol
            own = kt_m / (first.diffusion_nm2_ns / 1000)
            diffusion = 1000 * kt_m / (own + constant * friction)
            changed = {
                "thermostat": np.full(len(first), thermostat),
                "friction_1_ps": np.full(len(first), friction),
                "diffusion_nm2_ns": diffusion,
                "diffusion_nm2_ns_se": 0.01 * diffusion,
                "run_id": np.array([f"{thermostat[0]}{number}{name[2:]}" for name in first.run_id]),
            }
            parts.append(dataclasses.replace(first, **changed))
    names = [field.name for field in dataclasses.fields(Liquids)]
    return Liquids(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def with_multiples(liquids: Liquids, factors=(1.3, 1.7, 2.2), slowing=12.0) -> Liquids:
    """The liquids and runs of multiples s of their potentials: ln D falls per ln s by so much of the response of g."""
    first = liquids.take(np.arange(len(liquids)) % 3 == 0)
    response = Start.of(np.zeros(len(first)), first.potential_kj_mol, describe(first), first).rdf_response
    parts = [liquids]
    for factor in factors:
        potential = factor * first.potential_kj_mol
        changed = {
            "potential_kj_mol": potential,
            "rdf": np.exp(-potential / thermal_energy_kj_mol(TEMPERATURE_K)),
            "diffusion_nm2_ns": first.diffusion_nm2_ns * factor ** (-slowing * response),
            "potential_id": np.array([f"{name}x{factor}" for name in first.potential_id]),
            "run_id": np.array([f"s{factor:.1f}{name[4:]}" for name in first.run_id]),
        }
        parts.append(dataclasses.replace(first, **changed))
    names = [field.name for field in dataclasses.fields(Liquids)]
    return Liquids(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def write_tables(directory: Path, liquids: Liquids, held_out: str, moved: dict[str, str] | None = None) -> Path:
    """Write the four tables of a release with one fold; `moved` overrides the side of single rows."""
    folder = directory / "data"
    write_rows(folder / "grid.parquet", "grid", [{"r_nm": r} for r in R_NM])
    provenance = {"spec": {}, "versions": {}}
    unique = {name: row for row, name in enumerate(liquids.potential_id)}
    potentials = [
        {
            "potential_id": name,
            "molecule_id": liquids.parent_molecule_id[row],
            "origin": "ibi",
            "scale_factor": 1.0,
            "potential_kj_mol": liquids.potential_kj_mol[row].tolist(),
            "pressure_corrected": False,
            "status": "ok",
            **provenance,
        }
        for name, row in unique.items()
    ]
    write_rows(folder / "potentials.parquet", "potentials", potentials)
    coarse = [
        {
            "run_id": liquids.run_id[row],
            "molecule_id": liquids.parent_molecule_id[row],
            "potential_id": liquids.potential_id[row],
            "mass_g_mol": liquids.mass_g_mol[row],
            "thermostat": str(liquids.thermostat[row]),
            "friction_1_ps": liquids.friction_1_ps[row],
            "pressure_bar": liquids.pressure_bar[row],
            "diffusion_nm2_ns_se": liquids.diffusion_nm2_ns_se[row],
            "temperature_k": liquids.temperature_k[row],
            "number_density_nm3": liquids.number_density_nm3[row],
            "n_beads": int(liquids.n_beads[row]),
            "diffusion_nm2_ns": liquids.diffusion_nm2_ns[row],
            "rdf": liquids.rdf[row].tolist(),
            "status": "ok",
            **provenance,
        }
        for row in range(len(liquids))
    ]
    crashed = {**coarse[0], "run_id": "e" * 16, "status": "failed", "reason": "lost atoms", "rdf": None}
    write_rows(folder / "coarse.parquet", "coarse", [*coarse, crashed])
    parents = dict(zip(liquids.potential_id.tolist(), liquids.parent_potential_id.tolist(), strict=True))
    splits = []
    for row in [*coarse, crashed]:
        parent = parents[str(row["potential_id"])]
        side = "test" if row["molecule_id"] == held_out else "validation" if parent == "neopentane-1" else "train"
        splits.append(
            {
                "run_id": row["run_id"],
                "fold": held_out,
                "split": (moved or {}).get(str(row["run_id"]), side),
                "parent_molecule_id": row["molecule_id"],
                "parent_potential_id": parent,
            }
        )
    write_rows(folder / "splits.parquet", "splits", splits)
    return directory
