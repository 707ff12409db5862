"""What the predictor knows of itself: its error against the number of liquids, and how far its error bars hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mobcg.report.curves import plain_log
from mobcg.report.style import FAINT, LOOKS, MIN_WIDTH, MUTED, Exhibit, blank, legend_above

TICKS = (1.0, 3.0)

RELIABILITY_LABELS = {
    "potential_kt": "U / kT",
    "mobility": "ln D without friction",
    "langevin": "ln c, Langevin",
    "dpd": "ln c, DPD",
}


def learning(records: Mapping[str, Mapping[str, Any]]) -> Exhibit:
    """Draw the error of the potential over the number of parent potentials, and what a random row split would say.

    `records` are the training records of the released models, by name.
    """
    title = "Learning curve"
    history = records.get("mobcg", {}).get("history", {})
    curve = history.get("learning_curve")
    if not curve:
        return blank("learning", title, "the release has no trained mobcg with a learning curve")
    figure = Figure(figsize=(9.2, 3.2))
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    parents, errors = ([point[key] for point in curve] for key in ("parents", "error_kt"))
    left.plot(parents, errors, color=LOOKS["mobcg"].colour, marker="o", markersize=4, label="mobcg")
    left.axhline(history["closure_error_kt"], color=MUTED, linestyle="--", label="closure alone, nothing learned")
    plain_log(left, "x", TICKS)
    plain_log(left, "y", TICKS)
    left.set_xlabel("parent potentials learned from")
    left.set_ylabel("error of U / kT, parent left out")
    left.grid(color=FAINT, linewidth=0.5)
    bars = _split_bars(records)
    names = [name for name, *_ in bars]
    for offset, label, index in ((-0.2, "whole parents left out", 1), (0.2, "random rows left out", 2)):
        heights = [bar[index] / bar[1] for bar in bars]
        right.bar(np.arange(len(bars)) + offset, heights, 0.38, label=label, color=("#444444", "#BBBBBB")[index - 1])
    right.set_xticks(range(len(bars)), names)
    right.set_ylabel("error relative to the honest one")
    legend_above(figure, [*left.get_lines(), *right.containers])
    told = [f"{name}: {honest:.3g} {unit} with parents left out, {lax:.3g} by rows" for name, honest, lax, unit in bars]
    slope = np.polyfit(np.log(parents), np.log(errors), 1)[0] if len(set(parents)) > 1 else np.nan
    seen = f"{errors[-1]:.3g} kT with {parents[-1]} parent potentials; the error falls as n^{slope:.2f}. " + "; ".join(
        told
    )
    return Exhibit("learning", title, figure, seen + ".")


def _split_bars(records: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, float, float, str]]:
    """Return (model, error with parents left out, error with random rows left out, unit)."""
    bars = []
    splits = records.get("mobcg", {}).get("history", {}).get("splits")
    if splits:
        bars.append((LOOKS["mobcg"].label, splits["parents_left_out_kt"], splits["rows_left_out_kt"], "kT"))
    published = records.get("bag2024", {}).get("history", {})
    pair = published.get("outer_left_out_mae_kcal_mol"), published.get("outer_random_rows_mae_kcal_mol")
    if all(pair):
        bars.append((LOOKS["bag2024"].label, *pair, "kcal/mol"))
    return bars


def reliability(records: Mapping[str, Mapping[str, Any]]) -> Exhibit:
    """Draw the error found over the error predicted, of liquids whose parent potential was left out."""
    title = "Reliability of the error bars"
    parts = records.get("mobcg", {}).get("history", {}).get("reliability")
    if not parts:
        return blank("reliability", title, "the release has no trained mobcg with held-out errors")
    shown = [(name, label) for name, label in RELIABILITY_LABELS.items() if name in parts]
    figure = Figure(figsize=(max(2.7 * len(shown) + 0.4, MIN_WIDTH), 3.0))
    told = []
    for area, (name, label) in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
        predicted, found = np.array(parts[name]["predicted"]), np.array(parts[name]["found"])
        _diagonal(area, predicted, found)
        area.set_title(label)
        area.set_xlabel("error predicted")
        rows = np.array(parts[name]["rows"])
        ratio = np.sqrt(np.average(found**2, weights=rows) / np.average(predicted**2, weights=rows))
        told.append(f"{label}: found {ratio:.2f} of what was predicted ({rows.sum()} rows)")
    figure.axes[0].set_ylabel("error found, root mean square")
    return Exhibit("reliability", title, figure, "Over all held-out rows, " + "; ".join(told) + ".")


def _diagonal(area: Axes, predicted: np.ndarray, found: np.ndarray) -> None:
    positive = (predicted > 0) & (found > 0)
    shown = np.concatenate([predicted, found[found > 0]])
    low, high = 0.7 * shown.min(), 1.4 * shown.max()
    area.plot([low, high], [low, high], color="black", linewidth=0.8)
    area.plot(
        predicted[positive], found[positive], color=LOOKS["mobcg"].colour, marker="o", markersize=4, linestyle="none"
    )
    plain_log(area, "x", TICKS)
    plain_log(area, "y", TICKS)
    area.set_xlim(low, high)
    area.set_ylim(low, high)
    area.grid(color=FAINT, linewidth=0.5)
