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

from mobcg import plan
from mobcg.coarse.prior import fault, potential_row
from mobcg.coarse.shard import Row, run_specs
from mobcg.errors import InputError
from mobcg.programs import ProgramError
from mobcg.records import work_directory, write_rows


def run_prior_shard(shard: Mapping[str, Any], work: Path) -> tuple[list[Row], list[Row]]:
    """Draw the potentials of a shard of `mobcg.plan`, run them, and return the rows of `potentials` and of `coarse`.

    Arguments and errors as for `mobcg.coarse.shard.run_specs`.
    """
    potentials = {name: potential_row(name, spec) for name, spec in plan.prior_potentials(shard).items()}
    rows = run_specs(plan.expand_shard(shard), potentials, work, fault)
    return [potentials[name] for name in sorted(potentials)], rows


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
        with work_directory(options.work) as work:
            potentials, rows = run_prior_shard(options.spec, work)
            write_rows(options.potentials, "potentials", potentials)
            write_rows(options.coarse, "coarse", rows)
    except (InputError, ProgramError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
