# inversion: g(r) of an atomistic liquid -> the pair potential of one-site beads that gives it back.
# in   the atomistic records of one liquid (its replicas)
# out  results/inversion/{potential_id}.parquet
# why  at a given state g(r) fixes U(r) (Henderson); these potentials are what the predictor learns to propose


# Iterative Boltzmann inversion: VOTCA's csg_inverse drives LAMMPS.
rule invert:
    input:
        lambda wildcards: [
            PLAN.record_path("atomistic", parent)
            for parent in PLAN.inversion_spec(wildcards.potential_id)["parent_run_ids"]
        ],
    output:
        f"{RESULTS}/inversion/{{potential_id}}.parquet",
    log:
        f"{RESULTS}/logs/invert/{{potential_id}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/invert/{{potential_id}}.tsv"
    conda:
        "../envs/votca.yaml"
    threads: 1
    resources:
        runtime=lambda wildcards, attempt: 60 * attempt,
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
    params:
        spec=lambda wildcards: canonical_json(PLAN.inversion_spec(wildcards.potential_id)),
        work=lambda wildcards: f"{RESULTS}/work/inversion/{wildcards.potential_id}",
    shell:
        "python -m mobcg.inversion.invert --spec {params.spec:q} --parent {input}"
        " --work {params.work:q} --out {output} 2>&1 | tee {log}"
