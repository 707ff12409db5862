import dataclasses
import json

import numpy as np
import pytest

from mobcg.predictor.train import main
from tests.predictor.cases import with_friction, write_tables

SETTINGS = {"mobcg": "{}", "bag2024": '{"folds":2,"epochs":3}'}


def arguments(tables, out, model="mobcg", fold="benzene", **options) -> list[str]:
    words = {
        "tables": tables,
        "out": out,
        "model": model,
        "fold": fold,
        "settings": SETTINGS.get(model, "{}"),
    } | options
    return [word for name, value in words.items() for word in (f"--{name}", str(value))]


@pytest.mark.parametrize("model", ["mobcg", "bag2024"])
def test_same_tables_and_seed_give_the_same_files(model, liquids, tmp_path):
    tables = write_tables(tmp_path, liquids, "benzene")
    for out in ("first", "second"):
        assert main(arguments(tables, tmp_path / out, model)) == 0
    names = {path.name for path in (tmp_path / "first").iterdir()}
    assert names == {"model.json", "weights.safetensors", "training.json", "README.md"}
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


def test_the_model_of_a_release_is_taken_over_as_it_is(liquids, tmp_path, capsys):
    released, out = tmp_path / "2026.12.0/models/mobcg", tmp_path / "out"
    assert main(arguments(write_tables(tmp_path, liquids, "benzene"), released)) == 0
    words = ["--released", str(released), "--fold", "all", "--out", str(out)]
    assert main([*words, "--model", "mobcg"]) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in released.iterdir()
    }
    assert main([*words, "--model", "bag2024"]) == 2
    assert "found 'mobcg'" in capsys.readouterr().err
    (released.parents[1] / "SHA256SUMS").write_text(f"{'0' * 64}  models/mobcg/model.json\n")
    assert main([*words, "--model", "mobcg"]) == 2
    assert "SHA256SUMS" in capsys.readouterr().err


def test_training_record_knows_what_was_held_out(liquids, tmp_path):
    main(arguments(write_tables(tmp_path, liquids, "benzene"), tmp_path / "out"))
    record = json.loads((tmp_path / "out/training.json").read_text())
    assert record["trained_on_molecules"] == ["mesitylene", "neopentane"]
    assert record["rows"] == {"train": 9, "validation": 3, "test": 6}
    assert record["parent_potentials"] == {"train": 3, "validation": 1, "test": 2}
    assert 0 < record["train_error_kt"] < record["validation_error_kt"] < 1
    assert 0.2 < record["validation_error_bar_ratio"] < 5
    assert "every row that descends from benzene" in (tmp_path / "out/README.md").read_text()


def test_the_card_counts_parents_of_the_same_rows_and_names_friction_and_prior(liquids, tmp_path):
    rows = with_friction(liquids, {"dpd": 7.0})
    molecules = np.where(rows.parent_molecule_id == "mesitylene", "", rows.parent_molecule_id)
    # The runs with the highest friction have parents that no run without it has.
    names = np.char.add(rows.potential_id, np.where(rows.friction_1_ps == 8, "-f", ""))
    rows = dataclasses.replace(rows, parent_molecule_id=molecules, potential_id=names, parent_potential_id=names)
    tables = write_tables(tmp_path, rows, "benzene")
    for model, friction in (("mobcg", " and 10 with friction"), ("bag2024", "")):
        assert main(arguments(tables, tmp_path / model, model)) == 0
        record = json.loads((tmp_path / model / "training.json").read_text())
        assert record["rows"] == {"train": 9, "validation": 3, "test": 6}
        assert record["friction_rows"] == {"train": 10, "validation": 2, "test": 6}
        assert record["parent_potentials"] == {"train": 3, "validation": 1, "test": 2}
        card = (tmp_path / model / "README.md").read_text()
        learned_from = f"9 coarse-grained runs without friction of 3 parent potentials{friction}: neopentane, "
        assert f"- Trained on {learned_from}liquids of the prior.\n" in card
        held_out = "3 validation rows of 1 other parent potentials, and every row that descends from benzene"
        assert f"- Held out: {held_out}.\n" in card


def test_the_card_of_the_model_of_all_molecules_names_the_rows_it_did_not_learn_from(liquids, tmp_path):
    main(arguments(write_tables(tmp_path, liquids, "all"), tmp_path / "out", fold="all"))
    card = (tmp_path / "out/README.md").read_text()
    assert "of 5 parent potentials: benzene, mesitylene, neopentane.\n" in card
    assert "- Held out: 3 validation rows of 1 other parent potentials.\n" in card


def test_the_held_out_rows_do_not_reach_the_model(liquids, tmp_path):
    poisoned = liquids.take(range(len(liquids)))
    poisoned.rdf[liquids.parent_molecule_id == "benzene"] *= 1.5
    for name, rows in (("clean", liquids), ("poisoned", poisoned)):
        main(arguments(write_tables(tmp_path / name, rows, "benzene"), tmp_path / name / "out"))
    first, second = ((tmp_path / name / "out/weights.safetensors").read_bytes() for name in ("clean", "poisoned"))
    assert first == second


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "alphafold"}, "allowed: bag2024 | mobcg"),
        ({"settings": '{"epoch":3}'}, "allowed: length_scales | noises"),
        ({"fold": "toluene"}, "allowed: benzene"),
    ],
)
def test_a_wrong_option_is_explained_without_a_traceback(options, message, liquids, tmp_path, capsys):
    assert main(arguments(write_tables(tmp_path, liquids, "benzene"), tmp_path / "out", **options)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
