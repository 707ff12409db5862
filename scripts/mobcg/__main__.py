"""The command `mobcg`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mobcg import __version__
from mobcg.errors import InputError, SimulationError

# What many-body models are built with; an extra, so that the rest of mobcg works without.
FORCE_MATCHING_LIBRARIES = {"schnet": "graph_pes", "hipnn": "hippynn"}


def runnable_plan(content: Mapping[str, Any]) -> Any:
    """Return the plan of a configuration after the libraries of its models were looked for too.

    Raises
    ------
    InputError
        Anything in the configuration is wrong, or a library is missing.
    """
    plan = checked_plan(content)
    for model in dict.fromkeys(fit["model"] for fit in plan.forcematch.fits.values()):
        library = FORCE_MATCHING_LIBRARIES.get(model)
        if library is not None and find_spec(library) is None:
            advice = "Run `scripts/setup.sh forcematch`, or take the model out of the section forcematch."
            raise InputError(f"scale {plan.scale.name}", model, f"no Python module {library}", "its library", advice)
    return plan


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


def _target_of(options: argparse.Namespace, plan: Any) -> str:
    if options.target == "forcematch" and not plan.forcematch.judgements:
        where, advice = f"scale {plan.scale.name}", "Its section `forcematch` asks for nothing."
        raise InputError(where, "--target", options.target, "all", advice)
    return options.target


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
    from mobcg.molecule import GUESS, species_of

    for path in options.file:
        molecule = load_molecule(path)
        species = species_of(molecule, path)
        _check_force_field(molecule, path)
        if molecule.reference_density_source == GUESS:
            advice = "The box is built for it: put the measured density there, and where it is from."
            found = f"{molecule.reference_density_kg_m3:g}, {GUESS}"
            raise InputError(path, "reference_density_kg_m3", found, "a measured density", advice)
        print(f"{path}: {molecule.name}, {species.formula}, {species.molar_mass_g_mol:.3f} g/mol: fine")
    return 0


STATUS_WORDS = {
    "failed": "a simulation that ended without a result; it is recorded with its reason and counts as done",
    "retried": "a run repeated in smaller time steps, or a job started again",
    "stopped": "a job that began, is not at work and left nothing; the next start goes on with it",
}


def _status(options: argparse.Namespace) -> int:
    from rich.console import Console

    from mobcg.status import plan_status, reasons, time_left

    plan = _plan_of(options)
    target = _target_of(options, plan)
    stages = plan_status(plan, target=target)
    left = time_left(plan, stages, _measured_rates(plan), target)
    table = _table(
        "stage", *["planned", "reused", "done", "failed", "retried", "running", "stopped", "left"], "core-hours left"
    )
    for stage in stages:
        lists = (stage.failed, stage.retried, stage.running, stage.stopped)
        numbers = (stage.planned, stage.reused, stage.done, *map(len, lists), stage.left)
        table.add_row(stage.stage, *map(str, numbers), f"{left.core_s[stage.stage] / 3600:.2f}")
    console = Console(soft_wrap=True, markup=False, highlight=False)
    console.print(table)
    for word, meaning in STATUS_WORDS.items():
        if any(getattr(stage, word) for stage in stages):
            console.print(f"{word}: {meaning}")
    if left.wall_s is not None:
        console.print(f"about {_duration(left.wall_s)} left at this pace")
    for stage in stages:
        for name, line in stage.running.items():
            console.print(f"{stage.stage} {name}: running: {line}")
        for word, found in (("stopped", stage.stopped), ("failed", stage.failed), ("unreadable", stage.broken)):
            for reason, names in reasons(found):
                console.print(f"{stage.stage} {_some(names)}: {word}: {reason}")
    return 0


def _table(first: str, *others: str) -> Any:
    """Return a table without lines, narrow enough for 80 columns: words on the left, numbers on the right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _some(names: Sequence[str], most: int = 3) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _duration(seconds: float) -> str:
    for unit, unit_s in (("days", 86400.0), ("h", 3600.0)):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{seconds / 60:.0f} min"


def _measured_rates(plan: Any, benchmarks: Path | None = None) -> Any:
    """Return the rates that benchmarks of earlier runs tell, those of other scales in the same results counted."""
    from mobcg.config import read_config
    from mobcg.estimate import measured_rates
    from mobcg.plan import load_plan

    directory = benchmarks or Path(plan.config.results_dir) / "benchmarks"
    plans = {plan.scale.name: plan}
    for path in sorted(Path("config/scale").glob("*.yaml")) if directory.is_dir() else ():
        if path.stem not in plans:
            with suppress(InputError):  # a scale that nobody asked for
                plans[path.stem] = load_plan(read_config() | {"scale": path.stem})
    return measured_rates(plans.values(), directory)


def _estimate(options: argparse.Namespace) -> int:
    from rich.console import Console

    from mobcg.estimate import Rates, estimate, given_rates

    plan = _plan_of(options)
    if options.benchmarks is not None and not options.benchmarks.is_dir():
        raise InputError("--benchmarks", "", str(options.benchmarks), "a directory `benchmarks` of a results directory")
    rates = Rates() if options.default_rates else _measured_rates(plan, options.benchmarks)
    rates = given_rates(rates, options.ns_day_1000_atoms, options.ns_day_1000_beads)
    slots = options.slots or options.cores or os.cpu_count()
    target = _target_of(options, plan)
    found = estimate(plan, rates, slots, on_cluster=options.slots is not None, target=target)
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    table = _table("rule", "jobs", "core-hours", "longest", "disk kept", "scratch", "rate")
    for row in found["rules"]:
        origin = f"of {row['measured_jobs']} jobs" if row["measured_jobs"] else "default"
        numbers = f"{row['jobs']}", f"{row['core_hours']:.2f}", _duration(3600 * row["longest_job_hours"])
        table.add_row(row["rule"], *numbers, _size(row["kept_bytes"]), _size(row["scratch_bytes"]), origin)
    table.add_row("all", f"{found['jobs']}", f"{found['core_hours']:.2f}", "", _size(found["kept_bytes"]), "", "")
    console = Console(soft_wrap=True, markup=False, highlight=False)
    console.print(table)
    where = f"with {slots} jobs at a time on a cluster, waiting in its queue not counted" if options.slots else ""
    console.print(f"wall time {where or f'on {slots} cores'}: about {_duration(found['wall_s'])}")
    console.print(
        f"disk: {_size(found['kept_bytes'])} kept, {_size(found['peak_bytes'])} at the peak (scratch: of one job)"
    )
    console.print(f"GPU-hours: {found['gpu_hours']:g}")
    return 0


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


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
    packed = [path for path in map(Path, map(plan.packed_path, plan.to_publish())) if path.is_file()]
    made_from = {"commit": current_commit(), "scale": plan.scale.name, "rough": plan.scale.rough}
    print(build_release(records, molecule_rows(plan), version, releases, base, packed=packed, **made_from))
    return 0


def _module(name: str, *words: str) -> Any:
    """Return a command that hands its arguments to the command line of a module."""
    return lambda options: import_module(name).main([*words, *options.arguments])


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError
    return count


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

    scale = argparse.ArgumentParser(add_help=False)
    scale.add_argument("--scale", help="a file of config/scale (default: that of config/config.yaml)")
    target = argparse.ArgumentParser(add_help=False)
    target.add_argument(
        "--target", choices=("all", "forcematch"), default="all", help="of `make forcematch`, or of all"
    )
    text = "what is done, running, failed and left, stage by stage"
    commands.add_parser("status", help=text, parents=[scale, target]).set_defaults(run=_status)
    text = "core-hours, disk, jobs and wall time of a scale"
    estimating = commands.add_parser("estimate", help=text, parents=[scale, target])
    machine = estimating.add_mutually_exclusive_group()
    machine.add_argument("--cores", type=_count, help="cores of this machine to use (default: all)")
    machine.add_argument("--slots", type=_count, help="jobs at a time on a cluster, in place of --cores")
    origin = estimating.add_mutually_exclusive_group()
    origin.add_argument("--benchmarks", type=Path, help="directory of an earlier run's (default: results/benchmarks)")
    origin.add_argument("--default-rates", action="store_true", help="leave benchmarks of earlier runs aside")
    estimating.add_argument("--ns-day-1000-atoms", type=float, help="of GROMACS on one core, at 2 fs")
    estimating.add_argument("--ns-day-1000-beads", type=float, help="of LAMMPS on one core, at 12 fs for 100 g/mol")
    estimating.add_argument("--json", action="store_true", help="print JSON")
    estimating.set_defaults(run=_estimate)

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
    text = "what is finished so far, as a release to go on from elsewhere"
    interim = release.add_parser("interim", help=text, parents=[scale])
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
