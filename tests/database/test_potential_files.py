import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.interpolate import CubicSpline

from mobcg.database.potential_files import write_potential_files, write_release_potentials
from mobcg.pair import CUTOFF_NM, R_NM, force, potential_of_mean_force
from mobcg.records import write_rows
from mobcg.units import ANGSTROM_PER_NM, KJ_PER_KCAL
from tests.database.cases import rdf_of

WELL = potential_of_mean_force(rdf_of("benzene"), 298.15)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("potentials")
    write_potential_files(directory, "mobcg", WELL, {"thermostat": "nose_hoover", "friction_1_ps": 0.0})
    return directory


def on_grid(r_nm, values):
    """Return a table at the bins outside the innermost ones, which the tables leave out."""
    return CubicSpline(r_nm, values)(R_NM[10:])


def test_every_format_holds_the_same_potential(files):
    lammps = np.loadtxt(files / "mobcg.lammps.table", skiprows=5)
    assert on_grid(lammps[:, 1] / ANGSTROM_PER_NM, lammps[:, 2] * KJ_PER_KCAL) == pytest.approx(
        WELL[10:], rel=1e-6, abs=1e-5
    )
    votca = [line.split() for line in (files / "mobcg.votca.pot").read_text().splitlines()]
    assert {line[2] for line in votca} == {"i"}
    np.testing.assert_allclose(np.array([line[:2] for line in votca], float), np.column_stack([R_NM, WELL]), rtol=1e-9)
    openmm = json.loads((files / "mobcg.openmm.json").read_text())
    r_nm = np.linspace(openmm["min_nm"], openmm["max_nm"], len(openmm["values_kj_mol"]))
    assert on_grid(r_nm, openmm["values_kj_mol"]) == pytest.approx(WELL[10:], rel=1e-4, abs=1e-3)
    assert openmm["thermostat"] == "nose_hoover"
    gromacs = np.loadtxt(files / "mobcg.gromacs.xvg")
    assert on_grid(gromacs[:, 0], gromacs[:, 5]) == pytest.approx(WELL[10:], rel=1e-4, abs=1e-3)


def test_gromacs_table_is_equidistant_reaches_beyond_the_cutoff_and_ends_in_zero(files):
    table = np.loadtxt(files / "mobcg.gromacs.xvg")
    np.testing.assert_allclose(np.diff(table[:, 0]), 0.002, atol=1e-9)
    assert table[0, 0] == 0
    assert table[-1, 0] == pytest.approx(CUTOFF_NM + 1)
    assert not table[table[:, 0] > CUTOFF_NM, 1:].any()
    np.testing.assert_allclose(on_grid(table[:, 0], table[:, 6])[:-2], force(WELL)[10:-2], rtol=1e-4, atol=1e-3)


def test_units_of_every_format_stand_beside_the_potentials(release):
    text = (release / "potentials" / "README.md").read_text(encoding="utf-8")
    endings = {path.name.split(".", 1)[1] for path in (release / "potentials" / "benzene").iterdir()}
    lines = {ending: next(line for line in text.splitlines() if f"`*.{ending}`" in line) for ending in endings}
    assert len(lines) == 4
    for ending, line in lines.items():
        assert ("kcal/mol" in line) == (ending == "lammps.table")
        assert ("kJ/mol" in line) == ("nm," in line) == (ending != "lammps.table")


def test_of_a_knob_the_own_choice_is_written(tmp_path):
    runs = [("mobcg", 0.7, 0.5), ("mobcg", 1.0, 1.0), ("mobcg_dpd", 1.0, 2.0)]
    rows = [
        {
            "molecule_id": "benzene",
            "model": model,
            "replica": 0,
            "scale_factor": factor,
            "thermostat": "nose_hoover",
            "friction_1_ps": 0.0,
            "potential_kj_mol": (multiple * WELL).tolist(),
            "status": "ok",
            "spec": {},
            "versions": {},
        }
        for model, factor, multiple in runs
    ]
    write_rows(tmp_path / "evaluation.parquet", "evaluation", rows)
    write_release_potentials(tmp_path / "evaluation.parquet", tmp_path)
    for model, _, multiple in runs[1:]:
        votca = [line.split() for line in (tmp_path / f"benzene/{model}.votca.pot").read_text().splitlines()]
        np.testing.assert_allclose([float(line[1]) for line in votca], multiple * WELL, rtol=1e-9)


def test_release_has_the_potentials_of_its_models(release):
    rows = pq.read_table(
        release / "data/evaluation.parquet", filters=[("model", "==", "mobcg"), ("scale_factor", "==", 1)]
    ).to_pylist()
    names = sorted(path.name for path in (release / "potentials").iterdir())
    assert names == ["README.md", "benzene", "ethylbenzene", "neopentane"]
    for row in rows:
        names = {path.name for path in (release / "potentials" / row["molecule_id"]).iterdir()}
        endings = ("lammps.table", "votca.pot", "openmm.json", "gromacs.xvg")
        assert names == {f"{model}.{ending}" for model in ("ibi", "mobcg") for ending in endings}
        openmm = json.loads((release / "potentials" / row["molecule_id"] / "mobcg.openmm.json").read_text())
        r_nm = np.linspace(openmm["min_nm"], openmm["max_nm"], len(openmm["values_kj_mol"]))
        np.testing.assert_allclose(
            on_grid(r_nm, openmm["values_kj_mol"]), row["potential_kj_mol"][10:], rtol=1e-4, atol=1e-3
        )
