"""The gate: is a release directory whole, in its schema, consistent across tables, and physically possible?

`python -m mobcg.database.validate DIR`; exit status 1 when it is not. Nothing in a release is executed by reading it.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from mobcg.database.checks import across, files, made, rows, trajectories
from mobcg.database.checks.finding import Finding, ReleaseTables
from mobcg.database.manifest import json_text
from mobcg.schema import TABLES

# Findings listed for one rule of one column; the rest is counted.
LISTED = 20
ACROSS = (
    across.check_references,
    across.check_grid,
    across.check_force_fields,
    across.check_molecules,
    across.check_lineage,
    across.check_histories,
    across.check_splits,
    across.check_mass_law,
    across.check_virial,
    across.check_evaluation,
    trajectories.check_trajectories,
)


def validate(directory: Path) -> list[Finding]:
    """Return everything that is wrong with a release directory; an empty list where it may be trusted.

    Files are compared with SHA256SUMS first, and none that differs is opened. Then come schema, what is made from the
    tables (`mobcg.database.checks.made`), values, keys, ids, splits and physics (`mobcg.database.checks.physics`), the
    bead trajectories beside the release, as far as they are there, and last the numbers of data card and diff.
    """
    if not directory.is_dir():
        return [Finding("", "", "", str(directory), "a release directory")]
    findings, sound = files.check_files(directory)
    if not sound:
        return _limited(findings)
    whole = [name for name in TABLES if f"data/{name}.parquet" in sound]
    lost = [name for name in TABLES if not (directory / "data" / f"{name}.parquet").is_file()]
    findings += [Finding(name, "", "", "no file", "every table is there") for name in lost]
    readable = []
    for name in whole:
        wrong = list(files.check_schema(TABLES[name], directory / "data" / f"{name}.parquet"))
        findings += wrong
        if not wrong:
            readable.append(name)
    if len(readable) < len(TABLES):
        # Keys and physics across tables mean nothing while one of them cannot be read.
        return _limited(findings)
    try:
        findings += made.check_made(directory, sound)
        findings += _check_contents(ReleaseTables(directory))
        # What is counted and averaged from the tables says nothing new while one of them is wrong.
        findings += [] if findings else made.check_summaries(directory)
    except (pa.ArrowInvalid, OSError) as error:
        findings.append(Finding("data", "", "", str(error).splitlines()[0], "pages that can be read"))
    return _limited(findings)


def _check_contents(release: ReleaseTables) -> Iterator[Finding]:
    for table in TABLES.values():
        yield from rows.check_keys(release, table)
        yield from rows.check_rows(release, table)
    for check in ACROSS:
        yield from check(release)


def _limited(findings: Iterable[Finding]) -> list[Finding]:
    kept, counts = [], Counter()
    for finding in findings:
        kind = finding.table, finding.field, finding.rule
        counts[kind] += 1
        if counts[kind] <= LISTED:
            kept.append(finding)
    more = [
        Finding(table, f"and {count - LISTED} more rows", field, "the same", rule)
        for (table, field, rule), count in counts.items()
        if count > LISTED
    ]
    return kept + more


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints the findings, exit status 1 when there are any."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.database.validate", description=__doc__.splitlines()[0])
    parser.add_argument("release", type=Path, help="release directory")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = parser.parse_args(arguments)
    findings = validate(options.release)
    if options.json:
        print(
            json_text({"release": options.release.name, "findings": [asdict(finding) for finding in findings]}), end=""
        )
    else:
        for finding in findings:
            print(finding)
        print(f"{options.release}: {'valid' if not findings else f'refused, {len(findings)} findings'}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
