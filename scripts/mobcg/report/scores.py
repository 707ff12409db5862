"""The scoreboard: what each model does to each liquid, averaged over replicas, and over liquids."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from mobcg.database.card import ROUGH
from mobcg.report.liquids import ALL_ATOM, Liquid, is_own_choice, mean_of, variant_label
from mobcg.report.release import Row
from mobcg.schema import MODELS

# Two scores closer than this many standard errors of their difference are not told apart.
TIE_ERRORS = 2.0
ALL, MEAN_OF_LIQUIDS = "all", "mean of all liquids"
ERRORS = (
    "Standard errors: the larger of what the replicas scatter and what their own errors say; the error of D_AA and the "
    "noise of g_AA, which all share, do not shrink with their number. That of S is by how much those of e and α change "
    "it. S is never negative, so that noise raises it."
)
SET_PRESSURE = "The pressure of the all-atom row is the one set, at whose density every model is run."


@dataclass(frozen=True)
class Score:
    """A model of a liquid, means and standard errors over replicas; nan where nothing was measured.

    S is that of the mean α and the mean rdf_error, its error that of `mobcg.predictor.scoring.score_se`.

    `best` marks the smallest S of the liquid, `tied` every other one that lies within `TIE_ERRORS` of it; settings of
    the knob of mobcg that are not its own choice are neither.
    """

    molecule_id: str
    liquid: str
    model: str
    scale_factor: float
    replicas: int
    failed: int
    alpha: float
    alpha_se: float
    rdf_error: float
    rdf_error_se: float
    rdf_r2: float
    pressure_bar: float
    pressure_bar_se: float
    density_1atm_kg_m3: float
    density_1atm_kg_m3_se: float
    score: float
    score_se: float
    best: bool = False
    tied: bool = False

    @property
    def key(self) -> tuple[str, float]:
        """Model and scale factor."""
        return self.model, self.scale_factor

    @property
    def label(self) -> str:
        """Name of the model as shown."""
        return variant_label(self.model, self.scale_factor)


@dataclass(frozen=True)
class Summary:
    """A model over all liquids: geometric mean of α, means of e and S, their errors propagated from the liquids.

    `complete` tells whether every liquid of the release has a score; `best` marks the smallest S of those that have,
    `tied` the others of them that lie within `TIE_ERRORS` of it.
    """

    model: str
    scale_factor: float
    liquids: int
    alpha: float
    alpha_se: float
    rdf_error: float
    rdf_error_se: float
    score: float
    score_se: float
    complete: bool
    best: bool = False
    tied: bool = False

    @property
    def key(self) -> tuple[str, float]:
        """Model and scale factor."""
        return self.model, self.scale_factor

    @property
    def label(self) -> str:
        """Name of the model as shown."""
        return variant_label(self.model, self.scale_factor)


def score_liquids(board: Iterable[Row], names: Mapping[str, str]) -> list[Score]:
    """Return the scores of all models, liquid by liquid, the best of each marked.

    Parameters
    ----------
    board
        Rows of `mobcg.predictor.scoring.scoreboard`: means over replicas.
    names
        Molecule → name as shown; the scores come in the order of these names.
    """
    by_liquid: dict[str, list[Score]] = {}
    for row in sorted(board, key=lambda row: (MODELS.index(row["model"]), row["scale_factor"])):
        by_liquid.setdefault(row["molecule_id"], []).append(_score(row, names.get(row["molecule_id"])))
    order = [*names, *sorted(by_liquid.keys() - names.keys())]
    marked = []
    for found in (by_liquid.get(molecule, []) for molecule in order):
        marked += _mark_best(found, [s for s in found if np.isfinite(s.score) and is_own_choice(*s.key)])
    return marked


def _score(row: Row, name: str | None) -> Score:
    measured_names = {field.name for field in fields(Score) if field.type == "float"}
    known = {field.name: row[field.name] for field in fields(Score) if field.name in row and field.name != "best"}
    return Score(
        liquid=name or row["molecule_id"],
        **{key: np.nan if value is None and key in measured_names else value for key, value in known.items()},
    )


def all_atom(liquids: Iterable[Liquid]) -> list[Score]:
    """Return the atomistic liquids as rows to compare with: α = 1, e = 0 and S = 0 by definition, and their density.

    `pressure_bar` is the one set in the NPT stage, at whose density all runs are made; it has no error.
    """
    return [
        Score(
            liquid.molecule_id,
            liquid.name,
            model=ALL_ATOM,
            scale_factor=1.0,
            replicas=len(liquid.atomistic),
            failed=0,
            alpha=1.0,
            alpha_se=np.nan,
            rdf_error=0.0,
            rdf_error_se=np.nan,
            rdf_r2=1.0,
            pressure_bar=mean_of(liquid.atomistic, "pressure_bar")[0],
            pressure_bar_se=np.nan,
            density_1atm_kg_m3=density,
            density_1atm_kg_m3_se=density_se,
            score=0.0,
            score_se=np.nan,
        )
        for liquid in liquids
        if liquid.atomistic
        for density, density_se in [mean_of(liquid.atomistic, "density_kg_m3")]
    ]


def _mark_best(entries: Sequence[Score] | Sequence[Summary], ranked: Sequence[Score] | Sequence[Summary]) -> list:
    """Mark the smallest S of `ranked`, which are some of the entries, and those of them that are not told apart."""
    best = min(ranked, key=lambda entry: entry.score, default=None)
    marked = []
    for entry in entries:
        near = False
        if entry in ranked and entry is not best:
            error = np.hypot(np.nan_to_num(entry.score_se), np.nan_to_num(best.score_se))
            near = bool(entry.score - best.score <= TIE_ERRORS * error)
        marked.append(replace(entry, best=entry is best, tied=near))
    return marked


def mark(entry: Score | Summary) -> str:
    """Return best, tied or nothing; of a mean that lacks liquids, of how many it is."""
    if isinstance(entry, Summary) and not entry.complete:
        return f"{entry.liquids} liquids only"
    return "best" if entry.best else "tied" if entry.tied else ""


def summarise(scores: Sequence[Score]) -> list[Summary]:
    """Return the means over liquids of each model that has any score, in the order of the schema."""
    n_liquids = len({score.molecule_id for score in scores})
    keys = sorted({s.key for s in scores}, key=lambda key: (MODELS.index(key[0]), key[1]))
    summaries = []
    for key in keys:
        of_model = [s for s in scores if s.key == key and np.isfinite([s.alpha, s.score]).all()]
        if of_model:
            summaries.append(_summary(key, of_model, n_liquids))
    return _mark_best(summaries, [s for s in summaries if s.complete and is_own_choice(*s.key)])


def _summary(key: tuple[str, float], scores: list[Score], n_liquids: int) -> Summary:
    count = len(scores)
    alpha = float(np.exp(np.mean(np.log([s.alpha for s in scores]))))
    return Summary(
        *key,
        count,
        alpha,
        alpha * float(np.linalg.norm([s.alpha_se / s.alpha for s in scores])) / count,
        float(np.mean([s.rdf_error for s in scores])),
        float(np.linalg.norm([s.rdf_error_se for s in scores])) / count,
        float(np.mean([s.score for s in scores])),
        float(np.linalg.norm([s.score_se for s in scores])) / count,
        complete=count == n_liquids,
    )


def measured(value: float, error: float = np.nan) -> str:
    """Return a number with its standard error, to two digits of the error and at most four of the value.

    A dash where the value is nan. An error below the last digit shown is rounded up to it.
    """
    if not np.isfinite(value):
        return "–"
    if not np.isfinite(error) or error <= 0:
        return f"{value:.3g}".replace("-", "−")
    leading = max(abs(value), error)
    decimals = max(0, min(1 - _exponent(error), 3 - _exponent(leading)))
    return f"{value:.{decimals}f} ± {max(error, 10.0**-decimals):.{decimals}f}".replace("-", "−")


def _exponent(value: float) -> int:
    return int(np.floor(np.log10(value)))


HEADINGS = (
    "liquid",
    "model",
    "replicas",
    "α = D/D_AA",
    "rdf_error e",
    "R² of g",
    "pressure / bar",
    "density at 1 atm / (kg/m³)",
    "score S",
    "",
)


def table_cells(
    scores: Sequence[Score], summaries: Sequence[Summary], references: Sequence[Score]
) -> list[tuple[bool, tuple[str, ...]]]:
    """Return (whether it is the best of its group, cells) for each row of the scoreboard, means over liquids first.

    `references` are the atomistic liquids, from `all_atom`: each opens its liquid.
    """
    rows = []
    for s in summaries:
        cells = (
            MEAN_OF_LIQUIDS,
            s.label,
            "",
            measured(s.alpha, s.alpha_se),
            measured(s.rdf_error, s.rdf_error_se),
        )
        rows.append((s.best, (*cells, "", "", "", measured(s.score, s.score_se), mark(s))))
    for s in _with_references(scores, references):
        total, is_reference = s.replicas + s.failed, s.model == ALL_ATOM
        cells = (
            s.liquid,
            s.label,
            f"{s.replicas}" if not s.failed else f"{s.replicas} of {total}",
            measured(s.alpha, s.alpha_se),
            measured(s.rdf_error, s.rdf_error_se),
            f"{s.rdf_r2:.3f}".replace("-", "−") if np.isfinite(s.rdf_r2) else "–",
            f"{measured(s.pressure_bar)} (set)" if is_reference else measured(s.pressure_bar, s.pressure_bar_se),
            measured(s.density_1atm_kg_m3, s.density_1atm_kg_m3_se),
            measured(s.score, s.score_se),
            "reference" if is_reference else mark(s),
        )
        rows.append((s.best, cells))
    return rows


def _with_references(scores: Sequence[Score], references: Sequence[Score]) -> list[Score]:
    """Return the scores, each liquid opened by its atomistic row where there is one."""
    molecules = dict.fromkeys(score.molecule_id for score in scores)
    return [row for molecule in molecules for row in (*references, *scores) if row.molecule_id == molecule]


def markdown(scores: Sequence[Score], summaries: Sequence[Summary], references: Sequence[Score], rough: bool) -> str:
    """Return the scoreboard as a Markdown document."""
    lines = ["# Scoreboard", ""]
    if rough:
        lines += [f"**{ROUGH}**", ""]
    lines += [
        "Means ± standard errors over replicas, at the density of the atomistic (AA) liquid. S = sqrt((e/0.1)² + "
        "(ln α/ln 2)²) of these means, smaller is better. Bold: the best of its liquid; tied: not told apart from it "
        f"({TIE_ERRORS:g} standard errors). Means over liquids: α geometric, e and S arithmetic. {ERRORS} "
        f"{SET_PRESSURE}",
        "",
    ]
    if not scores:
        return "\n".join([*lines, "No model was scored.", ""])
    lines.append("| " + " | ".join(HEADINGS) + " |")
    lines.append("|" + "|".join(["---"] * 2 + ["---:"] * (len(HEADINGS) - 3) + ["---"]) + "|")
    for best, cells in table_cells(scores, summaries, references):
        escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        lines.append("| " + " | ".join(f"**{cell}**" if best and cell else cell for cell in escaped) + " |")
    return "\n".join([*lines, ""])


def csv_text(scores: Sequence[Score], summaries: Sequence[Summary], references: Sequence[Score]) -> str:
    """Return the scores as CSV, unrounded: one row a liquid and model, then the means over liquids (molecule_id all).

    A cell is empty where nothing was measured, as the pressure of the atomistic liquid (model all_atom).
    """
    references = [replace(reference, pressure_bar=np.nan) for reference in references]
    stream = io.StringIO()
    names = [field.name for field in fields(Score)]
    writer = csv.DictWriter(stream, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for record in [*_with_references(scores, references), *summaries]:
        values = {"molecule_id": ALL, "liquid": MEAN_OF_LIQUIDS} if isinstance(record, Summary) else {}
        values |= {field.name: getattr(record, field.name) for field in fields(record)}
        writer.writerow({name: _plain(value) for name, value in values.items()})
    return stream.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, float) and not np.isfinite(value):
        return ""
    return str(value).lower() if isinstance(value, bool) else value
