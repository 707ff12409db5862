"""What others' potentials reach on the eight liquids, to set ours beside: `peers.csv`.

One run each by LAMMPS of 1000 beads, NVT at the published atomistic density, 298.15 K, Nosé–Hoover, against g(r) and D
of the published atomistic models of Bag, Meinel and Müller-Plathe (J. Chem. Theory Comput. 2022 and 2024; repository
saientan/database_and_ML_CG_Mobi). `published`: the potentials that the authors of 2024 deposited. `ibi`: 22 iterations
of Boltzmann inversion against their g(r), without pressure correction; `ibi x s`: that potential times s. D to 3 to
5 %, structure error to 0.005.

`published_liquids.csv`: density, D and highest g(r) of the atomistic liquids behind them, from the files of the same
repository; 298.15 K, 1 atm, 1000 molecules, OPLS-AA by LAMMPS.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Peer:
    """α, structure error and, where it was noted, pressure (atm) of a peer's model of a liquid."""

    molecule_id: str
    model: str
    alpha: float
    rdf_error: float
    pressure_atm: float | None


@dataclass(frozen=True)
class PublishedLiquid:
    """Density (kg/m³), D (nm²/ns) and highest g(r) of a published atomistic liquid."""

    molecule_id: str
    density_kg_m3: float
    diffusion_nm2_ns: float
    rdf_peak: float


def read_published_liquids() -> dict[str, PublishedLiquid]:
    """Return molecule_id → row of published_liquids.csv."""
    with files("mobcg.report").joinpath("published_liquids.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {
        name: PublishedLiquid(name, *(float(row[key]) for key in ("density_kg_m3", "diffusion_nm2_ns", "rdf_peak")))
        for name, row in ((row["molecule_id"], row) for row in rows)
    }


def read_peers() -> list[Peer]:
    """Return the rows of peers.csv."""
    with files("mobcg.report").joinpath("peers.csv").open(encoding="utf-8") as stream:
        return [
            Peer(
                row["molecule_id"],
                row["model"],
                float(row["alpha"]),
                float(row["rdf_error"]),
                float(row["pressure_atm"]) if row["pressure_atm"] else None,
            )
            for row in csv.DictReader(stream)
        ]
