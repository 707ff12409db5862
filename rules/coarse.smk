# coarse: pair potentials -> many short coarse-grained runs (scale factor, perturbation, bead mass, friction) -> records.
# in   potentials of one molecule and the shard's draws; of the prior nothing but its draws
# out  results/coarse/{shard_id}.parquet, one row a run
#      results/prior/{shard_id}.{potentials,coarse}.parquet: random potentials, and one row a run
# why  these rows are the database: liquids whose g(r), D, mass and U(r) are all known


# One shard: some draws of the potentials of one molecule, each written when done, so that a restart goes on.
rule simulate_shard:
    input:
        lambda wildcards: PLAN.shard_potentials(wildcards.shard_id),
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
        runtime=lambda wildcards, attempt: 120 * attempt,
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
    params:
        spec=lambda wildcards: canonical_json(PLAN.shards[wildcards.shard_id]),
        work=lambda wildcards: f"{RESULTS}/work/coarse/{wildcards.shard_id}",
    shell:
        "python -m mobcg.coarse.shard --spec {params.spec:q} --potential {input}"
        " --work {params.work:q} --out {output} 2>&1 | tee {log}"


# One shard of the prior: liquids with random potentials, which need no molecule, no atomistic run and no inversion.
rule simulate_prior_shard:
    output:
        potentials=f"{RESULTS}/prior/{{shard_id}}.potentials.parquet",
        coarse=f"{RESULTS}/prior/{{shard_id}}.coarse.parquet",
    log:
        f"{RESULTS}/logs/simulate_prior_shard/{{shard_id}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_prior_shard/{{shard_id}}.tsv"
    conda:
        "../envs/lammps.yaml"
    threads: 1
    resources:
        runtime=lambda wildcards, attempt: 240 * attempt,
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
    params:
        spec=lambda wildcards: canonical_json(PLAN.prior_shards[wildcards.shard_id]),
        work=lambda wildcards: f"{RESULTS}/work/prior/{wildcards.shard_id}",
    shell:
        "python -m mobcg.coarse.prior_shard --spec {params.spec:q} --work {params.work:q}"
        " --potentials {output.potentials} --coarse {output.coarse} 2>&1 | tee {log}"
