import dataclasses
import json

import numpy as np
import pytest

from mobcg import programs
from mobcg.__main__ import main
from mobcg.coarse.simulate import measure, simulate
from mobcg.database.manifest import checksums_text
from mobcg.errors import InputError
from mobcg.pair import R_NM
from mobcg.predictor.compare import compare
from mobcg.predictor.dataset import Liquids
from mobcg.predictor.mobility import box_factor
from mobcg.predictor.models import mobcg
from mobcg.predictor.storage import save_model
from mobcg.records import write_json
from mobcg.units import mass_density_kg_m3
from tests.coarse.cases import SOFT, SOFT_STATE
from tests.predictor.dense import DENSITY, dense_rdf

STATE = {key: SOFT_STATE[key] for key in ("mass_g_mol", "temperature_k", "number_density_nm3")}


@pytest.fixture
def finished(tmp_path):
    """A prediction whose run gave, on paper, a g(r) a hundredth off and D = 2.4 nm²/ns where 2 were asked for."""
    rdf = dense_rdf(R_NM)
    asked = {"number_density_nm3": DENSITY, "diffusion_nm2_ns": 2.0, "molecules": 1000.0}
    content = {"input": asked, "rdf": rdf.tolist(), "predicted": {"alpha": 1.0}}
    write_json(tmp_path / "prediction.json", content | {"n_beads": 1000, "thermostat": "dpd"})
    (tmp_path / "lammps").mkdir()
    (tmp_path / "lammps/run.in").write_text("units real\ntimestep 5.0\nrun 40000\n")
    found = rdf + 0.01 * np.sign(np.sin(40 * R_NM)) * (R_NM > 0.5)
    rows = "".join(f"{i} {10 * r:.6g} {g:.8g}\n" for i, (r, g) in enumerate(zip(R_NM, found, strict=True), 1))
    (tmp_path / "lammps/rdf.txt").write_text(f"# Time-averaged data for fix rdf\n# a\n# b\n40000 150\n{rows}")
    step = np.arange(0, 40001, 100)
    # 6 D t with D = 2.4e-3 nm²/ps = 0.24 Å²/ps, and a ballistic start that must not count.
    displacement = 6 * 0.24 * step * 0.005 + 3 * (1 - np.exp(-step / 400))
    np.savetxt(tmp_path / "lammps/msd.txt", np.column_stack([step, displacement]), header="a\nb")
    return tmp_path


def test_a_run_is_compared_with_what_was_asked_for(finished, capsys):
    found = compare(finished)
    assert found.rdf_error == pytest.approx(0.01 / dense_rdf(R_NM)[R_NM > 0.5].mean() * 0.98, rel=0.05)
    assert found.diffusion_nm2_ns == pytest.approx(2.4, rel=1e-3)
    assert found.alpha == pytest.approx(1.2, rel=1e-3)
    assert main(["compare", str(finished)]) == 0
    assert "alpha: 1.200, expected 1.000" in capsys.readouterr().out


@pytest.mark.parametrize(("thermostat", "depends"), [("dpd", True), ("nose_hoover", True), ("langevin", False)])
def test_d_of_a_small_box_is_taken_to_that_of_the_run(thermostat, depends, finished):
    content = json.loads((finished / "prediction.json").read_text())
    content["input"]["molecules"] = 161.0
    # The same liquid: a g(r) normalised by N − 1 tends to 1 + (1 − S(0))/N.
    content["rdf"] = (np.array(content["rdf"]) * (1 - 0.96 / 1000) / (1 - 0.96 / 161)).tolist()
    before = compare(finished)
    write_json(finished / "prediction.json", content | {"thermostat": thermostat})
    found = compare(finished)
    assert found.wanted_nm2_ns == pytest.approx(2.0 * (box_factor(161) if depends else 1.0))
    assert found.alpha == pytest.approx(found.diffusion_nm2_ns / found.wanted_nm2_ns)
    assert found.rdf_error == pytest.approx(before.rdf_error, rel=0.01)


@pytest.mark.parametrize("name", ["prediction.json", "lammps/rdf.txt", "lammps/msd.txt", "lammps/run.in"])
def test_a_file_that_is_missing_is_named(name, finished):
    (finished / name).unlink()
    with pytest.raises(InputError):
        compare(finished)


@pytest.mark.parametrize("rows", ["0 0\n", "0 0\n70 1\n", "0 0\n70 1\n140 nan\n210 3\n", "0 0\n70 1\nnan 2\n"])
def test_a_run_without_enough_of_diffusion_has_not_finished(rows, finished):
    (finished / "lammps/msd.txt").write_text("# a\n# b\n" + rows)
    with pytest.raises(InputError, match=r"msd\.txt: found .*allowed: the run, finished"):
        compare(finished)


@pytest.mark.parametrize(
    "change",
    [
        {"predicted": None},
        {"rdf": [1.0, 1.0]},
        {"n_beads": "many"},
        {"input": {}},
        {"input": {"number_density_nm3": 6.5}},
        {"input": [1, 2]},
    ],
    ids=str,
)
def test_a_prediction_of_somebody_else_is_told(change, finished, capsys):
    content = json.loads((finished / "prediction.json").read_text()) | change
    write_json(finished / "prediction.json", content)
    assert main(["compare", str(finished)]) == 2
    assert "a directory written by this `mobcg predict`" in capsys.readouterr().err


def test_a_prediction_without_one_of_its_parts_is_told(finished):
    content = json.loads((finished / "prediction.json").read_text())
    for name in content:
        write_json(finished / "prediction.json", {key: value for key, value in content.items() if key != name})
        with pytest.raises(InputError, match="a directory written by"):
            compare(finished)


def measured(factor, directory, thermostat="nose_hoover", friction_1_ps=0.0, n_beads=400):
    state = SOFT_STATE | {"n_beads": n_beads, "thermostat": thermostat, "friction_1_ps": friction_1_ps}
    return state | measure(simulate(factor * SOFT, **state, directory=directory))


def liquids_of(rows) -> Liquids:
    """Rows of (factor, measured run) as a training set; each factor is a parent of its own."""
    numbers = {
        name: np.array([row[name] for _, row in rows], np.float64)
        for name in (field.name for field in dataclasses.fields(Liquids))
        if name in rows[0][1] and name != "thermostat"
    }
    factors = np.array([factor for factor, _ in rows])
    names = np.array([f"p{factor:g}" for factor in factors])
    return Liquids(
        **numbers,
        potential_kj_mol=factors[:, None] * SOFT,
        thermostat=np.array([row["thermostat"] for _, row in rows]),
        run_id=np.array([f"{number:016x}" for number in range(len(rows))]),
        potential_id=names,
        parent_molecule_id=np.array(["soft"] * len(rows)),
        parent_potential_id=names,
    )


@pytest.mark.workflow
def test_predict_run_compare(tmp_path, capsys):
    """A liquid between those learned from, as the README has it: predicted with a friction, run with lmp, compared."""
    rows = [
        (factor, measured(factor, tmp_path / f"{factor}-{number}", thermostat, friction))
        for factor in (0.5, 0.8, 1.2, 1.5)
        for number, (thermostat, friction) in enumerate((("nose_hoover", 0.0), ("langevin", 1.0), ("langevin", 4.0)))
    ]
    release = tmp_path / "2026.11.0"
    (release / "data").mkdir(parents=True)
    save_model(release / "models/mobcg", "mobcg", mobcg.train(liquids_of(rows), mobcg.DEFAULTS, 1, lambda line: None))
    write_json(release / "models/mobcg/training.json", {})
    (release / "SHA256SUMS").write_text(checksums_text(release))

    target = measured(1.0, tmp_path / "target", n_beads=1000)
    np.savetxt(tmp_path / "rdf.dat", np.column_stack([R_NM, target["rdf"]]))
    wanted = 0.4 * target["diffusion_nm2_ns"]
    density = mass_density_kg_m3(STATE["number_density_nm3"], STATE["mass_g_mol"])
    out = tmp_path / "out"
    words = [
        *("predict", f"--rdf={tmp_path / 'rdf.dat'}", f"--diffusion-nm2-ns={wanted}", f"--density-kg-m3={density}"),
        *(f"--mass-g-mol={STATE['mass_g_mol']}", f"--temperature-k={STATE['temperature_k']}", "--molecules=1000"),
        *("--normalisation=N-1", "--model=mobcg_langevin", "--no-pressure", "--anyway"),
        *(f"--release={release}", f"--out={out}"),
    ]
    assert main(words) == 0
    programs.run(["lmp", "-in", "run.in", "-log", "none"], out / "lammps", out / "lammps/log")
    assert main(["compare", str(out)]) == 0
    assert "rdf_error" in capsys.readouterr().out
    found = compare(out)
    assert found.rdf_error < 0.025
    assert 0.75 < found.alpha < 1.3
    # It is the potential that was run, not only one with its g(r).
    potential = np.array(json.loads((out / "prediction.json").read_text())["potential_kj_mol"])
    near = (R_NM > 0.47) & (R_NM < 1.0)
    assert np.abs(potential - SOFT)[near].max() < 0.35
