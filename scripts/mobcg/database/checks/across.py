"""Across tables: foreign keys, lineage of potentials and runs, splits, the mass law, pressures, and scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mobcg.coarse.prior import is_drawn_from
from mobcg.database.checks import physics
from mobcg.database.checks.finding import Finding, ReleaseTables, as_array, parsed_json, row_names, shown, value_at
from mobcg.database.checks.physics import Breach
from mobcg.database.checks.rows import sound_columns
from mobcg.database.potential_files import DERIVED_MODELS
from mobcg.database.splits import ALL, liquids, roots
from mobcg.errors import InputError
from mobcg.observables import rdf_error, rdf_r2
from mobcg.pair import R_NM, derive
from mobcg.schema import TABLES
from mobcg.spec import derived_potential_id, force_field_id
from mobcg.units import mass_density_kg_m3

# Term and parameter of a force field → the range of its spec, which is a factor or a shift.
SYNTHETIC_RANGES = {
    ("bond", "length"): ("bond_length_factor", False),
    ("bond", "bond_k"): ("bond_force_constant_factor", False),
    ("angle", "angle"): ("angle_shift_deg", True),
    ("angle", "angle_k"): ("angle_force_constant_factor", False),
}
STATE = ("temperature_k", "pressure_bar")
# Models that run the potential of their spec's parent, times their factor.
PARENT_MODELS = ("ibi", "pair_fm", *DERIVED_MODELS)


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


def check_force_fields(release: ReleaseTables) -> Iterator[Finding]:
    """Yield parameters that are not what the spec of a run asks for, and runs with the force field of another spec.

    Those of a pristine force field are the published ones; a synthetic one lies within the ranges of its spec, and has
    the same parameters as any other of its molecule.
    """
    specs = {}
    for row in release.read("atomistic", "run_id", "force_field_id", "spec").to_pylist():
        spec = parsed_json(row["spec"])
        try:
            expected = force_field_id(spec)
        except (KeyError, TypeError):
            continue  # no atomistic spec, found with the ids
        specs[row["force_field_id"]] = spec["force_field"]
        if row["force_field_id"] != expected:
            rule = f"{expected}, that of its spec"
            yield Finding("atomistic", row["run_id"], "force_field_id", row["force_field_id"], rule)
    key = TABLES["force_fields"].key
    parameters: dict[str, dict[str, set[tuple[str, ...]]]] = {}
    for row in release.read("force_fields", *(column.name for column in TABLES["force_fields"].columns)).to_pylist():
        known = parameters.setdefault(row["molecule_id"], {}).setdefault(row["force_field_id"], set())
        known.add(tuple(row[name] for name in key[1:]))
        rule = _parameter_rule(row, specs.get(row["force_field_id"], {}).get("ranges", {}))
        if rule:
            yield Finding("force_fields", "/".join(row[name] for name in key), "value", shown(row["value"]), rule)
    for molecule, force_fields in parameters.items():
        every = set().union(*force_fields.values())
        for name, known in force_fields.items():
            for missing in sorted(every - known):
                rule = f"the parameters of every force field of {molecule}"
                yield Finding("force_fields", "/".join((name, *missing)), "", "no row", rule)


def _parameter_rule(row: Mapping[str, Any], ranges: Mapping[str, Any]) -> str | None:
    """Return what a parameter should be, where it is not."""
    value, reference = row["value"], row["reference_value"]
    if row["kind"] == "pristine" or row["term"] == "improper":
        return None if value == reference else f"{reference:g}, as published"
    name, shifted = SYNTHETIC_RANGES.get((row["term"], row["parameter"]), ("", False))
    if name not in ranges:
        return None
    low, high = (reference + end if shifted else reference * end for end in ranges[name])
    slack = physics.ROUNDING * (1 + abs(reference))
    return None if low - slack <= value <= high + slack else f"from {low:g} to {high:g}, as its spec asks"


def check_molecules(release: ReleaseTables) -> Iterator[Finding]:
    """Yield columns of a molecule that are not those of its SMILES, where RDKit is installed to read it."""
    try:
        from mobcg.molecule import parse_smiles
    except ImportError:
        return
    columns = ("inchikey", "formula", "molar_mass_g_mol", "n_atoms")
    for row in release.read("molecules", "molecule_id", "smiles", *columns).to_pylist():
        try:
            species = parse_smiles(row["smiles"], "molecules")
        except InputError:
            yield Finding("molecules", row["molecule_id"], "smiles", shown(row["smiles"]), "one neutral molecule")
            continue
        for column in columns:
            found, expected = row[column], getattr(species, column)
            same = np.isclose(found, expected, rtol=1e-3) if column == "molar_mass_g_mol" else found == expected
            if not same:
                yield Finding("molecules", row["molecule_id"], column, shown(found), f"{expected}, of {row['smiles']}")


def check_lineage(release: ReleaseTables) -> Iterator[Finding]:
    """Yield potentials without the parent they name, and coarse rows that are not of their potential."""
    runs = release.read("atomistic", "run_id", "molecule_id", "mass_g_mol", "number_density_nm3", "spec")
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
            if row["parent_run_ids"] and row["parent_id"] != row["parent_run_ids"][0]:
                rule = f"{shown(row['parent_run_ids'][0])}, the first of parent_run_ids"
                yield Finding("potentials", name, "parent_id", shown(row["parent_id"]), rule)
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
    names = ("molecule_id", "molar_mass_g_mol", "smiles", "reference_density_kg_m3", *STATE)
    molecules = release.read("molecules", *names).to_pylist()
    molecule_of = {row["molecule_id"]: row for row in molecules}
    states: dict[str, list[list[Any]]] = {}
    for row in runs.to_pylist():
        molecule = molecule_of.get(row["molecule_id"])
        if molecule is None:
            continue  # a broken reference, found already
        expected = molecule["molar_mass_g_mol"]
        if expected and row["mass_g_mol"] and abs(row["mass_g_mol"] / expected - 1) > physics.MOLAR_MASS_RELATIVE:
            yield Finding(
                "atomistic", row["run_id"], "mass_g_mol", shown(row["mass_g_mol"]), f"molar mass {expected:g}"
            )
        reference = molecule["reference_density_kg_m3"]
        found = mass_density_kg_m3(row["number_density_nm3"] or 0, row["mass_g_mol"] or 0)
        if reference and found and not 1 / physics.DENSITY_RATIO < reference / found < physics.DENSITY_RATIO:
            rule = f"within a factor {physics.DENSITY_RATIO:g} of the {found:.4g} of atomistic run {row['run_id']}"
            yield Finding("molecules", row["molecule_id"], "reference_density_kg_m3", shown(reference), rule)
        spec = parsed_json(row["spec"])
        if value_at(spec, ("density_kg_m3",)) is None:
            states.setdefault(row["molecule_id"], []).append([value_at(spec, (column,)) for column in STATE])
        asked = value_at(spec, ("molecule", "smiles"))
        if asked != molecule["smiles"]:
            rule = f"{asked}, as the spec of atomistic run {row['run_id']} asks"
            yield Finding("molecules", row["molecule_id"], "smiles", shown(molecule["smiles"]), rule)
    # Runs at a density asked for, and those of a base release from before a change of state, may be at another one.
    for name, found in states.items():
        for column, known in zip(STATE, map(set, zip(*found, strict=True)), strict=True):
            if molecule_of[name][column] not in known:
                rule = f"{', '.join(map(shown, known))}, as the specs of its atomistic runs ask"
                yield Finding("molecules", name, column, shown(molecule_of[name][column]), rule)
    columns = ["run_id", "molecule_id", "potential_id", "mass_g_mol", "number_density_nm3", "production_ps", "spec"]
    for rows in release.batches("coarse", columns):
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
    asked = value_at(parsed_json(row["spec"]), ("production_ps_100",))
    if asked and row["production_ps"] and row["mass_g_mol"]:
        expected = asked * (row["mass_g_mol"] / 100) ** 0.5
        if abs(row["production_ps"] / expected - 1) > physics.PRODUCTION_RELATIVE:
            rule = f"about {expected:g}, as the spec asks for this mass"
            yield Finding("coarse", row["run_id"], "production_ps", shown(row["production_ps"]), rule)
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


def check_histories(release: ReleaseTables) -> Iterator[Finding]:
    """Yield inversions whose potential is no mean of those they went through, or with histories of other lengths."""
    histories = ("history_rdf_deviation", "history_pressure_bar", "history_potential_kj_mol")
    rows = release.read(
        "potentials", "potential_id", "origin", "status", "n_iterations", "potential_kj_mol", *histories
    )
    for row in rows.filter((pc.field("origin") == "ibi") & (pc.field("status") == "ok")).to_pylist():
        name, tried = row["potential_id"], row["history_potential_kj_mol"] or ()
        for column in histories:
            length = len(row[column] or ())
            if length != row["n_iterations"]:
                yield Finding("potentials", name, column, f"{length} values", f"{row['n_iterations']}, n_iterations")
        if not tried or not all(map(_on_grid, (row["potential_kj_mol"], *tried))):
            continue  # found already
        slack = physics.ROUNDING * (1 + np.abs(row["potential_kj_mol"]))
        low, high = np.min(tried, axis=0) - slack, np.max(tried, axis=0) + slack
        if not np.all((low <= row["potential_kj_mol"]) & (row["potential_kj_mol"] <= high)):
            rule = "potentials of which that of the row is a mean"
            yield Finding("potentials", name, "history_potential_kj_mol", "others", rule)


def check_splits(release: ReleaseTables) -> Iterator[Finding]:
    """Yield rows missing from a fold, and molecules or liquids that sit on two sides of one.

    A liquid is what `mobcg.database.splits.liquids` says: all potentials inverted from one force field.
    """
    coarse = release.read("coarse", "run_id", "status", "molecule_id", "potential_id")
    coarse = coarse.filter(pc.field("status") == "ok")
    sound = set(coarse["run_id"].to_pylist())
    root_of, liquid_of = _lineage(release)
    parents = {
        run: (molecule, root_of.get(potential, potential))
        for run, molecule, potential in zip(
            *(coarse[name].to_pylist() for name in ("run_id", "molecule_id", "potential_id")), strict=True
        )
    }
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
            expected_parents = parents.get(row["run_id"], (row["parent_molecule_id"], root))
            for column, value in zip(("parent_molecule_id", "parent_potential_id"), expected_parents, strict=True):
                if row[column] != value:
                    rule = f"{shown(value)}, as coarse.parquet and potentials.parquet say"
                    yield Finding("splits", f"{fold}/{row['run_id']}", column, shown(row[column]), rule)
            sides.setdefault(liquid_of.get(root, root), set()).add(row["split"])
            if (row["split"] == "test") != (row["parent_molecule_id"] == fold):
                rule = "test rows are those of the held-out molecule"
                yield Finding("splits", f"{fold}/{row['run_id']}", "split", row["split"], rule)
        for liquid, found in sides.items():
            if len(found) > 1:
                rule = "all rows of a parent potential and of its force field on one side"
                yield Finding("splits", fold, "parent_potential_id", liquid, rule)


def _lineage(release: ReleaseTables) -> tuple[dict[str, str], dict[str, str]]:
    """Return potential_id → the one that it descends from, and those → the liquid that they were made for."""
    runs = release.read("atomistic", "run_id", "force_field_id").to_pylist()
    potentials = release.read("potentials", "potential_id", "origin", "parent_id").to_pylist()
    try:
        return roots(potentials), liquids(potentials, {row["run_id"]: row["force_field_id"] for row in runs})
    except ValueError:
        return {}, {}  # a potential without its parent, found already


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


def check_virial(release: ReleaseTables) -> Iterator[Finding]:
    """Yield coarse rows whose pressure is not that of their g(r) and their potential."""
    potentials = _curves(release)
    for rows in release.batches("coarse"):
        columns = sound_columns(rows, TABLES["coarse"])
        if columns is None:
            continue
        known = np.array([name in potentials for name in columns["potential_id"]])
        if not known.any():
            continue
        arrays = {name: values[known] for name, values in columns.items()}
        arrays["potential_kj_mol"] = [potentials[name] for name in arrays["potential_id"]]
        for breach in physics.virial_pressure(arrays):
            yield Finding("coarse", arrays["name"][breach.row], breach.field, shown(breach.value), breach.rule)


def _curves(release: ReleaseTables) -> dict[str, NDArray]:
    """Return potential_id → U(r) on the grid (150,) in kJ/mol, of the potentials that have one."""
    rows = release.read("potentials", "potential_id", "potential_kj_mol").to_pylist()
    return {row["potential_id"]: np.array(row["potential_kj_mol"]) for row in rows if _on_grid(row["potential_kj_mol"])}


def _on_grid(curve: Sequence[float] | None) -> bool:
    return curve is not None and len(curve) == R_NM.size and bool(np.isfinite(curve).all())


def check_evaluation(release: ReleaseTables) -> Iterator[Finding]:
    """Yield evaluations that do not follow from D and g, their parent potential and their atomistic liquid.

    The liquid is the mean over `reference_run_ids`, which are the sound runs of the parent potential of the spec, if it
    names one. Rows older than that column, whose spec names none: a mean over some runs of the molecule in a box of as
    many, and no value may lie beyond theirs.
    """
    runs, potentials = _atomistic_runs(release), _curves(release)
    lineage = release.read("potentials", "potential_id", "parent_run_ids").to_pylist()
    runs_of = {row["potential_id"]: row["parent_run_ids"] or () for row in lineage}
    for rows in release.batches("evaluation"):
        columns = sound_columns(rows, TABLES["evaluation"])
        for number in range(len(columns["name"])) if columns else ():
            row = {name: values[number] for name, values in columns.items()}
            parent = str(value_at(parsed_json(row["spec"]), ("parent_potential_id",)) or "")
            if parent and parent not in runs_of:
                yield Finding("evaluation", row["name"], "spec", shown(parent), "a value of potentials.potential_id")
            liquids_of_row = _liquids_of(row, runs, runs_of.get(parent, ()))
            if not liquids_of_row:
                rule = f"a molecule with a sound atomistic run of {row['n_beads']} molecules"
                yield Finding("evaluation", row["name"], "molecule_id", row["molecule_id"], rule)
                continue
            if (named := row.get("reference_run_ids")) is not None:
                if problem := _unlike(named, row, runs, runs_of.get(parent)):
                    yield Finding("evaluation", row["name"], "reference_run_ids", shown(",".join(named)), problem)
                    continue
                liquids_of_row = [[run for run in runs if run["run_id"] in named]]
            for breach in _evaluation_breaches(row, liquids_of_row, potentials.get(parent)):
                yield Finding("evaluation", row["name"], breach.field, shown(breach.value), breach.rule)


def _atomistic_runs(release: ReleaseTables) -> list[dict[str, Any]]:
    """Return the sound atomistic runs with the kind of their force field."""
    columns = ("run_id", "molecule_id", "n_molecules", "temperature_k", "mass_g_mol", "density_kg_m3")
    columns += ("number_density_nm3", "diffusion_nm2_ns", "rdf", "status", "spec")
    rows = release.read("atomistic", *columns).filter(pc.field("status") == "ok").to_pylist()
    return [
        row | {"kind": value_at(parsed_json(row["spec"]), ("force_field", "kind"))}
        for row in rows
        if _on_grid(row["rdf"]) and None not in row.values()
    ]


def _unlike(
    named: Sequence[str], row: Mapping[str, Any], runs: list[dict[str, Any]], parents: Sequence[str] | None
) -> str | None:
    """Return what the runs that a row says it is scored against ought to be; None where they are."""
    box = row["molecule_id"], row["n_beads"]
    same = {run["run_id"] for run in runs if (run["molecule_id"], run["n_molecules"]) == box}
    if not len(named) or not same.issuperset(named):
        return f"sound atomistic runs of {row['n_beads']} molecules of {row['molecule_id']}"
    if parents is not None and set(named) != same.intersection(parents):
        return f"all sound runs that its potential is from: {', '.join(sorted(same.intersection(parents)))}"
    return None


def _liquids_of(row: Mapping[str, Any], runs: list[dict[str, Any]], named: Sequence[str]) -> list[list[dict[str, Any]]]:
    """Return the sets of runs whose mean a row may be scored against: those named, else all published ones and each."""
    box = row["molecule_id"], row["n_beads"]
    same = [run for run in runs if (run["molecule_id"], run["n_molecules"]) == box]
    parents = [run for run in same if run["run_id"] in named]
    if parents:
        return [parents]
    published = [run for run in same if run["kind"] != "synthetic"]
    return [published, *([run] for run in published)] if published else []


def _evaluation_breaches(
    row: Mapping[str, Any], liquids_of_row: list[list[dict[str, Any]]], parent: NDArray | None
) -> Iterator[Breach]:
    expected = [_scores_against(row, runs) for runs in liquids_of_row]
    loose = physics.RDF_ERROR_TOLERANCE if len(expected) > 1 else 0.0
    for name in expected[0]:
        low, high = (limit(scores[name] for scores in expected) for limit in (min, max))
        slack = physics.ROUNDING * (1 + abs(high)) + (loose if name.startswith("rdf_") else 0.0)
        if not low - slack <= row[name] <= high + slack:
            rule = f"{low:.6g} to {high:.6g}" if len(expected) > 1 else f"{low:.6g}"
            yield Breach(0, name, row[name], f"{rule}, as of the model and its atomistic liquid")
    liquid = liquids_of_row[0][0]
    if row["density_1atm_kg_m3"] < liquid["density_kg_m3"] / physics.DENSITY_RATIO:
        rule = f"within a factor {physics.DENSITY_RATIO:g} of the {liquid['density_kg_m3']:.4g} of the atomistic liquid"
        yield Breach(0, "density_1atm_kg_m3", row["density_1atm_kg_m3"], rule)
    curve, factor = row["potential_kj_mol"], row["scale_factor"]
    whole = np.shape(curve) == R_NM.shape and bool(np.isfinite(curve).all())
    if row["model"] in PARENT_MODELS and parent is not None:
        deviation = np.abs(curve - factor * parent) / (1 + np.abs(curve)) if whole else np.inf
        if np.max(deviation) > physics.FORCE_TOLERANCE:
            yield Breach(0, "potential_kj_mol", "another curve", f"its parent's, times {factor:g}")
    own = {name: np.array([value]) for name, value in row.items() if name not in ("msd_time_ps", "msd_nm2")}
    own |= {name: np.array([liquid[name]]) for name in ("temperature_k", "mass_g_mol")}
    own["number_density_nm3"] = own["n_beads"] / own["box_length_nm"] ** 3
    yield from physics.friction_bounds_diffusion(own)
    if whole:
        yield from physics.virial_pressure(own)


def _scores_against(row: Mapping[str, Any], runs: list[dict[str, Any]]) -> dict[str, float]:
    """Return what the columns of an evaluation must be where its liquid is the mean of these runs."""
    rdf = np.mean([run["rdf"] for run in runs], axis=0)
    density = np.mean([run["number_density_nm3"] for run in runs])
    return {
        "alpha": row["diffusion_nm2_ns"] / np.mean([run["diffusion_nm2_ns"] for run in runs]),
        "rdf_error": rdf_error(row["rdf"], rdf),
        "rdf_r2": rdf_r2(row["rdf"], rdf),
        "box_length_nm": (row["n_beads"] / density) ** (1 / 3),
    }
