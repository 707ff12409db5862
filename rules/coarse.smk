# coarse: a pair potential -> many short coarse-grained runs (scale factor, bead mass, friction) -> records.
# in   the potential and the shard's draws
# out  results/coarse/{shard_id}.parquet, one row a run
# why  these rows are the database: liquids whose g(r), D, mass and U(r) are all known


# One shard: some draws of one parent potential, each written when done, so that a restart goes on.
rule simulate_shard:
    input:
        lambda wildcards: PLAN.record_path("potentials", PLAN.shards[wildcards.shard_id]["parent_id"]),
    output:
        f"{RESULTS}/coarse/{{shard_id}}.parquet",
    log:
        f"{RESULTS}/logs/simulate_shard/{{shard_id}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_shard/{{shard_id}}.tsv"
    conda:
        "../envs/lammps.yaml"
    threads: 1
    resources:
        runtime=lambda wildcards, attempt: 60 * attempt,
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
    params:
        spec=lambda wildcards: canonical_json(PLAN.shards[wildcards.shard_id]),
        work=lambda wildcards: f"{RESULTS}/work/coarse/{wildcards.shard_id}",
    shell:
        "python -m mobcg.coarse.shard --spec {params.spec:q} --potential {input}"
        " --work {params.work:q} --out {output} 2>&1 | tee {log}"
