"""Curves of every liquid: structure, mobility and potential of the atomistic model and of the coarse-grained ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mobcg.observables import FIT_WINDOW_TAU
from mobcg.pair import R_NM, potential_of_mean_force
from mobcg.report.liquids import Curve, Liquid, Variant, mean_msd, mean_of, mean_rdf, structural_variants
from mobcg.report.release import first_line, span
from mobcg.report.style import ATOMISTIC_COLOUR, FAINT, LOOKS, MIN_WIDTH, MUTED, Exhibit, blank, legend_above, panels
from mobcg.units import reduced_time_ps, thermal_energy_kj_mol

ATOMISTIC_LABEL = "atomistic (AA)"


def _line(model: str) -> dict:
    look = LOOKS[model]
    return {"color": look.colour, "linestyle": look.line, "label": look.label}


def _handle(model: str) -> Line2D:
    return Line2D([], [], **_line(model))


def _atomistic_handle() -> Line2D:
    return Line2D([], [], color=ATOMISTIC_COLOUR, linewidth=2.2, alpha=0.55, label=ATOMISTIC_LABEL)


def missing_models(liquids: Iterable[Liquid]) -> list[str]:
    """Return a note for each model that others have and a liquid has not, and for each failed replica."""
    liquids = list(liquids)
    expected = {variant.key: variant.label for liquid in liquids for variant in liquid.variants}
    notes = []
    for liquid in liquids:
        present = {variant.key: variant for variant in liquid.variants}
        for key, label in expected.items():
            if key not in present:
                notes.append(f"{liquid.name}: no row for {label}")
            elif present[key].failed:
                variant = present[key]
                total = len(variant.rows) + len(variant.failed)
                reason = first_line(variant.failed[0].get("reason") or "no reason given")
                notes.append(f"{liquid.name}: {label}: {len(variant.failed)} of {total} replicas failed ({reason})")
        if not liquid.atomistic:
            notes.append(f"{liquid.name}: no atomistic run that succeeded")
    return notes


def rdf(liquids: Sequence[Liquid]) -> Exhibit:
    """Draw g(r) of the atomistic liquid and of its models, and below it their difference, for each liquid."""
    title = "Radial distribution functions"
    shown = [liquid for liquid in liquids if mean_rdf(liquid.atomistic) is not None]
    if not shown:
        return blank("rdf", title, "no atomistic g(r) in the release")
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(max(2.65 * columns, MIN_WIDTH), 3.1 * rows + 0.5))
    axes = figure.subplots(
        2 * rows, columns, sharex=True, sharey="row", squeeze=False, gridspec_kw={"height_ratios": [2.1, 1] * rows}
    )
    handles = [_atomistic_handle()]
    largest = 0.0
    for index, liquid in enumerate(shown):
        row, column = divmod(index, columns)
        top, bottom = axes[2 * row, column], axes[2 * row + 1, column]
        drawn, difference = _rdf_panel(top, bottom, liquid)
        handles.extend(_handle(model) for model in drawn)
        largest = max(largest, difference)
        if column == 0:
            top.set_ylabel("g(r)")
            bottom.set_ylabel("g − g of AA")
        if index + columns >= len(shown):
            bottom.set_xlabel("r / nm")
            bottom.tick_params(labelbottom=True)
    for spare in range(len(shown), rows * columns):
        row, column = divmod(spare, columns)
        axes[2 * row, column].set_axis_off()
        axes[2 * row + 1, column].set_axis_off()
    legend_above(figure, handles)
    notes = [f"{liquid.name}: no atomistic g(r)" for liquid in liquids if liquid not in shown]
    seen = (
        f"The largest difference from the atomistic g(r) in any panel is {largest:.2f}."
        if largest
        else ("Only the atomistic curves are there: no model was scored.")
    )
    return Exhibit("rdf", title, figure, seen, tuple(notes + missing_models(shown)))


def _rdf_panel(top: Axes, bottom: Axes, liquid: Liquid) -> tuple[list[str], float]:
    """Draw one liquid; return the models drawn and the largest difference outside the core."""
    reference = mean_rdf(liquid.atomistic)
    top.plot(reference.x, reference.y, color=ATOMISTIC_COLOUR, linewidth=2.6, alpha=0.45)
    _band(top, reference, ATOMISTIC_COLOUR)
    bottom.axhline(0, color=MUTED, linewidth=0.7)
    _band(bottom, Curve(reference.x, np.zeros_like(reference.y), reference.y_se), ATOMISTIC_COLOUR)
    drawn, largest = [], 0.0
    for variant in structural_variants(liquid):
        curve = mean_rdf(variant.rows)
        if curve is None:
            continue
        difference = Curve(curve.x, curve.y - reference.y, curve.y_se)
        for area, line in ((top, curve), (bottom, difference)):
            area.plot(line.x, line.y, **_line(variant.model))
            _band(area, line, LOOKS[variant.model].colour)
        drawn.append(variant.model)
        largest = max(largest, float(np.abs(difference.y[R_NM > 0.3]).max()))
    top.set_title(liquid.name)
    top.set_xlim(0.3, 1.5)
    return drawn, largest


def _band(axes: Axes, curve: Curve, colour: str) -> None:
    axes.fill_between(curve.x, curve.y - curve.y_se, curve.y + curve.y_se, color=colour, alpha=0.25, linewidth=0)


def _mobile_variants(liquid: Liquid) -> list[Variant]:
    return [variant for variant in liquid.variants if variant.rows and variant.model != "ibi_scaled"]


def plain_log(axes: Axes, which: str, subs: Sequence[float] = (1.0,)) -> None:
    """Make an axis logarithmic with plain numbers at its ticks."""
    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def msd(liquids: Sequence[Liquid]) -> Exhibit:
    """Draw the mean squared displacement of each liquid and its models, and the window of the fit of D."""
    title = "Mean squared displacements"
    shown = [
        liquid
        for liquid in liquids
        if mean_msd(liquid.atomistic) is not None or any(mean_msd(v.rows) is not None for v in _mobile_variants(liquid))
    ]
    if not shown:
        return blank("msd", title, "no mean squared displacement in the release")
    figure, axes = panels(len(shown))
    handles = [_atomistic_handle()]
    alphas = []
    for liquid, area in zip(shown, axes, strict=True):
        plain_log(area, "x")
        plain_log(area, "y")
        window = fit_window_ps(liquid)
        if window is not None:
            area.axvspan(*window, color=FAINT, alpha=0.6, linewidth=0)
        _draw_msd(area, mean_msd(liquid.atomistic), color=ATOMISTIC_COLOUR, linewidth=2.6, alpha=0.55)
        for variant in _mobile_variants(liquid):
            _draw_msd(area, mean_msd(variant.rows), **_line(variant.model))
            handles.append(_handle(variant.model))
            alphas.append(mean_of(variant.rows, "alpha")[0])
        area.set_title(liquid.name)
    _outer_labels(axes, "lag time t / ps", "MSD / nm²")
    handles.append(Patch(color=FAINT, label="window of the fit of D"))
    legend_above(figure, handles)
    alphas = [alpha for alpha in alphas if np.isfinite(alpha)]
    seen = "A curve above the black one is a model that diffuses too fast, by the factor between the two. " + (
        f"Here that factor is {span(min(alphas), max(alphas), '.2g')} in the window of the fit." if alphas else ""
    )
    notes = [f"{liquid.name}: no mean squared displacement" for liquid in liquids if liquid not in shown]
    notes += [
        f"{liquid.name}: {variant.label}: one replica, so no error band"
        for liquid in shown
        for variant in _mobile_variants(liquid)
        if len(variant.rows) == 1
    ]
    return Exhibit("msd", title, figure, seen.strip(), tuple(notes))


def _draw_msd(axes: Axes, curve: Curve | None, **style) -> None:
    if curve is None:
        return
    positive = (curve.x > 0) & (curve.y > 0)
    x, y, error = curve.x[positive], curve.y[positive], curve.y_se[positive]
    axes.plot(x, y, **style)
    if np.isfinite(error).all():
        axes.fill_between(x, np.maximum(y - error, 1e-9), y + error, color=style["color"], alpha=0.25, linewidth=0)


def fit_window_ps(liquid: Liquid) -> tuple[float, float] | None:
    """Return the window of lag times (ps) in which D of a liquid is fitted; None where its state is not known."""
    row = next((row for row in liquid.atomistic if row.get("mass_g_mol") and row.get("number_density_nm3")), None)
    if row is None:
        return None
    tau_ps = reduced_time_ps(row["mass_g_mol"], row["temperature_k"], row["number_density_nm3"])
    return FIT_WINDOW_TAU[0] * tau_ps, FIT_WINDOW_TAU[1] * tau_ps


def potentials(liquids: Sequence[Liquid]) -> Exhibit:
    """Draw the pair potentials of all models of each liquid, and −kT ln g of the atomistic liquid as a guide."""
    title = "Pair potentials"
    shown = [liquid for liquid in liquids if any(_potential(v) is not None for v in liquid.variants)]
    if not shown:
        return blank("potentials", title, "no model with a potential was scored")
    figure, axes = panels(len(shown))
    handles = []
    wells = []
    for liquid, area in zip(shown, axes, strict=True):
        area.axhline(0, color=FAINT, linewidth=0.7)
        guide = _mean_force(liquid)
        if guide is not None:
            style = {"color": MUTED, "linewidth": 2.6, "alpha": 0.5, "label": "−kT ln g of AA"}
            area.plot(R_NM, guide, **style)
            handles.append(Line2D([], [], **style))
        multiples = [variant for variant in liquid.variants if variant.model == "ibi_scaled"]
        for variant in [*multiples, *structural_variants(liquid)]:
            potential = _potential(variant)
            if potential is None:
                continue
            line = _line(variant.model)
            if variant.model == "ibi_scaled":
                line |= {"linewidth": 0.9, "label": "IBI × s, each s of the scoreboard"}
            area.plot(R_NM, potential, **line)
            handles.append(Line2D([], [], **line))
            wells.append(float(potential[R_NM > 0.35].min()))
        area.set_title(liquid.name)
        area.set_xlim(0.3, 1.5)
    lowest = min(wells)
    axes[0].set_ylim(1.15 * min(lowest, -0.5), 1.6 * max(-lowest, 1.5))
    _outer_labels(axes, "r / nm", "U(r) / (kJ/mol)")
    legend_above(figure, handles)
    temperatures = {row["temperature_k"] for liquid in shown for row in liquid.atomistic}
    thermal = f" (kT is {thermal_energy_kj_mol(max(temperatures)):.2f} kJ/mol)" if len(temperatures) == 1 else ""
    seen = f"The deepest wells of the models are {span(max(wells), lowest, '.2f')} kJ/mol{thermal}."
    notes = [f"{liquid.name}: no potential" for liquid in liquids if liquid not in shown]
    return Exhibit("potentials", title, figure, seen, tuple(notes))


def _potential(variant: Variant):
    return next((row["potential_kj_mol"] for row in variant.rows if row.get("potential_kj_mol") is not None), None)


def _mean_force(liquid: Liquid):
    curve = mean_rdf(liquid.atomistic)
    if curve is None:
        return None
    try:
        return potential_of_mean_force(curve.y, liquid.atomistic[0]["temperature_k"])
    except ValueError:  # g(r) of too short a run, without a wall to continue: the guide is left out
        return None


def _outer_labels(axes: Sequence[Axes], x: str, y: str) -> None:
    columns = axes[0].get_subplotspec().get_gridspec().ncols
    for index, area in enumerate(axes):
        if index % columns == 0:
            area.set_ylabel(y)
        if index + columns >= len(axes):
            area.set_xlabel(x)
