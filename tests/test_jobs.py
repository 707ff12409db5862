from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mobcg.estimate import job_seconds
from mobcg.jobs import Job, _reused, workflow_jobs
from mobcg.plan import Plan, load_plan, record_files

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(REPOSITORY)
    return load_plan({"version": "2026.11.0", "scale": "quick"})


def reusing(plan: Plan, **reused: frozenset[str]) -> Plan:
    fields = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    return Plan(**(fields | {"reused": reused}))


def test_every_need_is_made_by_an_earlier_job(plan: Plan) -> None:
    parent = next(iter(plan.inversions))
    for each in (plan, reusing(plan, atomistic=frozenset(plan.atomistic), potentials=frozenset([parent]))):
        made: set[str] = set()
        for job in workflow_jobs(each):
            assert made.issuperset(job.needs), job
            made.update({job.product, *job.also})


def test_every_record_of_the_plan_is_a_product(plan: Plan) -> None:
    products = [product for job in workflow_jobs(plan) for product in (job.product, *job.also)]
    assert len(set(products)) == len(products)
    assert {path for paths in record_files(plan).values() for path in paths} <= set(products)


def test_what_is_reused_is_taken_over_once_and_made_by_nothing_else(plan: Plan) -> None:
    liquid, *_ = plan.atomistic
    jobs = workflow_jobs(reusing(plan, atomistic=frozenset([liquid])))
    of_it = [(job.rule, job.product) for job in jobs if job.key == liquid]
    assert of_it == [("reuse_record", f"results/reused/atomistic/{liquid}.parquet")]
    assert [job.name for job in jobs if job.rule == "reuse_record"] == [f"atomistic/{liquid}"]


@pytest.mark.parametrize("scale", ["pilot", "study", "workstation"])
def test_force_matching_needs_what_its_report_needs_and_no_release(scale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    plan = load_plan({"version": "2026.11.0", "scale": scale})
    jobs, made = workflow_jobs(plan, "forcematch"), set()
    for job in jobs:
        assert made.issuperset(job.needs), job
        made.update({job.product, *job.also})
    assert jobs[-1].rule == "report_force_matching"
    rules = {job.rule for job in jobs}
    assert not {"write_release", "make_report"} & rules
    assert {job.key for job in jobs if job.rule == "judge"} == set(plan.forcematch.judgements)
    # Only a transfer asks for the predictor, and so for all that it learns from.
    assert ("train" in rules) == ("simulate_prior_shard" in rules) == (scale == "workstation")


def test_published_beads_are_packed_for_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    plan = load_plan({"version": "2026.11.0", "scale": "workstation"})
    jobs = workflow_jobs(plan)
    packed = {job.product: job for job in jobs if job.rule == "pack_trajectory"}
    assert {job.key for job in packed.values()} == set(plan.to_publish()) != set()
    (release,) = (job for job in jobs if job.rule == "write_release")
    assert packed.keys() <= set(release.needs)


def test_beads_beside_the_base_release_are_restored_for_who_needs_them(plan: Plan) -> None:
    run, *_ = plan.atomistic
    base = reusing(plan, atomistic=frozenset(plan.atomistic), trajectories=frozenset([run]))
    learner = Job("learn", "x", "x", "x", tuple(base.beads_path(name) for name in base.atomistic))
    restored = [job for job in _reused(base, [learner]) if job.rule == "restore_trajectory"]
    assert [(job.key, job.product) for job in restored] == [(run, f"results/reused/atomistic/{run}.npz")]


def test_what_is_learned_from_does_not_hang_on_what_lies_here(plan: Plan, tmp_path: Path) -> None:
    run, other, *_ = plan.atomistic
    base = reusing(plan, atomistic=frozenset(plan.atomistic), trajectories=frozenset([run]))
    base = replace(base, config=base.config.model_copy(update={"results_dir": str(tmp_path)}))
    before = [base.beads_path(name) for name in (run, other)]
    assert before == [f"{tmp_path}/reused/atomistic/{run}.npz", f"{tmp_path}/atomistic/{other}.npz"]
    for name in (run, other):
        path = Path(base.simulated_beads_path(name))
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert [base.beads_path(name) for name in (run, other)] == before


def test_runs_of_the_base_release_whose_own_files_are_needed_are_simulated_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(REPOSITORY)
    plan = load_plan({"version": "2026.11.0", "scale": "pilot"})
    (run,) = plan.atomistic
    for trajectories, learned_from in ((frozenset([run]), f"results/reused/atomistic/{run}.npz"), (frozenset(), None)):
        base = reusing(plan, atomistic=frozenset([run]), trajectories=trajectories)
        jobs, made = workflow_jobs(base, "forcematch"), set()
        for job in jobs:
            assert made.issuperset(job.needs), job
            made.update({job.product, *job.also})
        # The noise floor holds the beads of the run itself; its record is that of the release.
        assert [job.key for job in jobs if job.rule == "simulate_atomistic"] == [run]
        assert not [job for job in jobs if job.rule == "observe_atomistic"]
        seconds = dict(job_seconds(base, target="forcematch"))
        assert seconds["simulate_atomistic"] == job_seconds(plan, target="forcematch")["simulate_atomistic"]
        fits = {need for job in jobs if job.rule == "fit_force_field" for need in job.needs}
        assert fits == {learned_from or f"results/atomistic/{run}.npz"}
        # A release restores what was published, and holds nothing.
        in_release = [job.rule for job in workflow_jobs(base) if run in job.product and job.rule != "reuse_record"]
        assert in_release == ["restore_trajectory" if trajectories else "simulate_atomistic"]


def test_a_model_is_trained_for_the_folds_that_are_scored_and_for_the_release(plan: Plan) -> None:
    fewer = {key: spec for key, spec in plan.evaluations.items() if not key.endswith(".bag2024")}
    fields = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    trained = [job.key for job in workflow_jobs(Plan(**(fields | {"evaluations": fewer}))) if job.rule == "train"]
    assert [key for key in trained if key.endswith(".bag2024")] == ["all.bag2024"]
    assert sum(key.endswith(".mobcg") for key in trained) == len(plan.folds)


def test_no_group_of_the_cluster_profile_is_more_than_a_liquid_and_its_potentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Jobs of a group that a file joins are one job of the cluster, which runs them one after another."""
    monkeypatch.chdir(REPOSITORY)
    plan = load_plan({"version": "2026.11.0", "scale": "paper"})
    profile = yaml.safe_load(Path("profiles/slurm/config.yaml").read_text())
    grouped = [job for job in workflow_jobs(plan) if profile["groups"].get(job.rule) == "potential"]
    number = {job.product: place for place, job in enumerate(grouped)}
    joined = [(number[need], number[job.product]) for job in grouped for need in job.needs if need in number]
    rows, columns = np.array(joined).T
    graph = coo_array((np.ones(rows.size), (rows, columns)), shape=(len(grouped), len(grouped)))
    _, label = connected_components(graph, directed=False)
    assert np.bincount(label).max() <= plan.scale.atomistic.replicas + 2
