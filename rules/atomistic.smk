# atomistic: spec of a liquid -> bead trajectory -> record with g(r), MSD and D.
# in   the spec (molecule, force field, state point, lengths)
# out  results/atomistic/{run_id}.npz      centres of mass and net forces of the molecules
#      results/atomistic/{run_id}.parquet  the record
# why  everything below is learned from, and scored against, these runs


# In no `params`: what is kept of a run changes nothing in it, and must not repeat it.
BEADS = f"{RESULTS}/atomistic/{{run_id}}.npz"
KEEP = {"none": "", "beads": "--keep-beads", "all": "--keep-beads --keep-atoms"}[PLAN.config.keep_trajectories]


# A molecule's all-atom run: topology, box, minimisation, NPT until the density has settled, NVT.
rule simulate_atomistic:
    output:
        temp(BEADS) if PLAN.config.keep_trajectories == "none" else BEADS,
    log:
        f"{RESULTS}/logs/simulate_atomistic/{{run_id}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_atomistic/{{run_id}}.tsv"
    conda:
        "../envs/gromacs.yaml"
    threads: 1
    resources:
        # Not more at a retry, which goes on from the checkpoint: many clusters let no job run longer.
        runtime=1440,
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
    params:
        spec=lambda wildcards: canonical_json(PLAN.atomistic_spec(wildcards.run_id)),
        molecules=PLAN.config.molecules_dir,
        work=lambda wildcards: f"{RESULTS}/work/atomistic/{wildcards.run_id}",
    shell:
        "python -m mobcg.atomistic.simulate --spec {params.spec:q} --molecules-dir {params.molecules:q}"
        f" --work {{params.work:q}} --out {{output}} {KEEP} 2>&1 | tee {{log}}"


# Structure and dynamics of the bead trajectory; apart from the run, so that a better analysis repeats no simulation.
rule observe_atomistic:
    input:
        BEADS,
    output:
        f"{RESULTS}/atomistic/{{run_id}}.parquet",
    log:
        f"{RESULTS}/logs/observe_atomistic/{{run_id}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/observe_atomistic/{{run_id}}.tsv"
    conda:
        "../envs/mobcg.yaml"
    threads: 1
    resources:
        runtime=lambda wildcards, attempt: 30 * attempt,
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        spec=lambda wildcards: canonical_json(PLAN.atomistic_spec(wildcards.run_id)),
    shell:
        "python -m mobcg.atomistic.observe --spec {params.spec:q} --beads {input} --out {output} 2>&1 | tee {log}"
