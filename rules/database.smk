# database: records -> tables to train on, and at the end the release.
# in   the records of atomistic, inversion, coarse and evaluation; the base release, if one is named
#      bead trajectories, where the scale publishes them
# out  {scale}/tables/           the training set: every table but the evaluations
#      releases/{version}/       the release; {scale}/release.txt names it
#      releases/trajectories/    bead trajectories that releases share; write_release copies trajectories/{run_id}.parquet
# why  what was simulated becomes data that outlive the code
# The tables of force fields are read off GROMACS's own oplsaa.ff, hence its environment.

RECORDS = record_files(PLAN)
BASE = f"--base {PLAN.config.base_release}" if PLAN.config.base_release else ""


# Where the records of this plan lie, and the rows of the molecules.
rule list_records:
    output:
        f"{SCALE}/records.json",
    log:
        f"{RESULTS}/logs/list_records/{PLAN.scale.name}.log",
    conda:
        "../envs/mobcg.yaml"
    params:
        # What is kept of a run is no part of what is asked for.
        config=canonical_json({key: value for key, value in config.items() if key != "keep_trajectories"}),
        # Files that the configuration names may change under it.
        content=run_id({"molecules": molecule_rows(PLAN), "records": RECORDS}),
    shell:
        "python -m mobcg.plan --config {params.config:q} --out {output} 2>&1 | tee {log}"


# One record of the base release as a file of its own, for the steps that build on it.
rule reuse_record:
    output:
        f"{RESULTS}/reused/{{room}}/{{record_id}}.parquet",
    log:
        f"{RESULTS}/logs/reuse_record/{{room}}/{{record_id}}.log",
    wildcard_constraints:
        room="atomistic|inversion",
        record_id="[0-9a-f]{16}",
    conda:
        "../envs/mobcg.yaml"
    params:
        base=BASE,
    shell:
        "python -m mobcg.database.reuse {params.base} --room {wildcards.room} --id {wildcards.record_id}"
        " --out {output} 2>&1 | tee {log}"


# A bead trajectory as it is published. Nothing but write_release touches what is published already.
rule pack_trajectory:
    input:
        BEADS,
    output:
        f"{RESULTS}/trajectories/{{run_id}}.parquet",
    log:
        f"{RESULTS}/logs/pack_trajectory/{{run_id}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/pack_trajectory/{{run_id}}.tsv"
    conda:
        "../envs/mobcg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        spec=lambda wildcards: canonical_json(PLAN.atomistic[wildcards.run_id]),
    shell:
        "python -m mobcg.database.trajectories --beads {input} --spec {params.spec:q} --out {output} 2>&1 | tee {log}"


# The other way: the beads of a run of the base release, for the steps that learn from them. No input: it never changes.
rule restore_trajectory:
    output:
        f"{RESULTS}/reused/atomistic/{{run_id}}.npz",
    log:
        f"{RESULTS}/logs/restore_trajectory/{{run_id}}.log",
    conda:
        "../envs/mobcg.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        base=BASE,
    shell:
        "python -m mobcg.database.trajectories --restore {wildcards.run_id} {params.base} --out {output} 2>&1 | tee {log}"


# The training set: every row that a model may learn from, and which molecule each fold holds out.
rule assemble_tables:
    input:
        RECORDS["atomistic"],
        RECORDS["potentials"],
        RECORDS["coarse"],
        records=rules.list_records.output,
    output:
        directory(f"{SCALE}/tables"),
    log:
        f"{RESULTS}/logs/assemble_tables/{PLAN.scale.name}.log",
    benchmark:
        f"{RESULTS}/benchmarks/assemble_tables/{PLAN.scale.name}.tsv"
    conda:
        "../envs/gromacs.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    params:
        version=PLAN.release_version,
        base=BASE,
    shell:
        "python -m mobcg.database.build --inputs {input.records} --version {params.version} {params.base}"
        " --training-set {output} 2>&1 | tee {log}"


# The release: checked, compared with the one before, and never changed again.
rule write_release:
    input:
        RECORDS["atomistic"],
        RECORDS["potentials"],
        RECORDS["coarse"],
        RECORDS["evaluation"],
        records=rules.list_records.output,
        models=expand(f"{SCALE}/models/all/{{model}}/model.json", model=PLAN.scale.predictor.models),
        force_matched=[f"{PLAN.fit_dir(fit)}/model.json" for fit in scored_fits(PLAN).values()],
        trajectories=[PLAN.packed_path(run) for run in PLAN.to_publish()],
    output:
        pointer=f"{SCALE}/release.txt",
    log:
        f"{RESULTS}/logs/write_release/{PLAN.scale.name}.log",
    benchmark:
        f"{RESULTS}/benchmarks/write_release/{PLAN.scale.name}.tsv"
    conda:
        "../envs/gromacs.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    params:
        version=PLAN.release_version,
        base=BASE,
        releases=PLAN.config.releases_dir,
        scale=PLAN.scale.name,
        rough="--rough" if PLAN.scale.rough else "",
        models=lambda wildcards, input: [str(Path(path).parent) for path in input.models],
    shell:
        "python -m mobcg.database.build --inputs {input.records} --version {params.version} {params.base}"
        " --scale {params.scale} {params.rough} --models {params.models:q} --trajectories {input.trajectories}"
        " --releases {params.releases} --published {output.pointer} 2>&1 | tee {log}"
