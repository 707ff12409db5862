"""The whole chain with the real programs: molecule files to a scored release; killed on the way and gone on with."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from mobcg.__main__ import main
from mobcg.config import read_config
from mobcg.database.dataset import load_trajectory
from mobcg.database.trajectories import read_index
from mobcg.estimate import Rates, benchmark_seconds, estimate, given_rates, job_seconds, measured_rates
from mobcg.jobs import workflow_jobs
from mobcg.observables import radial_distribution, self_diffusion
from mobcg.plan import Plan, load_plan
from mobcg.status import plan_status
from tests.workflow.conftest import MISSING, SMALLEST, WORDS, environment, snakemake
from tests.workflow.test_dry_runs import job_counts

PENTANE = """\
id: n-pentane
name: n-pentane
smiles: CCCCC
inchikey: OFBQJSOFQDEBGM-UHFFFAOYSA-N
reference_density_kg_m3: 621.2
reference_density_source: reference equation of state, CoolProp 8.0.0 (298.15 K, 1 atm)
"""

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}; `make setup` installs them"),
]


@pytest.fixture(scope="module")
def release(finished: Path) -> Path:
    return finished / "releases" / (finished / "results/smallest/release.txt").read_text().strip()


def rows(release: Path, table: str) -> list[dict]:
    return pq.read_table(release / "data" / f"{table}.parquet").to_pylist()


def test_the_release_passes_its_own_validation(release: Path) -> None:
    assert main(["release", "validate", str(release)]) == 0


def test_every_planned_run_is_a_record_that_did_not_fail(release: Path) -> None:
    # Of three inverted potentials five runs and a perturbed one each; four liquids of the prior, three with friction.
    for table, count in (("atomistic", 3), ("coarse", 3 * 6 + 4 + 2 * 3), ("evaluation", 2 * 8 * 2)):
        found = rows(release, table)
        assert len(found) == count, table
        assert [row["reason"] for row in found if row["status"] == "failed"] == [], table
    origins = [row["origin"] for row in rows(release, "potentials")]
    assert [origins.count(origin) for origin in ("ibi", "perturbed", "prior")] == [3, 3, 4]


def test_atomistic_liquids_are_liquids(release: Path) -> None:
    reference = {row["molecule_id"]: row["reference_density_kg_m3"] for row in rows(release, "molecules")}
    for row in rows(release, "atomistic"):
        assert row["diffusion_nm2_ns"] > 3 * row["diffusion_nm2_ns_se"] > 0
        assert 1.3 < max(row["rdf"]) < 3.5
        if row["spec"].find('"pristine"') > 0:
            # Neopentane is a gas at this state point; OPLS-AA makes its metastable liquid some 10 % too dense.
            tolerance = 0.12 if row["molecule_id"] == "neopentane" else 0.06
            assert row["density_kg_m3"] == pytest.approx(reference[row["molecule_id"]], rel=tolerance)


def test_bead_trajectories_lie_beside_the_release_and_say_what_the_records_say(finished: Path, release: Path) -> None:
    runs = {row["run_id"]: row for row in rows(release, "atomistic")}
    liquids = {run for run, row in runs.items() if row["spec"].find('"pristine"') > 0}
    named = read_index(release)
    assert {row["run_id"] for row in named} == liquids
    assert {path.name for path in (finished / "releases/trajectories").iterdir()} == {row["file"] for row in named}
    for run in liquids:
        beads, record = load_trajectory(run, release), runs[run]
        found = self_diffusion(beads)
        assert abs(found.diffusion_nm2_ns - record["diffusion_nm2_ns"]) < 0.01 * record["diffusion_nm2_ns_se"]
        deviation = radial_distribution(beads.positions_nm, beads.box_length_nm).rdf - record["rdf"]
        assert np.linalg.norm(deviation) < 0.3 * np.linalg.norm(record["rdf_se"])


def test_inverted_potentials_keep_the_structure_and_lose_the_mobility(release: Path) -> None:
    ibi = [row for row in rows(release, "evaluation") if row["model"] == "ibi"]
    for row in ibi:
        assert row["rdf_error"] < 0.09
        assert row["alpha"] > 1


def test_friction_brings_the_mobility_back(release: Path) -> None:
    for row in rows(release, "evaluation"):
        if row["model"] in ("ibi_dpd", "ibi_langevin"):
            assert row["alpha"] == pytest.approx(1, abs=0.5)
            assert row["friction_1_ps"] > 0


def test_the_report_shows_it(finished: Path) -> None:
    page = (finished / "results/smallest/report/report.html").read_text()
    assert "benzene" in page
    assert "rough" in page


@pytest.fixture
def plan(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(finished)
    return load_plan(read_config() | {"scale": WORDS[-1].removeprefix("scale=")})


def test_the_status_of_a_finished_run(plan: Plan) -> None:
    for stage in plan_status(plan):
        assert stage.done == stage.planned > 0, stage.stage
        assert (stage.failed, stage.running, stage.stopped, stage.broken) == ({}, {}, {}, {})


def test_the_estimate_counts_the_steps_that_gromacs_makes(plan: Plan) -> None:
    # Steps, not seconds: what else the machine did meanwhile plays no part. So slow that starting a job takes no time.
    rates = given_rates(Rates(), 0.01, None)
    expected_s = job_seconds(plan, rates)["simulate_atomistic"]
    made_s = 0.0
    for run, spec in plan.atomistic.items():
        n_atoms = spec["n_molecules"] * plan.species[spec["molecule"]["id"]].n_atoms
        stages = [path.read_text() for path in Path(f"results/work/atomistic/{run}").glob("step_*/*.mdp")]
        steps = [int(re.search(r"^nsteps = (\d+)", text, re.MULTILINE)[1]) for text in stages if "steep" not in text]
        assert len(steps) >= 4  # squeeze, NPT, equilibration, production
        made_s += sum(steps) * 0.002 * n_atoms * rates.s_ps_atom
    assert 1 / 1.5 < sum(expected_s) / made_s < 1.5


def test_the_estimate_from_benchmarks_is_what_the_run_took(plan: Plan) -> None:
    benchmarks = Path("results/benchmarks")
    rates = measured_rates([plan], benchmarks)
    jobs = Counter(job.rule for job in workflow_jobs(plan))
    assert rates.measured == {rule: count for rule, count in jobs.items() if rule != "list_records"}
    took_s = sum(benchmark_seconds(path) for path in benchmarks.rglob("*.tsv"))
    found = estimate(plan, rates, slots=2)
    assert 1 / 1.5 < 3600 * found["core_hours"] / took_s < 1.5
    kept_bytes = sum(path.stat().st_size for path in Path("results").rglob("*") if path.is_file())
    assert 1 / 1.5 < found["kept_bytes"] / kept_bytes < 1.5


def test_a_second_start_does_nothing(finished: Path) -> None:
    for kept in ((), ("keep_trajectories=none",), ("keep_trajectories=all",)):
        done = snakemake(finished, *WORDS, *kept, "-n")
        assert "Nothing to be done" in done.stdout + done.stderr


def test_a_release_is_extended_by_one_molecule_and_nothing_else_runs(
    finished: Path, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    molecule = finished / "config/molecules/n-pentane.yaml"
    molecule.write_text(PENTANE)
    try:
        base = ("base_release=" + str(release), "results_dir=elsewhere")
        done = snakemake(finished, *WORDS, *base, "-n", "--quiet", "rules")
        monkeypatch.chdir(finished)
        extended = load_plan(read_config() | dict(word.split("=") for word in (WORDS[-1], *base)))
    finally:
        molecule.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    counts = job_counts(done.stdout + done.stderr)
    assert [counts[rule] for rule in ("simulate_atomistic", "invert", "simulate_shard")] == [1, 1, 1]
    # The two liquids are scored again, with models trained anew: their records come from the base release.
    assert counts["reuse_record"] == 4
    assert counts["evaluate"] == 3 * 8
    assert Counter(job.rule for job in workflow_jobs(extended)) == {
        rule: count for rule, count in counts.items() if rule not in ("all", "total")
    }


def test_a_scale_extends_a_release_and_keeps_all_of_it(finished: Path, release: Path) -> None:
    """The new liquid is simulated and scored with the models of the release, which are not trained again."""
    scale = yaml.safe_load(SMALLEST.read_text()) | {"name": "extension", "molecules": ["n-pentane"]}
    scale |= {"extends": release.name, "synthetic": {}, "prior": {}}
    file, molecule = finished / "extension.yaml", finished / "config/molecules/n-pentane.yaml"
    file.write_text(yaml.safe_dump(scale))
    molecule.write_text(PENTANE)
    try:
        done = snakemake(finished, *WORDS[:-1], f"scale={file}", timeout_s=1500)
    finally:
        molecule.unlink()
        file.unlink()
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-8000:]
    extended = finished / "releases" / (finished / "results/extension/release.txt").read_text().strip()
    assert main(["release", "validate", str(extended)]) == 0
    for table in ("atomistic", "potentials", "coarse", "evaluation"):
        before, after = rows(release, table), rows(extended, table)
        assert [row for row in after if row["molecule_id"] != "n-pentane"] == before
        assert any(row["molecule_id"] == "n-pentane" for row in after)
    scored = {row["model"]: row["status"] for row in rows(extended, "evaluation") if row["molecule_id"] == "n-pentane"}
    assert scored.keys() == {row["model"] for row in rows(release, "evaluation")}
    assert all(scored[model] == "ok" for model in ("ibi", "mobcg_dpd"))
    for path in (release / "models").rglob("*"):
        assert path.is_dir() or (extended / path.relative_to(release)).read_bytes() == path.read_bytes()
    assert not (finished / "results/extension/tables").exists()


def test_a_round_of_active_learning_is_chosen_run_and_learned_from(finished: Path, tmp_path: Path) -> None:
    directory = tmp_path / "improved"
    shutil.copytree(finished, directory, symlinks=True)
    command = [sys.executable, "-m", "mobcg.predictor.improve", "--scale", str(SMALLEST), "--rounds", "1"]
    words = ["--liquids", "2", "--candidates", "12", "--stall", "-1"]
    done = subprocess.run([*command, *words], cwd=directory, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (draws,) = yaml.safe_load((directory / "config/chosen/smallest.yaml").read_text())["rounds"]
    assert len(draws) == 2
    assert min(draws) >= 4  # the first ones are the scale's own
    before, after = json.loads((directory / "results/smallest/improve.json").read_text())["rounds"]
    # What a chosen liquid turns out to be, its run says: one that froze is a record and nothing to learn from.
    coarse = pq.read_table(directory / "results/smallest/tables/data/coarse.parquet").to_pylist()
    chosen = [row for row in coarse if row["molecule_id"] is None and row["status"] == "ok"]
    assert after["liquids"] - before["liquids"] <= 2
    assert len({row["potential_id"] for row in chosen}) > len(draws)
