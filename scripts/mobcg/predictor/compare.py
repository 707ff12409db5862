"""`mobcg compare DIR`: what `mobcg predict` promised in DIR beside what its run, `lmp -in DIR/lammps/run.in`, gave."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobcg.errors import InputError
from mobcg.observables import rdf_error
from mobcg.pair import R_NM
from mobcg.predictor.closure import infinite_rdf
from mobcg.predictor.mobility import box_factor
from mobcg.predictor.rdf_files import read_rdf
from mobcg.units import ANGSTROM_PER_NM, FS_PER_PS, NM2_NS_PER_NM2_PS

# The displacement of one origin is followed from here, in parts of the run, to its end: at so many times at least.
DIFFUSIVE_FROM, LEAST_TIMES = 0.1, 3


@dataclass(frozen=True)
class Outcome:
    """What the run gave, and how near it is to what was asked for.

    Attributes
    ----------
    rdf
        (150,): g(r) on the common grid.
    rdf_error
        Of it against the one asked for, both as of the infinite liquid.
    diffusion_nm2_ns, wanted_nm2_ns
        D, and the D asked for as it is in the box of the run.
    alpha
        Their ratio.
    expected
        What was promised of rdf_error and alpha, where anything was.
    """

    rdf: NDArray[np.float64]
    rdf_error: float
    diffusion_nm2_ns: float
    wanted_nm2_ns: float
    alpha: float
    expected: dict[str, float]


def compare(directory: Path) -> Outcome:
    """Return the outcome of the run that `mobcg predict` wrote into a directory.

    D is the slope of the mean squared displacement from one origin, to about 5 %: enough to see what was promised. The
    box of the run is not that of the liquid asked for, and a liquid in a smaller box is slower by a known factor
    (`mobcg.predictor.mobility.box_factor`), under a Langevin friction apart.

    Raises
    ------
    InputError
        The directory holds no prediction, or its run has not finished.
    """
    try:
        promised = json.loads((directory / "prediction.json").read_text(encoding="utf-8"))
        asked, told, thermostat = promised["input"], promised["predicted"], promised["thermostat"]
        density, wanted = float(asked["number_density_nm3"]), float(asked["diffusion_nm2_ns"])
        n_beads, molecules = float(promised["n_beads"]), float(asked.get("molecules", np.inf))
        rdf = np.array(promised["rdf"], np.float64).reshape(R_NM.shape)
        expected = {name: float(told[name]) for name in ("rdf_error", "alpha") if name in told}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(directory, "", str(error), "a directory written by this `mobcg predict`") from None
    found = read_rdf(directory / "lammps/rdf.txt", density, n_molecules=n_beads)
    error = rdf_error(infinite_rdf(found.rdf, n_beads), infinite_rdf(rdf, molecules))
    diffusion = _diffusion(directory / "lammps")
    if thermostat != "langevin":
        wanted *= float(box_factor(molecules) / box_factor(n_beads))
    return Outcome(found.rdf, error, diffusion, wanted, diffusion / wanted, expected)


def _diffusion(directory: Path) -> float:
    """Return D in nm²/ns from msd.txt (step, Å²) and the time step in run.in (fs)."""
    allowed, advice = "the run, finished", "Run `lmp -in run.in` there."
    try:
        lines = (directory / "run.in").read_text().splitlines()
        step_fs = float(next(line.split()[1] for line in lines if line.startswith("timestep")))
        step, msd_a2 = np.loadtxt(directory / "msd.txt", ndmin=2).T
    except (OSError, ValueError, StopIteration) as error:
        raise InputError(directory, "msd.txt", str(error), allowed, advice) from None
    time_ps, msd_nm2 = (step - step[0]) * step_fs / FS_PER_PS, msd_a2 / ANGSTROM_PER_NM**2
    late = time_ps >= DIFFUSIVE_FROM * time_ps[-1]
    finite = np.isfinite(msd_nm2[late])
    if finite.size < LEAST_TIMES or not finite.all():
        found = f"{finite.size} times of diffusion, {finite.sum()} of them with a number"
        raise InputError(directory, "msd.txt", found, allowed, advice)
    return float(np.polyfit(time_ps[late], msd_nm2[late], 1)[0]) / 6 * NM2_NS_PER_NM2_PS


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints what was expected beside what was found."""
    parser = argparse.ArgumentParser(prog="mobcg compare", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    options = parser.parse_args(arguments)
    found = compare(options.directory)
    for name in ("rdf_error", "alpha"):
        promise = f", expected {found.expected[name]:.3f}" if name in found.expected else ""
        print(f"{name}: {getattr(found, name):.3f}{promise}")
    print(f"diffusion_nm2_ns: {found.diffusion_nm2_ns:.3g}, asked for {found.wanted_nm2_ns:.3g} in the box of the run")
    return 0
