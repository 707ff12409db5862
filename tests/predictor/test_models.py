import dataclasses

import numpy as np
import pytest
import torch

from mobcg.pair import R_NM, core_index
from mobcg.predictor.dataset import Liquids, structure_rows
from mobcg.predictor.features import describe
from mobcg.predictor.models import bag2024, mobcg
from mobcg.predictor.reduced import X
from mobcg.predictor.storage import MODELS, load_model, save_model
from mobcg.predictor.train import potential_error_kt
from mobcg.units import thermal_energy_kj_mol
from tests.predictor.cases import TEMPERATURE_K, with_friction, with_multiples
from tests.predictor.dense import dense_liquids

SHORT = {**bag2024.DEFAULTS, "folds": 2, "epochs": 4}


def silent(line: str) -> None:
    pass


def alike(first, second) -> bool:
    return first.arrays.keys() == second.arrays.keys() and all(
        np.array_equal(first.arrays[key], second.arrays[key]) for key in first.arrays
    )


def scaled(liquids: Liquids, mass: float = 1.0, energy: float = 1.0) -> Liquids:
    return dataclasses.replace(
        liquids,
        mass_g_mol=liquids.mass_g_mol * mass,
        temperature_k=liquids.temperature_k * energy,
        potential_kj_mol=liquids.potential_kj_mol * energy,
        pressure_bar=liquids.pressure_bar * energy,
        diffusion_nm2_ns=liquids.diffusion_nm2_ns * (energy / mass) ** 0.5,
        diffusion_nm2_ns_se=liquids.diffusion_nm2_ns_se * (energy / mass) ** 0.5,
        friction_1_ps=liquids.friction_1_ps * (energy / mass) ** 0.5,
    )


def test_models_are_found_by_name():
    assert MODELS == ("bag2024", "mobcg")


def test_mobcg_learns_what_it_is_shown(liquids):
    settings = {"length_scales": [1.2], "noises": [1e-6]}
    model = mobcg.train(liquids, settings, 1, silent)
    assert potential_error_kt(model, liquids) < 0.01


def test_mobcg_without_data_nearby_falls_back_to_the_closure(liquids):
    model = mobcg.train(liquids, {"length_scales": [1.2], "noises": [1e6]}, 1, silent)
    # In the dilute limit integral-equation theory is exact: U = −kT ln g.
    dilute = dataclasses.replace(liquids, number_density_nm3=np.full(len(liquids), 1e-3))
    potential, _ = model.predict(dilute)
    seen = slice(core_index(liquids.rdf[0]) + 3, 140)
    deviation = (potential[0] - liquids.potential_kj_mol[0])[seen] / thermal_energy_kj_mol(TEMPERATURE_K)
    assert np.abs(deviation).max() < 0.05


def test_mobcg_makes_little_of_a_single_parent(liquids):
    model = mobcg.train(liquids.take([0, 1, 2]), mobcg.DEFAULTS, 1, silent)
    assert model.processes["structure"].noise == max(mobcg.DEFAULTS["noises"])


def test_mobcg_is_exact_in_mass_and_energy(liquids):
    model = mobcg.train(liquids, mobcg.DEFAULTS, 1, silent)
    potential, error = model.predict(liquids)
    heavy, _ = model.predict(scaled(liquids, mass=7.0))
    hot, hot_error = model.predict(scaled(liquids, energy=2.0))
    np.testing.assert_array_equal(heavy, potential)
    np.testing.assert_allclose(hot, 2 * potential, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(hot_error, 2 * error)


def test_mobcg_training_on_other_units_is_the_same_model(liquids):
    rows = with_multiples(with_friction(liquids, {"langevin": 1.5, "dpd": 0.4}))
    model, other = (mobcg.train(each, mobcg.DEFAULTS, 1, silent) for each in (rows, scaled(rows, 3.0, 1.7)))
    assert set(model.processes) == {"structure", "mobility", "langevin", "dpd", "knob"}
    for name in ("structure", "mobility"):
        first, second = (trained.processes[name] for trained in (model, other))
        np.testing.assert_allclose(
            second.mean(first.inputs, first.terms), first.mean(first.inputs, first.terms), atol=1e-3
        )


def test_mobcg_is_less_sure_of_what_it_never_saw(liquids):
    model = mobcg.train(liquids, {"length_scales": [0.6], "noises": [1e-3]}, 1, silent)
    strange = dataclasses.replace(liquids, rdf=liquids.rdf**3)
    seen = slice(45, 100)
    assert model.predict(strange)[1][0, seen].mean() > 3 * model.predict(liquids)[1][0, seen].mean()
    near, far = (model.distance(describe(rows)) for rows in (liquids, strange))
    assert near.max() < 1e-2 < 1 < far.min()


def test_mobcg_has_an_error_wherever_the_potential_is_learned():
    rows = structure_rows(dense_liquids())
    _, error = mobcg.train(rows, mobcg.DEFAULTS, 1, silent).predict(rows)
    last = np.searchsorted(R_NM * np.cbrt(rows.number_density_nm3[0]), X[-1]) - 1
    assert 0 < last < 140
    assert np.all(error[:, last:] > 0.5 * error[:, last : last + 1])
    assert np.all(error[:, last:] > 0)


def test_no_array_of_mobcg_depends_on_the_seed(liquids):
    """The seed draws what the record tells alone, also of more liquids than it would ever draw."""
    many = liquids.take(np.tile(np.arange(len(liquids)), 36))
    names = np.array([f"{name}-{row // len(liquids)}" for row, name in enumerate(many.potential_id)])
    widths = 1 + 0.01 * (np.arange(len(many)) // len(liquids))
    many = dataclasses.replace(
        many,
        potential_id=names,
        parent_potential_id=names,
        run_id=np.array([f"{row:016x}" for row in range(len(many))]),
        number_density_nm3=many.number_density_nm3 * widths,
    )
    first, second = (mobcg.train(many, {"length_scales": [1.2], "noises": [1e-2]}, seed, silent) for seed in (1, 2))
    assert first.history["liquids"] == 216
    assert alike(first, second)


def test_mobcg_record_tells_what_a_random_split_would_have_said(liquids):
    history = mobcg.train(liquids, mobcg.DEFAULTS, 1, silent).history
    # Every row has two copies with other masses: left out alone, it is known already.
    assert history["splits"]["rows_left_out_kt"] < 0.3 * history["splits"]["parents_left_out_kt"]
    parents = [point["parents"] for point in history["learning_curve"]]
    assert parents == sorted(set(parents))
    assert parents[-1] == 6
    assert history["learning_curve"][-1]["error_kt"] == pytest.approx(history["left_out_error_kt"])
    assert sum(history["reliability"]["potential_kt"]["rows"]) == 6


def test_bag2024_learns_what_it_is_shown(liquids):
    settings = {**SHORT, "epochs": 60}
    model = bag2024.train(liquids, settings, 1, silent)
    losses = model.history["outer_loss_per_epoch"]
    assert losses[-1] < 0.05 * losses[0]


def test_bag2024_has_the_published_layers(liquids):
    model = bag2024.train(liquids, SHORT, 1, silent)
    outer = [model.arrays[f"outer.0.weight.{layer}"].shape for layer in range(5)]
    inner = [model.arrays[f"inner.0.weight.{layer}"].shape for layer in range(6)]
    assert outer == [(585, 142), (490, 585), (411, 490), (345, 411), (100, 345)]
    assert inner == [(499, 100), (453, 499), (411, 453), (373, 411), (338, 373), (20, 338)]


def test_bag2024_predicts_as_its_torch_network_does():
    generator = torch.Generator().manual_seed(3)
    network = bag2024._network(5, [7, 6], 4, 0.05, generator)
    dense = [module for module in network if isinstance(module, torch.nn.Linear)]
    arrays = {}
    for i, module in enumerate(dense):
        whole, scale = bag2024.whole_numbers(module.weight.detach().numpy())
        module.weight.data[:] = torch.tensor(whole * scale[:, None])
        module.bias.data += i
        values = whole, scale, module.bias.detach().numpy()
        arrays |= {f"outer.0.{name}.{i}": value for name, value in zip(bag2024.PARTS, values, strict=True)}
    model = bag2024.Model({"networks": 1, "leak": 0.05, "outer": {"layers": [7, 6]}}, arrays)
    inputs = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    expected = network(torch.tensor(inputs)).detach().numpy()
    np.testing.assert_allclose(model._ensemble("outer", inputs)[0], expected, rtol=1e-4, atol=1e-5)


def test_bag2024_keeps_its_weights_as_whole_numbers_within_half_a_step():
    weight = np.random.default_rng(4).normal(size=(6, 50)) * np.array([1e-6, 1e-3, 1, 1, 10, 0])[:, None]
    whole, scale = bag2024.whole_numbers(weight)
    assert whole.dtype == np.int8
    assert np.all(np.abs(whole * scale[:, None] - weight) <= 0.5001 * scale[:, None])
    assert np.all(np.abs(whole[:5]).max(axis=1) == 127)


def test_bag2024_of_a_release_has_the_first_of_its_networks(liquids):
    whole, part = (bag2024.train(liquids, {**SHORT, "folds": 3, "networks": n}, 5, silent) for n in (10, 2))
    assert (whole.settings["networks"], part.settings["networks"]) == (3, 2)
    assert part.arrays.keys() < whole.arrays.keys()
    assert all(np.array_equal(part.arrays[key], whole.arrays[key]) for key in part.arrays)


def test_bag2024_of_one_parent_is_one_network_that_nothing_checks(liquids):
    one_parent = liquids.take([0, 1, 2])
    assert len(set(one_parent.parent_potential_id)) == 1
    model = bag2024.train(one_parent, SHORT, 1, silent)
    assert model.settings["folds"] == 1
    assert model.history["outer_left_out_mae_kcal_mol"] is None


@pytest.mark.parametrize(("module", "settings"), [(mobcg, mobcg.DEFAULTS), (bag2024, SHORT)])
def test_training_is_repeatable_and_survives_the_disk(module, settings, liquids, tmp_path):
    name = module.__name__.rsplit(".", 1)[-1]
    first, second = (module.train(liquids, settings, 5, silent) for _ in range(2))
    assert alike(first, second)
    for number, model in enumerate((first, second)):
        save_model(tmp_path / str(number), name, model)
    for file in ("model.json", "weights.safetensors"):
        assert (tmp_path / "0" / file).read_bytes() == (tmp_path / "1" / file).read_bytes()
    loaded = load_model(tmp_path / "0")
    assert alike(loaded, first)
    np.testing.assert_array_equal(loaded.predict(liquids)[0], first.predict(liquids)[0])


def test_another_seed_is_another_network(liquids):
    assert not alike(bag2024.train(liquids, SHORT, 5, silent), bag2024.train(liquids, SHORT, 6, silent))
