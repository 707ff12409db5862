"""The scoreboard: what each model does to each liquid, averaged over replicas, and over liquids."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from mobcg.report.liquids import is_own_choice, variant_label
from mobcg.report.release import Row
from mobcg.schema import MODELS

# Two scores closer than this many standard errors of their difference are not told apart.
TIE_ERRORS = 2.0
ALL, MEAN_OF_LIQUIDS = "all", "mean of all liquids"


@dataclass(frozen=True)
class Score:
    """A model of a liquid, means and standard errors over replicas; nan where nothing was measured.

    S and its error are those of the mean α and the mean rdf_error.

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

    `complete` tells whether every liquid of the release has a score; `best` marks the smallest S of those that have.
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
    return [score for molecule in order for score in _mark_best(by_liquid.get(molecule, []))]


def _score(row: Row, name: str | None) -> Score:
    measured_names = {field.name for field in fields(Score) if field.type == "float"}
    known = {field.name: row[field.name] for field in fields(Score) if field.name in row and field.name != "best"}
    return Score(
        liquid=name or row["molecule_id"],
        **{key: np.nan if value is None and key in measured_names else value for key, value in known.items()},
    )


def _mark_best(scores: list[Score]) -> list[Score]:
    ranked = [score for score in scores if np.isfinite(score.score) and is_own_choice(*score.key)]
    if not ranked:
        return scores
    best = min(ranked, key=lambda score: score.score)
    marked = []
    for score in scores:
        error = np.hypot(np.nan_to_num(score.score_se), np.nan_to_num(best.score_se))
        near = bool(score.score - best.score <= TIE_ERRORS * error) and is_own_choice(*score.key)
        marked.append(replace(score, best=score is best, tied=near and score is not best))
    return marked


def summarise(scores: Sequence[Score]) -> list[Summary]:
    """Return the means over liquids of each model that has any score, in the order of the schema."""
    n_liquids = len({score.molecule_id for score in scores})
    keys = sorted({s.key for s in scores}, key=lambda key: (MODELS.index(key[0]), key[1]))
    summaries = []
    for key in keys:
        of_model = [s for s in scores if s.key == key and np.isfinite([s.alpha, s.score]).all()]
        if of_model:
            summaries.append(_summary(key, of_model, n_liquids))
    complete = [summary for summary in summaries if summary.complete and is_own_choice(*summary.key)]
    best = min(complete, key=lambda summary: summary.score, default=None)
    return [replace(summary, best=summary is best) for summary in summaries]


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


def table_cells(scores: Sequence[Score], summaries: Sequence[Summary]) -> list[tuple[bool, tuple[str, ...]]]:
    """Return (whether it is the best of its group, cells) for each row of the scoreboard, means over liquids first."""
    rows = []
    for s in summaries:
        mark = "best" if s.best else "" if s.complete else f"{s.liquids} liquids only"
        cells = (
            MEAN_OF_LIQUIDS,
            s.label,
            "",
            measured(s.alpha, s.alpha_se),
            measured(s.rdf_error, s.rdf_error_se),
        )
        rows.append((s.best, (*cells, "", "", "", measured(s.score, s.score_se), mark)))
    for s in scores:
        total = s.replicas + s.failed
        cells = (
            s.liquid,
            s.label,
            f"{s.replicas}" if not s.failed else f"{s.replicas} of {total}",
            measured(s.alpha, s.alpha_se),
            measured(s.rdf_error, s.rdf_error_se),
            f"{s.rdf_r2:.3f}".replace("-", "−") if np.isfinite(s.rdf_r2) else "–",
            measured(s.pressure_bar, s.pressure_bar_se),
            measured(s.density_1atm_kg_m3, s.density_1atm_kg_m3_se),
            measured(s.score, s.score_se),
            "best" if s.best else "tied" if s.tied else "",
        )
        rows.append((s.best, cells))
    return rows


def markdown(scores: Sequence[Score], summaries: Sequence[Summary], rough: bool) -> str:
    """Return the scoreboard as a Markdown document."""
    lines = ["# Scoreboard", ""]
    if rough:
        lines += ["**These numbers are rough: short runs, made to show that the chain works.**", ""]
    lines += [
        "Means ± standard errors over replicas, at the density of the atomistic (AA) liquid. S = sqrt((e/0.1)² + "
        "(ln α/ln 2)²), smaller is better. Bold: the best of its liquid; tied: not told apart from it "
        f"({TIE_ERRORS:g} standard errors). Means over liquids: α geometric, e and S arithmetic.",
        "",
    ]
    if not scores:
        return "\n".join([*lines, "No model was scored.", ""])
    lines.append("| " + " | ".join(HEADINGS) + " |")
    lines.append("|" + "|".join(["---"] * 2 + ["---:"] * (len(HEADINGS) - 3) + ["---"]) + "|")
    for best, cells in table_cells(scores, summaries):
        escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        lines.append("| " + " | ".join(f"**{cell}**" if best and cell else cell for cell in escaped) + " |")
    return "\n".join([*lines, ""])


def csv_text(scores: Sequence[Score], summaries: Sequence[Summary]) -> str:
    """Return the scores as CSV, unrounded: one row a liquid and model, then the means over liquids (molecule_id all).

    A cell is empty where nothing was measured.
    """
    stream = io.StringIO()
    names = [field.name for field in fields(Score)]
    writer = csv.DictWriter(stream, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for record in [*scores, *summaries]:
        values = {"molecule_id": ALL, "liquid": MEAN_OF_LIQUIDS} if isinstance(record, Summary) else {}
        values |= {field.name: getattr(record, field.name) for field in fields(record)}
        writer.writerow({name: _plain(value) for name, value in values.items()})
    return stream.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, float) and not np.isfinite(value):
        return ""
    return str(value).lower() if isinstance(value, bool) else value
