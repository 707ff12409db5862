"""A release, a model or a record from a stranger runs no code, climbs out of no directory and fills no memory."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import save

from mobcg.config import load_molecule
from mobcg.database.build import read_inputs
from mobcg.database.checks import files
from mobcg.database.dataset import load
from mobcg.database.manifest import sha256_of
from mobcg.database.validate import validate
from mobcg.errors import InputError
from mobcg.records import read_record
from tests.database.cases import ROOT


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def put(editable, name, content):
    path = editable.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    editable.sign()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["models/m/weights.npz", "models/m/weights.npy"])
def test_pickled_weights_are_refused_and_not_run(editable, tmp_path, name):
    objects = np.array([Bomb(tmp_path / "ran")], dtype=object)
    stream = io.BytesIO()
    np.save(stream, objects)
    put(editable, name, npz(weights=objects) if name.endswith("z") else stream.getvalue())
    findings = validate(editable.path)
    assert [finding.table for finding in findings] == [name]
    assert not (tmp_path / "ran").exists()


def test_archive_with_other_things_than_arrays_is_refused(editable):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../../outside.npy", b"")
        archive.writestr("run.py", b"print()")
    put(editable, "models/m/weights.npz", stream.getvalue())
    assert [finding.table for finding in validate(editable.path)] == ["models/m/weights.npz"]


@pytest.mark.parametrize("name", ["models/m/weights.pkl", "models/m/weights.pt", "models/m/run.py", "run.sh", "a.so"])
def test_formats_that_may_hold_code_are_refused(editable, name):
    put(editable, name, pickle.dumps({"x": 1}))
    assert [finding.table for finding in validate(editable.path)] == [name]


def test_a_pickle_under_the_name_of_safetensors_is_refused(editable, tmp_path):
    put(editable, "models/m/weights.safetensors", pickle.dumps(Bomb(tmp_path / "ran")))
    assert [finding.table for finding in validate(editable.path)] == ["models/m/weights.safetensors"]
    put(editable, "models/m/weights.safetensors", save({"layer": np.zeros(3, np.float16)}))
    assert validate(editable.path) == []
    assert not (tmp_path / "ran").exists()


def test_plain_weights_are_accepted(editable):
    put(editable, "models/m/weights.npz", npz(weights=np.zeros(3), names=np.array(["a", "b"])))
    assert validate(editable.path) == []


def test_link_to_a_file_or_directory_outside_is_refused(editable, tmp_path):
    (tmp_path / "outside").mkdir()
    (editable.path / "models" / "away").symlink_to(tmp_path / "outside")
    findings = validate(editable.path)
    assert [(finding.table, finding.value) for finding in findings] == [("models/away", "a link")]


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "data/../../x", "data/./x", "a\nb", "a b", "\x00"])
def test_manifest_that_climbs_is_refused(editable, name):
    with (editable.path / "SHA256SUMS").open("a", newline="") as stream:
        stream.write(f"{'0' * 64}  {name}\n")
    assert {finding.table for finding in validate(editable.path)} == {"SHA256SUMS"}


def test_schema_that_carries_an_extension_type_runs_nothing(editable, tmp_path):
    """Arrow once unpickled a Python extension type named in the schema of a file (CVE-2023-47248)."""
    rows = pq.read_table(editable.table("molecules"))
    number = rows.schema.get_field_index("formula")
    metadata = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Bomb(tmp_path / "ran")),
    }
    field = pa.field("formula", pa.string(), metadata=metadata)
    pq.write_table(rows.set_column(number, field, rows["formula"]), editable.table("molecules"))
    editable.sign()
    validate(editable.path)
    load("molecules", editable.path)
    assert not (tmp_path / "ran").exists()


def test_row_group_that_unpacks_to_too_much_is_not_read(editable, monkeypatch):
    monkeypatch.setattr(files, "MAX_ROW_GROUP_BYTES", 10_000)
    findings = validate(editable.path)
    assert "too large" in {finding.value for finding in findings}
    assert {finding.rule for finding in findings} == {"at most 10000 bytes"}


def test_text_in_a_table_stays_text(editable, tmp_path, monkeypatch):
    """A name that looks like a command is a name: nothing that reads a release hands it to a shell."""
    monkeypatch.chdir(tmp_path)
    evil = "$(mkdir ran); `mkdir ran` ; ' || mkdir ran #"
    rows = editable.rows("molecules")
    editable.write("molecules", [row | {"name": evil} for row in rows])
    editable.tell()
    editable.sign()
    assert validate(editable.path) == []
    assert load("molecules", editable.path)["name"].tolist() == [evil] * len(rows)
    assert not (tmp_path / "ran").exists()


def test_yaml_that_makes_objects_is_refused(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text(f"id: evil\nname: !!python/object/apply:os.mkdir ['{tmp_path / 'ran'}']\n")
    with pytest.raises(InputError):
        load_molecule(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../x", "a;b", "$(x)", "A", "a b", "-rf" + "x" * 80])
def test_molecule_names_cannot_be_paths_or_commands(tmp_path, name):
    source = yaml.safe_load((ROOT / "config" / "molecules" / "benzene.yaml").read_text())
    path = tmp_path / "benzene.yaml"
    path.write_text(yaml.safe_dump(source | {"id": name}))
    with pytest.raises(InputError, match="id"):
        load_molecule(path)


def test_record_that_is_a_pickle_is_refused(tmp_path):
    path = tmp_path / "record.parquet"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(InputError):
        read_record(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", ["[]", "{}", '{"records": 1, "molecules": []}', "not json", '{"molecules": 3}'])
def test_inputs_that_are_no_inputs_are_refused(tmp_path, content):
    path = tmp_path / "inputs.json"
    path.write_text(content)
    with pytest.raises(InputError, match="records"):
        read_inputs(path)


def test_descriptor_of_a_stranger_is_only_compared(editable):
    path = editable.path / "datapackage.json"
    for content in ("[" * 100_000, "{}", json.dumps({"resources": [{"path": 3}]}), json.dumps({"resources": 1})):
        path.write_text(content)
        sums = [line for line in (editable.path / "SHA256SUMS").read_text().splitlines() if path.name not in line]
        (editable.path / "SHA256SUMS").write_text("\n".join([*sums, f"{sha256_of(path)}  {path.name}"]) + "\n")
        assert "datapackage.json" in {finding.table for finding in validate(editable.path)}
