import numpy as np
import pytest

from mobcg.errors import InputError
from mobcg.predictor.models import mobcg
from mobcg.predictor.predict import predict
from mobcg.predictor.storage import save_model


@pytest.fixture(scope="module")
def model_dir(liquids, tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    save_model(directory, "mobcg", mobcg.train(liquids, mobcg.DEFAULTS, 1, lambda line: None))
    return directory


def test_predicts_what_the_model_does(model_dir, liquids):
    found = predict(model_dir, liquids.rdf[4], 2.0, 298.15, 90.0, 3.0, 1e9)
    direct, error = mobcg.train(liquids, mobcg.DEFAULTS, 1, lambda line: None).predict(liquids.take([4]))
    np.testing.assert_allclose(found.potential_kj_mol, direct[0])
    np.testing.assert_allclose(found.potential_kj_mol_se, error[0])


def test_neither_mass_nor_diffusion_move_the_potential(model_dir, liquids):
    first = predict(model_dir, liquids.rdf[0], 2.0, 298.15, 78.0, 1.1)
    second = predict(model_dir, liquids.rdf[0], 2.0, 298.15, 200.0, 50.0)
    np.testing.assert_array_equal(first.potential_kj_mol, second.potential_kj_mol)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"rdf": np.ones(149)}, "rdf"),
        ({"rdf": np.zeros(150)}, "rdf"),
        ({"rdf": np.full(150, np.nan)}, "rdf"),
        ({"number_density_nm3": -1.0}, "number_density_nm3"),
        ({"temperature_k": np.inf}, "temperature_k"),
        ({"n_beads": 0}, "n_beads"),
    ],
)
def test_a_value_that_cannot_be_is_named(change, key, model_dir, liquids):
    values = {
        "rdf": liquids.rdf[0],
        "number_density_nm3": 2.0,
        "temperature_k": 298.15,
        "mass_g_mol": 90.0,
        "diffusion_nm2_ns": 3.0,
    }
    with pytest.raises(InputError, match=f"predict: {key}: found"):
        predict(model_dir, **(values | change))


def test_a_directory_without_a_model_is_named(tmp_path, liquids):
    with pytest.raises(InputError, match="no model"):
        predict(tmp_path, liquids.rdf[0], 2.0, 298.15, 90.0, 3.0)
