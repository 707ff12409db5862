"""What is installed, in which version, and what to do about what is not."""

from __future__ import annotations

import re
import shutil
import socket
import sys
from dataclasses import dataclass
from functools import partial
from importlib import metadata

from mobcg.errors import InputError
from mobcg.programs import version

OK, WARN, BAD = "ok", "note", "missing"
PACKAGES = ("snakemake", "rdkit", "freud-analysis", "MDAnalysis", "pyarrow", "safetensors", "scikit-learn", "torch")
PACKAGES += ("matplotlib",)
MANY_BODY_PACKAGES = ("graph-pes", "hippynn")


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked for, what was found, how that is, and what it means."""

    subject: str
    found: str
    state: str
    advice: str = ""


def _year(found: str) -> int:
    years = re.findall(r"20\d\d", found)
    return int(years[-1]) if years else 0


def judge_gmx(found: str | None) -> Finding:
    """Judge a version of GROMACS."""
    if found is None:
        return Finding("gmx", "not found", BAD, "`make setup`, or load your site's GROMACS module (2021 or newer)")
    if _year(found) < 2021:
        return Finding("gmx", found, BAD, "C-rescale pressure coupling needs 2021 or newer: `make setup`")
    return Finding("gmx", found, OK, "2020 and later run no tabulated potentials: coarse runs use LAMMPS")


def judge_votca(program: str, found: str | None) -> Finding:
    """Judge a version of one of VOTCA's programs."""
    if found is None:
        advice = "`make setup`, or install votca older than 2026 (2026 removed csg_inverse)"
        return Finding(program, "not found", BAD, advice)
    if _year(found) >= 2026:
        return Finding(program, found, BAD, "VOTCA 2026 removed csg_inverse: install 2022 to 2025")
    if _year(found) < 2022:
        return Finding(program, found, WARN, "untested before 2022")
    return Finding(program, found, OK)


def judge_lmp(found: str | None) -> Finding:
    """Judge a version of LAMMPS."""
    if found is None:
        return Finding("lmp", "not found", BAD, "`make setup`, or load your site's LAMMPS module")
    if _year(found) < 2020:
        return Finding("lmp", found, WARN, "untested before 2020")
    return Finding("lmp", found, OK)


JUDGES = {
    "gmx": judge_gmx,
    "csg_inverse": partial(judge_votca, "csg_inverse"),
    "csg_stat": partial(judge_votca, "csg_stat"),
    "lmp": judge_lmp,
}


def require(*programs: str) -> None:
    """Check, on the node where a step runs and before it does anything, that its programs are there and can serve.

    Raises
    ------
    InputError
        One is missing, or is of a version that cannot run what it is asked to.
    """
    for program in programs:
        finding = JUDGES[program](version(program))
        if finding.state == BAD:
            where = f"{program} on {socket.gethostname()}"
            raise InputError(where, "version", finding.found, "one that can run this step", finding.advice)


def findings() -> list[Finding]:
    """Return what this machine has of what mobcg needs, the workflow's programs first."""
    found = [
        *(judge(version(program)) for program, judge in JUDGES.items()),
        Finding("python", sys.version.split()[0], OK if sys.version_info >= (3, 11) else BAD),
    ]
    for package in PACKAGES:
        try:
            found.append(Finding(package, metadata.version(package), OK))
        except metadata.PackageNotFoundError:
            found.append(Finding(package, "not found", BAD, "`make setup`, or pip install 'mobcg[workflow]'"))
    for package in MANY_BODY_PACKAGES:
        try:
            found.append(Finding(package, metadata.version(package), OK))
        except metadata.PackageNotFoundError:
            found.append(Finding(package, "not found", WARN, "`make forcematch` installs it; nothing else needs it"))
    sbatch = shutil.which("sbatch")
    found.append(Finding("sbatch", sbatch or "not found", OK if sbatch else WARN, "" if sbatch else "no Slurm here"))
    return found
