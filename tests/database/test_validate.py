"""Each way in which a release can be wrong is refused, and the finding names what and where."""

import json
import math
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mobcg.database.checks import physics
from mobcg.database.dataset import load
from mobcg.database.manifest import sha256_of
from mobcg.database.validate import LISTED, main, validate
from mobcg.observables import finite_size_factor
from mobcg.pair import BIN_WIDTH_NM, R_NM, taper
from mobcg.plan import canonical_json, run_id
from mobcg.predictor.scoring import score_se
from mobcg.units import BAR_PER_KJ_MOL_NM3, KJ_PER_KCAL, thermal_energy_kj_mol


def only(findings, table, field=None, row=None):
    """Assert that findings are about this table (column, row) and nothing else; return them."""
    assert findings
    for finding in findings:
        assert finding.table == table, finding
        assert field is None or finding.field == field, finding
        assert row is None or finding.row == row, finding
    return findings


def sound(editable, table, **wanted):
    """Return the number of the first ok row of a table with these values."""
    for number, row in enumerate(editable.rows(table)):
        if row.get("status", "ok") == "ok" and all(row[name] == value for name, value in wanted.items()):
            return number
    raise AssertionError(f"no row {wanted} in {table}")


# --- files ---


@pytest.mark.parametrize("place", [10, 0.5, -10])
def test_one_flipped_byte_is_refused(editable, place):
    path = editable.table("coarse")
    content = bytearray(path.read_bytes())
    content[int(place * len(content)) if isinstance(place, float) else place] ^= 1
    path.write_bytes(content)
    findings = validate(editable.path)
    assert ("data/coarse.parquet", "sha256") in {(finding.table, finding.field) for finding in findings}


@pytest.mark.parametrize("kept", [0, 4, 1000, -1])
def test_truncated_file_is_refused_even_when_signed(editable, kept):
    path = editable.table("coarse")
    path.write_bytes(path.read_bytes()[:kept])
    assert "data/coarse.parquet" in {finding.table for finding in validate(editable.path)}
    sums = editable.path / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines() if not line.endswith("coarse.parquet")]
    sums.write_text("\n".join([*lines, f"{sha256_of(path)}  data/coarse.parquet"]) + "\n")
    only(validate(editable.path), "coarse")


def test_missing_unlisted_and_linked_files_are_refused(editable):
    (editable.path / "CITATION.cff").unlink()
    (editable.path / "data" / "notes.md").write_text("later")
    assert {finding.table for finding in validate(editable.path)} == {"CITATION.cff", "data/notes.md"}
    (editable.path / "CITATION.cff").symlink_to("/etc/hostname")
    only(validate(editable.path), "CITATION.cff")


def test_missing_table_is_refused(editable):
    editable.table("splits").unlink()
    editable.sign()
    only(validate(editable.path), "splits")


def test_no_directory_is_refused(tmp_path):
    assert validate(tmp_path / "nowhere")


# --- schema ---


def test_wrong_unit_is_refused(editable):
    schema = pq.read_schema(editable.table("coarse"))
    number = schema.get_field_index("diffusion_nm2_ns")
    field = schema.field(number)
    schema = schema.set(number, field.with_metadata({**field.metadata, b"unit": b"nm**2/ps"}))
    editable.write("coarse", editable.rows("coarse"), schema)
    editable.sign()
    only(validate(editable.path), "coarse", "diffusion_nm2_ns")


def test_value_in_a_wrong_unit_is_refused(editable):
    row = sound(editable, "coarse")
    value = editable.rows("coarse")[row]["diffusion_nm2_ns"]
    corrected = editable.rows("coarse")[row]["diffusion_yh_nm2_ns"] / 1000
    wrong = {"diffusion_nm2_ns": value / 1000, "diffusion_nm2_ns_se": value / 50_000, "diffusion_yh_nm2_ns": corrected}
    name = editable.change("coarse", row, **wrong)
    findings = only(validate(editable.path), "coarse", "diffusion_nm2_ns", name)
    assert "D is a sixth of the slope of the MSD" in {finding.rule for finding in findings}


@pytest.mark.parametrize("kind", ["dropped", "renamed", "retyped"])
def test_wrong_columns_are_refused(editable, kind):
    rows = pq.read_table(editable.table("molecules"))
    index = rows.column_names.index("formula")
    changed = {
        "dropped": lambda: rows.drop_columns(["formula"]),
        "renamed": lambda: rows.rename_columns([name.replace("formula", "sum") for name in rows.column_names]),
        "retyped": lambda: rows.set_column(index, "formula", pa.array([1] * len(rows))),
    }[kind]()
    pq.write_table(changed.replace_schema_metadata(rows.schema.metadata), editable.table("molecules"))
    editable.sign()
    assert {finding.field for finding in only(validate(editable.path), "molecules")} <= {"formula", "sum"}


def test_other_major_schema_is_refused_and_an_older_minor_may_lack_columns(editable):
    rows = pq.read_table(editable.table("molecules"))
    footer = {**rows.schema.metadata, b"schema_version": b"2.0.0"}
    pq.write_table(rows.replace_schema_metadata(footer), editable.table("molecules"))
    editable.sign()
    only(validate(editable.path), "molecules", "schema_version")
    footer[b"schema_version"] = b"1.0.0-older"
    older = rows.drop_columns(["reference_density_source"])
    pq.write_table(older.replace_schema_metadata(footer), editable.table("molecules"))
    editable.sign()
    assert validate(editable.path) == []
    coarse = pq.read_table(editable.table("coarse")).drop_columns(["retries"])
    footer = {**coarse.schema.metadata, b"schema_version": b"1.0.0-older"}
    pq.write_table(coarse.replace_schema_metadata(footer), editable.table("coarse"))
    editable.sign()
    assert validate(editable.path) == []
    assert "retries" not in load("coarse", editable.path)


def test_descriptor_that_does_not_fit_is_refused(editable):
    path = editable.path / "datapackage.json"
    content = json.loads(path.read_text())
    content["resources"][0]["rows"] += 1
    content["resources"][1]["path"] = "../elsewhere.parquet"
    editable.sign()
    path.write_text(json.dumps(content))
    (editable.path / "SHA256SUMS").write_text(
        "".join(
            f"{sha256_of(editable.path / line[66:])}  {line[66:]}\n"
            for line in (editable.path / "SHA256SUMS").read_text().splitlines()
        )
    )
    findings = only(validate(editable.path), "datapackage.json")
    assert {finding.field for finding in findings} >= {"rows", "path"}


# --- rows and keys ---


@pytest.mark.parametrize(
    ("table", "complains"),
    [
        ("atomistic", {"potentials", "evaluation"}),
        ("potentials", {"coarse", "splits", "potentials"}),
        ("coarse", {"splits"}),
        ("splits", {"splits"}),
        ("molecules", {"atomistic", "potentials", "coarse", "splits", "evaluation", "force_fields"}),
        ("grid", {"grid"}),
    ],
)
def test_dropped_row_is_refused_even_when_signed(editable, table, complains):
    row = sound(editable, table)
    rows = editable.rows(table)
    editable.write(table, rows[:row] + rows[row + 1 :])
    unsigned = {finding.table for finding in validate(editable.path)}
    assert f"data/{table}.parquet" in unsigned
    editable.sign()
    assert {finding.table for finding in validate(editable.path)} & complains


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("coarse", "potential_id", "0123456789abcdef"),
        ("coarse", "molecule_id", "nowhere"),
        ("atomistic", "force_field_id", "0123456789abcdef"),
        ("splits", "parent_potential_id", "0123456789abcdef"),
        ("evaluation", "molecule_id", "nowhere"),
    ],
)
def test_wrong_foreign_key_is_refused(editable, table, column, value):
    editable.change(table, sound(editable, table), **{column: value})
    findings = [finding for finding in validate(editable.path) if finding.rule.startswith("a value of")]
    assert [(finding.table, finding.field, finding.value) for finding in findings] == [(table, column, value)]


def test_repeated_and_unsorted_keys_are_refused(editable):
    rows = editable.rows("molecules")
    editable.write("molecules", [*rows, rows[-1]])
    editable.sign()
    assert {finding.rule for finding in only(validate(editable.path), "molecules")} == {"every key once"}
    editable.write("molecules", rows[::-1])
    editable.sign()
    assert {finding.rule for finding in only(validate(editable.path), "molecules")} == {"sorted by key"}


@pytest.mark.parametrize(
    ("table", "columns", "rule"),
    [
        ("coarse", {"status": "perhaps"}, "one of ok, failed"),
        ("molecules", {"role": "pet"}, "one of parent"),
        ("molecules", {"name": None}, "never null"),
        ("molecules", {"molar_mass_g_mol": -78.0}, "at least 1"),
        ("atomistic", {"density_kg_m3_se": math.nan}, "finite"),
        ("atomistic", {"density_kg_m3_se": math.inf}, "finite"),
        ("coarse", {"diffusion_nm2_ns": None}, "null only of a run that failed"),
        ("coarse", {"rdf": None, "reason": "lost"}, "null only of a run that failed"),
        ("evaluation", {"alpha": None, "reason": "no density at 1 atm"}, "null only of a run that failed"),
        ("coarse", {"diffusion_nm2_ns": -1.0}, "above 0"),
        ("coarse", {"diffusion_nm2_ns": 0.0}, "above 0"),
        ("coarse", {"diffusion_nm2_ns_se": 0.0}, "above 0"),
        ("coarse", {"rdf": [1.0] * 149}, "150 values"),
        ("coarse", {"rdf": [-0.01] + [1.0] * 149}, "at least 0"),
        ("coarse", {"rdf": [math.nan] + [1.0] * 149}, "finite"),
        ("potentials", {"potential_kj_mol": [math.nan] * 150}, "finite"),
        ("coarse", {"status": "failed"}, "a failed run has a reason"),
    ],
)
def test_forbidden_values_are_refused(editable, table, columns, rule):
    name = editable.change(table, sound(editable, table), **columns)
    found = [finding for finding in validate(editable.path) if rule in finding.rule]
    assert found
    assert {(finding.table, finding.row) for finding in found} == {(table, name)}


def test_a_remark_and_nulls_where_nothing_need_be_are_accepted(editable):
    row = sound(editable, "evaluation")
    editable.change("evaluation", row, density_1atm_kg_m3=None, pressure_bar=None, reason="no density at 1 atm")
    editable.tell()
    editable.sign()
    assert validate(editable.path) == []


def test_many_findings_of_one_kind_are_counted(editable):
    rows = [row | {"kind": "odd"} for row in editable.rows("force_fields")]
    editable.write("force_fields", rows)
    editable.sign()
    findings = only(validate(editable.path), "force_fields", "kind")
    assert len(findings) == LISTED + 1
    assert findings[-1].row == f"and {len(rows) - LISTED} more rows"


# --- identity ---


@pytest.mark.parametrize("table", ["atomistic", "potentials", "coarse"])
def test_id_that_does_not_recompute_is_refused(editable, table):
    row = sound(editable, table)
    spec = json.loads(editable.rows(table)[row]["spec"]) | {"protocol": 99}
    name = editable.change(table, row, spec=canonical_json(spec))
    assert name != run_id(spec)
    found = [finding for finding in validate(editable.path) if "SHA-256 of spec" in finding.rule]
    assert [(finding.table, finding.row) for finding in found] == [(table, name)]


def test_spec_that_is_not_canonical_json_is_refused(editable):
    row = sound(editable, "atomistic")
    text = editable.rows("atomistic")[row]["spec"]
    for spec in (text.replace(",", ", ", 1), text[:-1], "[" * 5000, "1", "NaN"):
        editable.change("atomistic", row, spec=spec)
        assert "spec" in {finding.field for finding in validate(editable.path)}, spec[:20]


def test_column_that_contradicts_the_spec_is_refused(editable):
    name = editable.change("coarse", sound(editable, "coarse"), mass_g_mol=50.0)
    found = [finding for finding in validate(editable.path) if "as the spec asks" in finding.rule]
    assert [(finding.row, finding.field) for finding in found if finding.field != "production_ps"] == [
        (name, "mass_g_mol")
    ]


# --- physics ---


def test_force_that_is_not_the_derivative_is_refused(editable):
    row = sound(editable, "potentials", origin="ibi")
    force = np.array(editable.rows("potentials")[row]["force_kj_mol_nm"])
    force[60] *= 1.001
    name = editable.change("potentials", row, force_kj_mol_nm=force.tolist())
    only(validate(editable.path), "potentials", "force_kj_mol_nm", name)


@pytest.mark.parametrize("origin", ["scaled", "perturbed", "prior"])
def test_potential_that_its_spec_does_not_make_is_refused(editable, origin):
    row = sound(editable, "potentials", origin=origin)
    curves = {
        name: (1.001 * np.array(editable.rows("potentials")[row][name])).tolist()
        for name in ("potential_kj_mol", "force_kj_mol_nm")
    }
    name = editable.change("potentials", row, **curves)
    only(validate(editable.path), "potentials", "potential_kj_mol", name)


def test_density_that_the_spec_of_a_prior_liquid_does_not_draw_is_refused(editable):
    row = sound(editable, "potentials", origin="prior")
    name = editable.change("potentials", row, number_density_nm3=5.0)
    assert ("potential_kj_mol", name) in {(finding.field, finding.row) for finding in validate(editable.path)}


def test_spec_of_a_prior_liquid_that_no_configuration_can_ask_for_is_refused(editable):
    row = sound(editable, "potentials", origin="prior")
    spec = json.loads(editable.rows("potentials")[row]["spec"])
    spec["ranges"]["bumps"] = [0, 10**12]
    editable.change("potentials", row, spec=canonical_json(spec))
    assert "a spec that says how it is made" in {finding.rule for finding in validate(editable.path)}


def test_coarse_run_of_another_perturbation_than_its_potential_is_refused(editable):
    rows = editable.rows("coarse")
    row = next(number for number, row in enumerate(rows) if "perturbation" in row["spec"])
    spec = json.loads(rows[row]["spec"])
    spec["potential"]["perturbation"]["amplitude_kj_mol"][0] += 0.1
    editable.change("coarse", row, spec=canonical_json(spec))
    assert "the potential that the spec names" in {finding.rule for finding in validate(editable.path)}


@pytest.mark.parametrize(
    ("origin", "columns"),
    [("ibi", {"molecule_id": None}), ("prior", {"molecule_id": "benzene"}), ("ibi", {"mass_g_mol": None})],
)
def test_only_what_descends_from_the_prior_has_no_molecule(editable, origin, columns):
    row = sound(editable, "potentials", origin=origin)
    name = editable.change("potentials", row, **columns)
    found = {(finding.table, finding.row, finding.field) for finding in validate(editable.path)}
    assert ("potentials", name, *columns) in found


def test_rdf_that_does_not_tend_to_one_is_refused(editable):
    row = sound(editable, "coarse")
    rdf = 1.15 * np.array(editable.rows("coarse")[row]["rdf"])
    name = editable.change("coarse", row, rdf=rdf.tolist(), pressure_bar=None)
    only(validate(editable.path), "coarse", "rdf", name)


def test_broken_mass_law_is_refused(editable):
    rows = editable.rows("coarse")
    original = rows[sound(editable, "coarse", thermostat="nose_hoover")]
    # A bead four times as heavy moves half as fast, and not as fast as before.
    spec = json.loads(original["spec"]) | {"draw": 999, "mass_g_mol": 4 * original["mass_g_mol"]}
    heavy = original | {"spec": canonical_json(spec), "run_id": run_id(spec), "mass_g_mol": spec["mass_g_mol"]}
    editable.write("coarse", sorted([*rows, heavy], key=lambda row: row["run_id"]))
    editable.sign()
    broken = [finding for finding in validate(editable.path) if "sqrt(m)" in finding.rule]
    assert heavy["run_id"] in {finding.row for finding in broken}
    editable.write("coarse", sorted([*rows, heavy | slower(heavy, 2)], key=lambda row: row["run_id"]))
    editable.sign()
    assert not [finding for finding in validate(editable.path) if "sqrt(m)" in finding.rule]


def slower(row, factor):
    scaled = {name: row[name] / factor for name in row if name.startswith("diffusion")}
    return scaled | {"msd_nm2": [value / factor for value in row["msd_nm2"]]}


def test_inconsistent_densities_are_refused(editable):
    row = sound(editable, "atomistic")
    name = editable.change("atomistic", row, density_kg_m3=editable.rows("atomistic")[row]["density_kg_m3"] / 1000 + 1)
    only(validate(editable.path), "atomistic", "density_kg_m3", name)


def test_friction_without_a_thermostat_for_it_is_refused(editable):
    row = sound(editable, "evaluation", thermostat="nose_hoover")
    name = editable.change("evaluation", row, friction_1_ps=1.0)
    only(validate(editable.path), "evaluation", "friction_1_ps", name)


def test_alpha_and_score_must_follow_from_the_curves(editable):
    row = sound(editable, "evaluation")
    original = editable.rows("evaluation")[row]
    editable.change("evaluation", row, alpha=2 * original["alpha"], alpha_se=2 * original["alpha_se"])
    assert {finding.field for finding in only(validate(editable.path), "evaluation")} == {"alpha", "score"}
    own = {"alpha": original["alpha"], "alpha_se": original["alpha_se"]}
    editable.change("evaluation", row, **own, score=original["score"] * 0.9)
    only(validate(editable.path), "evaluation", "score")
    error = original["rdf_error"] + 0.05
    score = np.hypot(error / 0.1, np.log(original["alpha"]) / np.log(2))
    editable.change("evaluation", row, rdf_error=error, score=score)
    only(validate(editable.path), "evaluation", "rdf_error")


@pytest.mark.parametrize(
    ("model", "column", "factor", "complains"),
    [
        ("mobcg", "potential_kj_mol", 1 / KJ_PER_KCAL, {"pressure_bar"}),
        ("ibi", "potential_kj_mol", 1 / KJ_PER_KCAL, {"pressure_bar", "potential_kj_mol"}),
        ("ibi_scaled", "potential_kj_mol", 1 / 1.2, {"potential_kj_mol"}),
        ("ibi", "pressure_bar", 0.1, {"pressure_bar"}),
        ("ibi_langevin", "friction_1_ps", 10, {"friction_1_ps"}),
        ("ibi", "box_length_nm", 2, {"box_length_nm", "pressure_bar"}),
        ("ibi", "density_1atm_kg_m3", 0.001, {"density_1atm_kg_m3"}),
        ("ibi", "diffusion_yh_nm2_ns", 0.01, {"diffusion_yh_nm2_ns"}),
        ("ibi", "rdf_r2", 1.01, {"rdf_r2"}),
        ("ibi", "alpha_se", 1 / 50, {"alpha_se", "score_se"}),
        ("ibi", "score_se", 1 / 50, {"score_se"}),
        ("ibi", "score_se", 50, {"score_se"}),
    ],
)
def test_column_of_an_evaluation_in_a_wrong_unit_is_refused(editable, model, column, factor, complains):
    rows = editable.rows("evaluation")
    for row in rows:
        row["density_1atm_kg_m3"] = 800.0
    editable.write("evaluation", rows)
    editable.sign()
    assert validate(editable.path) == []
    for row in rows:
        if row["model"] == model:
            row[column] = (factor * np.array(row[column])).tolist()
            if column == "rdf_r2":
                row[column] = 1.0
    editable.write("evaluation", rows)
    editable.sign()
    findings = only(validate(editable.path), "evaluation")
    assert {finding.field for finding in findings} == complains
    assert all(f"/{model}/" in finding.row for finding in findings)


def test_either_standard_error_of_a_score_is_accepted(editable):
    """To first order, and integrated over the errors of e and ln α: what a rough and a fine release hold."""
    rows = editable.rows("evaluation")
    for row in rows:
        row["score_se"] = score_se(*(row[name] for name in ("rdf_error", "rdf_error_se", "alpha", "alpha_se")))
    editable.write("evaluation", rows)
    editable.sign()
    assert validate(editable.path) == []


def test_column_of_an_evaluation_that_contradicts_its_spec_is_refused(editable):
    row = next(number for number, row in enumerate(editable.rows("evaluation")) if row["model"] == "ibi_scaled")
    spec = json.loads(editable.rows("evaluation")[row]["spec"])
    for name, value in (("molecule_id", "water"), ("model", "ibi"), ("scale_factor", 1.5), ("replica", 7)):
        editable.change("evaluation", row, spec=canonical_json(spec | {name: value}))
        (finding,) = [found for found in validate(editable.path) if "as the spec asks" in found.rule]
        assert (finding.table, finding.field) == ("evaluation", name)


def test_evaluation_without_a_parent_is_compared_with_the_runs_of_its_box(editable):
    """As of a many-body model, whose spec names no potential: it may be scored against some of the replicas."""
    row = sound(editable, "evaluation", molecule_id="benzene", model="mobcg")
    spec = json.loads(editable.rows("evaluation")[row]["spec"])
    del spec["parent_potential_id"]
    older = {"reference_run_ids": None, "potential_kj_mol": None}
    original = editable.change("evaluation", row, spec=canonical_json(spec), **older)
    assert validate(editable.path) == []
    diffusion = [run["diffusion_nm2_ns"] for run in editable.rows("atomistic") if run["molecule_id"] == "benzene"]
    values = editable.rows("evaluation")[row]
    for reference, wrong in ((max(diffusion), False), (1.05 * max(diffusion), True)):
        alpha = values["diffusion_nm2_ns"] / reference
        own = {"alpha": alpha, "alpha_se": 0.03 * alpha}
        score = {"score": np.hypot(values["rdf_error"] / 0.1, np.log(alpha) / np.log(2))}
        score["score_se"] = score_se(values["rdf_error"], values["rdf_error_se"], alpha, 0.03 * alpha)
        assert editable.change("evaluation", row, **own, **score) == original
        assert [finding.field for finding in validate(editable.path)] == (["alpha"] if wrong else [])


def test_runs_that_a_score_is_against_are_those_of_its_liquid(editable):
    row = sound(editable, "evaluation", molecule_id="benzene")
    runs = editable.rows("evaluation")[row]["reference_run_ids"]
    others = [run["run_id"] for run in editable.rows("atomistic") if run["molecule_id"] == "neopentane"]
    for wrong in ([], runs[:1], others, [*runs, "0" * 16]):
        editable.change("evaluation", row, reference_run_ids=wrong)
        only(validate(editable.path), "evaluation", "reference_run_ids")
    # Where no potential is from the liquid, some of its replicas may be the reference, and alpha is against their mean.
    spec = json.loads(editable.rows("evaluation")[row]["spec"])
    del spec["parent_potential_id"]
    editable.change("evaluation", row, reference_run_ids=runs, spec=canonical_json(spec))
    assert validate(editable.path) == []
    editable.change("evaluation", row, reference_run_ids=runs[:1])
    assert {finding.field for finding in only(validate(editable.path), "evaluation")} == {"alpha", "box_length_nm"}


def test_evaluation_whose_parent_is_not_in_the_release_is_refused(editable):
    row = sound(editable, "evaluation", model="mobcg")
    spec = json.loads(editable.rows("evaluation")[row]["spec"]) | {"parent_potential_id": "0123456789abcdef"}
    name = editable.change("evaluation", row, spec=canonical_json(spec))
    only(validate(editable.path), "evaluation", "spec", name)


@pytest.mark.parametrize("table", ["atomistic", "coarse"])
def test_finite_size_correction_of_another_box_is_refused(editable, table):
    row = sound(editable, table)
    corrected = editable.rows(table)[row]["diffusion_yh_nm2_ns"]
    name = editable.change(table, row, diffusion_yh_nm2_ns=corrected / 100)
    only(validate(editable.path), table, "diffusion_yh_nm2_ns", name)


@pytest.mark.parametrize(
    ("table", "factor"),
    [("atomistic", 0.001), ("coarse", 0.001), ("atomistic", 100.0), ("coarse", 100.0), ("evaluation", 100.0)],
)
def test_an_error_that_no_g_has_is_refused(editable, table, factor):
    row = sound(editable, table)
    values = editable.rows(table)[row]
    noisy = np.array(values["rdf"]) + 0.004 * np.random.default_rng(1).standard_normal(150) * (R_NM > 0.8)
    own = {"rdf": noisy.tolist()} if factor < 1 else {}
    name = editable.change(table, row, **own, rdf_se=(factor * np.array(values["rdf_se"])).tolist())
    found = [finding for finding in validate(editable.path) if finding.field == "rdf_se"]
    assert [(finding.table, finding.row) for finding in found] == [(table, name)]


@pytest.mark.parametrize("column", ["history_rdf_deviation", "history_pressure_bar", "history_potential_kj_mol"])
def test_a_history_belongs_to_its_inversion(editable, column):
    row = sound(editable, "potentials", origin="ibi")
    history = editable.rows("potentials")[row][column]
    name = editable.change("potentials", row, **{column: history[:-1]})
    only(validate(editable.path), "potentials", column, name)
    if column == "history_potential_kj_mol":
        editable.change("potentials", row, **{column: [[0.0] * 150] * len(history)})
        only(validate(editable.path), "potentials", column, name)


@pytest.mark.parametrize(("column", "factor"), [("pressure_bar", 0.1), ("production_ps", 1000), ("time_step_fs", 1e-3)])
def test_column_of_a_coarse_run_in_a_wrong_unit_is_refused(editable, column, factor):
    row = sound(editable, "coarse")
    name = editable.change("coarse", row, **{column: factor * editable.rows("coarse")[row][column]})
    only(validate(editable.path), "coarse", column, name)


def test_friction_that_would_hold_the_beads_is_refused(editable):
    for thermostat in ("langevin", "dpd"):
        row = sound(editable, "coarse", thermostat=thermostat)
        original = editable.rows("coarse")[row]
        name = editable.change("coarse", row, friction_1_ps=100 * (1 + original["friction_1_ps"]))
        rules = {finding.rule for finding in only(validate(editable.path), "coarse", "friction_1_ps", name)}
        assert any("diffuse as they do" in rule for rule in rules), thermostat
        editable.change("coarse", row, **original)


def test_molecules_and_potentials_that_are_not_those_of_their_runs_are_refused(editable):
    (smiles,) = {row["smiles"] for row in editable.rows("molecules") if row["molecule_id"] == "neopentane"}
    row = sound(editable, "molecules", molecule_id="benzene")
    editable.change("molecules", row, smiles=smiles)
    of_smiles = {"smiles", "inchikey", "formula", "molar_mass_g_mol", "n_atoms"}
    assert {finding.field for finding in only(validate(editable.path), "molecules", row="benzene")} == of_smiles
    editable.change("molecules", row, smiles="c1ccccc1", reference_density_kg_m3=0.8735)
    only(validate(editable.path), "molecules", "reference_density_kg_m3", "benzene")
    editable.change("molecules", row, reference_density_kg_m3=873.5)
    name = editable.change("potentials", sound(editable, "potentials", origin="ibi"), temperature_k=596.3)
    only(validate(editable.path), "potentials", "temperature_k", name)


def test_published_parameter_of_another_value_is_refused(editable):
    row = sound(editable, "force_fields", kind="pristine", term="bond")
    name = editable.change("force_fields", row, value=KJ_PER_KCAL * editable.rows("force_fields")[row]["value"])
    only(validate(editable.path), "force_fields", "value", name)


def test_virial_pressure_of_a_dilute_gas_is_that_of_its_second_coefficient():
    """g = exp(−U/kT) gives p = ρkT (1 + ρB), B = −2π ∫ (exp(−U/kT) − 1) r² dr, whatever U is."""
    energy = thermal_energy_kj_mol(300.0)
    potential = taper(5 * energy * np.exp(-((R_NM / 0.5) ** 2)) - 0.2 * energy * np.exp(-(((R_NM - 0.9) / 0.2) ** 2)))
    rdf, density = np.exp(-potential / energy), 2.0
    coefficient = -2 * np.pi * np.sum((rdf - 1) * R_NM**2) * BIN_WIDTH_NM
    pressure = density * energy * (1 + density * coefficient) * BAR_PER_KJ_MOL_NM3
    ideal = density * energy * BAR_PER_KJ_MOL_NM3
    assert abs(pressure / ideal - 1) > 0.3
    columns = {"potential_kj_mol": [potential] * 3, "rdf": np.array([rdf] * 3), "pressure_bar_se": np.full(3, np.nan)}
    columns |= {"number_density_nm3": np.full(3, density), "temperature_k": np.full(3, 300.0)}
    columns["pressure_bar"] = np.array([pressure, ideal, np.nan])
    assert [breach.row for breach in physics.virial_pressure(columns)] == [1]


def test_a_score_is_against_the_box_of_its_own_size(editable):
    row = sound(editable, "evaluation")
    original = editable.rows("evaluation")[row]
    n_beads = original["n_beads"]
    corrected = original["diffusion_nm2_ns"] * finite_size_factor(n_beads + 100)
    editable.change("evaluation", row, n_beads=n_beads + 100, diffusion_yh_nm2_ns=corrected)
    (finding,) = only(validate(editable.path), "evaluation", "molecule_id")
    assert f"atomistic run of {n_beads + 100} molecules" in finding.rule


# --- splits ---


def test_potential_on_both_sides_is_refused(editable):
    rows = editable.rows("splits")
    # A liquid of the prior may have one row only, which is on one side wherever it is.
    row = next(
        number
        for number, row in enumerate(rows)
        if row["fold"] == "all" and row["split"] == "train" and row["parent_molecule_id"]
    )
    editable.change("splits", row, split="validation")
    only(validate(editable.path), "splits", "parent_potential_id")


def test_two_inversions_of_one_force_field_on_both_sides_are_refused(editable):
    """All rows of a potential are moved to the other side, but another potential of the same atomistic run stays."""
    potentials = editable.rows("potentials")
    original = next(row for row in potentials if row["origin"] == "ibi")
    spec = json.loads(original["spec"]) | {"pressure_correction": False}
    twin = original | {"spec": canonical_json(spec), "potential_id": run_id(spec), "pressure_corrected": False}
    editable.write("potentials", sorted([*potentials, twin], key=lambda row: row["potential_id"]))
    rows = editable.rows("splits")
    moved = [number for number, row in enumerate(rows) if row["parent_potential_id"] == original["potential_id"]]
    of_all = [number for number in moved if rows[number]["fold"] == "all"]
    rows[of_all[0]] |= {"parent_potential_id": twin["potential_id"]}
    editable.write("splits", rows)
    editable.sign()
    # Its run is of the other potential, but all of the liquid still lies on one side.
    only(validate(editable.path), "splits", "parent_potential_id")
    assert "side" not in str(validate(editable.path))
    rows[of_all[0]] |= {"split": "validation" if rows[of_all[0]]["split"] == "train" else "train"}
    editable.write("splits", rows)
    editable.sign()
    assert "all rows of a parent potential " in {finding.rule[:31] for finding in validate(editable.path)}


def test_page_that_cannot_be_read_is_refused_even_when_signed(editable):
    path = editable.table("coarse")
    content = bytearray(path.read_bytes())
    place = pq.read_metadata(path).row_group(0).column(5).data_page_offset + 60
    content[place] ^= 0xFF
    path.write_bytes(content)
    editable.sign()
    assert validate(editable.path)


def test_held_out_molecule_in_training_is_refused(editable):
    rows = [row | {"split": "train"} if row["fold"] == "benzene" else row for row in editable.rows("splits")]
    editable.write("splits", rows)
    editable.sign()
    assert "test rows are those of the held-out molecule" in {finding.rule for finding in validate(editable.path)}


def test_a_held_out_molecule_under_the_name_of_another_is_refused(editable):
    rows = editable.rows("splits")
    other = next(row for row in rows if row["fold"] == "benzene" and row["split"] == "train")
    disguise = {name: other[name] for name in ("split", "parent_molecule_id", "parent_potential_id")}
    hidden = [row | disguise if row["fold"] == "benzene" and row["split"] == "test" else row for row in rows]
    assert hidden != rows
    editable.write("splits", hidden)
    editable.sign()
    found = {finding.field for finding in only(validate(editable.path), "splits")}
    assert found == {"parent_molecule_id", "parent_potential_id"}


# --- what follows from specs and other tables ---


def test_parent_of_an_inversion_is_the_first_of_its_runs(editable):
    row = sound(editable, "potentials", origin="ibi", molecule_id="benzene")
    runs = editable.rows("potentials")[row]["parent_run_ids"]
    name = editable.change("potentials", row, parent_id=runs[1])
    only(validate(editable.path), "potentials", "parent_id", name)


def test_force_field_of_another_run_is_refused(editable):
    rows = editable.rows("atomistic")
    first = sound(editable, "atomistic", molecule_id="ethylbenzene")
    own = rows[first]["force_field_id"]
    other = next(row["force_field_id"] for row in rows if row["force_field_id"] != own)
    name = editable.change("atomistic", first, force_field_id=other)
    assert name in {finding.row for finding in validate(editable.path) if finding.field == "force_field_id"}


def test_synthetic_parameters_lie_in_their_ranges_and_none_is_missing(editable):
    row = sound(editable, "force_fields", kind="synthetic", term="bond", parameter="length")
    original = editable.rows("force_fields")[row]
    name = editable.change("force_fields", row, value=1.5 * original["reference_value"])
    (finding,) = only(validate(editable.path), "force_fields", "value", name)
    assert "as its spec asks" in finding.rule
    editable.change("force_fields", row, **original)
    kept = [each for each in editable.rows("force_fields") if each != original]
    editable.write("force_fields", kept)
    editable.sign()
    only(validate(editable.path), "force_fields", row=name)


@pytest.mark.parametrize(
    ("column", "value"),
    [("inchikey", "UHOVQNZJYSORNB-UHFFFAOYSA-M"), ("n_atoms", 13), ("temperature_k", 350.0), ("formula", "C6H7")],
)
def test_columns_of_a_molecule_are_those_of_its_smiles_and_runs(editable, column, value):
    editable.change("molecules", sound(editable, "molecules", molecule_id="benzene"), **{column: value})
    only(validate(editable.path), "molecules", column, "benzene")


def test_runs_from_before_a_change_of_state_stay(editable):
    rows = [row for row in editable.rows("atomistic") if row["molecule_id"] == "benzene"]
    assert len(rows) > 1
    warmer = json.loads(rows[0]["spec"]) | {"temperature_k": 320.0}
    editable.change("atomistic", sound(editable, "atomistic", molecule_id="benzene"), spec=canonical_json(warmer))
    assert "molecules" not in {finding.table for finding in validate(editable.path)}


@pytest.mark.parametrize("table", ["atomistic", "coarse"])
def test_an_error_of_diffusion_that_no_run_has_is_refused(editable, table):
    row = sound(editable, table)
    error = editable.rows(table)[row]["diffusion_nm2_ns_se"]
    name = editable.change(table, row, diffusion_nm2_ns_se=error / 1000)
    found = [finding for finding in validate(editable.path) if finding.table == table]
    assert [(finding.row, finding.field) for finding in found] == [(name, "diffusion_nm2_ns_se")]


def test_numbers_of_the_data_card_are_those_of_the_tables(editable):
    path = editable.path / "README.md"
    text = path.read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| benzene |")][:1]
    path.write_text(text.replace(line, line.replace("873.5", "783.5")))
    editable.sign()
    (finding,) = only(validate(editable.path), "README.md", "table")
    assert finding.rule == line


@pytest.mark.parametrize(("content", "field"), [({}, "new"), (None, "rows_new")])
def test_differences_are_those_of_this_release(editable, content, field):
    path = editable.path / "diff.json"
    found = json.loads(path.read_text())
    found["tables"]["coarse"]["rows_new"] += 1
    path.write_text(json.dumps(found if content is None else content))
    editable.sign()
    only(validate(editable.path), "diff.json", field)


# --- command line ---


def test_command_line_exits_with_1_on_findings(editable, release, capsys):
    assert main([str(release)]) == 0
    assert capsys.readouterr().out.endswith("valid\n")
    name = editable.change("coarse", sound(editable, "coarse"), diffusion_nm2_ns=-1.0)
    done = subprocess.run(
        [sys.executable, "-m", "mobcg.database.validate", str(editable.path), "--json"], capture_output=True, text=True
    )
    assert done.returncode == 1
    findings = json.loads(done.stdout)["findings"]
    assert {(finding["table"], finding["row"], finding["field"]) for finding in findings} == {
        ("coarse", name, "diffusion_nm2_ns"),
        ("coarse", name, "diffusion_yh_nm2_ns"),
    }
