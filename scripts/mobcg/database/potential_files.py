"""The potentials of a release as other programs read them: `potentials/<molecule>/<model>.<format>`.

lammps.table  `pair_style table`, real units (Å, kcal/mol)
votca.pot     r, U and the flag i of csg_resample and csg_inverse (nm, kJ/mol)
openmm.json   values of a Continuous1DFunction for a CustomNonbondedForce, and how the model is run (nm, kJ/mol)
gromacs.xvg   tabulated interaction of gmx mdrun up to 2019 (nm, kJ/mol): r f −f′ g −g′ h −h′ with U in h and C12 = 1
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from mobcg.pair import CUTOFF_NM, R_NM, TABLE_START_NM, tabulate, write_lammps_table
from mobcg.records import atomic_path

# These run the potential of another model, times a constant or with a friction; the evaluations say which.
DERIVED_MODELS = ("ibi_scaled", "ibi_dpd", "ibi_langevin")
ENDINGS = ("lammps.table", "votca.pot", "openmm.json", "gromacs.xvg")
README = f"""\
# Pair potentials between one-site beads

`<molecule>/<model>.*`, made from `data/evaluation.parquet`: one potential U(r) in four formats, with its force
F = −dU/dr, both zero from the cutoff of {CUTOFF_NM:g} nm on.

| file | program | units | columns |
|---|---|---|---|
| `*.lammps.table` | LAMMPS, `pair_style table` | real: Å, kcal/mol, kcal/mol/Å | number, r, U, F |
| `*.votca.pot` | VOTCA, `csg_resample` and `csg_inverse` | nm, kJ/mol | r, U, flag i |
| `*.openmm.json` | OpenMM, `Continuous1DFunction` | nm, kJ/mol | U in even steps of r |
| `*.gromacs.xvg` | GROMACS up to 2019, `mdrun -table` | nm, kJ/mol, kJ/mol/nm | r, four zeros, U, F |

The LAMMPS section is called MOBCG. The function of OpenMM goes into a `CustomNonbondedForce`; its file also says how
the model is run: thermostat, `friction_1_ps` in 1/ps over the bead mass, number of beads, edge of the box in nm. With
the GROMACS table C12 is 1, and C6 and charges are 0.

{", ".join(DERIVED_MODELS)} have no files: they run the potential of ibi, times `scale_factor` or with
the friction that the table names.
"""
STEP_NM = 0.002
GROMACS_END_NM = CUTOFF_NM + 1.0  # mdrun wants the table to reach beyond the cutoff by table-extension


def write_potential_files(directory: Path, name: str, potential_kj_mol: ArrayLike, run: Mapping[str, Any]) -> None:
    """Write a potential on the common grid, (150,) in kJ/mol, as `directory`/`name`.* in the four formats.

    `run` holds plain values on how the model is run; they go into openmm.json.
    """
    write_lammps_table(directory / f"{name}.lammps.table", potential_kj_mol)
    _write_votca(directory / f"{name}.votca.pot", potential_kj_mol)
    _write_openmm(directory / f"{name}.openmm.json", potential_kj_mol, run)
    _write_gromacs(directory / f"{name}.gromacs.xvg", potential_kj_mol)


def _finely(potential_kj_mol: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    return tabulate(potential_kj_mol, round((CUTOFF_NM - TABLE_START_NM) / STEP_NM) + 1)


def _write_votca(path: Path, potential_kj_mol: ArrayLike) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii") as stream:
        stream.writelines(f"{r:.3f} {u:.10e} i\n" for r, u in zip(R_NM, potential_kj_mol, strict=True))


def _write_openmm(path: Path, potential_kj_mol: ArrayLike, run: Mapping[str, Any]) -> None:
    r_nm, energy, _ = _finely(potential_kj_mol)
    content = {
        "force": "CustomNonbondedForce",
        "expression": "potential(r)",
        "function": "Continuous1DFunction",
        "min_nm": float(r_nm[0]),
        "max_nm": float(r_nm[-1]),
        "cutoff_nm": CUTOFF_NM,
        "values_kj_mol": [float(f"{value:.9g}") for value in energy],
        **run,
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")


def _write_gromacs(path: Path, potential_kj_mol: ArrayLike) -> None:
    r_nm, energy, strength = _finely(potential_kj_mol)
    # Below the first point no pair is ever found, and mdrun wants a table from 0: the wall goes on as it starts.
    inner = np.arange(round(TABLE_START_NM / STEP_NM)) * STEP_NM
    outer = np.arange(1, round((GROMACS_END_NM - CUTOFF_NM) / STEP_NM) + 1) * STEP_NM + CUTOFF_NM
    columns = [
        np.concatenate([np.full(inner.size, values[0]), values, np.zeros(outer.size)]) for values in (energy, strength)
    ]
    r_all = np.concatenate([inner, r_nm, outer])
    zeros = np.zeros((r_all.size, 4))
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii") as stream:
        np.savetxt(stream, np.column_stack([r_all, zeros, *columns]), fmt=["%.4f", *["%g"] * 4, "%.8e", "%.8e"])


def release_potentials(evaluation: Path) -> Iterator[tuple[list[float], dict[str, Any]]]:
    """Yield the potential of every molecule and model of a table of evaluations, those in `DERIVED_MODELS` left out.

    All replicas of a model run one potential; it is taken from the first that has it. Of `mobcg` it is the one that it
    chose itself (factor 1), not those that show its knob.

    Yields
    ------
    potential_kj_mol, run
        Values on the common grid in kJ/mol, and molecule_id, model and how it is run.
    """
    kept = ("molecule_id", "model", "thermostat", "friction_1_ps", "n_beads", "box_length_nm", "potential_kj_mol")
    found = set()
    for row in pq.read_table(evaluation, columns=list(kept), filters=pc.field("scale_factor") == 1).to_pylist():
        potential, name = row.pop("potential_kj_mol"), (row["molecule_id"], row["model"])
        if potential is None or name in found or row["model"] in DERIVED_MODELS:
            continue
        found.add(name)
        yield potential, row


def write_release_potentials(evaluation: Path, directory: Path) -> None:
    """Write what `release_potentials` yields as `directory`/molecule/model.*, and README.md where there is any."""
    for potential, run in release_potentials(evaluation):
        write_potential_files(directory / run["molecule_id"], run["model"], potential, run)
    if directory.is_dir():
        (directory / "README.md").write_text(README, encoding="utf-8")
