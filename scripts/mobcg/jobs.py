"""The jobs of a plan: which rule makes what, from what, and where its log and its work in progress lie.

The same graph as that of rules/*.smk, without Snakemake: for what is told of a plan before it runs (`mobcg estimate`)
and from the outside while it runs (`mobcg status`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mobcg.plan import Plan, record_files


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


def workflow_jobs(plan: Plan) -> list[Job]:
    """Return the jobs that make everything of a plan, each after those that it needs; what is reused needs none."""
    built = [*_atomistic(plan), *_inversions(plan), *_shards(plan)]
    ends = [*_learning(plan), *_matching(plan), *_evaluations(plan), *_release(plan)]
    return [*_reused(plan, [*built, *ends]), *built, *ends]


def _atomistic(plan: Plan) -> Iterator[Job]:
    results = plan.config.results_dir
    for run in plan.to_simulate("atomistic"):
        beads = plan.simulated_beads_path(run)
        yield Job("simulate_atomistic", run, run, beads, (), f"{results}/work/atomistic/{run}")
        yield Job("observe_atomistic", run, run, plan.record_path("atomistic", run), (beads,))
    for run in plan.to_publish():
        yield Job("pack_trajectory", run, run, plan.packed_path(run), (plan.simulated_beads_path(run),))


def _inversions(plan: Plan) -> Iterator[Job]:
    for name in plan.to_simulate("inversions"):
        parents = tuple(plan.record_path("atomistic", run) for run in plan.inversions[name]["parent_run_ids"])
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


def _matching(plan: Plan) -> Iterator[Job]:
    """Jobs of the force-matched models that are scored; what `snakemake forcematch` makes beside them is not told."""
    results, matching = plan.config.results_dir, plan.forcematch
    for name in matching.scoreboard.values():
        judgement = matching.judgements[name]
        fit = judgement["source"]["fit_id"]
        beads = tuple(plan.beads_path(run) for run in matching.fits[fit]["parent_run_ids"])
        model = f"{plan.fit_dir(fit)}/model.json"
        yield Job("fit_force_field", fit, fit, model, beads)
        if judgement["model"] == "pair_fm":
            records = tuple(plan.record_path("atomistic", run) for run in matching.fits[fit]["parent_run_ids"])
            yield Job("pair_potential", fit, fit, plan.potential_path(fit), (model, *records))
        else:
            work = f"{results}/work/judgements/{name}"
            yield Job("judge", name, name, plan.judgement_path(name), (model, *beads), work)


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


def _reused(plan: Plan, jobs: Iterable[Job]) -> Iterator[Job]:
    prefix = f"{plan.config.results_dir}/reused/"
    for path in sorted({need for job in jobs for need in job.needs if need.startswith(prefix)}):
        name, _, kind = path.removeprefix(prefix).rpartition(".")
        record_id = name.rpartition("/")[2]
        if kind == "npz":
            yield Job("restore_trajectory", record_id, record_id, path)
        else:
            yield Job("reuse_record", record_id, name, path)
