"""The whole report: everything is there, nothing is loaded from elsewhere, and missing pieces make notes."""

from __future__ import annotations

import base64
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mobcg.pair import R_NM
from mobcg.predictor.scoring import scoreboard
from mobcg.report.liquids import liquids_of
from mobcg.report.make import FIGURES, MATCHED, exhibits, main, make_report
from mobcg.report.release import evaluation_table
from mobcg.report.scores import score_liquids, summarise
from mobcg.spec import canonical_json, run_id

from .conftest import coarse, failed, read_back, write_release

REPOSITORY = Path(__file__).parents[2]

OUTPUTS = {"report.html", "scoreboard.md", "scoreboard.csv", *(f"figures/{name}.png" for name in FIGURES)}
VOID = {"meta", "img", "link", "br"}


class Page(HTMLParser):
    """Collects what a page would load, and checks that its elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.sources, self.text = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def made(tmp_path, tables, **options):
    release = write_release(tmp_path / "2026.11.0", tables)
    out = tmp_path / "out"
    make_report(release, out, options.get("title"), options.get("rough", False))
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == OUTPUTS
    return out, Page((out / "report.html").read_text(encoding="utf-8"))


def test_liquids_without_a_molecule_are_reported_like_others(tmp_path, tables):
    drawn = {"origin": "prior", "molecule_id": None, "mass_g_mol": None, "parent_id": None, "parent_run_ids": None}
    histories = {name: None for name in tables["potentials"][0] if name.startswith(("history_", "rdf_deviation"))}
    number = len(tables["coarse"])
    spec = canonical_json({"kind": "prior"})
    prior = tables["potentials"][0] | drawn | histories | {"potential_id": run_id({"kind": "prior"}), "spec": spec}
    tables["potentials"].append(prior)
    tables["coarse"] += coarse([prior])
    tables["coarse"].append(failed(coarse([prior], per_potential=15)[-1], "froze: D* is 0.0012"))
    _, page = made(tmp_path, tables)
    text = " ".join(page.text)
    assert f"{number + 14} records, D from" in text
    assert "froze: D* is 0.0012" in text


def test_figures_of_force_matching_are_on_the_page_where_there_are_any(tmp_path, release_dir):
    out = tmp_path / "out"
    done, begun = (tmp_path / f"results/{scale}/forcematch" for scale in ("study", "workstation"))
    for directory in (done, begun):
        directory.mkdir(parents=True)
        for name in ("study_one-bead", "study_one-bead_beads", "rdf"):
            (directory / f"{name}.png").write_bytes(b"a figure of " + name.encode())
    (done / "report.md").write_text("# Force matching\n\n**These numbers are rough: short runs**\n")
    main(["--release", str(release_dir), "--out", str(out), "--results", str(tmp_path / "results")])
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    embedded = [source for source in page.sources if source.startswith("data:image/png;base64,")]
    assert len(embedded) == len(FIGURES) + 3
    assert base64.b64decode(embedded[-2].partition(",")[2]) == b"a figure of study_one-bead"
    text = " ".join(page.text)
    assert "Force matching, study: Study of hyper-parameters, one-bead, beads" in text
    assert "Rough: short runs" in text
    assert "Force matching, workstation" not in text  # it has no report yet
    assert "--results results" in text


def test_every_figure_of_force_matching_has_a_caption():
    captions = {path.stem for path in (REPOSITORY / "scripts/mobcg/report/captions").glob("forcematch_*.rst")}
    assert captions == {f"forcematch_{kind}" for kind in MATCHED}


def test_a_whole_release_makes_every_output_twice_the_same(tmp_path, release_dir):
    for name in ("first", "second"):
        main(["--release", str(release_dir), "--out", str(tmp_path / name), "--rough"])
    for name in OUTPUTS:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name
    page = Page((tmp_path / "first/report.html").read_text(encoding="utf-8"))
    embedded = [source for source in page.sources if source.startswith("data:image/png;base64,")]
    pictures = [base64.b64decode(source.partition(",")[2]) for source in embedded]
    assert pictures == [(tmp_path / f"first/figures/{name}.png").read_bytes() for name in FIGURES]
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    assert "script" not in page.tags
    text = " ".join(page.text)
    assert "What this scale ran itself is rough" in text
    assert "29 Sep 2021" in text
    assert "2026.11.0" in text
    assert str(tmp_path) not in text


def test_text_of_the_release_is_escaped(tmp_path, tables):
    evil = "<script>alert(1)</script>$\\frac$|\"'"
    tables["molecules"][0]["name"] = evil
    tables["coarse"][0] = failed(tables["coarse"][0], evil)
    tables["evaluation"][0] = failed(tables["evaluation"][0], evil)
    out, page = made(tmp_path, tables, title=evil)
    assert "script" not in page.tags
    assert evil in "".join(page.text)
    line = next(line for line in (out / "scoreboard.md").read_text().splitlines() if "alert" in line)
    assert len(re.findall(r"(?<!\\)\|", line)) == 11


def test_one_liquid_one_replica_and_no_synthetic_force_field(tmp_path, tables):
    def keep(row):
        return row["molecule_id"] == "benzene" and row.get("replica", 0) == 0

    small = {name: [row for row in rows if keep(row)] for name, rows in tables.items() if name != "grid"}
    _, page = made(tmp_path, small)
    text = " ".join(page.text)
    assert "there are no synthetic force fields" in text
    assert "one replica, so no error band" in text
    assert "is rough" not in text


def test_a_failed_run_of_each_kind_is_named_with_its_reason(tmp_path, tables):
    for name in ("atomistic", "potentials", "coarse", "evaluation"):
        tables[name] = [
            failed(row, f"{name} was killed\nlog line") if i == 0 else row for i, row in enumerate(tables[name])
        ]
    _, page = made(tmp_path, tables)
    text = " ".join(page.text)
    for name in ("atomistic", "potentials", "coarse", "evaluation"):
        assert f"{name} was killed" in text
    assert "log line" not in text
    assert "1 of 3 replicas failed" in text


def test_runs_that_needed_smaller_steps_are_counted(tmp_path, tables):
    assert "Runs that were retried" not in " ".join(made(tmp_path / "none", tables)[1].text)
    for name, retries in (("atomistic", 1), ("coarse", 2)):
        tables[name][0] = tables[name][0] | {"retries": retries}
    tables["coarse"][1] = failed(tables["coarse"][1], "lost atoms") | {"retries": 2}
    text = " ".join(made(tmp_path / "some", tables)[1].text)
    for words in (
        "atomistic 1 1 attempt repeated in smaller steps, then succeeded",
        "coarse 1 2 attempts repeated in smaller steps, then succeeded",
        "coarse 1 2 attempts repeated in smaller steps, and failed in the end",
    ):
        assert words in text


@pytest.mark.parametrize("missing", ["molecules", "atomistic", "potentials", "coarse", "evaluation"])
def test_a_missing_table_makes_a_note(tmp_path, tables, missing):
    del tables[missing]
    release = read_back(tmp_path, **tables)
    shown = notes(tmp_path, release)
    expected = {
        "molecules": ("density", "no atomistic density with a reference beside it"),
        "atomistic": ("rdf", "no atomistic g(r) in the release"),
        "potentials": ("convergence", "no inversion with a history of iterations"),
        "coarse": ("diffusion", "no coarse-grained record with a self-diffusion coefficient"),
        "evaluation": ("plane", "no model was scored"),
    }
    name, note = expected[missing]
    assert note in shown[name]
    assert missing in release.missing


def notes(directory, release) -> dict[str, tuple[str, ...]]:
    """Return name → notes of the exhibits, nothing rendered."""
    liquids = liquids_of(release)
    scores = score_liquids(
        scoreboard(evaluation_table(directory)).to_pylist(), {liquid.molecule_id: liquid.name for liquid in liquids}
    )
    made = exhibits(release, liquids, scores, summarise(scores))
    assert tuple(made) == FIGURES
    return {name: exhibit.notes for name, exhibit in made.items()}


def test_when_every_run_failed_every_figure_says_so(tmp_path, tables):
    for name in ("atomistic", "potentials", "coarse", "evaluation"):
        tables[name] = [failed(row, "no program") for row in tables[name]]
    _, page = made(tmp_path, tables)
    assert " ".join(page.text).count("Nothing to show") == len(FIGURES)


def test_an_empty_release_makes_a_report(tmp_path):
    _, page = made(tmp_path, {"grid": [{"r_nm": r} for r in R_NM.tolist()]})
    assert "No model was scored" in " ".join(page.text)


def test_a_model_that_one_liquid_lacks_is_noted(tmp_path, tables):
    tables["evaluation"] = [
        row for row in tables["evaluation"] if (row["molecule_id"], row["model"]) != ("benzene", "mobcg")
    ]
    shown = notes(tmp_path, read_back(tmp_path, **tables))
    assert "benzene: no row for mobcg" in shown["plane"]
    assert shown["scoreboard"] == ("mobcg: in the mean of 1 of 2 liquids",)


def test_the_page_prints_a_command_that_runs_from_the_root_and_what_it_was_made_of(tmp_path, tables, monkeypatch):
    release = write_release(tmp_path / "releases/2026.11.0", tables)
    (release / "SHA256SUMS").write_bytes(b"abc")
    monkeypatch.chdir(tmp_path)
    main(["--release", str(release), "--out", "first", "--rough", "--title", "two words"])
    text = "".join(Page((tmp_path / "first/report.html").read_text()).text)
    # FIPS 180-2, appendix B.1
    assert "SHA-256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" in text
    command = shlex.split(text.partition("This page: ")[2].partition(". It shows")[0])
    assert command[:5] == ["python", "-m", "mobcg.report.make", "--release", "releases/2026.11.0"]
    main(command[3:])
    assert (tmp_path / "report/report.html").read_bytes() == (tmp_path / "first/report.html").read_bytes()


def test_the_scoreboard_of_the_page_opens_each_liquid_with_the_atomistic_one(tmp_path, tables):
    out, page = made(tmp_path, tables)
    assert page.text.count("all-atom") == 2
    assert page.text.count("1.01 (set)") == 2
    lines = (out / "scoreboard.csv").read_text().splitlines()
    assert sum(",all_atom," in line for line in lines) == 2


def test_a_wrong_directory_is_told_in_one_line(tmp_path):
    with pytest.raises(SystemExit) as told:
        main(["--release", str(tmp_path), "--out", str(tmp_path / "out")])
    assert "found 'no table'" in str(told.value)


def test_the_rule_of_the_report_names_every_figure() -> None:
    named = re.findall(r'"([a-z_ ]+)"\.split\(\)', (REPOSITORY / "rules/report.smk").read_text(encoding="utf-8"))
    assert sorted(" ".join(named).split()) == sorted(FIGURES)
    for name in FIGURES:
        assert (REPOSITORY / f"scripts/mobcg/report/captions/{name}.rst").is_file()
