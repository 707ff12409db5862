# report: the release -> figures, scoreboard and one page that shows them.
# in   the release that {scale}/release.txt names
# out  {scale}/report/
# why  people would rather look than read


# Every figure, the scoreboard, and report.html with all of them in it.
rule make_report:
    input:
        rules.write_release.output.pointer,
    output:
        directory(f"{SCALE}/report"),
    log:
        f"{RESULTS}/logs/make_report/{PLAN.scale.name}.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_report/{PLAN.scale.name}.tsv"
    conda:
        "../envs/mobcg.yaml"
    resources:
        mem_mb=4000,
    params:
        releases=PLAN.config.releases_dir,
        rough="--rough" if PLAN.scale.rough else "",
    shell:
        "python -m mobcg.report.make --release {params.releases:q}/$(cat {input}) --out {output} {params.rough}"
        " 2>&1 | tee {log}"
