"""Force matching through Snakemake: fits, judged dynamics, a study, a transfer and their report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from mobcg.config import read_config
from mobcg.plan import load_plan
from tests.workflow.conftest import MISSING, SMALLEST, WORDS, snakemake

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}; `make setup` installs them"),
]
SMALL = {"blocks": 1, "features": 16, "filters": 16, "gaussians": 12, "cutoff_nm": 0.7, "epochs": 2}
SHORT = {"starts": 1, "equilibration_ps": 2, "nvt_ps": 10, "nve_ps": 0}
SECTION = {
    "models": ["pair_fm", "schnet"],
    "schnet": SMALL,
    "judging": {"starts": 1, "equilibration_ps": 3, "nvt_ps": 105, "nve_ps": 5, "npt_ps": 5},
    "held_ps": {"benzene": 6},
    "studies": {
        "one": {"molecule": "benzene", "base": SMALL, "grids": [{"sigma_nm": [0.3, 0.5]}], "judging": SHORT},
    },
    "transfer": {
        "benzene": {
            "states": [[300, 860], [340, 860]],
            "train": {"cold": [[300, 860]]},
            "models": ["pair_fm"],
            "judging": SHORT,
        }
    },
    "lengths": {"squeeze_ps": 10, "npt_block_ps": 5, "npt_max_ps": 10, "nvt_equilibration_ps": 5, "nvt_ps": 104},
}


@pytest.fixture(scope="module")
def matched(finished: Path) -> Path:
    """The finished run with force matching on top of it: its atomistic runs of benzene are used."""
    scale = yaml.safe_load(SMALLEST.read_text()) | {"name": "matched", "molecules": ["benzene"], "synthetic": {}}
    (finished / "matched.yaml").write_text(yaml.safe_dump(scale | {"forcematch": SECTION}))
    done = snakemake(finished, *WORDS[:-1], f"scale={finished}/matched.yaml", "--", "forcematch", timeout_s=1800)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-8000:]
    return finished


def test_nothing_of_the_chain_was_run_again(matched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(matched)
    plan = load_plan(read_config() | {"scale": "matched.yaml"})
    newest = max(Path(plan.simulated_beads_path(run)).stat().st_mtime for run in plan.atomistic)
    for name in plan.forcematch.fits:
        assert (Path(plan.fit_dir(name)) / "model.json").stat().st_mtime > newest
    assert not Path("results/matched/tables").exists()


def test_the_models_are_on_the_scoreboard(matched: Path) -> None:
    for model in SECTION["models"]:
        (row,) = pq.read_table(matched / f"results/matched/evaluation/benzene.{model}.parquet").to_pylist()[:1]
        assert row["status"] == "ok", row["reason"]
        assert 0 < row["rdf_error"] < 0.5
        assert row["alpha"] > 1
        assert row["pressure_bar"] is not None
        assert row["training_core_s"] > 0
        assert row["density_1atm_kg_m3"] is not None or row["reason"].startswith("no density at 1 atm: ")
        assert row["md_core_s_ns_bead"] > 0


def test_the_report_has_the_floor_the_study_and_the_transfer(matched: Path) -> None:
    directory = matched / "results/matched/forcematch"
    floor = json.loads((directory / "floor.benzene.json").read_text())
    assert 0.1 < floor["r2_floor"] < 0.5
    board = list(csv.DictReader((directory / "scoreboard.csv").open()))
    assert [row["model"] for row in board] == ["pair force matching", "SchNet"]
    study = list(csv.DictReader((directory / "study_one.csv").open()))
    assert [row["sigma_nm"] for row in study] == ["0.3", "0.5"]
    assert {row["R² that can be had"] for row in study} == {board[0]["R² that can be had"]}
    assert board[0]["drift, NVE / (kT per bead and ns)"] != "–"
    assert board[0]["smallest distance / nm"] != "–"
    transfer = list(csv.DictReader((directory / "transfer_benzene.csv").open()))
    assert [row["T / K"] for row in transfer] == ["300", "340"]
    assert all("1 stable" in row["verdict"] for row in transfer)
    assert all("±" in row["all-atom pressure / bar"] for row in transfer)
    report = (directory / "report.md").read_text()
    assert "Published: λ = 0 is unstable. Not tried here." in report
    assert "Made by `make forcematch SCALE=matched` at commit " in report
    assert "gmx 2" in report
    assert "torch 2" in report
    for figure in ("rdf", "study_one", "transfer_benzene"):
        assert (directory / f"{figure}.png").stat().st_size > 5000
        assert f"]({figure}.png)" in report


def test_a_second_start_does_nothing(matched: Path) -> None:
    done = snakemake(matched, *WORDS[:-1], f"scale={matched}/matched.yaml", "-n", "--", "forcematch")
    assert "Nothing to be done" in done.stdout + done.stderr
