# mobcg: atomistic runs -> bead trajectories -> inversion -> coarse runs -> tables -> predictor -> scores -> release.
# `snakemake --cores 2` makes the release and the report of the scale that config/config.yaml names.
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from mobcg.controller import hold, living_owner, stop_with_jobs
from mobcg.errors import InputError
from mobcg.__main__ import runnable_plan
from mobcg.plan import canonical_json, molecule_rows, record_files, run_id, scored_fits, seed

min_version("9.10")


configfile: "config/config.yaml"


try:
    PLAN = runnable_plan(config)
except InputError as error:
    raise WorkflowError(str(error)) from None

# Steps run in this very Python: an environment of `--sdm conda` adds one simulation program and nothing else. The prefix
# takes the place of Snakemake's own, which is bash's strict mode.
shell.prefix(f'set -euo pipefail; python() ( exec {shlex.quote(sys.executable)} "$@" ); ')

RESULTS = PLAN.config.results_dir
SCALE = PLAN.scale_dir

if workflow.is_main_process and (owner := living_owner(Path(RESULTS))):
    print(f"mobcg: {RESULTS} is in use by {owner}", file=sys.stderr)


# Before the first job: one controller a results directory, and one that stops together with its jobs.
onstart:
    try:
        hold(Path(RESULTS))
    except InputError as error:
        raise WorkflowError(str(error)) from None
    if workflow.local_exec:
        stop_with_jobs()


wildcard_constraints:
    run_id="[0-9a-f]{16}",
    potential_id="[0-9a-f]{16}",
    shard_id="[0-9a-f]{16}",
    fit_id="[0-9a-f]{16}",
    judgement_id="[0-9a-f]{16}",
    molecule="[a-z0-9-]+",
    fold="[a-z0-9-]+",
    model="[a-z0-9_]+",


include: "rules/atomistic.smk"
include: "rules/inversion.smk"
include: "rules/forcematch.smk"
include: "rules/coarse.smk"
include: "rules/database.smk"
include: "rules/predictor.smk"
include: "rules/report.smk"


localrules:
    all,
    release,
    report,
    forcematch,
    list_records,
    reuse_record,


rule all:
    default_target: True
    input:
        rules.write_release.output.pointer,
        rules.make_report.output,


rule release:
    input:
        rules.write_release.output.pointer,


rule report:
    input:
        rules.make_report.output,


# Force matching alone: what the section of this name in the scale asks for, without the database and the release.
rule forcematch:
    input:
        rules.report_force_matching.output,
