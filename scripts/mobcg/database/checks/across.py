"""Across tables: foreign keys, lineage of potentials and runs, splits, the mass law, and scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mobcg.coarse.prior import is_drawn_from
from mobcg.database.checks import physics
from mobcg.database.checks.finding import Finding, ReleaseTables, as_array, parsed_json, row_names, shown, value_at
from mobcg.database.checks.rows import sound_columns
from mobcg.database.splits import ALL, liquids
from mobcg.pair import R_NM, derive
from mobcg.schema import TABLES
from mobcg.spec import derived_potential_id


def check_references(release: ReleaseTables) -> Iterator[Finding]:
    """Yield rows that refer to a row that another table does not have."""
    for table in TABLES.values():
        for column in table.columns:
            if not column.references:
                continue
            target, name = column.references.split(".")
            known = pc.unique(release.read(target, name)[name])
            rows = release.read(table.name, *dict.fromkeys((*table.key, column.name)))
            # Where a null is allowed is said by the schema, and checked with it.
            orphan = ~pc.is_in(rows[column.name], known).to_numpy() & rows[column.name].is_valid().to_numpy()
            if column.name == "force_field_id" and table.name == "atomistic":
                orphan &= ~_own_force_field(release)
            lost = rows.filter(pa.array(orphan))
            for row, value in zip(row_names(lost, table), lost[column.name].to_pylist(), strict=True):
                yield Finding(table.name, row, column.name, shown(value), f"a value of {column.references}")


def _own_force_field(release: ReleaseTables) -> NDArray:
    """Return which atomistic rows used a user's own topology file, whose parameters are not in force_fields."""
    specs = release.read("atomistic", "spec")["spec"].to_pylist()
    return np.array([value_at(parsed_json(spec), ("force_field", "kind")) == "file" for spec in specs], bool)


def check_grid(release: ReleaseTables) -> Iterator[Finding]:
    """Yield a grid that is not that of `mobcg.pair`."""
    r_nm = release.read("grid", "r_nm")["r_nm"].to_numpy()
    if r_nm.shape != R_NM.shape or np.abs(r_nm - R_NM).max() > 1e-9:
        yield Finding("grid", "", "r_nm", f"{r_nm.size} values", "0.005, 0.015 ... 1.495 nm")


def check_lineage(release: ReleaseTables) -> Iterator[Finding]:
    """Yield potentials without the parent they name, and coarse rows that are not of their potential."""
    runs = release.read("atomistic", "run_id", "molecule_id", "mass_g_mol")
    molecule_of_run = dict(zip(runs["run_id"].to_pylist(), runs["molecule_id"].to_pylist(), strict=True))
    columns = ("potential_id", "molecule_id", "origin", "parent_id", "parent_run_ids", "scale_factor")
    columns += ("number_density_nm3", "temperature_k", "mass_g_mol", "status")
    potentials = {row["potential_id"]: row for row in release.read("potentials", *columns).to_pylist()}
    for name, row in potentials.items():
        drawn = _root_origin(row, potentials) == "prior"
        if (row["molecule_id"] is None) != drawn:
            rule = "no molecule for what descends from the prior, one for all else"
            yield Finding("potentials", name, "molecule_id", shown(row["molecule_id"]), rule)
        if not drawn and row["mass_g_mol"] is None and row["status"] == "ok":
            yield Finding("potentials", name, "mass_g_mol", shown(None), "null only for liquids of the prior")
        if row["origin"] == "ibi":
            for run in row["parent_run_ids"] or [row["parent_id"]]:
                if molecule_of_run.get(run) != row["molecule_id"]:
                    rule = "an atomistic run of the same molecule"
                    yield Finding("potentials", name, "parent_run_ids", shown(run), rule)
        elif row["origin"] in ("scaled", "perturbed"):
            parent = potentials.get(row["parent_id"])
            if parent is None or parent["molecule_id"] != row["molecule_id"]:
                rule = "a potential of the same molecule"
                yield Finding("potentials", name, "parent_id", shown(row["parent_id"]), rule)
    yield from _check_curves(release, potentials)
    molar_mass = dict(
        zip(
            *(column.to_pylist() for column in release.read("molecules", "molecule_id", "molar_mass_g_mol")),
            strict=True,
        )
    )
    for row in runs.to_pylist():
        expected = molar_mass.get(row["molecule_id"])
        if expected and row["mass_g_mol"] and abs(row["mass_g_mol"] / expected - 1) > physics.MOLAR_MASS_RELATIVE:
            yield Finding(
                "atomistic", row["run_id"], "mass_g_mol", shown(row["mass_g_mol"]), f"molar mass {expected:g}"
            )
    for rows in release.batches("coarse", ["run_id", "molecule_id", "potential_id", "number_density_nm3", "spec"]):
        for row in rows.to_pylist():
            yield from _check_coarse_row(row, potentials)


def _check_coarse_row(row: Mapping[str, Any], potentials: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    potential = potentials.get(row["potential_id"])
    if potential is None:
        return  # a broken reference, found already
    try:
        named = derived_potential_id(parsed_json(row["spec"])["potential"])
    except (KeyError, TypeError, ValueError):
        named = None
    if named != row["potential_id"]:
        rule = "the potential that the spec names"
        yield Finding("coarse", row["run_id"], "potential_id", row["potential_id"], rule)
    if row["molecule_id"] != potential["molecule_id"]:
        rule = "the molecule of its potential"
        yield Finding("coarse", row["run_id"], "molecule_id", row["molecule_id"], rule)
    here, there = row["number_density_nm3"], potential["number_density_nm3"]
    if here and there and abs(here / there - 1) > physics.STATE_DENSITY_RELATIVE:
        rule = f"the density {there:g} of its potential's state"
        yield Finding("coarse", row["run_id"], "number_density_nm3", shown(here), rule)


def _root_origin(row: Mapping[str, Any], potentials: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the origin of what a potential descends from; its own where that is not in the table."""
    for _ in range(len(potentials)):
        parent = potentials.get(row["parent_id"]) if row["origin"] in ("scaled", "perturbed") else None
        if parent is None:
            break
        row = parent
    return row["origin"]


def _check_curves(release: ReleaseTables, potentials: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield potentials that do not follow from their spec: scaled, perturbed and drawn ones."""
    rows = release.read("potentials", "potential_id", "potential_kj_mol", "spec").to_pylist()
    found = {row["potential_id"]: row for row in rows if row["potential_kj_mol"]}
    for name, row in potentials.items():
        if name not in found or len(found[name]["potential_kj_mol"]) != R_NM.size:
            continue
        curve, spec = np.asarray(found[name]["potential_kj_mol"]), parsed_json(found[name]["spec"])
        parent = found.get(row["parent_id"], {}).get("potential_kj_mol") or ()
        try:
            if row["origin"] in ("scaled", "perturbed") and len(parent) == R_NM.size:
                deviation = np.abs(curve - derive(parent, spec)) / (1 + np.abs(curve))
                wrong, rule = deviation.max() > physics.FORCE_TOLERANCE, "the parent's, scaled and perturbed as asked"
            elif row["origin"] == "prior":
                wrong, rule = not is_drawn_from(spec, row["number_density_nm3"], curve), "what its spec draws"
            else:
                continue
        except (KeyError, TypeError, ValueError):
            wrong, rule = True, "a spec that says how it is made"
        if wrong:
            yield Finding("potentials", name, "potential_kj_mol", "another curve", rule)


def check_splits(release: ReleaseTables) -> Iterator[Finding]:
    """Yield rows missing from a fold, and molecules or liquids that sit on two sides of one.

    A liquid is what `mobcg.database.splits.liquids` says: all potentials inverted from one force field.
    """
    coarse = release.read("coarse", "run_id", "status", "molecule_id").filter(pc.field("status") == "ok")
    sound = set(coarse["run_id"].to_pylist())
    liquid_of = _liquids(release)
    folds: dict[str, list[dict]] = {}
    columns = ("run_id", "fold", "split", "parent_molecule_id", "parent_potential_id")
    for row in release.read("splits", *columns).to_pylist():
        folds.setdefault(row["fold"], []).append(row)
    expected = {ALL, *coarse["molecule_id"].drop_null().to_pylist()} if sound else folds.keys()
    for fold in expected ^ folds.keys():
        yield Finding("splits", "", "fold", fold, "a fold for each molecule with coarse rows, and all")
    for fold, rows in folds.items():
        for run in sorted(sound ^ {row["run_id"] for row in rows}):
            yield Finding("splits", f"{fold}/{run}", "run_id", run, "every sound coarse row once in every fold")
        sides: dict[str, set[str]] = {}
        for row in rows:
            root = row["parent_potential_id"]
            sides.setdefault(liquid_of.get(root, root), set()).add(row["split"])
            if (row["split"] == "test") != (row["parent_molecule_id"] == fold):
                rule = "test rows are those of the held-out molecule"
                yield Finding("splits", f"{fold}/{row['run_id']}", "split", row["split"], rule)
        for liquid, found in sides.items():
            if len(found) > 1:
                rule = "all rows of a parent potential and of its force field on one side"
                yield Finding("splits", fold, "parent_potential_id", liquid, rule)


def _liquids(release: ReleaseTables) -> dict[str, str]:
    runs = release.read("atomistic", "run_id", "force_field_id").to_pylist()
    potentials = release.read("potentials", "potential_id", "origin", "parent_id").to_pylist()
    try:
        return liquids(potentials, {row["run_id"]: row["force_field_id"] for row in runs})
    except ValueError:
        return {}  # a potential without its parent, found already


def check_mass_law(release: ReleaseTables) -> Iterator[Finding]:
    """Yield coarse rows of one potential whose D does not go as m^(−1/2)."""
    columns = ("run_id", "potential_id", "thermostat", "mass_g_mol", "temperature_k", "number_density_nm3", "n_beads")
    rows = release.read("coarse", *columns, "diffusion_nm2_ns", "diffusion_nm2_ns_se", "status")
    rows = rows.filter(pc.field("status") == "ok")
    if not len(rows):
        return
    arrays = {
        name: as_array(rows[name], column)
        for column in TABLES["coarse"].columns
        if (name := column.name) in rows.column_names
    }
    for breach in physics.mass_law(arrays):
        yield Finding("coarse", arrays["run_id"][breach.row], breach.field, shown(breach.value), breach.rule)


def check_evaluation(release: ReleaseTables) -> Iterator[Finding]:
    """Yield scores that do not follow from D and g of the model and of the atomistic runs of the molecule.

    α must lie between D / max(D_AA) and D / min(D_AA) over the replicas, whatever their weights in the mean.
    """
    references = _atomistic_references(release)
    table = TABLES["evaluation"]
    for rows in release.batches("evaluation"):
        columns = sound_columns(rows, table)
        for row in range(len(columns["name"])) if columns else ():
            name, molecule = columns["name"][row], columns["molecule_id"][row]
            liquid = molecule, int(columns["n_beads"][row])
            if liquid not in references:
                rule = f"a molecule with a sound atomistic run of {liquid[1]} molecules"
                yield Finding("evaluation", name, "molecule_id", molecule, rule)
                continue
            diffusions, rdf = references[liquid]
            limits = columns["diffusion_nm2_ns"][row] / np.array([diffusions.max(), diffusions.min()])
            alpha = columns["alpha"][row]
            if not limits[0] * (1 - physics.ROUNDING) <= alpha <= limits[1] * (1 + physics.ROUNDING):
                rule = f"alpha = D / D of the atomistic liquid, {limits[0]:.6g} to {limits[1]:.6g}"
                yield Finding("evaluation", name, "alpha", shown(alpha), rule)
            error = physics.rdf_error_of(columns["rdf"][row : row + 1], rdf[None])[0]
            if abs(columns["rdf_error"][row] - error) > physics.RDF_ERROR_TOLERANCE:
                rule = f"rdf_error {error:.4f} of the two curves"
                yield Finding("evaluation", name, "rdf_error", shown(columns["rdf_error"][row]), rule)


def _atomistic_references(release: ReleaseTables) -> dict[tuple[str, int], tuple[NDArray, NDArray]]:
    """Return (molecule, molecules in the box) → D of its replicas (n,) and their mean g(r) (150,).

    Synthetic force fields are not meant, and another box is another liquid to score against.
    """
    found: dict[tuple[str, int], list[tuple[float, list[float]]]] = {}
    rows = release.read("atomistic", "molecule_id", "n_molecules", "diffusion_nm2_ns", "rdf", "status", "spec")
    for row in rows.filter(pc.field("status") == "ok").to_pylist():
        synthetic = value_at(parsed_json(row["spec"]), ("force_field", "kind")) == "synthetic"
        if not synthetic and row["diffusion_nm2_ns"] and row["rdf"] and len(row["rdf"]) == R_NM.size:
            liquid = row["molecule_id"], row["n_molecules"]
            found.setdefault(liquid, []).append((row["diffusion_nm2_ns"], row["rdf"]))
    return {
        liquid: (np.array([d for d, _ in runs]), np.mean([g for _, g in runs], axis=0))
        for liquid, runs in found.items()
    }
