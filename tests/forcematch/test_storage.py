import json

import numpy as np
import pytest
import torch

from mobcg.errors import InputError
from mobcg.forcematch.pair_fm import PairForce
from mobcg.forcematch.storage import load, save
from tests.forcematch.networks import BEADS, EDGE_NM, SMALL, evaluated, scattered, small, trimers


@pytest.fixture(params=sorted(SMALL))
def field(request):
    return small(request.param, 2, precision="float32")


def test_a_network_comes_back_to_the_bit(field, tmp_path):
    save(field, tmp_path / "one")
    found = load(tmp_path / "one")
    positions = scattered(2, BEADS, EDGE_NM, 0.28, seed=5)
    before, after = (evaluated(one, trimers(), positions) for one in (field, found))
    assert torch.equal(before.forces_kj_mol_nm, after.forces_kj_mol_nm)
    assert torch.equal(before.energies_kj_mol, after.energies_kj_mol)
    assert found.settings == field.settings
    save(found, tmp_path / "two")
    for file in ("model.json", "weights.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_pair_force_comes_back_to_the_bit(tmp_path):
    force = PairForce(0.4, np.arange(5.0) / 3, np.ones((5, 5)))
    save(force, tmp_path)
    found = load(tmp_path)
    assert isinstance(found, PairForce)
    assert found.start_nm == force.start_nm
    np.testing.assert_array_equal(found.coefficients, force.coefficients)
    np.testing.assert_array_equal(found.block_coefficients, force.block_coefficients)


def test_changed_weights_are_refused(field, tmp_path):
    save(field, tmp_path)
    with (tmp_path / "weights.safetensors").open("r+b") as stream:
        stream.seek(-4, 2)
        stream.write(b"\xff\xfe")
    with pytest.raises(InputError, match=r"SHA-256.*model\.json"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": 9}, "the weights of this schnet"),
        ({"n_kinds": 0}, "n_kinds"),
        ({"n_kinds": True}, "n_kinds"),
        ({"speed": 3}, "speed"),
    ],
)
def test_settings_that_are_not_of_these_weights_are_refused(change, message, tmp_path):
    save(small("schnet"), tmp_path)
    header = json.loads((tmp_path / "model.json").read_text())
    header["settings"] |= change
    (tmp_path / "model.json").write_text(json.dumps(header))
    with pytest.raises(InputError, match=message):
        load(tmp_path)


def test_other_models_and_other_arrays_are_refused(tmp_path):
    save(small("schnet"), tmp_path / "a")
    for name in ("os", "pair_fm"):
        header = json.loads((tmp_path / "a/model.json").read_text())
        (tmp_path / "a/model.json").write_text(json.dumps(header | {"model": name}))
        with pytest.raises(InputError, match="pair_fm"):
            load(tmp_path / "a")
    with pytest.raises(InputError, match="no model"):
        load(tmp_path / "b")
