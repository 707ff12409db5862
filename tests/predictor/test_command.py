import csv
import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mobcg.__main__ import main
from mobcg.database.manifest import checksums_text
from mobcg.errors import InputError
from mobcg.pair import R_NM
from mobcg.predictor.command import COLUMNS, Ask, find_model, predict_liquids, read_liquids
from mobcg.predictor.models import bag2024, mobcg
from mobcg.predictor.storage import save_model
from mobcg.records import write_json
from mobcg.units import mass_density_kg_m3
from tests.predictor import strangers
from tests.predictor.dense import DENSITY, dense_liquids, dense_rdf

MASS = 80.0
STATE = {
    "diffusion_nm2_ns": 1.5,
    "mass_g_mol": MASS,
    "density_kg_m3": mass_density_kg_m3(DENSITY, MASS),
    "temperature_k": 298.15,
}


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A release with two small trained models."""
    directory = tmp_path_factory.mktemp("releases") / "2026.11.0"
    (directory / "data").mkdir(parents=True)
    short = {**bag2024.DEFAULTS, "folds": 2, "epochs": 60}
    for name, module, settings in (("mobcg", mobcg, mobcg.DEFAULTS), ("bag2024", bag2024, short)):
        save_model(directory / "models" / name, name, module.train(dense_liquids(), settings, 1, lambda line: None))
        write_json(directory / f"models/{name}/training.json", {"data_sha256": "5" * 64, "fold": "all"})
    (directory / "SHA256SUMS").write_text(checksums_text(directory))
    return directory


@pytest.fixture(scope="module")
def knobless(tmp_path_factory):
    """A release with a model that learned from no multiples and no run under DPD."""
    directory = tmp_path_factory.mktemp("knobless") / "2026.11.0"
    rows = dense_liquids()
    langevin_only = rows.take((rows.potential_id == rows.parent_potential_id) & (rows.thermostat != "dpd"))
    (directory / "data").mkdir(parents=True)
    save_model(directory / "models/mobcg", "mobcg", mobcg.train(langevin_only, mobcg.DEFAULTS, 1, lambda line: None))
    write_json(directory / "models/mobcg/training.json", {})
    (directory / "SHA256SUMS").write_text(checksums_text(directory))
    return directory


@pytest.fixture
def rdf(tmp_path):
    """A CSV file of a liquid between those learned from."""
    path = tmp_path / "liquid.csv"
    np.savetxt(path, np.column_stack([R_NM, dense_rdf(R_NM, 2.3, 0.561)]), delimiter=",", header="r_nm,g", comments="")
    return path


def words(release, **options) -> list[str]:
    named = {"release": release, **STATE, **options}
    return ["predict", *(f"--{name.replace('_', '-')}={value}" for name, value in named.items() if value is not None)]


def test_one_liquid(release, rdf, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(words(release, rdf=rdf, molecules=1000, out=out)) == 0
    printed = capsys.readouterr()
    assert "distances taken to be in nm, as the file says" in printed.err
    assert "WARNING" not in printed.err
    assert "rdf_error: 0." in printed.out
    assert "pressure_bar: 1.013 ± " in printed.out
    assert ", as asked for" in printed.out
    formats = ("lammps.table", "votca.pot", "openmm.json", "gromacs.xvg")
    assert {path.name for path in out.iterdir()} == {
        "prediction.json",
        "lammps",
        *(f"mobcg.{name}" for name in formats),
    }
    assert {path.name for path in (out / "lammps").iterdir()} == {"run.in", "start.data", "pair.table"}
    content = json.loads((out / "prediction.json").read_text())
    weights = json.loads((release / "models/mobcg/model.json").read_text())["weights_sha256"]
    assert content["model"]["weights_sha256"] == weights
    assert (content["model"]["release"], content["model"]["data_sha256"]) == ("2026.11.0", "5" * 64)
    assert (content["verdict"], content["reasons"]) == ("inside", [])
    assert content["predicted"]["pressure_bar"] == pytest.approx(1.01325)
    assert 0 < content["distance"] < 1
    table = np.loadtxt(out / "mobcg.votca.pot", usecols=(0, 1))
    np.testing.assert_allclose(table[:, 1], content["potential_kj_mol"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "command"), [("mobcg_dpd", "pair_coeff 1 1 brownian"), ("mobcg_langevin", "fix heat all langevin")]
)
def test_a_friction_goes_into_the_input_of_the_run(model, command, release, rdf, tmp_path):
    assert main(words(release, rdf=rdf, model=model, out=tmp_path / "out")) == 0
    content = json.loads((tmp_path / "out/prediction.json").read_text())
    assert content["predicted"]["friction_1_ps"] > 0
    production = (tmp_path / "out/lammps/run.in").read_text().split("thermostat of the model")[1]
    assert command in production
    openmm = json.loads((tmp_path / f"out/{model}.openmm.json").read_text())
    assert openmm["friction_1_ps"] == content["predicted"]["friction_1_ps"]


@pytest.mark.parametrize("model", ["mobcg_dpd", "mobcg_langevin"])
def test_a_liquid_that_is_slow_already_keeps_a_thermostat(model, release, rdf, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(words(release, rdf=rdf, molecules=1000, model=model, diffusion_nm2_ns=25, out=out)) == 0
    assert "note: without friction it is as slow as asked for" in capsys.readouterr().err
    content = json.loads((out / "prediction.json").read_text())
    openmm = json.loads((out / f"{model}.openmm.json").read_text())
    assert content["predicted"]["friction_1_ps"] == openmm["friction_1_ps"] == 0
    assert content["thermostat"] == openmm["thermostat"] == "nose_hoover"
    production = (out / "lammps/run.in").read_text().split("thermostat of the model")[1]
    assert "fix move all nvt" in production
    assert "lubricate" not in production


def test_a_missing_number_of_molecules_is_a_warning(release, rdf, tmp_path, capsys):
    for name, options in (("unknown", {}), ("known", {"molecules": 1000}), ("by-n", {"normalisation": "N"})):
        assert main(words(release, rdf=rdf, out=tmp_path / name, **options)) == 0
        content = json.loads((tmp_path / name / "prediction.json").read_text())
        unknown = name == "unknown"
        assert content["verdict"] == ("edge" if unknown else "inside")
        assert ("WARNING: edge of what is known: the number of molecules" in capsys.readouterr().err) == unknown
        assert content["input"]["normalisation"] == ("N" if name == "by-n" else "N-1")


def test_a_warning_names_its_cause(release, rdf, tmp_path, capsys):
    """The structure is known; the friction that is asked for is not."""
    options = {"molecules": 1000, "model": "mobcg_dpd", "diffusion_nm2_ns": 0.5}
    assert main(words(release, rdf=rdf, out=tmp_path / "out", **options)) == 0
    printed = capsys.readouterr().err
    assert "a friction is to slow it" in printed
    assert "training data, distance" not in printed
    assert json.loads((tmp_path / "out/prediction.json").read_text())["distance"] < 1


def test_the_published_network_is_always_a_warning(release, rdf, tmp_path, capsys):
    assert main(words(release, rdf=rdf, model="bag2024", out=tmp_path / "out")) == 0
    assert "WARNING: edge" in capsys.readouterr().err
    content = json.loads((tmp_path / "out/prediction.json").read_text())
    assert content["distance"] is None
    assert "alpha" not in content["predicted"]


def test_knob_and_pressure_reach_the_model(release, rdf, tmp_path):
    for name, options in (("own", []), ("soft", ["--knob=0.8"]), ("free", ["--no-pressure"])):
        assert main([*words(release, rdf=rdf, out=tmp_path / name), *options]) == 0
    own, soft, free = (
        json.loads((tmp_path / name / "prediction.json").read_text()) for name in ("own", "soft", "free")
    )
    assert 0.9 < own["predicted"]["scale_factor"] < 2.5
    assert soft["predicted"]["scale_factor"] == pytest.approx(0.8 * own["predicted"]["scale_factor"])
    assert free["predicted"]["pressure_bar"] != own["predicted"]["pressure_bar"]
    assert free["potential_kj_mol"] != own["potential_kj_mol"]


def test_what_is_there_is_not_overwritten_without_force(release, rdf, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    assert main(words(release, rdf=rdf, out=out)) == 2
    assert "--force" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    assert main([*words(release, rdf=rdf, out=out), "--force"]) == 0
    assert (out / "mine.txt").read_text() == "kept"
    assert (out / "lammps/run.in").is_file()


def test_a_run_of_another_prediction_is_not_taken_for_that_of_the_new_one(release, rdf, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(words(release, rdf=rdf, model="mobcg_dpd", out=out)) == 0
    for name in ("rdf.txt", "msd.txt", "log.lammps", "mine.dump"):
        (out / "lammps" / name).write_text("of the run under DPD")
    assert main([*words(release, rdf=rdf, out=out), "--force"]) == 0
    assert {path.name for path in (out / "lammps").iterdir()} == {"run.in", "start.data", "pair.table", "mine.dump"}
    assert not list(out.glob("mobcg_dpd.*"))
    assert len(list(out.glob("mobcg.*"))) == 4
    capsys.readouterr()
    assert main(["compare", str(out)]) == 2
    assert "rdf.txt: found 'no such file'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "stranger", [strangers.hard_spheres, strangers.crystal, strangers.water, strangers.noise], ids=lambda f: f.__name__
)
def test_what_is_no_simple_liquid_is_refused(stranger, release, tmp_path, capsys):
    curve, density = stranger()
    np.savetxt(tmp_path / "g.dat", np.column_stack([R_NM, curve]))
    state = {"rdf": tmp_path / "g.dat", "density_kg_m3": mass_density_kg_m3(density, MASS)}
    assert main(words(release, **state, out=tmp_path / "out")) == 2
    assert "g.dat" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    if stranger is not strangers.noise:  # in which nothing can be found, so that there is nothing to insist on
        assert main([*words(release, **state, out=tmp_path / "out"), "--anyway"]) == 0
        assert "WARNING: outside" in capsys.readouterr().err


def test_what_theory_objects_to_is_refused_whatever_the_training_data(release, tmp_path):
    curve, density = strangers.hard_spheres()
    np.savetxt(tmp_path / "g.dat", np.column_stack([R_NM, curve]))
    row = {"rdf": "g.dat", **STATE, "density_kg_m3": mass_density_kg_m3(density, MASS)}
    liquids = read_liquids(liquids_file(tmp_path / "l.yaml", [row]))
    source = find_model("mobcg", str(release))
    # A model to which every liquid is near.
    arrays = {**source.model.arrays, "distance_scale": np.array(1e9)}
    credulous = dataclasses.replace(source, model=mobcg.Model(source.model.settings, arrays))
    (result,) = predict_liquids(liquids, credulous, Ask())
    assert result.content["distance"] < 1
    assert (result.status, result.content["verdict"]) == ("refused", "outside")


def test_a_curve_cut_too_short_is_refused(release, tmp_path, capsys):
    np.savetxt(tmp_path / "g.dat", np.column_stack([R_NM, dense_rdf(R_NM)])[:100])
    assert main(words(release, rdf=tmp_path / "g.dat", out=tmp_path / "out")) == 2
    assert "up to 1.000 nm" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rdf": "nowhere.csv"}, "no such file"),
        ({"density_kg_m3": 0.87}, "density_kg_m3: found 0.87; allowed: 10 to 20000. Check its unit"),
        ({"mass_g_mol": None}, "mass_g_mol: found None"),
        ({"temperature_k": "nan"}, "temperature_k: found nan"),
        ({"diffusion_nm2_ns": -1}, "diffusion_nm2_ns: found -1"),
        ({"molecules": 1}, "--molecules"),
        ({"molecules": "inf"}, "--molecules: found inf"),
        ({"temperature_k": 25}, "temperature_k: found 25.0; allowed: 60 to 3000. Check its unit"),
        ({"pressure_bar": "nan"}, "pressure_bar: found nan; allowed: -500 to 20000"),
        ({"pressure_bar": 101325}, "pressure_bar: found 101325.0"),
        ({"pressure_bar": -50000}, "pressure_bar: found -50000.0"),
        ({"knob": "nan"}, "knob: found nan; allowed: a finite number above 0"),
        ({"knob": -1}, "knob: found -1.0"),
        ({"knob": 0.8, "model": "mobcg_dpd"}, "--knob: found 0.8; allowed: a model with a knob"),
        ({"knob": 0.8, "model": "bag2024"}, "--knob: found 0.8; allowed: a model with a knob"),
        ({"pressure_bar": 1, "model": "bag2024"}, "--pressure-bar: found 1.0; allowed: a model that knows the"),
        ({"release": "2031.1.0"}, "found '2031.1.0'"),
        ({"model": "alphafold"}, "allowed: bag2024 | mobcg"),
        ({"model": "mobcg/"}, "found 'mobcg/'; allowed: bag2024 | mobcg"),
        ({"model": "../models/mobcg_dpd"}, "found '../models/mobcg_dpd'; allowed: bag2024 | mobcg"),
        ({"model": "bag2024_dpd"}, "a model that predicts a friction"),
    ],
)
def test_a_wrong_option_is_one_message(change, message, release, rdf, tmp_path, capsys):
    assert main(words(**{"release": release, "rdf": rdf, "out": tmp_path / "out"} | change)) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "out").exists()


def test_what_a_model_never_learned_is_not_asked_of_it(knobless, rdf, tmp_path, capsys):
    assert main(words(knobless, rdf=rdf, knob=0.8, out=tmp_path / "out")) == 2
    assert "--knob: found 0.8; allowed: a model with a knob" in capsys.readouterr().err
    assert main(words(knobless, rdf=rdf, model="mobcg_dpd", out=tmp_path / "out")) == 2
    assert "found 'mobcg_dpd'; allowed: a model that predicts a friction of the kind dpd" in capsys.readouterr().err
    assert main(words(knobless, rdf=rdf, model="mobcg_langevin", out=tmp_path / "out")) == 0


def test_a_name_need_not_be_that_of_a_directory_where_it_becomes_none(release, rdf, tmp_path):
    for file, name in (("g(r).dat", "g_r_"), ("my rdf.dat", "my_rdf"), (".rdf.dat", "rdf"), ("ρ.csv", "liquid")):
        shutil.copy(rdf, tmp_path / file)
        assert main([*words(release, rdf=tmp_path / file, out=tmp_path / "out"), "--force"]) == 0
        assert json.loads((tmp_path / "out/prediction.json").read_text())["name"] == name
    assert main([*words(release, rdf=rdf, name="../up", out=tmp_path / "out"), "--force"]) == 0
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"out"}


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("file/out", "Not a directory"),
        ("/proc/out", "can be written"),
        ("x" * 300, "too long"),
        ("file", "not there yet"),
    ],
)
def test_a_directory_that_cannot_be_written_is_told_before_any_work(out, message, release, tmp_path, capsys):
    (tmp_path / "file").touch()
    options = {"rdf": tmp_path / "nowhere.dat", "out": tmp_path / out}
    assert main([*words(release, **options), "--force"]) == 2
    printed = capsys.readouterr().err
    assert "--out: found" in printed
    assert message in printed


def test_a_directory_in_the_way_of_a_file_is_a_message(release, rdf, tmp_path, capsys):
    (tmp_path / "out/prediction.json").mkdir(parents=True)
    assert main([*words(release, rdf=rdf, out=tmp_path / "out"), "--force"]) == 2
    assert "--out: found" in capsys.readouterr().err


def test_a_tampered_model_is_refused(release, rdf, tmp_path, capsys):
    copy = tmp_path / "2026.11.1"
    shutil.copytree(release, copy)
    with (copy / "models/mobcg/weights.safetensors").open("r+b") as stream:
        stream.seek(-8, 2)
        stream.write(b"\x00\x00\x80\x3f")
    assert main(words(copy, rdf=rdf, out=tmp_path / "out")) == 2
    assert "SHA256SUMS" in capsys.readouterr().err


def liquids_file(path, rows):
    if path.suffix == ".csv":
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, sorted({key for row in rows for key in row}))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text(yaml.safe_dump(rows))
    return path


@pytest.mark.parametrize("name", ["liquids.csv", "liquids.yaml"])
def test_many_liquids(name, release, rdf, tmp_path, capsys):
    np.savetxt(tmp_path / "short.dat", np.column_stack([R_NM, dense_rdf(R_NM)])[:100])
    curve, density = strangers.water()
    np.savetxt(tmp_path / "water.dat", np.column_stack([R_NM, curve]))
    rows = [
        {"name": "first", "rdf": rdf.name, "molecules": 1000, **STATE},
        {"rdf": "short.dat", **STATE},
        {"name": "water", "rdf": "water.dat", **STATE, "density_kg_m3": mass_density_kg_m3(density, MASS)},
        {"name": "last", "rdf": rdf.name, "rdf_unit": "nm", "normalisation": "N-1", **STATE, "temperature_k": 350.0},
    ]
    out = tmp_path / "out"
    file = liquids_file(tmp_path / name, rows)
    assert main(["predict", f"--liquids={file}", f"--release={release}", f"--out={out}", "--tables"]) == 1
    printed = capsys.readouterr()
    assert "2 of 4 liquids predicted" in printed.out
    assert "short: failed" in printed.err
    assert "water: refused" in printed.err
    table = pq.read_table(out / "predictions.parquet")
    found = table.to_pylist()
    assert [(row["name"], row["status"]) for row in found] == [
        ("first", "ok"),
        ("short", "failed"),
        ("water", "refused"),
        ("last", "ok"),
    ]
    assert json.loads(table.schema.metadata[b"model"])["release"] == "2026.11.0"
    assert {path.name for path in out.iterdir()} == {"predictions.parquet", "first", "last"}
    alone = json.loads((out / "first/prediction.json").read_text())["potential_kj_mol"]
    np.testing.assert_allclose(found[0]["potential_kj_mol"], alone)
    assert np.shape(found[3]["potential_kj_mol"]) == (150,)
    assert table.schema.names == [name for name, *_ in COLUMNS]
    assert all(field.metadata[b"description"] for field in table.schema)
    first, short, water, last = found
    asked = {"verdict": "inside", "molecules": 1000, "rdf_unit": "nm", "normalisation": "N-1"}
    assert {key: first[key] for key in asked} == asked
    assert 0 < first["distance"] < 1
    assert "distances taken to be in nm" in first["notes"]
    assert first["pressure_bar_se"] > 0
    assert last["molecules"] is None
    # A refused liquid says why, and predicts nothing.
    assert (water["verdict"], water["normalisation"]) == ("outside", "N-1")
    for row in (short, water):
        for key in ("alpha", "pressure_bar", "potential_kj_mol", "potential_kj_mol_se", "thermostat"):
            assert row[key] is None, key


def test_the_columns_of_the_table_do_not_depend_on_what_is_in_it(release, rdf, tmp_path):
    for name, model, row in (
        ("failed", "mobcg", {"rdf": "nowhere.dat", **STATE}),
        ("network", "bag2024", {"rdf": rdf.name, **STATE}),
        ("friction", "mobcg_dpd", {"rdf": rdf.name, **STATE}),
    ):
        file = liquids_file(tmp_path / f"{name}.csv", [row])
        out = tmp_path / name
        main(["predict", f"--liquids={file}", f"--release={release}", f"--model={model}", f"--out={out}"])
    schemas = [pq.read_schema(tmp_path / name / "predictions.parquet") for name in ("failed", "network", "friction")]
    assert schemas[0].equals(schemas[1])
    assert schemas[0].equals(schemas[2])
    assert schemas[0].field("potential_kj_mol").type == pa.list_(pa.float64())
    found = pq.read_table(tmp_path / "network/predictions.parquet").to_pylist()[0]
    assert (found["status"], found["alpha"], found["pressure_bar"]) == ("ok", None, None)


def test_a_refused_liquid_is_predicted_anyway_where_that_is_asked_for(release, tmp_path):
    curve, density = strangers.water()
    np.savetxt(tmp_path / "water.dat", np.column_stack([R_NM, curve]))
    row = {"rdf": "water.dat", **STATE, "density_kg_m3": mass_density_kg_m3(density, MASS)}
    file = liquids_file(tmp_path / "l.yaml", [row])
    assert main(["predict", f"--liquids={file}", f"--release={release}", f"--out={tmp_path / 'out'}", "--anyway"]) == 0
    (found,) = pq.read_table(tmp_path / "out/predictions.parquet").to_pylist()
    assert (found["status"], found["verdict"]) == ("ok", "outside")
    assert found["alpha"] > 0


def test_one_bad_liquid_does_not_take_the_others_with_it(release, rdf, tmp_path, capsys):
    np.savez_compressed(tmp_path / "torn.npz", r=R_NM, g=dense_rdf(R_NM))
    content = bytearray((tmp_path / "torn.npz").read_bytes())
    content[60:200] = bytes(140)
    (tmp_path / "torn.npz").write_bytes(content)
    rows = [
        {"name": "good", "rdf": rdf.name, "molecules": 1000, **STATE},
        {"name": "torn", "rdf": "torn.npz", "molecules": 1000, **STATE},
        {"name": "endless", "rdf": rdf.name, "molecules": np.inf, "normalisation": "N", **STATE},
        {"name": "slow", "rdf": rdf.name, "molecules": 1000, **STATE, "diffusion_nm2_ns": 25.0},
    ]
    file, out = liquids_file(tmp_path / "l.csv", rows), tmp_path / "out"
    model = "--model=mobcg_langevin"
    assert main(["predict", f"--liquids={file}", f"--release={release}", f"--out={out}", "--tables", model]) == 1
    found = pq.read_table(out / "predictions.parquet").to_pylist()
    assert [row["status"] for row in found] == ["ok", "failed", "failed", "ok"]
    assert [row["thermostat"] for row in found] == ["langevin", None, None, "nose_hoover"]
    assert {path.name for path in out.iterdir()} == {"predictions.parquet", "good", "slow"}
    printed = capsys.readouterr().err
    assert "mobcg: torn: failed: " in printed
    assert "mobcg: endless: failed: --molecules: found inf" in printed


def test_a_directory_of_one_liquid_that_cannot_be_written_leaves_the_table_and_the_others(
    release, rdf, tmp_path, capsys
):
    rows = [{"name": name, "rdf": rdf.name, "molecules": 1000, **STATE} for name in ("first", "last")]
    file, out = liquids_file(tmp_path / "l.csv", rows), tmp_path / "out"
    out.mkdir()
    (out / "first").write_text("in the way")
    words = ["predict", f"--liquids={file}", f"--release={release}", f"--out={out}", "--tables", "--force"]
    assert main(words) == 1
    assert "mobcg: first: no tables: --out: found" in capsys.readouterr().err
    assert pq.read_table(out / "predictions.parquet").num_rows == 2
    assert (out / "last/lammps/run.in").is_file()


def test_tables_of_a_liquid_that_is_refused_now_are_taken_away(release, rdf, tmp_path):
    out, rows = tmp_path / "out", [{"name": name, "rdf": rdf.name, "molecules": 1000, **STATE} for name in "abcd"]
    words = ["predict", f"--release={release}", f"--out={out}", "--tables", "--force"]
    assert main([*words, f"--liquids={liquids_file(tmp_path / 'l.csv', rows)}"]) == 0
    (out / "a/lammps/rdf.txt").write_text("of a run")
    (out / "b/mine.txt").write_text("kept")
    (out / "c/prediction.json").unlink()  # then nothing says whose the rest is
    for row, density in zip(rows, (300.0, "n/a", 300.0, STATE["density_kg_m3"]), strict=True):
        row["density_kg_m3"] = density
    assert main([*words, f"--liquids={liquids_file(tmp_path / 'l.csv', rows)}"]) == 1
    table = pq.read_table(out / "predictions.parquet").to_pylist()
    assert [row["status"] for row in table] == ["refused", "failed", "refused", "ok"]
    assert {path.name for path in out.iterdir()} == {"predictions.parquet", "b", "c", "d"}
    assert [path.name for path in (out / "b").iterdir()] == ["mine.txt"]
    assert (out / "c/lammps/run.in").is_file()
    assert (out / "d/prediction.json").is_file()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"density_kg_m3": None}, "density_kg_m3: found None; allowed: a value for each liquid"),
        ({"mass_g_mol": "n/a"}, "mass_g_mol: found 'n/a'; allowed: a number"),
        ({"diffusion_nm2_ns": "inf"}, "diffusion_nm2_ns: found inf; allowed: 1e-06 to 1000"),
        ({"temperature_k": 25}, "temperature_k: found 25.0; allowed: 60 to 3000"),
        ({"molecules": "many"}, "molecules: found 'many'; allowed: a number"),
        ({"rdf": None}, "rdf: found None; allowed: a value for each liquid"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["l.csv", "l.yaml"])
def test_a_value_that_cannot_be_fails_its_liquid_alone(name, change, reason, release, rdf, tmp_path, capsys):
    good = {"name": "good", "rdf": rdf.name, "molecules": 1000, **STATE}
    file = liquids_file(tmp_path / name, [good, good | {"name": "bad"} | change])
    assert main(["predict", f"--liquids={file}", f"--release={release}", f"--out={tmp_path / 'out'}"]) == 1
    found, failed = pq.read_table(tmp_path / "out/predictions.parquet").to_pylist()
    assert (found["status"], failed["status"], failed["name"]) == ("ok", "failed", "bad")
    assert f"{name}, liquid 2: {reason}" in failed["reason"]
    assert f"mobcg: bad: failed: {failed['reason']}" in capsys.readouterr().err
    for key in STATE.keys() - change.keys():
        assert failed[f"asked_{key}"] == STATE[key]
    for key in STATE.keys() & change.keys():
        assert failed[f"asked_{key}"] == (None if change[key] in (None, "n/a") else float(change[key]))


def test_empty_rows_and_blanks_beyond_the_last_column_do_not_count(rdf, tmp_path):
    values = ",".join(map(str, STATE.values()))
    header = f"name,rdf,{','.join(STATE)}"
    rows = [
        header,
        ",,,,,",
        f"a,{rdf.name},{values}",
        ",,,,,,,",
        f"b,{rdf.name},{values},,",
        f"c,{rdf.name},{values},5",
    ]
    (tmp_path / "l.csv").write_text("\n".join(rows))
    liquids = read_liquids(tmp_path / "l.csv")
    assert [liquid.name for liquid in liquids] == ["a", "b", "c"]
    assert [bool(liquid.problem) for liquid in liquids] == [False, False, True]
    assert "liquid 3: beyond the last column: found ['5']" in liquids[2].problem


def test_two_columns_of_one_name_are_refused(rdf, tmp_path):
    header = f"rdf,{', '.join(STATE)}, density_kg_m3,,"
    (tmp_path / "l.csv").write_text(f"{header}\n{rdf.name},{','.join(map(str, STATE.values()))},700,,\n")
    with pytest.raises(InputError, match="density_kg_m3: found '2 columns of that name'"):
        read_liquids(tmp_path / "l.csv")


@pytest.mark.parametrize("mass", ["9" * 400, "0x" + "f" * 9000])
def test_a_number_too_large_to_be_one_fails_its_liquid(mass, tmp_path):
    rest = "".join(f", {key}: {value}" for key, value in STATE.items() if key != "mass_g_mol")
    (tmp_path / "l.yaml").write_text(f"- {{rdf: x, mass_g_mol: {mass}{rest}}}\n")
    (liquid,) = read_liquids(tmp_path / "l.yaml")
    assert "mass_g_mol: found 'a number of hundreds of digits'" in liquid.problem


@pytest.mark.parametrize("text", ["[" * 3000 + "]" * 3000, "- {rdf: 2026-13-45}", "- {rdf: " + "9" * 5000 + "}"])
def test_a_list_that_yaml_cannot_hold_is_refused(text, tmp_path):
    (tmp_path / "l.yaml").write_text(text)
    with pytest.raises(InputError, match="a YAML list"):
        read_liquids(tmp_path / "l.yaml")


def test_a_model_that_takes_a_liquid_not_names_it(knobless, rdf):
    row = {"name": "mine", "rdf": rdf.name, "molecules": 1000, **STATE}
    liquids = read_liquids(liquids_file(rdf.parent / "l.yaml", [row, row | {"name": "yours"}]))
    source = dataclasses.replace(find_model("mobcg", str(knobless)), thermostat="dpd")
    results = predict_liquids(liquids, source, Ask())
    assert [result.status for result in results] == ["failed", "failed"]
    assert all(str(rdf) in result.reason and "thermostat" in result.reason for result in results)


def test_options_stand_for_what_the_list_does_not_say(release, rdf, tmp_path):
    rows = [{"name": "first", "rdf": rdf.name, "temperature_k": 320.0}, {"name": "last", "rdf": rdf.name}]
    options = {name: value for name, value in STATE.items() if name != "temperature_k"}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    words += ["--temperature-k=350", "--molecules=1000", "--normalisation=N", "--rdf-unit=nm"]
    file, out = liquids_file(tmp_path / "l.csv", rows), tmp_path / "out"
    assert main(["predict", f"--liquids={file}", f"--release={release}", f"--out={out}", *words]) == 0
    found = pq.read_table(out / "predictions.parquet").to_pylist()
    assert [row["asked_temperature_k"] for row in found] == [320.0, 350.0]
    assert [(row["molecules"], row["normalisation"], row["notes"]) for row in found] == [(1000, "N", "")] * 2


def test_a_name_for_many_liquids_is_refused(release, tmp_path, capsys):
    words = ["predict", f"--liquids={tmp_path}/l.csv", f"--release={release}", f"--out={tmp_path}/out", "--name=x"]
    assert main(words) == 2
    assert "--name" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a/b", "predictions.parquet", "-x"])
def test_a_name_that_becomes_a_directory_is_checked_before_any_work(name, release, tmp_path, capsys):
    file = liquids_file(tmp_path / "l.yaml", [{"rdf": "nowhere.dat", "name": name, **STATE}])
    words = ["predict", f"--liquids={file}", f"--release={release}", f"--out={tmp_path}/out"]
    assert main([*words, "--tables"]) == 2
    assert f"name: found '{name}'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(words) == 1


def test_a_list_by_excel_is_read(rdf, tmp_path):
    rows = f"name, rdf, {', '.join(STATE)}\nmine, {rdf.name}, {', '.join(map(str, STATE.values()))}\n"
    (tmp_path / "l.csv").write_text(rows, encoding="utf-8-sig")
    (liquid,) = read_liquids(tmp_path / "l.csv")
    assert (liquid.name, liquid.rdf, liquid.mass_g_mol) == ("mine", rdf, MASS)


def test_a_batch_is_what_each_liquid_is_alone(release, rdf):
    liquids = read_liquids(
        liquids_file(
            rdf.parent / "l.csv",
            [{"name": f"l{i}", "rdf": rdf.name, **STATE, "temperature_k": 290 + i} for i in range(5)],
        )
    )
    source = find_model("mobcg", str(release))
    together = predict_liquids(liquids, source, Ask())
    for liquid, result in zip(liquids, together, strict=True):
        (alone,) = predict_liquids([liquid], source, Ask())
        np.testing.assert_allclose(
            result.content["potential_kj_mol"], alone.content["potential_kj_mol"], rtol=1e-7, atol=1e-7
        )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one"),
        ([{"rdf": "x"}], "liquid 1: diffusion_nm2_ns: found None"),
        ([{"rdf": "x", **STATE, "colour": "red"}], "liquid 1: colour: found 'red'"),
        ([{}], "at least one"),
        ([{"rdf": "x", **STATE}] * 2, "name: found 'x'"),
        ([{"rdf": "x", **STATE}, {"rdf": "y", **STATE, "name": "\ud800"}], "liquid 2: name: found '\\ud800'"),
    ],
)
def test_a_wrong_list_of_liquids_is_refused(rows, message, tmp_path):
    with pytest.raises(InputError) as caught:
        read_liquids(liquids_file(tmp_path / "l.yaml", rows))
    assert message in str(caught.value)


def test_a_prediction_needs_nothing_that_trains_or_simulates(release, rdf, tmp_path):
    """`pip install mobcg[predict]` has none of these."""
    heavy = ("torch", "sklearn", "freud", "MDAnalysis", "rdkit", "snakemake", "matplotlib", "pandas")
    code = f"import sys; sys.modules.update(dict.fromkeys({heavy})); from mobcg.__main__ import main; sys.exit(main())"
    for model in ("mobcg_dpd", "bag2024"):
        command = [sys.executable, "-c", code, *words(release, rdf=rdf, model=model, out=tmp_path / model)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_list_runs_no_code(tmp_path):
    (tmp_path / "l.yaml").write_text(f"- !!python/object/apply:os.mkdir ['{tmp_path}/ran']\n")
    with pytest.raises(InputError, match=r"l\.yaml"):
        read_liquids(tmp_path / "l.yaml")
    assert not (tmp_path / "ran").exists()
