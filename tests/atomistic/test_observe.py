import json
import math

import numpy as np
import pytest

from mobcg.atomistic.observe import main, observe, record
from mobcg.observables import BeadTrajectory, MoleculeBeads
from mobcg.plan import run_id
from mobcg.records import read_record, write_record

from .conftest import SMALL

DIFFUSION_NM2_NS = 2.0
KNOWN = {
    "status": "ok",
    "reason": None,
    "density_kg_m3": 870.0,
    "density_kg_m3_se": 2.0,
    "density_settled": True,
    "temperature_centres_k": 298.0,
    "time_step_fs": 2.0,
    "versions": {"gmx": "2022.5"},
}


def random_walk(n_frames: int, box_nm: float = 3.2) -> BeadTrajectory:
    """An ideal gas that diffuses: g = 1 and D is known."""
    random = np.random.default_rng(0)
    step = np.sqrt(2 * DIFFUSION_NM2_NS / 1000 * 1.0)
    walk = random.uniform(0, box_nm, (1, 200, 3)) + np.cumsum(random.normal(0, step, (n_frames, 200, 3)), axis=0)
    return BeadTrajectory(walk, box_nm, 1.0, 78.11, 298.15, metadata=KNOWN)


def test_a_random_walk_gives_its_diffusion_coefficient_and_no_structure():
    row = record(SMALL, random_walk(600))
    assert row["diffusion_nm2_ns"] == pytest.approx(DIFFUSION_NM2_NS, rel=0.08)
    assert row["diffusion_yh_nm2_ns"] > row["diffusion_nm2_ns"]
    assert np.mean(row["rdf"][50:]) == pytest.approx(1.0, abs=0.02)
    assert row["production_ps"] == 599
    assert row["neighbour_correlation"] == pytest.approx(-1 / 199, abs=3 * row["neighbour_correlation_se"])
    np.testing.assert_allclose(row["msd_nm2"], 6e-3 * DIFFUSION_NM2_NS * row["msd_time_ps"], rtol=0.1)


def test_the_record_is_written_and_read_back(tmp_path):
    random_walk(200).save(tmp_path / "beads.npz")
    arguments = ["--spec", json.dumps(SMALL), "--beads", str(tmp_path / "beads.npz")]
    assert main([*arguments, "--out", str(tmp_path / "record.parquet")]) == 0
    row = read_record(tmp_path / "record.parquet")
    assert row["run_id"] == run_id(SMALL)
    assert row["spec"] == SMALL
    assert row["density_settled"] is True
    assert len(row["rdf"]) == 150


def test_a_failed_run_is_a_row_with_its_reason(tmp_path):
    failed = BeadTrajectory(
        np.zeros((0, 64, 3)),
        math.nan,
        1.0,
        78.11,
        298.15,
        metadata={"status": "failed", "reason": "it burst", "versions": {}},
    )
    failed.save(tmp_path / "beads.npz")
    arguments = ["--spec", json.dumps(SMALL), "--beads", str(tmp_path / "beads.npz")]
    assert main([*arguments, "--out", str(tmp_path / "record.parquet")]) == 0
    row = read_record(tmp_path / "record.parquet")
    assert (row["status"], row["reason"]) == ("failed", "it burst")
    assert row["rdf"] is None
    assert row["diffusion_nm2_ns"] is None


def test_a_run_too_short_for_its_diffusion_is_a_row_that_says_which_length_to_change(tmp_path):
    random_walk(30).save(tmp_path / "beads.npz")
    arguments = ["--spec", json.dumps(SMALL), "--beads", str(tmp_path / "beads.npz")]
    assert main([*arguments, "--out", str(tmp_path / "record.parquet")]) == 0
    row = read_record(tmp_path / "record.parquet")
    assert (row["status"], row["density_kg_m3"], row["diffusion_nm2_ns"]) == ("failed", 870.0, None)
    assert row["reason"].startswith("a trajectory of 30.0 ps is too short: D is fitted up to ")
    assert row["reason"].endswith("(lengths.nvt_ps 4, frame_ps 0.5)")


def test_a_mapping_changes_no_observable():
    single = random_walk(300)
    apart = np.random.default_rng(1).normal(0, 0.1, (300, 200, 3))
    beads = np.stack([single.positions_nm + apart, single.positions_nm - 2 * apart], axis=2).reshape(300, 400, 3)
    molecule = MoleculeBeads((52.0, 26.0), (0, 1), ((0, 1),))
    mapped = BeadTrajectory(beads, 3.2, 1.0, 78.11, 298.15, metadata=KNOWN, molecule=molecule)
    one, other = record(SMALL, single), record(SMALL, mapped)
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, float | np.ndarray):
            np.testing.assert_allclose(other[name], value, rtol=1e-6, err_msg=name)
        else:
            assert other[name] == value, name
    assert observe(mapped, SMALL)["diffusion_nm2_ns"] == other["diffusion_nm2_ns"]


def test_the_record_of_a_density_asked_for(tmp_path):
    spec = SMALL | {"density_kg_m3": 870.0}
    walk = random_walk(200)
    walk.metadata.update(density_settled=None, density_kg_m3_se=0.0)
    write_record(tmp_path / "record.parquet", "atomistic", record(spec, walk))
    row = read_record(tmp_path / "record.parquet")
    assert (row["density_settled"], row["density_kg_m3_se"], row["reason"]) == (None, 0.0, None)
    assert row["run_id"] != run_id(SMALL)
