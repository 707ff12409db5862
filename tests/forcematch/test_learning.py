import dataclasses

import numpy as np
import pytest
import torch

from mobcg.config import NETWORK_SETTINGS
from mobcg.errors import InputError, SimulationError
from mobcg.forcematch.frames import Frames
from mobcg.forcematch.learning import Sample, accuracy, errors_of, scales_of, steps_of, train
from tests.forcematch.fields import SoftSpheres
from tests.forcematch.networks import (
    EDGE_NM,
    SMALL,
    dimer_force,
    evaluated,
    pair_potential,
    scattered,
    small,
    toy,
    trimers,
)

MODELS = sorted(SMALL)
# Enough to learn a pair force in seconds.
LEARNS = {
    "schnet": {"features": 16, "filters": 16, "gaussians": 16},
    "hipnn": {"features": 16, "sensitivities": 10, "atom_layers": 1, "soft_min_nm": 0.3, "soft_max_nm": 0.65},
}
EPOCHS = 16
QUICK = {"cutoff_nm": 0.7, "sigma_nm": 0.3, "batch_frames": 4, "learning_rate": 1e-2, "last_learning_rate": 5e-4}


def quick(name: str, **settings):
    return NETWORK_SETTINGS[name].model_validate({**SMALL[name], **QUICK, "epochs": 3, **settings})


def weights(field) -> torch.Tensor:
    return torch.cat([parameter.ravel() for parameter in field.parameters()])


def silent(_line: str) -> None:
    pass


@pytest.fixture(scope="module", params=MODELS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def few():
    return toy(20, seed=4)


@pytest.fixture(scope="module")
def learnt(name):
    settings = NETWORK_SETTINGS[name].model_validate({**QUICK, **LEARNS[name], "epochs": EPOCHS})
    return train(name, settings, [toy(80)], 1, report=silent)


def test_a_pair_force_is_found_again(learnt):
    """Two beads alone, over the distances that are in the data: root mean square error below 15 % of the force."""
    field, record = learnt
    r = np.linspace(0.43, 0.68, 26)
    _, true = pair_potential(r)
    error = np.sqrt(np.mean((dimer_force(field, r) - true) ** 2) / np.mean(true**2))
    assert error < 0.15
    assert record["accuracy"]["test"]["r2"] > 0.99
    assert record["accuracy"]["test"]["energy_correlation"][0] > 0.99


def test_where_there_are_no_data_beads_repel(learnt):
    field, _ = learnt
    assert np.all(dimer_force(field, np.array([0.2, 0.25])) > 0)


def test_the_record_tells_how_it_went(learnt):
    field, record = learnt
    assert record["epochs"] == len(record["history"]) == EPOCHS
    assert record["history"][-1]["train_force_error"] < record["history"][0]["train_force_error"]
    best = max(range(EPOCHS), key=lambda epoch: record["history"][epoch]["validation_r2"])
    assert record["best_epoch"] == best + 1
    assert record["accuracy"]["validation"]["r2"] == pytest.approx(record["history"][best]["validation_r2"], abs=1e-6)
    assert all(0 < part["r2_se"] < 0.05 for part in record["accuracy"].values())
    assert not any(parameter.requires_grad for parameter in field.parameters())


def test_the_same_seed_gives_the_same_weights_to_the_bit(name, few):
    settings = quick(name, epochs=2)
    first, second, other = (weights(train(name, settings, [few], seed, report=silent)[0]) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


class InterruptedTrainingError(Exception):
    pass


def interrupt_after(epochs: int):
    lines = []

    def report(line: str) -> None:
        lines.append(line)
        if sum(line.startswith("epoch") for line in lines) > epochs:
            raise InterruptedTrainingError

    return report


def test_an_interrupted_training_ends_with_the_weights_of_one_that_was_not(name, few, tmp_path):
    settings = quick(name, epochs=4)
    whole, record = train(name, settings, [few], 1, report=silent)
    with pytest.raises(InterruptedTrainingError):
        train(name, settings, [few], 1, tmp_path / "checkpoint", interrupt_after(2))
    lines = []
    resumed, again = train(name, settings, [few], 1, tmp_path / "checkpoint", lines.append)
    assert "going on after epoch 2" in lines[0]
    assert sum(line.startswith("epoch") for line in lines) == 2
    assert torch.equal(weights(whole), weights(resumed))
    assert again["history"] == record["history"]
    assert again["accuracy"] == record["accuracy"]


def test_a_checkpoint_of_another_training_is_not_gone_on_from(few, tmp_path):
    with pytest.raises(InterruptedTrainingError):
        train("schnet", quick("schnet"), [few], 1, tmp_path / "checkpoint", interrupt_after(1))
    lines = []
    field, _ = train("schnet", quick("schnet"), [few], 2, tmp_path / "checkpoint", lines.append)
    assert "another training" in lines[0]
    assert torch.equal(weights(field), weights(train("schnet", quick("schnet"), [few], 2, report=silent)[0]))
    (tmp_path / "checkpoint").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="checkpoint"):
        train("schnet", quick("schnet"), [few], 2, tmp_path / "checkpoint", silent)


def test_the_energy_weight_changes_what_is_learned(name, few):
    fields = [train(name, quick(name, energy_weight=weight), [few], 1, report=silent) for weight in (0.0, 10.0)]
    forces = [dimer_force(field, np.array([0.45, 0.55])) for field, _ in fields]
    assert np.abs(forces[0] - forces[1]).max() > 0.05
    assert fields[0][1]["history"][0]["train_energy_error"] is None
    history = fields[1][1]["history"]
    assert history[-1]["train_energy_error"] < history[0]["train_energy_error"]


def test_boxes_of_different_sizes_and_numbers_of_beads_are_learned_together(few):
    other = toy(30, beads=11, edge_nm=1.6, seed=8)
    other = dataclasses.replace(other, temperature_k=350.0)
    field, record = train("schnet", quick("schnet", features=16, epochs=6), [few, other], 1, report=silent)
    assert [one["beads"] for one in record["sets"]] == [8, 11]
    assert len(record["accuracy"]["test"]["sets"]) == 2
    parts = zip(few.split(), other.split(), strict=True)
    _, _, test = ([one, two] for one, two in parts)
    again = accuracy(field, test, batch_frames=2)
    assert again["r2"] == pytest.approx(record["accuracy"]["test"]["r2"], abs=1e-5)
    assert again["r2"] > 0.9


def test_of_molecules_of_several_beads_the_net_force_is_measured_too(few):
    field, beads = small("schnet", n_kinds=2), trimers()
    positions = scattered(12, len(beads), EDGE_NM, 0.25, seed=6)
    said = evaluated(field, beads, positions).forces_kj_mol_nm.numpy()
    # What is missed pulls the first bead of each molecule one way and the second the other: the net force is whole.
    missed = 50 * np.random.default_rng(7).standard_normal((12, len(beads) // 3, 3))
    inner = np.stack([missed, -missed, 0 * missed], axis=2).reshape(said.shape)
    found = accuracy(field, [Frames(positions, said + inner, EDGE_NM, 300.0, beads)], batch_frames=5)
    assert found["r2"] == pytest.approx(1 - np.sum(inner**2) / np.sum((said + inner) ** 2))
    assert found["molecules"]["r2"] == pytest.approx(1)
    outer = np.repeat(missed, 3, axis=1)
    found = accuracy(field, [Frames(positions, said + outer, EDGE_NM, 300.0, beads)], batch_frames=5)
    net = (said + outer).reshape(12, -1, 3, 3).sum(axis=2)
    assert found["molecules"]["r2"] == pytest.approx(1 - np.sum((3 * missed) ** 2) / np.sum(net**2))
    assert "molecules" not in accuracy(small("schnet"), [few], batch_frames=5)


def test_of_a_model_that_says_nothing_both_errors_are_one(few):
    sample = Sample(few, 0.7, torch.device("cpu"))
    force, energy = errors_of(SoftSpheres(0.0), sample, np.arange(20), scales_of([few], 1.0))
    assert force.item() == pytest.approx(1)
    assert energy.item() == pytest.approx(1)


def test_the_slope_of_the_loss_is_the_mean_of_those_of_its_frames(few):
    """An energy of the wrong shape multiplies forces by the number of frames, and nothing but this shows it."""
    sample, scales = Sample(few, 0.7, torch.device("cpu")), scales_of([few], 0.0)

    def slope(rows: np.ndarray) -> float:
        field = SoftSpheres(3.0)
        force, _ = errors_of(field, sample, rows, scales)
        return float(torch.autograd.grad(force, field.epsilon_kj_mol)[0])

    assert slope(np.arange(6)) == pytest.approx(np.mean([slope(np.array([row])) for row in range(6)]))


def test_an_energy_is_free_up_to_a_constant(few):
    moved = dataclasses.replace(few, energies_kj_mol=few.energies_kj_mol + 1000.0)
    errors = [
        errors_of(SoftSpheres(3.0), Sample(frames, 0.7, torch.device("cpu")), np.arange(5), scales_of([frames], 1.0))[1]
        for frames in (few, moved)
    ]
    assert errors[0].item() == pytest.approx(errors[1].item())


def test_each_frame_is_seen_once_an_epoch_and_each_step_in_one_box():
    steps = list(steps_of([10, 7], 4, seed=1, epoch=0))
    assert sorted((number, row) for number, rows in steps for row in rows) == [
        (number, row) for number, frames in ((0, 10), (1, 7)) for row in range(frames)
    ]
    assert min(len(rows) for _, rows in steps) >= 4
    again, other = list(steps_of([10, 7], 4, 1, 0)), list(steps_of([10, 7], 4, 1, 1))
    assert [rows.tolist() for _, rows in again] == [rows.tolist() for _, rows in steps]
    assert [rows.tolist() for _, rows in other] != [rows.tolist() for _, rows in steps]


def test_energies_that_are_needed_and_not_there_are_refused(few):
    without = dataclasses.replace(few, energies_kj_mol=None)
    with pytest.raises(InputError, match="energy_weight: 0"):
        train("schnet", quick("schnet"), [without], 1, report=silent)
    _, record = train("schnet", quick("schnet", energy_weight=0, epochs=1), [without], 1, report=silent)
    assert record["accuracy"]["test"]["energy_correlation"] == [None]


def test_training_ends_when_the_validation_error_does_not_fall(few):
    settings = quick("schnet", epochs=50, patience=2, learning_rate=1e-12, last_learning_rate=1e-12)
    _, record = train("schnet", settings, [few], 1, report=silent)
    assert record["epochs"] == record["best_epoch"] + 2 < 50


def test_a_training_that_diverges_says_so(few):
    with pytest.raises(SimulationError, match="learning_rate"):
        train("schnet", quick("schnet", learning_rate=1e30), [few], 1, report=silent)
