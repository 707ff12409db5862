"""The jobs of a plan: which rule makes what, from what, and where its log and its work in progress lie.

The same graph as that of rules/*.smk, without Snakemake: for what is told of a plan before it runs (`mobcg estimate`)
and from the outside while it runs (`mobcg status`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mobcg.plan import Plan, record_files, scored_fits
from mobcg.spec import run_id

# What Snakemake is asked for.
TARGETS = ("all", "forcematch")


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes
    ----------
    rule
        Its rule.
    key
        What of the plan it makes: an id, molecule.model, fold.model, or the scale's name.
    name
        What its log and its benchmark are called, without the ending.
    product
        Its file, or the one of them that is written last.
    needs
        Products of other jobs that it reads.
    work
        Directory of its work in progress; None where a restart has nothing to continue.
    also
        What else it makes that other jobs need.
    """

    rule: str
    key: str
    name: str
    product: str
    needs: tuple[str, ...] = ()
    work: str | None = None
    also: tuple[str, ...] = ()


def workflow_jobs(plan: Plan, target: str = "all") -> list[Job]:
    """Return the jobs that make a target, each after those that it needs; what is reused needs none."""
    built = [*_atomistic(plan, plan.to_simulate("atomistic")), *_published(plan)]
    built += [*_inversions(plan, plan.to_simulate("inversions")), *_shards(plan)]
    matching = plan.forcematch
    if target == "all":
        scored = matching.scoreboard.values()
        ends = [*_fits(plan, scored), *_learning(plan), *_judgements(plan, scored, run_pairs=False)]
        ends += [*_evaluations(plan), *_release(plan)]
        return _supplied(plan, [*built, *ends])
    built += [*_atomistic(plan, matching.atomistic), *_inversions(plan, matching.inversions)]
    ends = [
        *_fits(plan, matching.judgements),
        *_learning(plan),
        *_proposals(plan),
        *_judgements(plan, matching.judgements, run_pairs=True),
        *_evaluations(plan),
        *_matching_report(plan),
    ]
    return _needed(_supplied(plan, [*built, *ends]))


def _needed(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs that the last one needs, itself included, each once."""
    makers = {product: job for job in jobs for product in (job.product, *job.also)}
    needed, waiting = set(), [jobs[-1]]
    while waiting:
        job = waiting.pop()
        if job.product not in needed:
            needed.add(job.product)
            waiting += [makers[need] for need in job.needs if need in makers]
    once = {job.product: job for job in jobs}
    return [job for product, job in once.items() if product in needed]


def _atomistic(plan: Plan, runs: Iterable[str]) -> Iterator[Job]:
    results = plan.config.results_dir
    for run in runs:
        beads = plan.simulated_beads_path(run)
        yield Job("simulate_atomistic", run, run, beads, (), f"{results}/work/atomistic/{run}")
        yield Job("observe_atomistic", run, run, plan.record_path("atomistic", run), (beads,))


def _published(plan: Plan) -> Iterator[Job]:
    for run in plan.to_publish():
        yield Job("pack_trajectory", run, run, plan.packed_path(run), (plan.simulated_beads_path(run),))


def _inversions(plan: Plan, names: Iterable[str]) -> Iterator[Job]:
    for name in names:
        parents = tuple(plan.record_path("atomistic", run) for run in plan.inversion_spec(name)["parent_run_ids"])
        work = f"{plan.config.results_dir}/work/inversion/{name}"
        yield Job("invert", name, name, plan.record_path("potentials", name), parents, work)


def _shards(plan: Plan) -> Iterator[Job]:
    for name in plan.to_simulate("shards"):
        parents, work = tuple(plan.shard_potentials(name)), f"{plan.config.results_dir}/work/coarse/{name}"
        yield Job("simulate_shard", name, name, plan.record_path("coarse", name), parents, work)
    for name in plan.to_simulate("prior_shards"):
        paths, work = plan.prior_paths(name), f"{plan.config.results_dir}/work/prior/{name}"
        yield Job("simulate_prior_shard", name, name, paths["coarse"], (), work, (paths["potentials"],))


def _learning(plan: Plan) -> Iterator[Job]:
    scale, directory, records = plan.scale.name, plan.scale_dir, record_files(plan)
    rows = tuple(path for table in ("atomistic", "potentials", "coarse") for path in records[table])
    yield Job("list_records", scale, scale, f"{directory}/records.json")
    tables: tuple[str, ...] = ()
    if plan.scale.extends is None:
        tables = (f"{directory}/tables",)
        yield Job("assemble_tables", scale, scale, *tables, (f"{directory}/records.json", *rows))
    for fold in plan.folds:
        for model in plan.scale.predictor.models:
            if fold == "all" or f"{fold}.{model}" in plan.evaluations:
                key, path = f"{fold}.{model}", f"{directory}/models/{fold}/{model}/model.json"
                yield Job("train", key, f"{scale}/{key}", path, tables)


def _fits(plan: Plan, judgements: Iterable[str]) -> Iterator[Job]:
    """Jobs of the force-matched models that are judged; the potential of one on the scoreboard is a record."""
    matching = plan.forcematch
    scored = set(scored_fits(plan).values())
    asked = (matching.judgements[name]["source"].get("fit_id") for name in judgements)
    for fit in dict.fromkeys(fit for fit in asked if fit is not None):
        runs, model = matching.fits[fit]["parent_run_ids"], f"{plan.fit_dir(fit)}/model.json"
        yield Job("fit_force_field", fit, fit, model, tuple(map(plan.beads_path, runs)))
        if matching.is_pair(fit) and fit in scored:
            records = tuple(plan.record_path("atomistic", run) for run in runs)
            yield Job("pair_potential", fit, fit, plan.potential_path(fit), (model, *records))


def _judgements(plan: Plan, judgements: Iterable[str], run_pairs: bool) -> Iterator[Job]:
    """Jobs of the runs of these models; the release runs a pair potential as it does all others."""
    matching = plan.forcematch
    for name in judgements:
        fit = matching.judgements[name]["source"].get("fit_id")
        if run_pairs or not matching.is_pair(fit):
            inputs = plan.judgement_inputs(name)
            source = inputs.get("model") or inputs["potential"]
            work = f"{plan.config.results_dir}/work/judgements/{name}"
            yield Job("judge", name, name, plan.judgement_path(name), (source, *inputs["beads"]), work)


def _proposals(plan: Plan) -> Iterator[Job]:
    directory = plan.scale_dir
    for spec in plan.forcematch.judgements.values():
        if "fold" in spec["source"]:
            fold, run = spec["source"]["fold"], spec["source"]["state_run_id"]
            needs = f"{directory}/models/{fold}/mobcg/model.json", plan.record_path("atomistic", run)
            path = f"{directory}/forcematch/proposals/{fold}.{run}.parquet"
            yield Job("propose", f"{fold}.{run}", f"{plan.scale.name}/{fold}.{run}", path, needs)


def _matching_report(plan: Plan) -> Iterator[Job]:
    scale, directory, matching = plan.scale.name, f"{plan.scale_dir}/forcematch", plan.forcematch
    floors = {name: f"{directory}/floor.{name}.json" for name in matching.floors}
    for name, path in floors.items():
        needs = (plan.simulated_beads_path(matching.floors[name]["run_id"]),)
        work = f"{plan.config.results_dir}/work/floor/{run_id(matching.floors[name])}"
        yield Job("noise_floor", name, f"{scale}/{name}", path, needs, work)
    needs = [
        *map(plan.judgement_path, matching.judgements),
        *(f"{plan.fit_dir(name)}/model.json" for name in matching.fits),
        *(f"{plan.scale_dir}/evaluation/{key}.parquet" for key in matching.scoreboard),
        *floors.values(),
        *(plan.record_path("atomistic", name) for name in matching.targets),
    ]
    yield Job("report_force_matching", scale, scale, f"{directory}/report.md", tuple(needs))


def _evaluations(plan: Plan) -> Iterator[Job]:
    for key in plan.evaluations:
        inputs = plan.evaluation_inputs(*key.split("."))
        if "judgement" in inputs:
            path = f"{plan.scale_dir}/evaluation/{key}.parquet"
            needs = (*inputs["atomistic"], inputs["judgement"])
            yield Job("evaluate_force_matched", key, f"{plan.scale.name}/{key}", path, needs)
            continue
        needs = (*inputs["atomistic"], inputs["potential"], *([inputs["model"]] if "model" in inputs else []))
        work, path = f"{plan.scale_dir}/work/evaluation/{key}", f"{plan.scale_dir}/evaluation/{key}.parquet"
        yield Job("evaluate", key, f"{plan.scale.name}/{key}", path, needs, work)


def _release(plan: Plan) -> Iterator[Job]:
    scale, directory = plan.scale.name, plan.scale_dir
    records = tuple(path for paths in record_files(plan).values() for path in paths)
    models = tuple(f"{directory}/models/all/{model}/model.json" for model in plan.scale.predictor.models)
    trajectories = tuple(map(plan.packed_path, plan.to_publish()))
    pointer = f"{directory}/release.txt"
    yield Job("write_release", scale, scale, pointer, (f"{directory}/records.json", *records, *models, *trajectories))
    yield Job("make_report", scale, scale, f"{directory}/report/report.html", (pointer,))


def _supplied(plan: Plan, jobs: Sequence[Job]) -> list[Job]:
    """Return jobs, and before them those that give what the base release has, or has without what is needed of it."""
    return [*_reused(plan, jobs), *_simulated_again(plan, jobs), *jobs]


def _simulated_again(plan: Plan, jobs: Sequence[Job]) -> Iterator[Job]:
    """Runs whose record is reused while their beads are needed: as the run left them, or because none are published."""
    made = {job.product for job in jobs}
    missing = {need for job in jobs for need in job.needs} - made
    for run in plan.atomistic:
        if plan.simulated_beads_path(run) in missing:
            simulated, _ = _atomistic(plan, [run])
            yield simulated


def _reused(plan: Plan, jobs: Iterable[Job]) -> Iterator[Job]:
    prefix = f"{plan.config.results_dir}/reused/"
    for path in sorted({need for job in jobs for need in job.needs if need.startswith(prefix)}):
        name, _, kind = path.removeprefix(prefix).rpartition(".")
        record_id = name.rpartition("/")[2]
        if kind == "npz":
            yield Job("restore_trajectory", record_id, record_id, path)
        else:
            yield Job("reuse_record", record_id, name, path)
