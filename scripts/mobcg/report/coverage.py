"""What the database covers: self-diffusion of the coarse-grained records, and the synthetic atomistic liquids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from mobcg.report.curves import plain_log
from mobcg.report.liquids import Liquid, mean_of
from mobcg.report.release import Release, Row, force_field_kind, liquid_names, span
from mobcg.report.style import MUTED, Exhibit, blank, legend_above
from mobcg.units import NM2_NS_PER_NM2_PS, reduced_time_ps

# Of the records by what holds the temperature; hatches for print in grey.
THERMOSTATS = {
    "nose_hoover": ("no friction (Nosé–Hoover)", "#0072B2", ""),
    "dpd": ("DPD friction", "#E69F00", "////"),
    "langevin": ("Langevin friction", "#CC79A7", "...."),
}
# Of the parents in the overview.
PARENT_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7B5D00", "#56B4E9")
PARENT_MARKERS = "os^Dv<"


def reduced_diffusion(row: Row) -> float:
    """Return D* = D sqrt(m/kT) ρ^(1/3), the dimensionless D that does not depend on the mass; nan where unknown."""
    needed = [row.get(name) for name in ("diffusion_nm2_ns", "mass_g_mol", "temperature_k", "number_density_nm3")]
    if any(value is None for value in needed):
        return np.nan
    diffusion, mass, temperature, number_density = needed
    tau_ps = reduced_time_ps(mass, temperature, number_density)
    return diffusion / NM2_NS_PER_NM2_PS * tau_ps * number_density ** (2 / 3)


def diffusion(release: Release, liquids: Sequence[Liquid]) -> Exhibit:
    """Draw the distribution of D of the coarse-grained records, the atomistic liquids marked, as it is and reduced."""
    title = "Self-diffusion in the database"
    rows = [row for row in release.ok("coarse") if (row.get("diffusion_nm2_ns") or 0) > 0]
    if not rows:
        return blank("diffusion", title, "no coarse-grained record with a self-diffusion coefficient")
    figure = Figure(figsize=(9.6, 4.2))
    left, right = figure.subplots(1, 2)
    marks = [(liquid.name, mean_of(liquid.atomistic, "diffusion_nm2_ns")[0]) for liquid in liquids]
    reduced = [(q.name, float(np.mean([reduced_diffusion(r) for r in q.atomistic] or [np.nan]))) for q in liquids]
    plain = _distribution(left, rows, lambda row: row["diffusion_nm2_ns"], marks)
    _distribution(right, rows, reduced_diffusion, reduced)
    left.set_xlabel("D / (nm²/ns)")
    right.set_xlabel("D* = D sqrt(m/kT) ρ^(1/3)")
    left.set_ylabel("records")
    legend_above(figure, left.get_legend_handles_labels()[0])
    known = [value for _, value in marks if np.isfinite(value)]
    seen = f"{len(rows)} records, D from {plain.min():.2g} to {plain.max():.3g} nm²/ns (median {np.median(plain):.2g})."
    if known:
        below = [np.mean(plain < value) for value in known]
        share = span(100 * min(below), 100 * max(below), ".0f")
        seen += f" {share} % of them are slower than an atomistic liquid, by which liquid."
    failed = len(release.failed("coarse"))
    notes = [f"{failed} of {failed + len(release.ok('coarse'))} records failed and are not counted"] * bool(failed)
    notes += [f"{name}: no D of the atomistic liquid" for name, value in marks if not np.isfinite(value)]
    return Exhibit("diffusion", title, figure, seen, tuple(notes))


def _distribution(area: Axes, rows: Sequence[Row], of, marks: Sequence[tuple[str, float]]) -> np.ndarray:
    values = np.array([of(row) for row in rows])
    usable = np.isfinite(values) & (values > 0)
    known = [value for _, value in marks if np.isfinite(value)]
    low, high = (edge([*values[usable], *known]) for edge in (min, max))
    edges = np.geomspace(low / 1.1, high * 1.1, int(np.clip(np.sqrt(usable.sum()), 8, 40)) + 1)
    kinds = [kind for kind in THERMOSTATS if any(row["thermostat"] == kind for row in rows)]
    samples = [values[usable & np.array([row["thermostat"] == kind for row in rows])] for kind in kinds]
    looks = [THERMOSTATS[kind] for kind in kinds]
    _, _, bars = area.hist(
        samples,
        bins=edges,
        stacked=True,
        color=[colour for _, colour, _ in looks],
        label=[f"{label}: {len(sample)}" for (label, _, _), sample in zip(looks, samples, strict=True)],
        edgecolor="white",
        linewidth=0.5,
    )
    for container, (_, _, hatch) in zip(bars if len(kinds) > 1 else [bars], looks, strict=True):
        for bar in container:
            bar.set_hatch(hatch)
    plain_log(area, "x", (1.0, 2.0, 5.0))
    _mark_liquids(area, marks)
    return values[usable]


def _mark_liquids(area: Axes, marks: Sequence[tuple[str, float]]) -> None:
    known = sorted((value, name) for name, value in marks if np.isfinite(value))
    low, high = np.log(area.get_xlim())
    top = area.get_ylim()[1]
    area.set_ylim(0, 1.9 * top)
    places = spread_out([(np.log(value) - low) / (high - low) for value, _ in known], 0.04)
    for (value, name), place in zip(known, places, strict=True):
        area.axvline(value, ymax=0.56, color="black", linewidth=0.8, linestyle=(0, (4, 2)))
        area.annotate(
            name,
            xy=(value, 0.56),
            xycoords=("data", "axes fraction"),
            xytext=(place, 0.64),
            textcoords="axes fraction",
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=7,
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0, "relpos": (0.5, 0)},
        )


def spread_out(places: ArrayLike, least: float) -> NDArray[np.float64]:
    """Return sorted places moved as little as possible (least squares) to be at least `least` apart; both (n,)."""
    if not len(places):
        return np.zeros(0)
    steps = least * np.arange(len(places))
    return isotonic_regression(np.asarray(places) - steps).x + steps


def overview(release: Release) -> Exhibit:
    """Draw D against density of all atomistic liquids, of pristine and of synthetic force fields."""
    title = "Atomistic liquids, pristine and synthetic"
    rows = [
        row for row in release.ok("atomistic") if (row.get("diffusion_nm2_ns") or 0) > 0 and row.get("density_kg_m3")
    ]
    if not rows:
        return blank("overview", title, "no atomistic run with density and self-diffusion coefficient")
    names = liquid_names(release)
    synthetic = [row for row in rows if force_field_kind(row) == "synthetic"]
    parents = sorted({row["molecule_id"] for row in synthetic})
    figure = Figure(figsize=(7.4, 4.2))
    area = figure.subplots()
    plain_log(area, "y", (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0))
    for row in synthetic:
        _point(area, row, parents, filled=False)
    pristine = [row for row in rows if force_field_kind(row) != "synthetic"]
    for row in pristine:
        _point(area, row, parents, filled=True)
    for molecule in sorted({row["molecule_id"] for row in pristine} - set(parents)):
        of_molecule = [row for row in pristine if row["molecule_id"] == molecule]
        place = (mean_of(of_molecule, "density_kg_m3")[0], mean_of(of_molecule, "diffusion_nm2_ns")[0])
        area.annotate(names.get(molecule, molecule), place, (6, 3), textcoords="offset points", fontsize=7)
    area.set_xlabel("density / (kg/m³)")
    area.set_ylabel("D / (nm²/ns)")
    handles = [_parent_handle(index, names.get(parent, parent)) for index, parent in enumerate(parents)]
    handles.append(Line2D([], [], linestyle="none", marker="o", color="black", label="other liquids"))
    if synthetic:
        open_dot = {"linestyle": "none", "marker": "o", "color": MUTED, "markerfacecolor": "none"}
        handles.append(Line2D([], [], label="open: synthetic force field", **open_dot))
    legend_above(figure, handles)
    failed = release.failed("atomistic")
    notes = [f"{len(failed)} of {len(failed) + len(release.ok('atomistic'))} atomistic runs failed"] * bool(failed)
    notes += ["there are no synthetic force fields in this release"] * (not synthetic)
    return Exhibit("overview", title, figure, _spread(synthetic, pristine), tuple(notes))


def _look(molecule: str, parents: Sequence[str]) -> tuple[str, str]:
    if molecule not in parents:
        return "black", "o"
    index = parents.index(molecule) % len(PARENT_COLOURS)
    return PARENT_COLOURS[index], PARENT_MARKERS[index]


def _point(area: Axes, row: Row, parents: Sequence[str], filled: bool) -> None:
    colour, marker = _look(row["molecule_id"], parents)
    area.errorbar(
        row["density_kg_m3"],
        row["diffusion_nm2_ns"],
        xerr=row.get("density_kg_m3_se") or 0,
        yerr=row.get("diffusion_nm2_ns_se") or 0,
        color=colour,
        marker=marker,
        markerfacecolor=colour if filled else "white",
        markersize=7 if filled else 4.5,
        elinewidth=0.6,
        zorder=3 if filled else 2,
    )


def _parent_handle(index: int, name: str) -> Line2D:
    index %= len(PARENT_COLOURS)
    return Line2D([], [], linestyle="none", color=PARENT_COLOURS[index], marker=PARENT_MARKERS[index], label=name)


def _spread(synthetic: Sequence[Row], pristine: Sequence[Row]) -> str:
    text = f"{len(pristine)} runs with unperturbed force fields"
    if not synthetic:
        return text + "."
    diffusions = [row["diffusion_nm2_ns"] for row in synthetic]
    spread = span(min(diffusions), max(diffusions), ".2g")
    return f"{text}; {len(synthetic)} with synthetic ones, with D of {spread} nm²/ns."
