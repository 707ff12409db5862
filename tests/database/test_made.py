"""What lies beside the tables must follow from them: potential files, models, descriptors, card, citation, names."""

import json
import re
import shutil
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mobcg.database.checks.made import _same_text
from mobcg.database.manifest import checksums_text
from mobcg.database.validate import validate
from mobcg.schema import SCHEMA_VERSION, TABLES
from mobcg.units import KJ_PER_KCAL


def found(editable):
    """Return table and field of the findings once checksums and descriptors fit again."""
    editable.sign()
    return {(finding.table, finding.field) for finding in validate(editable.path)}


def checksummed(editable):
    """Return table and field of the findings once the checksums fit again, the descriptors being left alone."""
    (editable.path / "SHA256SUMS").write_text(checksums_text(editable.path))
    return {(finding.table, finding.field) for finding in validate(editable.path)}


def older(editable):
    """Make the release one of an older schema version, whose descriptors were worded otherwise."""
    for name in TABLES:
        rows = pq.read_table(editable.table(name))
        metadata = {**rows.schema.metadata, b"schema_version": b"1.3.0"}
        pq.write_table(rows.replace_schema_metadata(metadata), editable.table(name))
    card = editable.path / "README.md"
    card.write_text(card.read_text().replace(f"schema {SCHEMA_VERSION}", "schema 1.3.0").replace("pair", "PAIR"))
    editable.sign()
    for name in ("croissant.json", "ro-crate-metadata.json"):
        text = (editable.path / name).read_text().replace("of the", "OF THE")
        (editable.path / name).write_text(text)
    assert checksummed(editable) == set()


# --- potentials/ ---


def test_potential_in_another_unit_is_refused(editable):
    path = editable.path / "potentials" / "benzene" / "ibi.lammps.table"
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        words = line.split()
        if len(words) == 4 and words[0].isdigit():
            energy, force = (KJ_PER_KCAL * float(word) for word in words[2:])
            lines[number] = f"{words[0]} {words[1]} {energy:.12e} {force:.12e}"
    path.write_text("\n".join(lines) + "\n")
    editable.sign()
    (finding,) = validate(editable.path)
    assert (finding.table, finding.row) == ("potentials/", "benzene/ibi.lammps.table")


@pytest.mark.parametrize("ending", ["lammps.table", "votca.pot", "openmm.json", "gromacs.xvg"])
def test_potential_of_another_liquid_is_refused(editable, ending):
    places = [editable.path / "potentials" / name / f"ibi.{ending}" for name in ("benzene", "neopentane")]
    shutil.copyfile(*places)
    editable.sign()
    assert {finding.row for finding in validate(editable.path)} == {f"neopentane/ibi.{ending}"}


def test_missing_and_foreign_potentials_are_refused(editable):
    (editable.path / "potentials" / "benzene" / "ibi.votca.pot").unlink()
    (editable.path / "potentials" / "benzene" / "mine.votca.pot").write_text("0.005 0.0 i\n")
    editable.sign()
    rows = {(finding.row, finding.value) for finding in validate(editable.path)}
    assert rows == {("benzene/ibi.votca.pot", "no such file"), ("benzene/mine.votca.pot", "a file")}
    shutil.rmtree(editable.path / "potentials")
    assert {table for table, _ in found(editable)} == {"potentials/"}


def test_units_of_the_potentials_cannot_be_reworded(editable):
    path = editable.path / "potentials" / "README.md"
    path.write_text(path.read_text().replace("kcal/mol", "kJ/mol"))
    assert found(editable) == {("potentials/", "")}


def test_a_molecule_that_climbs_makes_no_file(editable, tmp_path, monkeypatch):
    rows = editable.rows("evaluation")
    rows[0]["molecule_id"] = "../../../../escaped"
    schema = pq.read_schema(editable.table("evaluation"))
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), editable.table("evaluation"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a/b/c/d/e"))
    (tmp_path / "a/b/c/d/e").mkdir(parents=True)
    assert ("potentials/", "") in found(editable)
    assert not list(tmp_path.rglob("escaped*"))


def test_numbers_may_differ_in_their_last_digits_only():
    made = '{"values": [1.5, -2.0e-3], "thermostat": "dpd"}'
    assert _same_text(made.replace("1.5", "1.50000000001"), made)
    assert not _same_text(made.replace("1.5", "1.5001"), made)
    assert not _same_text(made.replace("dpd", "langevin"), made)
    assert not _same_text(made.replace(", -2.0e-3", ""), made)


# --- models/ ---


def test_weights_of_another_model_are_refused(editable):
    path = editable.path / "models" / "mobcg" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert found(editable) == {("models/mobcg/weights.safetensors", "sha256")}
    path.unlink()
    assert found(editable) == {("models/mobcg/weights.safetensors", "")}


def test_scored_model_that_is_not_there_is_refused(editable):
    shutil.rmtree(editable.path / "models")
    assert found(editable) == {("models/mobcg/model.json", "")}
    rows = [row for row in editable.rows("evaluation") if row["model"] != "mobcg"]
    editable.write("evaluation", rows)
    editable.tell()
    assert found(editable) == set()


def test_model_without_the_hash_of_its_weights_is_refused(editable):
    (editable.path / "models" / "mobcg" / "model.json").write_text('{"model": "mobcg"}\n')
    assert found(editable) == {("models/mobcg/model.json", "weights_sha256")}


# --- descriptors, card, citation, names ---


@pytest.mark.parametrize("name", ["datapackage.json", "croissant.json", "ro-crate-metadata.json"])
def test_descriptor_that_is_missing_or_false_is_refused(editable, name):
    path = editable.path / name
    text = path.read_text()
    for pattern, wrong in ((r"[0-9a-f]{64}", "0" * 64), ("nm\\*\\*2/ns", "nm**2/ps"), ("Radial", "Angular")):
        changed = re.sub(pattern, wrong, text)
        if changed != text:
            path.write_text(changed)
            assert {table for table, _ in checksummed(editable)} == {name}, pattern
    path.unlink()
    assert checksummed(editable) == {(name, "")}


@pytest.mark.parametrize(
    ("name", "pattern", "wrong"),
    [
        ("croissant.json", r"[0-9a-f]{64}", "0" * 64),
        ("croissant.json", r"\[nm\*\*2/ns\]", "[nm**2/ps]"),
        ("datapackage.json", r"[0-9a-f]{64}", "0" * 64),
        ("datapackage.json", r"nm\*\*2/ns", "nm**2/ps"),
        ("datapackage.json", r'"rows": \d+', '"rows": 1000000'),
        ("ro-crate-metadata.json", r"[0-9a-f]{64}", "0" * 64),
        ("ro-crate-metadata.json", "2026.11.0-test", "2026.12.0"),
    ],
)
def test_descriptor_of_an_older_schema_may_be_worded_otherwise_but_not_be_false(editable, name, pattern, wrong):
    older(editable)
    path = editable.path / name
    path.write_text(re.sub(pattern, wrong, path.read_text()))
    assert {table for table, _ in checksummed(editable)} == {name}


def test_file_that_an_older_descriptor_leaves_out_is_refused(editable):
    older(editable)
    path = editable.path / "croissant.json"
    content = json.loads(path.read_text())
    content["distribution"] = [entry for entry in content["distribution"] if entry["@id"] != "coarse.parquet"]
    path.write_text(json.dumps(content))
    assert {table for table, _ in checksummed(editable)} == {"croissant.json"}


def test_card_of_another_version_or_with_other_units_is_refused(editable):
    path = editable.path / "README.md"
    text = path.read_text()
    path.write_text(text.replace("2026.11.0-test", "2027.1.0"))
    assert found(editable) == {("README.md", "version")}
    path.write_text(text.replace("nm**2/ns", "A**2/ps"))
    assert found(editable) == {("README.md", "Data dictionary")}


@pytest.mark.parametrize("text", [b"x", b"\xff\xfe", b"- 1\n", b"[" * 5000])
def test_citation_that_is_none_is_refused(editable, text):
    (editable.path / "CITATION.cff").write_bytes(text)
    assert checksummed(editable) == {("CITATION.cff", "authors")}


def test_citation_of_another_version_is_refused(editable):
    path = editable.path / "CITATION.cff"
    path.write_text(path.read_text().replace("2026.11.0-test", "0.1.0"))
    assert found(editable) == {("CITATION.cff", "version")}


def test_directory_named_after_another_version_is_refused(editable):
    named = editable.path.rename(editable.path.with_name("2027.9.9"))
    (finding,) = validate(named)
    assert (finding.field, finding.value) == ("data_version", "2026.11.0-test")
    assert validate(named.rename(named.with_name("copy"))) == []


def test_meaning_of_a_column_is_that_of_the_schema(editable):
    schema = pq.read_schema(editable.table("coarse"))
    number = schema.get_field_index("diffusion_nm2_ns")
    field = schema.field(number).with_metadata({**schema.field(number).metadata, b"description": b"nonsense"})
    editable.write("coarse", editable.rows("coarse"), schema.set(number, field))
    assert found(editable) == {("coarse", "diffusion_nm2_ns")}
