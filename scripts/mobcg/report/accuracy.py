"""How good the models are: the scoreboard at a glance, and structure against mobility."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mobcg.report.curves import missing_models, plain_log
from mobcg.report.liquids import Liquid, is_own_choice
from mobcg.report.scores import MEAN_OF_LIQUIDS, TIE_ERRORS, Score, Summary, measured
from mobcg.report.style import FAINT, LOOKS, MUTED, Exhibit, blank, legend_above, marker_size, panels

ALPHA_TICKS = (1.0, 2.0, 5.0)
KNOB_MARKER_SIZE = 5.0


def _dot(model: str) -> dict:
    look = LOOKS[model]
    return {
        "color": look.colour,
        "marker": look.marker,
        "markersize": marker_size(model),
        "markeredgecolor": "white",
        "markeredgewidth": 0.4,
        "linestyle": "none",
    }


def _dot_handle(model: str) -> Line2D:
    return Line2D([], [], label=LOOKS[model].label, **_dot(model))


def scoreboard(scores: Sequence[Score], summaries: Sequence[Summary], liquids: Sequence[Liquid]) -> Exhibit:
    """Draw α, rdf_error and S of every model: one band for the means over liquids, then one for each liquid."""
    title = "Scoreboard"
    usable = [score for score in scores if np.isfinite(score.score)]
    if not usable:
        return blank("scoreboard", title, "no model was scored")
    names = [MEAN_OF_LIQUIDS, *dict.fromkeys(score.liquid for score in usable)]
    keys = [summary.key for summary in summaries]
    figure = Figure(figsize=(10.4, (0.11 * len(keys) + 0.2) * len(names) + 1.2))
    areas = figure.subplots(1, 3, sharey=True)
    entries = [(0, summary) for summary in summaries] + [(names.index(score.liquid), score) for score in usable]
    columns = (("alpha", "mobility ratio α = D / D_AA"), ("rdf_error", "structure error e"), ("score", "score S"))
    for area, (column, label) in zip(areas, columns, strict=True):
        _bands(area, len(names))
        for band, entry in entries:
            height = band + (keys.index(entry.key) - (len(keys) - 1) / 2) * 0.8 / max(len(keys), 2)
            _entry(area, entry, column, height)
        area.set_xlabel(label)
    plain_log(areas[0], "x", ALPHA_TICKS)
    areas[0].axvline(1, color="black", linewidth=0.8, zorder=1)
    for area in areas[1:]:
        area.set_xlim(left=0)
        area.xaxis.set_major_locator(MaxNLocator(6))
        area.tick_params(left=False)
    areas[0].set_yticks(range(len(names)), names)
    areas[0].set_ylim(len(names) - 0.5, -0.5)
    ring = Line2D([], [], marker="o", markersize=11, markerfacecolor="none", color=MUTED, linestyle="none")
    ring.set_label("smallest S of its band")
    legend_above(figure, [*(_dot_handle(model) for model, _ in keys), ring])
    notes = [f"{s.label}: in the mean of {s.liquids} of {len(liquids)} liquids" for s in summaries if not s.complete]
    return Exhibit("scoreboard", title, figure, _ranking(summaries), tuple(notes))


def _bands(area: Axes, count: int) -> None:
    area.grid(axis="x", color=FAINT, linewidth=0.5)
    area.set_axisbelow(True)
    for band in range(0, count, 2):
        area.axhspan(band - 0.5, band + 0.5, color="#F2F2F2", linewidth=0, zorder=0)
    area.axhline(0.5, color="black", linewidth=0.8)


def _entry(area: Axes, entry: Score | Summary, column: str, height: float) -> None:
    value, error = getattr(entry, column), np.nan_to_num(getattr(entry, f"{column}_se"))
    if entry.best:
        area.plot(value, height, marker="o", markersize=13, markerfacecolor="none", color=MUTED, linewidth=0)
    area.errorbar(value, height, xerr=error, elinewidth=0.9, **_dot(entry.model))
    if entry.model == "ibi_scaled":
        _factor(area, entry, (value, height))


def _factor(area: Axes, entry: Score | Summary, place: tuple[float, float], rise: float = 0) -> None:
    """Write the factor beside a point of the scaled IBI potentials, `rise` points above it."""
    text = f"×{entry.scale_factor:g}"
    area.annotate(text, place, (5, rise), textcoords="offset points", fontsize=5.8, va="center", color="#2A7FB0")


def _ranking(summaries: Sequence[Summary]) -> str:
    best = next((summary for summary in summaries if summary.best), None)
    if best is None:
        return "No model has a score for every liquid, so none is called the best."
    others = [s for s in summaries if s.complete and s is not best and is_own_choice(*s.key)]
    second = min(others, key=lambda s: s.score, default=None)
    text = f"Smallest mean S: {best.label}, S = {measured(best.score, best.score_se)}"
    if second is not None:
        text += f"; next {second.label}, S = {measured(second.score, second.score_se)}"
    tied = ", ".join(s.label for s in others if s.tied)
    return f"{text}. " + (f"Not told apart from it: {tied}." if tied else "No other is as good within its errors.")


def plane(scores: Sequence[Score], liquids: Sequence[Liquid]) -> Exhibit:
    """Draw every model as a point (rdf_error, α) for each liquid, and the front of the scaled IBI potentials."""
    title = "Structure against mobility"
    usable = [score for score in scores if np.isfinite([score.alpha, score.rdf_error]).all()]
    if not usable:
        return blank("plane", title, "no model was scored")
    names = list(dict.fromkeys(score.liquid for score in usable))
    figure, axes = panels(len(names))
    for area, name in zip(axes, names, strict=True):
        plain_log(area, "y", ALPHA_TICKS)
        points = [score for score in usable if score.liquid == name]
        front = _front(points)
        area.axhline(1, color="black", linewidth=0.8)
        if len(front) > 1:
            area.plot([s.rdf_error for s in front], [s.alpha for s in front], color=LOOKS["ibi_scaled"].colour, lw=1.4)
        knob = sorted((s for s in points if s.model == "mobcg"), key=lambda s: s.scale_factor)
        if len(knob) > 1:
            area.plot([s.rdf_error for s in knob], [s.alpha for s in knob], color=LOOKS["mobcg"].colour, lw=1.0)
        for s in points:
            errors = {"xerr": np.nan_to_num(s.rdf_error_se), "yerr": np.nan_to_num(s.alpha_se)}
            dot = _dot(s.model) if is_own_choice(*s.key) else {**_dot(s.model), "markersize": KNOB_MARKER_SIZE}
            area.errorbar(s.rdf_error, s.alpha, **errors, elinewidth=0.9, zorder=3, **dot)
            if s.model == "ibi_scaled":
                _factor(area, s, (s.rdf_error, s.alpha), rise=4)
        area.plot(0, 1, marker="o", markersize=9, markerfacecolor="none", color="black", clip_on=False, zorder=4)
        area.set_title(name)
    _limits(axes, usable)
    for area in axes:
        _score_contours(area)
    columns = min(4, len(names))
    for index, area in enumerate(axes):
        if index % columns == 0:
            area.set_ylabel("α = D / D_AA")
        if index + columns >= len(axes):
            area.set_xlabel("rdf_error e")
    models = list(dict.fromkeys(score.model for score in usable))
    contour = Line2D([], [], color=MUTED, linewidth=0.7, linestyle=":", label="equal score S = 1, 2, …")
    handles = [_front_handle() if model == "ibi_scaled" else _dot_handle(model) for model in models]
    if any(not is_own_choice(*score.key) for score in usable):
        handles.append(Line2D([], [], color=LOOKS["mobcg"].colour, linewidth=1.0, label="knob of mobcg"))
    target = Line2D([], [], marker="o", markersize=9, markerfacecolor="none", color="black", linestyle="none")
    target.set_label("target: g and D of AA")
    legend_above(figure, [*handles, target, contour])
    return Exhibit("plane", title, figure, _against_front(usable, names), tuple(missing_models(liquids)))


def _front_handle() -> Line2D:
    handle = Line2D([], [], label="IBI × s and their front", **_dot("ibi_scaled"))
    handle.set_linestyle("-")
    return handle


def _front(points: Sequence[Score]) -> list[Score]:
    """IBI and its multiples in the order of their factor."""
    return sorted((s for s in points if s.model in ("ibi", "ibi_scaled")), key=lambda s: s.scale_factor)


def _limits(axes: Sequence[Axes], scores: Sequence[Score]) -> None:
    largest = max(score.rdf_error for score in scores)
    alphas = [score.alpha for score in scores]
    axes[0].set_xlim(0, 1.14 * largest)
    axes[0].xaxis.set_major_locator(MaxNLocator(4))
    axes[0].set_ylim(min(0.7, 0.8 * min(alphas)), max(1.5, 1.35 * max(alphas)))


def _score_contours(area: Axes) -> None:
    e = np.linspace(*area.get_xlim(), 121)
    alpha = np.geomspace(*area.get_ylim(), 121)
    score = np.hypot(e[None, :] / 0.1, np.log2(alpha)[:, None])
    levels = list(range(1, int(score.max()) + 1))
    if levels:
        area.contour(e, alpha, score, levels=levels, colors=MUTED, linewidths=0.6, linestyles=":", zorder=1)


def _against_front(scores: Sequence[Score], names: Sequence[str]) -> str:
    """Say in how many liquids each model lies on the target's side of the front of its liquid.

    A model whose e lies beyond an end of the front, by more than the errors of both allow, has nothing beside it.
    """
    counts: dict[str, list[bool]] = {}
    beyond: dict[str, int] = {}
    for name in names:
        points = [score for score in scores if score.liquid == name]
        front = _front(points)
        for s in points:
            if len(front) > 1 and s.model not in ("ibi", "ibi_scaled"):
                by_error = sorted(front, key=lambda f: f.rdf_error)
                if _is_beyond(s, by_error[0], by_error[-1]):
                    beyond[s.label] = beyond.get(s.label, 0) + 1
                    continue
                logs = np.log([f.alpha for f in by_error])
                on_front = np.interp(s.rdf_error, [f.rdf_error for f in by_error], logs)
                counts.setdefault(s.label, []).append(bool(abs(np.log(s.alpha)) < abs(on_front)))
    if not counts and not beyond:
        return "There is no front to compare with: it takes IBI and at least one multiple of it."
    told = ", ".join(f"{label} in {sum(better)} of {len(better)}" for label, better in counts.items())
    away = ", ".join(f"{label} in {number}" for label, number in beyond.items())
    parts = [f"At its own e, nearer to α = 1 than the front of the multiples of IBI: {told} liquids."] * bool(told)
    parts += [f"Not counted, e outside the range of the front: {away} liquids."] * bool(away)
    return " ".join(parts)


def _is_beyond(score: Score, first: Score, last: Score) -> bool:
    below, above = (
        TIE_ERRORS * np.hypot(*np.nan_to_num([score.rdf_error_se, end.rdf_error_se])) for end in (first, last)
    )
    return bool(score.rdf_error < first.rdf_error - below or score.rdf_error > last.rdf_error + above)
