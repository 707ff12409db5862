import hashlib
import json

import numpy as np
import pytest

from mobcg.errors import InputError
from mobcg.forcematch.frames import frames_of
from mobcg.forcematch.storage import load
from mobcg.forcematch.train import main, train
from mobcg.observables import BeadTrajectory
from tests.forcematch.networks import SMALL, toy


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two state points as the atomistic leg writes them."""
    where = tmp_path_factory.mktemp("beads")
    for number, (beads, edge) in enumerate(((60, 3.2), (70, 3.3))):
        frames = toy(14, beads, edge, seed=number)
        energies = {"potential_kj_mol": frames.energies_kj_mol.tolist()}
        forces = frames.forces_kj_mol_nm.astype(np.float32)
        BeadTrajectory(frames.positions_nm, edge, 1.0, 80.0, 300.0, forces, energies).save(where / f"{number}.npz")
    return [str(where / "0.npz"), str(where / "1.npz")]


def run(files, out, *more: str) -> int:
    return main(["--beads", *files, "--out", str(out), *more])


@pytest.mark.parametrize("name", ["pair_fm", *sorted(SMALL)])
def test_the_command_writes_a_model_and_its_record(name, files, tmp_path, capsys):
    settings = {} if name == "pair_fm" else {**SMALL[name], "epochs": 1}
    assert run(files, tmp_path, "--model", name, "--settings", json.dumps(settings)) == 0
    assert "R² of the forces on test frames" in capsys.readouterr().out
    record = json.loads((tmp_path / "training.json").read_text())
    digest = hashlib.sha256((tmp_path / "weights.safetensors").read_bytes()).hexdigest()
    assert record["weights_sha256"] == digest == json.loads((tmp_path / "model.json").read_text())["weights_sha256"]
    assert record["accuracy"]["test"].keys() >= {"r2", "r2_se", "sets"}
    assert {"mobcg", "torch"} <= record["versions"].keys()
    assert len(record["sets"]) == 2
    assert not list(tmp_path.glob("checkpoint*"))
    load(tmp_path)


def test_wrong_input_is_told(files, tmp_path):
    for arguments, message in (
        (["--model", "os"], "pair_fm"),
        (["--model", "schnet", "--settings", '{"speed": 3}'], "speed"),
        (["--model", "pair_fm", "--settings", '{"speed": 3}'], "nothing for pair_fm"),
    ):
        with pytest.raises(InputError, match=message):
            run(files, tmp_path, *arguments)
    assert not list(tmp_path.iterdir())


def test_energies_reach_the_training(files):

    frames = frames_of(BeadTrajectory.load(files[0]), every_ps=1.0)
    _, record = train("schnet", {**SMALL["schnet"], "epochs": 1}, [frames], 1, report=lambda line: None)
    assert record["scales"]["energy"] == pytest.approx(np.var(frames.split()[0].energies_kj_mol / 60, ddof=1))
