import hashlib
import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from safetensors import SafetensorError

from mobcg.database.manifest import checksums_text
from mobcg.errors import InputError
from mobcg.predictor.storage import load_model, save_model

REPOSITORY = Path(__file__).parents[2]
ARRAYS = {
    "weights": np.arange(12.0, dtype=np.float32).reshape(3, 4),
    "half": np.ones(3, np.float16),
    "one": np.array(2.5),
}


@pytest.fixture
def release(tmp_path):
    """A release directory with one model, as SHA256SUMS says."""
    save_model(tmp_path / "models/mobcg", "mobcg", SimpleNamespace(arrays=ARRAYS, settings={"processes": []}))
    sign(tmp_path)
    return tmp_path


def sign(release):
    (release / "SHA256SUMS").unlink(missing_ok=True)
    (release / "SHA256SUMS").write_text(checksums_text(release))


def claim(model_dir, weights: bytes, **changes):
    """Write weights and a model.json that vouches for them."""
    (model_dir / "weights.safetensors").write_bytes(weights)
    header = json.loads((model_dir / "model.json").read_text())
    header |= {"weights_sha256": hashlib.sha256(weights).hexdigest(), **changes}
    (model_dir / "model.json").write_text(json.dumps(header))


def test_this_code_reads_the_models_of_the_release_that_the_demo_extends():
    demo = yaml.safe_load((REPOSITORY / "config/scale/demo.yaml").read_text())
    for model in ("bag2024", "mobcg"):
        load_model(REPOSITORY / "releases" / demo["extends"] / "models" / model)


def test_arrays_come_back_as_they_were(release):
    found = load_model(release / "models/mobcg").arrays
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)


def test_a_directory_without_a_model_is_named(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path.name}: found 'no model"):
        load_model(tmp_path)


def test_weights_that_meant_something_else_are_refused(release):
    header = release / "models/mobcg/model.json"
    saved = json.loads(header.read_text())
    header.write_text(json.dumps(saved | {"settings": {"processes": []}}))  # as the first ones were
    sign(release)
    with pytest.raises(InputError, match=r"settings\.format: found 1; allowed: 5\. Another mobcg wrote this model"):
        load_model(release / "models/mobcg")


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_a_file_changed_after_the_release_is_refused(name, release):
    path = release / "models/mobcg" / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match="SHA256SUMS"):
        load_model(release / "models/mobcg")


def test_a_model_swapped_whole_is_refused_by_the_release(release):
    save_model(release / "models/mobcg", "mobcg", SimpleNamespace(arrays=ARRAYS, settings={"processes": ["evil"]}))
    with pytest.raises(InputError, match=r"model\.json.*SHA256SUMS"):
        load_model(release / "models/mobcg")


def test_a_model_that_the_release_does_not_list_is_refused(release):
    save_model(release / "models/other", "mobcg", SimpleNamespace(arrays=ARRAYS, settings={}))
    with pytest.raises(InputError, match="a file that it lists"):
        load_model(release / "models/other")


def test_weights_that_are_not_those_of_the_header_are_refused(tmp_path):
    save_model(tmp_path, "mobcg", SimpleNamespace(arrays=ARRAYS, settings={}))
    with (tmp_path / "weights.safetensors").open("r+b") as stream:
        stream.seek(-4, 2)
        stream.write(b"\xff\xfe")
    with pytest.raises(InputError, match=r"SHA-256.*model\.json"):
        load_model(tmp_path)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).mkdir, (self.path,)


def test_a_pickle_in_place_of_weights_is_refused_and_not_run(tmp_path):
    save_model(tmp_path / "m", "mobcg", SimpleNamespace(arrays=ARRAYS, settings={}))
    claim(tmp_path / "m", pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(InputError, match="safetensors file"):
        load_model(tmp_path / "m")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "weights",
    [b"", b"\xff" * 64, b"\x08" + bytes(7) + b'{"a":{}}', (10**12).to_bytes(8, "little") + b"{}"],
    ids=["empty", "noise", "no array", "header of a terabyte"],
)
def test_weights_that_are_no_safetensors_are_refused(weights, tmp_path):
    save_model(tmp_path, "mobcg", SimpleNamespace(arrays=ARRAYS, settings={}))
    claim(tmp_path, weights)
    with pytest.raises(InputError, match="a safetensors file"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["os", "../evil", "storage", "mobcg.predictor.models.mobcg", "", 3])
def test_a_model_name_that_is_none_of_ours_imports_nothing(name, tmp_path):
    save_model(tmp_path, "mobcg", SimpleNamespace(arrays=ARRAYS, settings={}))
    claim(tmp_path, (tmp_path / "weights.safetensors").read_bytes(), model=name)
    with pytest.raises(InputError, match=r"model\.json"):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"model":"mobcg","settings":3,"weights_sha256":""}'])
def test_a_header_that_is_none_is_refused(text, tmp_path):
    save_model(tmp_path, "mobcg", SimpleNamespace(arrays=ARRAYS, settings={}))
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(InputError, match="weights_sha256"):
        load_model(tmp_path)


def test_a_file_that_is_far_too_large_is_not_read(tmp_path):
    save_model(tmp_path, "mobcg", SimpleNamespace(arrays=ARRAYS, settings={}))
    with (tmp_path / "weights.safetensors").open("r+b") as stream:
        stream.truncate(10**10)
    with pytest.raises(InputError, match="at most"):
        load_model(tmp_path)


def test_objects_are_not_saved(tmp_path):
    with pytest.raises(SafetensorError, match="object"):
        save_model(tmp_path, "mobcg", SimpleNamespace(arrays={"a": np.array([Bomb(tmp_path)])}, settings={}))
    assert not list(tmp_path.iterdir())
