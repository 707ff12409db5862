"""The command `mobcg`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mobcg import __version__
from mobcg.errors import InputError, SimulationError


def checked_plan(content: Mapping[str, Any]) -> Any:
    """Return the plan of a configuration after the chemistry of every molecule was checked too.

    Raises
    ------
    InputError
        Anything in the configuration is wrong.
    """
    from mobcg.plan import load_plan

    plan = load_plan(content)
    if shutil.which("gmx") is None and "GMXDATA" not in os.environ:
        # A login node need not have GROMACS; each job checks its molecule again before it simulates.
        print("mobcg: no gmx here, so force-field terms are checked by the jobs only", file=sys.stderr)
        return plan
    for name, molecule in plan.molecules.items():
        _check_force_field(molecule, Path(plan.config.molecules_dir) / f"{name}.yaml")
    return plan


def _check_force_field(molecule: Any, path: Path) -> None:
    from mobcg.atomistic.force_field import read_own_files
    from mobcg.atomistic.topology import check
    from mobcg.plan import file_force_field

    if molecule.topology is None:
        check(molecule.smiles, path)
    else:
        read_own_files(file_force_field(molecule, path), molecule.smiles, str(path), path.parent)


def _plan_of(options: argparse.Namespace) -> Any:
    from mobcg.config import read_config

    given = {key: getattr(options, key, None) for key in ("scale", "base_release")}
    return checked_plan(read_config() | {key: value for key, value in given.items() if value})


def _doctor(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from mobcg.doctor import BAD, findings

    found = findings()
    table = Table("", "found", "", "what to do or to know")
    for finding in found:
        table.add_row(finding.subject, finding.found, finding.state, finding.advice)
    Console(markup=False).print(table)
    return 1 if any(finding.state == BAD for finding in found) else 0


def _molecule_draft(options: argparse.Namespace) -> int:
    from mobcg.atomistic.topology import check
    from mobcg.molecule import draft

    check(options.smiles, "mobcg molecule draft")
    print(draft(options.smiles, options.id, options.density_kg_m3), end="")
    return 0


def _molecule_check(options: argparse.Namespace) -> int:
    from mobcg.config import load_molecule
    from mobcg.molecule import species_of

    for path in options.file:
        molecule = load_molecule(path)
        species = species_of(molecule, path)
        _check_force_field(molecule, path)
        print(f"{path}: {molecule.name}, {species.formula}, {species.molar_mass_g_mol:.3f} g/mol: fine")
    return 0


def _status(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from mobcg.status import plan_status

    stages = plan_status(_plan_of(options))
    table = Table("stage", "planned", "reused", "done", "of these failed", "left")
    for stage in stages:
        numbers = (stage.planned, stage.reused, stage.done, len(stage.failed), stage.left)
        table.add_row(stage.stage, *map(str, numbers))
    console = Console()
    console.print(table)
    for stage in stages:
        for name, reason in stage.failed.items():
            console.print(f"{stage.stage} {name}: {(reason or 'no reason recorded').splitlines()[0]}", markup=False)
    return 0


def _estimate(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from mobcg.estimate import job_seconds

    table = Table("rule", "jobs", "core-hours")
    costs = job_seconds(_plan_of(options))
    for rule, seconds in costs.items():
        table.add_row(rule, str(len(seconds)), f"{sum(seconds) / 3600:.2f}")
    table.add_section()
    everything = [each for seconds in costs.values() for each in seconds]
    table.add_row("all", str(len(everything)), f"{sum(everything) / 3600:.2f}")
    Console().print(table)
    return 0


def _release_interim(options: argparse.Namespace) -> int:
    from mobcg.database.build import build_release, current_commit, finished
    from mobcg.plan import molecule_rows, record_files

    plan = _plan_of(options)
    base = Path(plan.config.base_release) if plan.config.base_release else None
    # Scores belong to one set of models; those of an unfinished plan would soon be wrong.
    records = finished({table: paths for table, paths in record_files(plan).items() if table != "evaluation"})
    if not any(records.values()) and base is None:
        where, advice = f"{plan.config.results_dir}/", "Is the scale the one that was run? See `mobcg status`."
        raise InputError(where, "", "no finished record", "records of this plan", advice)
    version = f"{plan.config.version}-interim"
    releases = Path(plan.config.releases_dir)
    print(build_release(records, molecule_rows(plan), version, releases, base, commit=current_commit()))
    return 0


def _module(name: str, *words: str) -> Any:
    """Return a command that hands its arguments to the command line of a module."""
    return lambda options: import_module(name).main([*words, *options.arguments])


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="mobcg", description="Mobility-preserving coarse-grained liquids.")
    top.add_argument("--version", action="version", version=f"mobcg {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    commands.add_parser("doctor", help="what is installed and what is missing").set_defaults(run=_doctor)

    molecule = commands.add_parser("molecule", help="write or check a molecule file").add_subparsers(required=True)
    drafting = molecule.add_parser("draft", help="print a molecule file for a SMILES")
    drafting.add_argument("smiles")
    drafting.add_argument("--id", default="new-molecule", help="its id, which must be the file's name")
    drafting.add_argument("--density-kg-m3", type=float, help="measured density at the state point")
    drafting.set_defaults(run=_molecule_draft)
    checking = molecule.add_parser("check", help="check molecule files")
    checking.add_argument("file", nargs="+", type=Path)
    checking.set_defaults(run=_molecule_check)

    for name, run, text in (
        ("status", _status, "what is done, failed and left, stage by stage"),
        ("estimate", _estimate, "core-hours and jobs of a scale"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--scale", help="a file of config/scale (default: that of config/config.yaml)")
        command.set_defaults(run=run)

    for name, module, text in (
        ("predict", "mobcg.predictor.command", "a potential for a liquid, from its g(r), D, mass and density"),
        ("compare", "mobcg.predictor.compare", "what a prediction promised beside what its run gave"),
    ):
        command = commands.add_parser(name, help=text, add_help=False, prefix_chars="\0")
        command.add_argument("arguments", nargs=argparse.REMAINDER)
        command.set_defaults(run=_module(module))

    release = commands.add_parser(
        "release", help="validate, compare, describe, download, hand on a release"
    ).add_subparsers(required=True)
    interim = release.add_parser("interim", help="what is finished so far, as a release to go on from elsewhere")
    interim.add_argument("--scale", help="a file of config/scale (default: that of config/config.yaml)")
    interim.add_argument("--base-release", help="release whose records are taken over (default: as configured)")
    interim.set_defaults(run=_release_interim)
    for name in ("validate", "diff", "card", "download"):
        command = release.add_parser(name, add_help=False, prefix_chars="\0")
        command.add_argument("arguments", nargs=argparse.REMAINDER)
        command.set_defaults(run=_module(f"mobcg.database.{name}"))
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; a wrong input is a message and exit status 2, never a traceback."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except InputError as error:
        print(f"mobcg: {error}", file=sys.stderr)
        return 2
    except SimulationError as error:
        print(f"mobcg: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
