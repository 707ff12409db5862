"""One job of the prior: some random potentials, drawn and screened, and the coarse-grained runs of each.

Restarts and failures as in `mobcg.coarse.shard`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import freud

from mobcg import plan, programs
from mobcg.coarse.prior import MAX_PROPOSALS, draw_liquid, fault
from mobcg.coarse.shard import Row, run_specs
from mobcg.doctor import require
from mobcg.errors import InputError
from mobcg.pair import force
from mobcg.programs import ProgramError
from mobcg.records import work_directory, write_rows
from mobcg.step import run_step


def run_prior_shard(shard: Mapping[str, Any], work: Path) -> tuple[list[Row], list[Row]]:
    """Draw the potentials of a shard of `mobcg.plan`, run them, and return the rows of `potentials` and of `coarse`.

    Arguments and errors as for `mobcg.coarse.shard.run_specs`.
    """
    potentials = {name: potential_row(name, spec) for name, spec in plan.prior_potentials(shard).items()}
    rows = run_specs(plan.expand_shard(shard), potentials, work, fault)
    return [potentials[name] for name in sorted(potentials)], rows


def potential_row(potential_id: str, spec: Mapping[str, Any]) -> Row:
    """Return the row of the table `potentials` of a spec from `mobcg.plan.prior_potentials`."""
    row = {
        "potential_id": potential_id,
        "molecule_id": None,
        "origin": "prior",
        "scale_factor": 1.0,
        "temperature_k": spec["temperature_k"],
        "number_density_nm3": None,
        "pressure_corrected": False,
        "status": "ok",
        "reason": None,
        "spec": dict(spec),
        "versions": programs.versions("mobcg"),
    }
    drawn = draw_liquid(spec)
    if drawn is None:
        return row | {"status": "failed", "reason": f"none of {MAX_PROPOSALS} proposals is a liquid"}
    density_nm3, potential = drawn
    curves = {"potential_kj_mol": potential.tolist(), "force_kj_mol_nm": force(potential).tolist()}
    return row | curves | {"number_density_nm3": density_nm3}


def main(arguments: list[str] | None = None) -> None:
    """Run one shard of the prior from the command line."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.coarse.prior_shard", description=__doc__.splitlines()[0])
    parser.add_argument("--spec", type=json.loads, required=True, help="the shard, as JSON")
    parser.add_argument("--work", type=Path, required=True, help="directory of the single records")
    parser.add_argument("--potentials", type=Path, required=True, help="all potentials of the shard (Parquet)")
    parser.add_argument("--coarse", type=Path, required=True, help="all records of the shard (Parquet)")
    options = parser.parse_args(arguments)
    freud.set_num_threads(1)
    try:
        require("lmp")
        with work_directory(options.work) as work:
            potentials, rows = run_prior_shard(options.spec, work)
            write_rows(options.potentials, "potentials", potentials)
            write_rows(options.coarse, "coarse", rows)
    except (InputError, ProgramError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    sys.exit(run_step(main))
