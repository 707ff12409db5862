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
from mobcg.predictor.rdf_files import read_rdf
from mobcg.units import ANGSTROM_PER_NM, FS_PER_PS, NM2_NS_PER_NM2_PS

# The displacement of one origin is followed from here, in parts of the run, to the end of it.
DIFFUSIVE_FROM = 0.1


@dataclass(frozen=True)
class Outcome:
    """What the run gave: g(r) on the common grid, its `rdf_error` and α = D/D_AA against what was asked for."""

    rdf: NDArray[np.float64]
    rdf_error: float
    diffusion_nm2_ns: float
    alpha: float


def compare(directory: Path) -> Outcome:
    """Return the outcome of the run that `mobcg predict` wrote into a directory.

    D is the slope of the mean squared displacement from one origin, to about 5 %: enough to see what was promised.

    Raises
    ------
    InputError
        The directory holds no prediction, or its run has not finished.
    """
    try:
        promised = json.loads((directory / "prediction.json").read_text(encoding="utf-8"))
        asked = promised["input"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(directory, "", str(error), "a directory written by `mobcg predict`") from None
    found = read_rdf(directory / "lammps/rdf.txt", asked["number_density_nm3"])
    diffusion = _diffusion(directory / "lammps")
    return Outcome(found.rdf, rdf_error(found.rdf, promised["rdf"]), diffusion, diffusion / asked["diffusion_nm2_ns"])


def _diffusion(directory: Path) -> float:
    """Return D in nm²/ns from msd.txt (step, Å²) and the time step in run.in (fs)."""
    try:
        lines = (directory / "run.in").read_text().splitlines()
        step_fs = float(next(line.split()[1] for line in lines if line.startswith("timestep")))
        step, msd_a2 = np.loadtxt(directory / "msd.txt", ndmin=2).T
    except (OSError, ValueError, StopIteration) as error:
        raise InputError(directory, "msd.txt", str(error), "the run, finished", "Run `lmp -in run.in` there.") from None
    time_ps, msd_nm2 = (step - step[0]) * step_fs / FS_PER_PS, msd_a2 / ANGSTROM_PER_NM**2
    late = time_ps >= DIFFUSIVE_FROM * time_ps[-1]
    return float(np.polyfit(time_ps[late], msd_nm2[late], 1)[0]) / 6 * NM2_NS_PER_NM2_PS


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints what was expected beside what was found."""
    parser = argparse.ArgumentParser(prog="mobcg compare", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    options = parser.parse_args(arguments)
    found = compare(options.directory)
    expected = json.loads((options.directory / "prediction.json").read_text(encoding="utf-8"))["predicted"]
    for name in ("rdf_error", "alpha"):
        promise = f", expected {expected[name]:.3f}" if name in expected else ""
        print(f"{name}: {getattr(found, name):.3f}{promise}")
    print(f"diffusion_nm2_ns: {found.diffusion_nm2_ns:.3g}")
    return 0
