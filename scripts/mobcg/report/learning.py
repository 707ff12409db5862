"""How far error bars hold, of the predictor and of the runs, and its error against the number of liquids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import linregress

from mobcg.report.curves import plain_log
from mobcg.report.release import Row
from mobcg.report.scores import measured
from mobcg.report.style import FAINT, LOOKS, MIN_WIDTH, MUTED, Exhibit, blank, legend_above

TICKS = (1.0, 3.0)
# A learning curve of fewer points says nothing about an exponent.
LEAST_POINTS = 5

RELIABILITY_LABELS = {
    "potential_kt": "U / kT",
    "mobility": "ln D without friction",
    "langevin": "ln c, Langevin",
    "dpd": "ln c, DPD",
}
REPLICA_LABELS = {"diffusion_nm2_ns": "D", "pressure_bar": "pressure", "density_1atm_kg_m3": "density at 1 atm"}


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
    seen = f"{errors[-1]:.3g} kT with {parents[-1]} parent potentials; {_law(parents, errors)}."
    return Exhibit("learning", title, figure, f"{seen} {'; '.join(told)}." if told else seen)


def _law(parents: Sequence[float], errors: Sequence[float]) -> str:
    """Say how the error goes with n: slope of ln error against ln n by least squares, with its standard error."""
    if len(set(parents)) < LEAST_POINTS:
        return f"{len(set(parents))} points are too few for a law"
    fit = linregress(np.log(parents), np.log(errors))
    return f"the error goes as n^b, b = {measured(fit.slope, fit.stderr)} ({len(parents)} points)"


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


def replica_chi_square(rows: Iterable[Row], name: str) -> tuple[float, int]:
    """Return χ²/ν of a column over replicas, and ν: the scatter of independent runs over their own errors.

    χ² = Σ_groups Σ_i (x_i − x̄)² / ⟨SE²⟩, ν = Σ_groups (n − 1); a group is what differs in the replica only, x̄ and
    ⟨SE²⟩ are its means. Honest errors of b blocks each give (1 − 2/(n (b − 1)))⁻¹, for they are known that well only.
    """
    groups: dict[tuple, list[tuple[float, float]]] = {}
    for row in rows:
        if row.get(name) is not None and row.get(f"{name}_se"):
            key = row["molecule_id"], row["model"], row["scale_factor"]
            groups.setdefault(key, []).append((row[name], row[f"{name}_se"]))
    found = [np.array(members).T for members in groups.values() if len(members) > 1]
    freedom = sum(values.size - 1 for values, _ in found)
    chi_square = sum(np.sum((values - values.mean()) ** 2) / np.mean(errors**2) for values, errors in found)
    return (float(chi_square) / freedom, freedom) if freedom else (np.nan, 0)


def reliability(records: Mapping[str, Mapping[str, Any]], rows: Sequence[Row]) -> Exhibit:
    """Draw the error found over the error predicted, of liquids left out, and χ²/ν of replicas.

    `records` are the training records of the released models by name, `rows` the finished runs of `evaluation`.
    """
    title = "Reliability of the error bars"
    parts = records.get("mobcg", {}).get("history", {}).get("reliability") or {}
    replicas = {
        label: found for name, label in REPLICA_LABELS.items() if (found := replica_chi_square(rows, name))[1] > 0
    }
    shown = [(name, label) for name, label in RELIABILITY_LABELS.items() if name in parts]
    if not shown and not replicas:
        return blank("reliability", title, "the release has no trained mobcg with held-out errors, and no replicas")
    panels = len(shown) + bool(replicas)
    figure = Figure(figsize=(max(2.7 * panels + 0.4, MIN_WIDTH), 3.0))
    areas = np.atleast_1d(figure.subplots(1, panels))
    told = []
    for area, (name, label) in zip(areas, shown, strict=False):
        predicted, found = np.array(parts[name]["predicted"]), np.array(parts[name]["found"])
        _diagonal(area, predicted, found)
        area.set_title(label)
        area.set_xlabel("error predicted")
        counts = np.array(parts[name]["rows"])
        ratio = np.sqrt(np.average(found**2, weights=counts) / np.average(predicted**2, weights=counts))
        told.append(f"{label}: found {ratio:.2f} of what was predicted ({counts.sum()} rows)")
    seen = []
    if shown:
        areas[0].set_ylabel("error found, root mean square")
        seen.append("Over all held-out rows, " + "; ".join(told) + ".")
    if replicas:
        _draw_replicas(areas[-1], replicas)
        told = [f"{label} {value:.2f} (ν = {freedom})" for label, (value, freedom) in replicas.items()]
        seen.append("Scatter of replicas over their standard errors, χ²/ν: " + ", ".join(told) + ".")
    return Exhibit("reliability", title, figure, " ".join(seen))


def _draw_replicas(area: Axes, replicas: Mapping[str, tuple[float, int]]) -> None:
    """Draw χ²/ν with its own standard error, sqrt(2/ν) of the value that is expected, 1."""
    values, errors = zip(*((value, (2 / freedom) ** 0.5) for value, freedom in replicas.values()), strict=True)
    area.errorbar(range(len(values)), values, errors, fmt="o", color="black", markersize=4)
    area.axhline(1, color="black", linewidth=0.8)
    area.set_xticks(range(len(values)), [label.replace(" at ", "\nat ") for label in replicas])
    area.set_xlim(-0.6, len(values) - 0.4)
    area.set_ylim(0, None)
    area.set_title("runs of the models")
    area.set_ylabel("χ²/ν of replicas")
    area.grid(axis="y", color=FAINT, linewidth=0.5)


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
