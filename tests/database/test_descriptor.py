"""The descriptors are read by the tools that they are for, and drift from schema or files is caught."""

import json

import mlcroissant
import pyarrow.parquet as pq
import pytest
import rocrate.rocrate
import yaml
from frictionless import Package, Schema

from mobcg.database.card import card, data_dictionary
from mobcg.database.descriptor import citation_of, table_schema
from mobcg.database.manifest import sha256_of
from mobcg.errors import InputError
from mobcg.schema import TABLES


@pytest.fixture(scope="module")
def datapackage(release):
    return json.loads((release / "datapackage.json").read_text())


def test_frictionless_reads_the_package_and_finds_it_valid(release, datapackage):
    assert list(Package.metadata_validate(datapackage)) == []
    package = Package.from_descriptor(datapackage, basepath=str(release))
    assert package.resource_names == list(TABLES)
    for resource in package.resources:
        assert Schema.metadata_validate(resource.schema.to_descriptor()) is not None
        assert resource.bytes == (release / resource.path).stat().st_size
        assert resource.hash == f"sha256:{sha256_of(release / resource.path)}"


def test_package_has_the_columns_of_the_schema(datapackage):
    for resource in datapackage["resources"]:
        table = TABLES[resource["name"]]
        assert [field["name"] for field in resource["schema"]["fields"]] == [column.name for column in table.columns]
        assert [field.get("unit", "") for field in resource["schema"]["fields"]] == [c.unit for c in table.columns]
        assert resource["schema"] == table_schema(table)


def test_croissant_is_valid_and_yields_records(release):
    dataset = mlcroissant.Dataset(jsonld=str(release / "croissant.json"))
    assert dataset.metadata.ctx.issues.errors == set()
    record = next(iter(dataset.records("molecules")))
    assert record["molecules/molecule_id"] == b"benzene"
    assert record["molecules/molar_mass_g_mol"] == pytest.approx(78.11, abs=0.01)
    curve = next(iter(dataset.records("potentials")))["potentials/potential_kj_mol"]
    assert len(curve) == 150


def test_croissant_yields_every_row_of_every_table(release):
    dataset = mlcroissant.Dataset(jsonld=str(release / "croissant.json"))
    for name, table in TABLES.items():
        rows = pq.read_table(release / "data" / f"{name}.parquet", columns=list(table.key)).to_pylist()
        records = list(dataset.records(name))
        assert len(records) == len(rows) > 0, name
        assert records[0].keys() == {f"{name}/{column.name}" for column in table.columns}


def test_foreign_keys_are_in_the_data_package(datapackage):
    foreign = {
        (resource["name"], key["fields"][0], key["reference"]["resource"], *key["reference"]["fields"])
        for resource in datapackage["resources"]
        for key in resource["schema"].get("foreignKeys", ())
    }
    expected = {
        (table.name, column.name, *column.references.split("."))
        for table in TABLES.values()
        for column in table.columns
        if column.references
    }
    assert foreign == expected


def test_croissant_notices_a_changed_file(editable):
    path = editable.path / "croissant.json"
    content = json.loads(path.read_text())
    for entry in content["recordSet"]:
        entry["field"][0]["source"]["fileObject"]["@id"] = "nowhere.parquet"
    path.write_text(json.dumps(content))
    with pytest.raises(mlcroissant.ValidationError):
        mlcroissant.Dataset(jsonld=str(path))


def test_ro_crate_is_read_and_names_every_file(release):
    crate = rocrate.rocrate.ROCrate(release)
    assert crate.license["@id"].startswith("https://creativecommons.org/licenses/by/4.0")
    files = {entity.id for entity in crate.get_entities() if "File" in entity.type}
    listed = {line.split("  ", 1)[1] for line in (release / "SHA256SUMS").read_text().splitlines()}
    assert files == listed - {"datapackage.json", "croissant.json", "ro-crate-metadata.json"}
    for entity in crate.get_entities():
        if "File" in entity.type:
            assert entity["sha256"] == sha256_of(release / entity.id)


def test_hugging_face_header_names_every_table(release):
    header = yaml.safe_load((release / "README.md").read_text().split("---\n")[1])
    assert header["license"] == "cc-by-4.0"
    paths = [config["data_files"][0]["path"] for config in header["configs"]]
    assert paths == [f"data/{name}.parquet" for name in TABLES]
    assert all((release / path).is_file() for path in paths)


def test_hugging_face_header_leaves_empty_tables_out(editable):
    editable.write("evaluation", [])
    header = yaml.safe_load(card(editable.path).split("---\n")[1])
    assert [config["config_name"] for config in header["configs"]] == [name for name in TABLES if name != "evaluation"]


def test_dictionary_has_every_column_with_its_unit(release):
    text = (release / "README.md").read_text()
    assert data_dictionary() in text
    for table in TABLES.values():
        section = text.split(f"### {table.name}\n")[1].split("\n### ")[0]
        for column in table.columns:
            line = next(line for line in section.splitlines() if line.startswith(f"| `{column.name}` "))
            assert f" {column.unit} |" in line


@pytest.mark.parametrize("text", ["authors: nobody", "title: x", "[", "!!python/object/apply:os.system ['true']"])
def test_citation_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "CITATION.cff").write_text(text)
    with pytest.raises(InputError, match="authors"):
        citation_of(tmp_path / "CITATION.cff")
