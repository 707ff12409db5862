# predictor: training set -> models -> potentials of the liquids -> coarse runs -> scores.
# in   the tables without evaluations, or the models of a release that is extended; for each liquid its atomistic records and inverted potential
# out  {scale}/models/{fold}/{model}/              fold = molecule held out, or all (the released model)
#      {scale}/evaluation/{molecule}.{model}.parquet
# why  a liquid is scored by a model that never saw a row descended from it


# One model of one fold; that of a release that the scale extends is taken over.
rule train:
    input:
        lambda wildcards: PLAN.training_input(wildcards.model),
    output:
        multiext(
            f"{SCALE}/models/{{fold}}/{{model}}/", "model.json", "weights.safetensors", "training.json", "README.md"
        ),
    log:
        f"{RESULTS}/logs/train/{PLAN.scale.name}/{{fold}}.{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{PLAN.scale.name}/{{fold}}.{{model}}.tsv"
    conda:
        "../envs/mobcg.yaml"
    threads: 1
    resources:
        runtime=lambda wildcards, attempt: 180 * attempt,
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    params:
        settings=lambda wildcards: canonical_json(PLAN.model_settings(wildcards.model)),
        directory=lambda wildcards, output: str(Path(output[0]).parent),
        source="--tables" if PLAN.scale.extends is None else "--released",
    shell:
        "python -m mobcg.predictor.train {params.source} {input} --model {wildcards.model} --fold {wildcards.fold}"
        " --settings {params.settings:q} --out {params.directory} 2>&1 | tee {log}"


# One model of one liquid, run in the box of its atomistic parent in several replicas, and scored.
rule evaluate:
    input:
        unpack(lambda wildcards: PLAN.evaluation_inputs(wildcards.molecule, wildcards.model)),
    output:
        f"{SCALE}/evaluation/{{molecule}}.{{model}}.parquet",
    log:
        f"{RESULTS}/logs/evaluate/{PLAN.scale.name}/{{molecule}}.{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate/{PLAN.scale.name}/{{molecule}}.{{model}}.tsv"
    wildcard_constraints:
        model="(?!schnet|hipnn)[a-z0-9_]+",
    conda:
        "../envs/lammps.yaml"
    threads: 1
    resources:
        runtime=lambda wildcards, attempt: 60 * attempt,
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        spec=lambda wildcards: canonical_json(PLAN.evaluations[f"{wildcards.molecule}.{wildcards.model}"]),
        work=lambda wildcards: f"{SCALE}/work/evaluation/{wildcards.molecule}.{wildcards.model}",
        model_dir=lambda wildcards, input: f"--model-dir {Path(input.model).parent}" if "model" in input.keys() else "",
        training=lambda wildcards, input: f"--training {input.training}" if "training" in input.keys() else "",
    shell:
        "python -m mobcg.predictor.evaluate --spec {params.spec:q} --atomistic {input.atomistic}"
        " --potential {input.potential} {params.model_dir} {params.training}"
        " --work {params.work:q} --out {output} 2>&1 | tee {log}"
