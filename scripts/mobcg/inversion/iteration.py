"""The end of one iteration, called by `csg_inverse` in the directory of that iteration.

VOTCA has updated the potential; here it gets its core and its tail, the inversion is judged, and the table and the seed
of the next iteration are laid out. Started once an iteration, so it imports little.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobcg.inversion import votca
from mobcg.inversion.convergence import (
    Iteration,
    Target,
    Verdict,
    is_converged,
    judge,
)
from mobcg.pair import core_index, extrapolate_core, taper, write_lammps_table
from mobcg.records import atomic_path

CONTROL_FILE = "control.json"
# What later iterations and the record need of an earlier one.
KEPT = frozenset({"done", votca.STOP_FILE, f"{votca.PAIR}.pot.cur", f"{votca.PAIR}.dist.new", votca.PRESSURE_FILE})
PROGRESS_FD = "MOBCG_PROGRESS_FD"


def shape(current_kj_mol: ArrayLike, updated_kj_mol: ArrayLike, target_rdf: ArrayLike) -> NDArray[np.float64]:
    """Return the updated potential with a smooth core and a smooth end; all (150,).

    The update is tapered, not the potential: a potential tapered again and again would lose its tail. The last value is
    zero, so that VOTCA's shift to zero at the end leaves it alone.

    Raises
    ------
    ValueError
        The potential has no repulsive wall to continue into the core.
    """
    current = np.asarray(current_kj_mol, np.float64)
    update = np.asarray(updated_kj_mol, np.float64) - current
    shaped = current + taper(update - update[-1])
    shaped = extrapolate_core(shaped, core_index(target_rdf))
    shaped[-1] = 0.0
    return shaped


def step_dir(main_dir: Path, iteration: int) -> Path:
    """Return the directory that VOTCA gives an iteration; 0 is its preparation."""
    return main_dir / f"step_{iteration:03d}"


def lay_out(main_dir: Path, iteration: int, potential_path: Path) -> None:
    """Write into the main directory what `csg_inverse` copies into an iteration: its table and its seed."""
    control = json.loads((main_dir / CONTROL_FILE).read_text())
    settings = votca.Settings(**control["settings"])
    potential, _ = votca.read_table(potential_path)
    write_lammps_table(main_dir / votca.TABLE_FILE, potential, votca.TABLE_KEYWORD)
    with atomic_path(main_dir / votca.START_FILE) as temporary:
        temporary.write_text(votca.start_script(settings, iteration, control["seeds"][iteration - 1]))


def read_iterations(main_dir: Path, last: int, n_beads: int) -> list[Iteration]:
    """Return what the iterations from 1 to `last` sampled."""
    return [votca.read_iteration(step_dir(main_dir, k), n_beads) for k in range(1, last + 1)]


def progress_line(iteration: int, iterations_max: int, verdict: Verdict, target: Target, seconds: float) -> str:
    """Return one line for a person who waits."""
    towards = "" if target.pressure_bar is None else f" (target {target.pressure_bar:.0f})"
    return (
        f"iteration {iteration} of at most {iterations_max}: sum|dg| {verdict.deviation:.2f} (noise "
        f"{verdict.noise:.2f}), pressure {verdict.pressure_bar:.0f} ± {verdict.pressure_bar_se:.0f} bar{towards}; "
        f"{seconds:.1f} s an iteration, at most {seconds * (iterations_max - iteration):.0f} s left"
    )


def finish(here: Path, updated_path: Path, shaped_path: Path) -> None:
    """Shape the potential that VOTCA updated, judge the inversion and lay out the next iteration."""
    main_dir, iteration = here.parent, int(here.name.removeprefix("step_"))
    control = json.loads((main_dir / CONTROL_FILE).read_text())
    settings = votca.Settings(**control["settings"])
    target = Target(np.array(control["rdf"]), np.array(control["rdf_variance"]), settings.target_pressure_bar)
    current, _ = votca.read_table(here / f"{votca.PAIR}.pot.cur")
    updated, _ = votca.read_table(updated_path)
    votca.write_table(shaped_path, shape(current, updated, target.rdf))
    if iteration < settings.iterations_max:
        lay_out(main_dir, iteration + 1, shaped_path)
    iterations = read_iterations(main_dir, iteration, control["n_beads"])
    seconds = time.time() - (here / votca.SCRIPT_FILE).stat().st_mtime
    if is_converged(iterations, target):
        (here / votca.STOP_FILE).touch()
    line = progress_line(iteration, settings.iterations_max, judge(iterations[-1:], target), target, seconds)
    if PROGRESS_FD in os.environ:
        os.write(int(os.environ[PROGRESS_FD]), f"{line}\n".encode())
    # The iteration before this one must stay whole until this one is done.
    for path in step_dir(main_dir, iteration - 2).glob("*") if iteration > 1 else ():
        if path.name not in KEPT:
            path.unlink()


if __name__ == "__main__":
    finish(Path.cwd(), Path(sys.argv[1]), Path(sys.argv[2]))
