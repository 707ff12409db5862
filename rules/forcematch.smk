# forcematch: bead trajectories -> potentials whose forces are nearest to the atomistic ones -> runs of them, judged.
# in   bead trajectories with net forces of the liquids, of further states, and of finer mappings
# out  results/forcematch/fits/{fit_id}/              model.json, weights.safetensors, training.json
#      results/forcematch/judgements/{judgement_id}.parquet   one row a run: verdict, g(r), D, pressure, cost
#      {scale}/forcematch/                            noise floor, studies, transfer, sizes, scoreboard
# why  many-body force-matched potentials are the other way to a coarse-grained liquid: beside ours, on the same liquids


FITS = f"{RESULTS}/forcematch/fits/{{fit_id}}"
MATCHING = PLAN.forcematch


# One model learned from the net forces in some bead trajectories.
rule fit_force_field:
    input:
        lambda wildcards: [PLAN.beads_path(run) for run in MATCHING.fits[wildcards.fit_id]["parent_run_ids"]],
    output:
        multiext(f"{FITS}/", "model.json", "weights.safetensors", "training.json"),
    log:
        f"{RESULTS}/logs/fit_force_field/{{fit_id}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit_force_field/{{fit_id}}.tsv"
    conda:
        "../envs/mobcg.yaml"
    threads: 1
    resources:
        runtime=lambda wildcards, attempt: 480 * attempt,
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    params:
        model=lambda wildcards: MATCHING.fits[wildcards.fit_id]["model"],
        settings=lambda wildcards: canonical_json(MATCHING.fits[wildcards.fit_id]["settings"]),
        every_ps=lambda wildcards: MATCHING.fits[wildcards.fit_id]["every_ps"],
        seed=lambda wildcards: seed(MATCHING.fits[wildcards.fit_id], "training"),
        directory=lambda wildcards, output: str(Path(output[0]).parent),
    shell:
        "python -m mobcg.forcematch.train --model {params.model} --settings {params.settings:q} --seed {params.seed}"
        " --every-ps {params.every_ps} --beads {input} --out {params.directory} 2>&1 | tee {log}"


# The pair potential of a spline fit, as a record like those of the inversions.
rule pair_potential:
    input:
        model=f"{FITS}/model.json",
        atomistic=lambda wildcards: [
            PLAN.record_path("atomistic", run) for run in MATCHING.fits[wildcards.fit_id]["parent_run_ids"]
        ],
    output:
        f"{FITS}/potential.parquet",
    log:
        f"{RESULTS}/logs/pair_potential/{{fit_id}}.log",
    conda:
        "../envs/mobcg.yaml"
    params:
        spec=lambda wildcards: canonical_json(MATCHING.fits[wildcards.fit_id]),
        directory=lambda wildcards, input: str(Path(input.model).parent),
    shell:
        "python -m mobcg.forcematch.potential --spec {params.spec:q} --model-dir {params.directory}"
        " --atomistic {input.atomistic} --out {output} 2>&1 | tee {log}"


# What the predictor proposes for the g(r) of one state.
rule propose:
    input:
        model=f"{SCALE}/models/{{fold}}/mobcg/model.json",
        atomistic=lambda wildcards: PLAN.record_path("atomistic", wildcards.run_id),
    output:
        f"{SCALE}/forcematch/proposals/{{fold}}.{{run_id}}.parquet",
    log:
        f"{RESULTS}/logs/propose/{PLAN.scale.name}/{{fold}}.{{run_id}}.log",
    conda:
        "../envs/mobcg.yaml"
    params:
        directory=lambda wildcards, input: str(Path(input.model).parent),
    shell:
        "python -m mobcg.predictor.propose --model-dir {params.directory} --atomistic {input.atomistic}"
        " --out {output} 2>&1 | tee {log}"


# Runs of one model at one state, from several atomistic frames, and the verdict on each.
rule judge:
    input:
        unpack(lambda wildcards: PLAN.judgement_inputs(wildcards.judgement_id)),
    output:
        f"{RESULTS}/forcematch/judgements/{{judgement_id}}.parquet",
    log:
        f"{RESULTS}/logs/judge/{{judgement_id}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/judge/{{judgement_id}}.tsv"
    conda:
        "../envs/lammps.yaml"
    threads: 1
    resources:
        runtime=lambda wildcards, attempt: 1440 * attempt,
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        spec=lambda wildcards: canonical_json(MATCHING.judgements[wildcards.judgement_id]),
        work=lambda wildcards: f"{RESULTS}/work/judgements/{wildcards.judgement_id}",
        source=lambda wildcards, input: (
            f"--model-dir {Path(input.model).parent}" if "model" in input.keys() else f"--potential {input.potential}"
        ),
    shell:
        "python -m mobcg.forcematch.judgement --spec {params.spec:q} --beads {input.beads} {params.source}"
        " --work {params.work:q} --out {output} 2>&1 | tee {log}"


# The rows of a many-body model on the scoreboard.
rule evaluate_force_matched:
    input:
        unpack(lambda wildcards: PLAN.evaluation_inputs(wildcards.molecule, wildcards.model)),
    output:
        f"{SCALE}/evaluation/{{molecule}}.{{model}}.parquet",
    log:
        f"{RESULTS}/logs/evaluate_force_matched/{PLAN.scale.name}/{{molecule}}.{{model}}.log",
    wildcard_constraints:
        model="schnet|hipnn",
    conda:
        "../envs/mobcg.yaml"
    params:
        spec=lambda wildcards: canonical_json(PLAN.evaluations[f"{wildcards.molecule}.{wildcards.model}"]),
    shell:
        "python -m mobcg.predictor.force_matched --spec {params.spec:q} --judgement {input.judgement}"
        " --training {input.training} --atomistic {input.atomistic} --out {output} 2>&1 | tee {log}"


# How much of the net forces any function of the centres of mass, or of beads, can explain: held, and the force averaged.
rule noise_floor:
    input:
        lambda wildcards: PLAN.simulated_beads_path(MATCHING.floors[wildcards.held]["run_id"]),
    output:
        f"{SCALE}/forcematch/floor.{{held}}.json",
    log:
        f"{RESULTS}/logs/noise_floor/{PLAN.scale.name}/{{held}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/noise_floor/{PLAN.scale.name}/{{held}}.tsv"
    wildcard_constraints:
        held="[a-z0-9.-]+",
    conda:
        "../envs/gromacs.yaml"
    threads: 1
    resources:
        runtime=lambda wildcards, attempt: 240 * attempt,
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
    params:
        spec=lambda wildcards: canonical_json(PLAN.atomistic_spec(MATCHING.floors[wildcards.held]["run_id"])),
        held_ps=lambda wildcards: MATCHING.floors[wildcards.held]["held_ps"],
        run=lambda wildcards: f"{RESULTS}/work/atomistic/{MATCHING.floors[wildcards.held]['run_id']}",
        work=lambda wildcards: f"{RESULTS}/work/floor/{run_id(MATCHING.floors[wildcards.held])}",
        molecules=PLAN.config.molecules_dir,
    shell:
        "python -m mobcg.forcematch.noise_floor --spec {params.spec:q} --run {params.run:q} --held-ps {params.held_ps}"
        " --molecules-dir {params.molecules:q} --work {params.work:q} --out {output} 2>&1 | tee {log}"


# Tables and figures of all that was matched, run and judged.
rule report_force_matching:
    input:
        [PLAN.judgement_path(name) for name in MATCHING.judgements],
        [f"{PLAN.fit_dir(name)}/training.json" for name in MATCHING.fits],
        [f"{SCALE}/evaluation/{key}.parquet" for key in MATCHING.scoreboard],
        [f"{SCALE}/forcematch/floor.{name}.json" for name in MATCHING.floors],
        [PLAN.record_path("atomistic", name) for name in MATCHING.targets],
    output:
        f"{SCALE}/forcematch/report.md",
    log:
        f"{RESULTS}/logs/report_force_matching/{PLAN.scale.name}.log",
    conda:
        "../envs/mobcg.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    params:
        config=canonical_json(config),
    shell:
        "python -m mobcg.report.forcematch --config {params.config:q} --out $(dirname {output}) 2>&1 | tee {log}"
