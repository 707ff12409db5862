from dataclasses import replace
from pathlib import Path

import pytest

from mobcg.errors import InputError
from mobcg.estimate import (
    Cost,
    Rates,
    benchmark_seconds,
    estimate,
    given_rates,
    job_costs,
    job_seconds,
    measured_rates,
    schedule,
)
from mobcg.jobs import Job
from mobcg.plan import Plan, expand_shard, load_plan, run_id

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def plan_of(scale: str) -> Plan:
    return load_plan({"version": "2026.11.0", "scale": scale})


@pytest.mark.parametrize("scale", ["quick", "workstation", "paper"])
def test_one_cost_for_each_job_of_the_plan(scale: str) -> None:
    plan = plan_of(scale)
    costs = job_seconds(plan)
    assert len(costs["simulate_atomistic"]) == len(costs["observe_atomistic"]) == len(plan.atomistic)
    assert len(costs["invert"]) == len(plan.inversions)
    assert len(costs["simulate_shard"]) == len(plan.shards)
    assert len(costs["simulate_prior_shard"]) == len(plan.prior_shards) > 0
    assert len(costs["evaluate"]) + len(costs.get("evaluate_force_matched", ())) == len(plan.evaluations)
    assert len(costs["train"]) == len(plan.folds) * len(plan.scale.predictor.models)
    assert all(0 < cost < 1e7 for rule in costs.values() for cost in rule)


def test_the_rules_are_those_of_the_workflow() -> None:
    named = {
        line.removeprefix("rule ").rstrip(":")
        for path in (REPOSITORY / "rules").glob("*.smk")
        for line in path.read_text().splitlines()
        if line.startswith("rule ")
    }
    rooms = {path.stem for path in (REPOSITORY / "rules").glob("*.smk")}
    missing = {"atomistic", "inversion", "coarse", "database", "predictor", "report"} - rooms
    if missing:
        pytest.skip(f"rules not written yet: {', '.join(sorted(missing))}")
    assert set(job_seconds(plan_of("quick"))) <= named


def test_scales_cost_more_in_order() -> None:
    hours = [sum(map(sum, job_seconds(plan_of(scale)).values())) / 3600 for scale in ("quick", "workstation", "paper")]
    assert hours[0] < 1
    assert hours[0] * 10 < hours[1] < 48
    assert hours[1] * 10 < hours[2]


def test_a_given_density_saves_the_settling_and_several_beads_take_room() -> None:
    plan = plan_of("quick")

    def costs(**more: object) -> list[Cost]:
        changed = {name: spec | more for name, spec in plan.atomistic.items()}
        return [cost for job, cost in job_costs(replace(plan, atomistic=changed)) if job.rule == "simulate_atomistic"]

    for free, given, mapped in zip(costs(), costs(density_kg_m3=850.0), costs(mapping=[[0], [1], [2]]), strict=True):
        assert given.seconds < free.seconds == mapped.seconds
        assert given.kept_bytes == free.kept_bytes < mapped.kept_bytes


def test_molecules_of_several_beads_take_shorter_steps_of_more_beads() -> None:
    plan = plan_of("study")
    judged, fits = plan.forcematch.judgements, plan.forcematch.fits
    seconds = {job.key: cost.seconds for job, cost in job_costs(plan, target="forcematch")}
    found: dict[tuple[int, int], float] = {}
    for name in plan.forcematch.studies["three-beads"]:
        settings = fits[judged[name]["source"]["fit_id"]]["settings"]
        spec = judged[name]
        length_ps = 2 * spec["equilibration_ps"] + spec["nvt_ps"] + spec["nve_ps"]
        found[settings["blocks"], settings["intra_blocks"]] = 1000 / 1.7 * length_ps / seconds[name]
    # Steps a second of 693 beads that were measured, to a factor of 2.
    assert 27 < found[2, 0] < 108
    assert 17 < found[4, 1] < 70
    assert found[1, 0] > found[2, 0] > found[2, 1] > found[4, 1]
    slowest = max(seconds[name] for name in plan.forcematch.studies["three-beads"])
    assert slowest > 5 * max(seconds[name] for name in plan.forcematch.studies["one-bead"])


def test_a_wider_or_deeper_network_costs_more() -> None:
    plan = plan_of("study")
    seconds = {job.key: cost.seconds for job, cost in job_costs(plan, target="forcematch")}
    fits = [plan.forcematch.judgements[name]["source"]["fit_id"] for name in plan.forcematch.studies["one-bead"]]
    by_cutoff, by_blocks = {}, {}
    for name in fits:
        settings = plan.forcematch.fits[name]["settings"]
        by_cutoff[settings["cutoff_nm"]] = max(seconds[name], by_cutoff.get(settings["cutoff_nm"], 0))
        by_blocks[settings["blocks"]] = max(seconds[name], by_blocks.get(settings["blocks"], 0))
    assert by_cutoff[0.6] < by_cutoff[1.0]
    assert by_blocks[1] < by_blocks[4] < by_blocks[6]


def test_what_is_reused_costs_nothing() -> None:
    plan = plan_of("quick")
    everything = {
        "atomistic": frozenset(plan.atomistic),
        "potentials": frozenset(plan.inversions),
        "coarse": frozenset(run_id(spec) for shard in plan.shards.values() for spec in expand_shard(shard)),
        "shards": frozenset(plan.shards | plan.prior_shards),
    }
    fields = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    costs = job_seconds(Plan(**(fields | {"reused": everything})))
    for rule in ("simulate_atomistic", "observe_atomistic", "invert", "simulate_shard", "simulate_prior_shard"):
        assert costs[rule] == []
    assert costs["evaluate"] == job_seconds(plan)["evaluate"]


def write_benchmarks(plan: Plan, directory: Path, times: dict[str, float]) -> None:
    """Write a benchmark, as Snakemake does, of each job of some rules: the expected time times a factor."""
    for job, cost in job_costs(plan):
        if job.rule in times:
            path = directory / job.rule / f"{job.name}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"s\th:m:s\tmax_rss\n{times[job.rule] * cost.seconds:.4f}\t0:00:01\t-\n")


def test_rates_are_those_of_the_benchmarks(tmp_path: Path) -> None:
    plan = plan_of("quick")
    write_benchmarks(plan, tmp_path, {"simulate_atomistic": 3.0, "evaluate": 0.5})
    rates = measured_rates([plan_of("workstation"), plan], tmp_path)
    assert rates.factors == {"simulate_atomistic": pytest.approx(3.0), "evaluate": pytest.approx(0.5, rel=1e-3)}
    assert rates.measured == {"simulate_atomistic": len(plan.atomistic), "evaluate": len(plan.evaluations)}
    before, after = (sum(job_seconds(plan, each)["simulate_atomistic"]) for each in (Rates(), rates))
    assert after == pytest.approx(3 * before)
    assert job_seconds(plan, rates)["invert"] == job_seconds(plan)["invert"]


def test_a_model_that_is_taken_over_says_nothing_about_a_training(tmp_path: Path) -> None:
    plan = plan_of("demo")
    write_benchmarks(plan, tmp_path, {"train": 6.0, "evaluate": 2.0})
    rates = measured_rates([plan, plan_of("quick")], tmp_path)
    assert rates.factors == {"evaluate": pytest.approx(2.0, rel=1e-3)}


def test_a_release_with_a_base_holds_that_once_more() -> None:
    plan = plan_of("demo")
    costs = {job.rule: cost for job, cost in job_costs(plan)}
    base = sum(file.stat().st_size for file in Path(plan.config.base_release).rglob("*") if file.is_file())
    assert base < costs["write_release"].kept_bytes < base + 5e6


def test_a_killed_job_and_a_broken_benchmark_do_not_mislead(tmp_path: Path) -> None:
    plan = plan_of("quick")
    write_benchmarks(plan, tmp_path, {"simulate_atomistic": 2.0})
    first, second, *_ = (tmp_path / "simulate_atomistic" / f"{run}.tsv" for run in plan.atomistic)
    first.write_text("s\th:m:s\n1.0\t0:00:01\n")
    second.write_text("s\th:m:s\n")
    assert benchmark_seconds(second) is None
    assert measured_rates([plan], tmp_path).factors["simulate_atomistic"] == pytest.approx(2.0)


def test_a_given_rate_takes_the_place_of_what_was_measured(tmp_path: Path) -> None:
    plan = plan_of("paper")
    measured = Rates(
        factors={"simulate_atomistic": 3.0, "invert": 2.0}, measured={"simulate_atomistic": 1, "invert": 1}
    )
    rates = given_rates(measured, 100.0, None)
    assert rates.factors == {"invert": 2.0}
    # 86 400 s a day, 1 ns: one picosecond of 1000 atoms takes 0.864 s. Starting the step is all that comes on top.
    run, spec = next((run, spec) for run, spec in plan.atomistic.items() if spec["molecule"]["id"] == "benzene")
    seconds = dict(zip(plan.atomistic, job_seconds(plan, rates)["simulate_atomistic"], strict=True))[run]
    assert spec["n_molecules"] == 1000
    assert 0.864 * 12 * 10_000 < seconds < 1.1 * 0.864 * 12 * 10_000
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="--ns-day-1000-beads"):
            given_rates(measured, None, wrong)


def test_a_schedule_keeps_order_and_cores() -> None:
    def job(name: str, *needs: str) -> Job:
        return Job("rule", name, name, name, needs)

    diamond = [(job("a"), 2.0), (job("b", "a"), 3.0), (job("c", "a"), 1.0), (job("d", "b", "c", "there"), 4.0)]
    costs = [(each, Cost(seconds, kept_bytes=10, scratch_bytes=100)) for each, seconds in diamond]
    assert schedule(costs, 2).wall_s == 2 + 3 + 4
    assert schedule(costs, 1).wall_s == 2 + 3 + 1 + 4
    assert schedule(costs, 1, job_start_s=0.5).wall_s == 10 + 4 * 0.5
    # At most: a done, b and c at work; or, on one core, three done and the last at work.
    assert schedule(costs, 2).peak_bytes == 30 + 200
    assert schedule(costs, 1).peak_bytes == 40 + 100
    assert schedule([], 3).wall_s == 0


def test_the_whole_adds_up() -> None:
    found = estimate(plan_of("quick"), Rates(), slots=2)
    assert found["core_hours"] == pytest.approx(sum(row["core_hours"] for row in found["rules"]))
    assert found["jobs"] == sum(row["jobs"] for row in found["rules"])
    least = max(found["core_hours"] / 2, max(row["longest_job_hours"] for row in found["rules"]))
    assert least <= found["wall_s"] / 3600 < found["core_hours"]
    assert found["kept_bytes"] <= found["peak_bytes"]
    # More at a time is never slower, and needs more disk for what is at work.
    many = estimate(plan_of("paper"), Rates(), slots=400, on_cluster=True)
    few = estimate(plan_of("paper"), Rates(), slots=40, on_cluster=True)
    assert many["wall_s"] < few["wall_s"]
    assert many["peak_bytes"] > few["peak_bytes"] > few["kept_bytes"]
    assert many["core_hours"] == few["core_hours"]
