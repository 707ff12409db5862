"""Make the report of a release: `python -m mobcg.report.make --release DIR --out DIR [--title TEXT] [--rough]`.

Writes report.html, scoreboard.md, scoreboard.csv and figures/<name>.png for each name in `FIGURES`, always all of them:
a figure whose data are missing says so. With `--results DIR` the page also shows the figures that `make forcematch` has
left there.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from importlib.resources import files
from pathlib import Path

from mobcg.errors import InputError
from mobcg.predictor.scoring import scoreboard
from mobcg.records import atomic_path
from mobcg.report import accuracy, checks, coverage, curves, dynamics, learning
from mobcg.report.liquids import Liquid, liquids_of
from mobcg.report.page import Illustration, caption_text, page
from mobcg.report.release import Release, evaluation_table, load_release
from mobcg.report.scores import Score, Summary, all_atom, csv_text, markdown, score_liquids, summarise
from mobcg.report.style import Exhibit, drawing, save_png
from mobcg.step import run_step

FIGURES = (
    "scoreboard",
    "plane",
    "rdf",
    "msd",
    "potentials",
    "convergence",
    "mass_law",
    "density",
    "diffusion",
    "neighbours",
    "learning",
    "reliability",
    "overview",
)
# What figures of force matching (`mobcg.report.forcematch`) show, by the first word of their names.
MATCHED = {
    "rdf": "g(r) of the liquids",
    "sizes": "Other numbers of molecules",
    "study": "Study of hyper-parameters",
    "transfer": "Transfer between temperatures and densities",
}


def exhibits(
    release: Release, liquids: list[Liquid], scores: list[Score], summaries: list[Summary]
) -> dict[str, Exhibit]:
    """Return name → exhibit, in the order of `FIGURES`."""
    with drawing():
        made = (
            accuracy.scoreboard(scores, summaries, liquids),
            accuracy.plane(scores, liquids),
            curves.rdf(liquids),
            curves.msd(liquids),
            curves.potentials(liquids),
            checks.convergence(release),
            checks.mass_law(release),
            checks.density(release),
            coverage.diffusion(release, liquids),
            dynamics.neighbours(liquids),
            learning.learning(release.training),
            learning.reliability(release.training, release.ok("evaluation")),
            coverage.overview(release),
        )
    return {exhibit.name: exhibit for exhibit in made}


def scored(release_dir: Path) -> tuple[Release, list[Liquid], list[Score], list[Summary]]:
    """Return a release, its liquids, the scores of the models of each, and their means; raises as `load_release`."""
    release = load_release(release_dir)
    liquids = liquids_of(release)
    board = scoreboard(evaluation_table(release_dir)).to_pylist()
    scores = score_liquids(board, {liquid.molecule_id: liquid.name for liquid in liquids})
    return release, liquids, scores, summarise(scores)


def matched(results: Path) -> list[Illustration]:
    """Return the figures of every scale whose force matching is reported in a results directory."""
    found = []
    for report in sorted(results.glob("*/forcematch/report.md")):
        scale, notes = report.parts[-3], ()
        if "**These numbers are rough" in report.read_text(encoding="utf-8"):
            notes = ("Rough: short runs, made to show that the chain works.",)
        for path in sorted(path for kind in MATCHED for path in report.parent.glob(f"{kind}*.png")):
            kind, *of = path.stem.split("_")
            what = ", ".join([MATCHED[kind], *of])
            caption = caption_text(files("mobcg.report").joinpath(f"captions/forcematch_{kind}.rst").read_text("utf-8"))
            name, heading = f"forcematch_{scale}_{path.stem}", f"Force matching, {scale}: {what}"
            shown = f"Not part of the release; its tables are in {scale}/forcematch/report.md of the results."
            found.append(Illustration(name, heading, path.read_bytes(), caption, shown, notes))
    return found


def make_report(release_dir: Path, out: Path, title: str | None, rough: bool, results: Path | None = None) -> None:
    """Write the report of the release in `release_dir` to `out`, with the force matching in `results` where given.

    Raises
    ------
    InputError
        `release_dir` holds no release.
    """
    release, liquids, scores, summaries = scored(release_dir)
    references = all_atom(liquids)
    _write(out / "scoreboard.md", markdown(scores, summaries, references, rough))
    _write(out / "scoreboard.csv", csv_text(scores, summaries, references))
    illustrations = []
    for name, exhibit in exhibits(release, liquids, scores, summaries).items():
        path = out / "figures" / f"{name}.png"
        with drawing():
            save_png(exhibit.figure, path)
        caption = caption_text(files("mobcg.report").joinpath(f"captions/{name}.rst").read_text(encoding="utf-8"))
        illustrations.append(Illustration(name, exhibit.title, path.read_bytes(), caption, exhibit.seen, exhibit.notes))
    illustrations += matched(results) if results else []
    heading = title or f"mobcg release {release.name}"
    command = _command(release_dir, title, rough, results)
    _write(out / "report.html", page(heading, release, scores, summaries, references, illustrations, rough, command))


def _command(release_dir: Path, title: str | None, rough: bool, results: Path | None) -> str:
    """Return what makes the page again from the root of the repository; no path of this machine is in it."""
    away = release_dir.is_absolute() or len(release_dir.parts) < 2
    shown = Path("releases", release_dir.resolve().name) if away else release_dir
    parts = ["python", "-m", "mobcg.report.make", "--release", shown.as_posix(), "--out", "report"]
    parts += ["--results", "results"] if results else []
    return shlex.join([*parts, *(["--title", title] if title else []), *["--rough"] * rough])


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.report.make", description="Make the report of a release.")
    parser.add_argument("--release", type=Path, required=True, help="release directory, with data/*.parquet")
    parser.add_argument("--out", type=Path, required=True, help="directory to write to")
    parser.add_argument("--title", help="title of the page; default: the name of the release")
    parser.add_argument("--rough", action="store_true", help="say that the numbers are rough")
    parser.add_argument("--results", type=Path, help="directory of results, for what was force-matched")
    options = parser.parse_args(arguments)
    try:
        make_report(options.release, options.out, options.title, options.rough, options.results)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    sys.exit(run_step(main))
