# report: the release -> figures, scoreboard and one page that shows them.
# in   the release that {scale}/release.txt names
#      figures of {scale}/forcematch, of whatever scales are done: no input, as the release waits for none of them
# out  {scale}/report/report.html, scoreboard.md, scoreboard.csv, figures/*.png
# why  people would rather look than read

FIGURES = "scoreboard plane rdf msd potentials convergence mass_law density diffusion".split()
FIGURES += "neighbours learning reliability overview".split()


# Every figure, the scoreboard, and one page with all of them in it; `snakemake --report` takes them up too.
rule make_report:
    input:
        rules.write_release.output.pointer,
    output:
        page=report(f"{SCALE}/report/report.html", category="Report"),
        scoreboard=multiext(f"{SCALE}/report/scoreboard", ".md", ".csv"),
        figures=[
            report(
                f"{SCALE}/report/figures/{name}.png",
                caption=f"../scripts/mobcg/report/captions/{name}.rst",
                category="Figures",
            )
            for name in FIGURES
        ],
    log:
        f"{RESULTS}/logs/make_report/{PLAN.scale.name}.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_report/{PLAN.scale.name}.tsv"
    conda:
        "../envs/mobcg.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    params:
        directory=lambda wildcards, output: str(Path(output.page).parent),
        releases=PLAN.config.releases_dir,
        rough="--rough" if PLAN.scale.rough else "",
        results=lambda wildcards, output: str(Path(output.page).parents[2]),
    shell:
        "python -m mobcg.report.make --release {params.releases}/$(cat {input}) --out {params.directory}"
        " --results {params.results} {params.rough} 2>&1 | tee {log}"
