import csv
import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from mobcg.__main__ import main
from mobcg.database.manifest import checksums_text
from mobcg.errors import InputError
from mobcg.pair import R_NM
from mobcg.predictor.command import Ask, find_model, predict_liquids, read_liquids
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
        ({"name": "../up"}, "name: found '../up'"),
        ({"release": "2031.1.0"}, "found '2031.1.0'"),
        ({"model": "alphafold"}, "allowed: bag2024 | mobcg"),
        ({"model": "bag2024_dpd"}, "a model that predicts a friction"),
    ],
)
def test_a_wrong_option_is_one_message(change, message, release, rdf, tmp_path, capsys):
    assert main(words(**{"release": release, "rdf": rdf, "out": tmp_path / "out"} | change)) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "out").exists()


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
        ([{"rdf": "x", **STATE, "mass_g_mol": "heavy"}], "mass_g_mol: found 'heavy'; allowed: a number"),
        ([{"rdf": "x", **STATE}] * 2, "name: found 'x'"),
        ([{"rdf": "x", "name": "a/b", **STATE}], "name: found 'a/b'"),
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
