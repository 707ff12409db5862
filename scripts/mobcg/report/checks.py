"""What physics and references ask of the data: converged inversions, the mass law, the densities."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from mobcg.pair import R_NM
from mobcg.report.curves import plain_log
from mobcg.report.liquids import mean_of
from mobcg.report.release import (
    Release,
    Row,
    force_field_kind,
    liquid_names,
    pristine_runs,
    reference_doubt,
    span,
)
from mobcg.report.scores import measured
from mobcg.report.style import FAINT, LOOKS, MIN_WIDTH, MUTED, Exhibit, blank, legend_above

# A coefficient known to less than this many standard errors says nothing about an exponent.
LEAST_SIGNIFICANCE = 5.0
# With fewer runs beyond the parameters of the fit, nothing tells whether their errors allow an exponent at all.
LEAST_FREEDOM = 3
# Above this many, single runs are drawn faint, with their binned means.
FEW_RUNS = 60


def convergence(release: Release) -> Exhibit:
    """Draw deviation from the target g(r) and pressure of each iteration, one column a liquid."""
    title = "Convergence of iterative Boltzmann inversion"
    inversions = [row for row in release.rows.get("potentials", []) if row["origin"] == "ibi"]
    traced = [row for row in inversions if row.get("history_rdf_deviation") is not None]
    failed = [row for row in inversions if row["status"] != "ok"]
    notes = [f"{len(failed)} of {len(inversions)} inversions failed"] * any(failed)
    if not traced:
        return blank("convergence", title, "no inversion with a history of iterations")
    names = liquid_names(release)
    synthetic = _synthetic_ids(release)
    molecules = sorted({row["molecule_id"] for row in traced})
    columns = min(4, len(molecules))
    rows = -(-len(molecules) // columns)
    figure = Figure(figsize=(max(2.65 * columns, MIN_WIDTH), 3.4 * rows + 0.5))
    axes = figure.subplots(2 * rows, columns, sharex=True, sharey="row", squeeze=False)
    for spare in range(len(molecules), rows * columns):
        for area in axes[2 * (spare // columns) :, spare % columns][:2]:
            area.set_axis_off()
    for index, molecule in enumerate(molecules):
        line, column = divmod(index, columns)
        top, bottom = axes[2 * line, column], axes[2 * line + 1, column]
        for row in sorted((r for r in traced if r["molecule_id"] == molecule), key=lambda r: r["potential_id"]):
            _draw_history(top, bottom, row, _history_kind(row, synthetic))
        _history_axes(top, bottom, first=column == 0)
        top.set_title(names.get(molecule, molecule))
        if index + columns >= len(molecules):
            bottom.set_xlabel("iteration")
            bottom.tick_params(labelbottom=True)
    kinds = [kind for kind in HISTORY_LINES if any(_history_kind(row, synthetic) == kind for row in traced)]
    legend_above(figure, [Line2D([], [], label=kind, **HISTORY_LINES[kind]) for kind in kinds])
    return Exhibit("convergence", title, figure, _converged(traced), tuple(notes))


HISTORY_LINES = {
    "with pressure correction": {"color": LOOKS["ibi"].colour, "marker": "o", "markersize": 3, "zorder": 3},
    "without pressure correction": {
        "color": "#D55E00",
        "marker": "^",
        "markersize": 3.2,
        "linestyle": "--",
        "zorder": 3,
    },
    "synthetic force fields": {"color": MUTED, "linewidth": 0.6, "alpha": 0.7},
}


def _history_kind(row: Row, synthetic: set[str]) -> str:
    if row.get("parent_id") in synthetic:
        return "synthetic force fields"
    return "with pressure correction" if row["pressure_corrected"] else "without pressure correction"


def _synthetic_ids(release: Release) -> set[str]:
    return {row["run_id"] for row in release.rows.get("atomistic", []) if force_field_kind(row) == "synthetic"}


def _draw_history(top: Axes, bottom: Axes, row: Row, kind: str) -> None:
    deviation, noise = row["history_rdf_deviation"], row.get("rdf_deviation_noise")
    iterations = np.arange(1, len(deviation) + 1)
    if noise:
        top.plot(iterations, deviation / noise, **HISTORY_LINES[kind])
    pressure = row.get("history_pressure_bar")
    if pressure is not None:
        bottom.plot(np.arange(1, len(pressure) + 1), pressure, **HISTORY_LINES[kind])


def _history_axes(top: Axes, bottom: Axes, first: bool) -> None:
    plain_log(top, "y", (1.0, 2.0, 5.0))
    top.axhline(1, color="black", linewidth=0.8)
    # Thousands of bar at the start, one bar in the end.
    bottom.set_yscale("symlog", linthresh=100)
    bottom.yaxis.set_major_locator(FixedLocator([-10000, -1000, -100, 0, 100, 1000, 10000]))
    bottom.yaxis.set_minor_locator(FixedLocator([]))
    bottom.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    bottom.axhline(0, color="black", linewidth=0.8)
    bottom.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if first:
        top.set_ylabel("Σ|g − target| / noise")
        bottom.set_ylabel("pressure / bar")


def _converged(rows: Sequence[Row]) -> str:
    ratios = [r["rdf_deviation"] / r["rdf_deviation_noise"] for r in rows if r.get("rdf_deviation_noise")]
    ratios = [ratio for ratio in ratios if np.isfinite(ratio)]
    corrected = [r["pressure_bar"] for r in rows if r["pressure_corrected"] and r.get("pressure_bar") is not None]
    text = f"{len(rows)} inversions."
    if ratios:
        text += f" In the end g deviates from its target by {np.median(ratios):.1f} times the noise (median; largest "
        text += f"{max(ratios):.1f})."
    if corrected:
        text += f" With the correction the pressure ends at {span(min(corrected), max(corrected), '.0f')} bar."
    return text


@dataclass(frozen=True)
class MassLaw:
    """D ∝ m^exponent within groups of runs that share potential, density and temperature.

    Attributes
    ----------
    exponent, exponent_se
        Slope of ln D against ln m with one intercept a group; nan where no group has two masses.
    reduced_chi_square
        Scatter about the fit over what the errors of D allow; the error of the exponent is widened by its root above 1.
    groups, runs
        Groups with at least two masses, and runs in them.
    """

    exponent: float
    exponent_se: float
    reduced_chi_square: float
    groups: int
    runs: int

    @property
    def freedom(self) -> int:
        """Runs beyond the parameters of the fit, ν."""
        return self.runs - self.groups - 1


def fit_mass_law(group: ArrayLike, mass_g_mol: ArrayLike, diffusion: ArrayLike, diffusion_se: ArrayLike) -> MassLaw:
    r"""Fit ln D = a_group + b ln m by weighted least squares; all arguments (n,), D and its error in one unit.

    Within a group both logarithms are taken relative to their weighted mean, weights w = (D/SE(D))², so that
    b = Σ w x y / Σ w x² and SE(b)² = max(χ²/ν, 1) / Σ w x², ν = n − groups − 1.
    """
    group, log_mass, log_diffusion = np.asarray(group), np.log(mass_g_mol), np.log(diffusion)
    weight = (np.asarray(diffusion, np.float64) / np.asarray(diffusion_se)) ** 2
    labels = [label for label in np.unique(group) if np.unique(log_mass[group == label]).size > 1]
    inside = np.isin(group, labels)
    if not labels:
        return MassLaw(np.nan, np.nan, np.nan, 0, 0)
    x, y = (_centred(values, weight, group)[inside] for values in (log_mass, log_diffusion))
    weight = weight[inside]
    spread = float(np.sum(weight * x**2))
    exponent = float(np.sum(weight * x * y)) / spread
    freedom = int(inside.sum()) - len(labels) - 1
    chi_square = float(np.sum(weight * (y - exponent * x) ** 2)) / freedom if freedom > 0 else np.nan
    widened = max(chi_square, 1.0) if freedom > 0 else 1.0
    return MassLaw(exponent, float(np.sqrt(widened / spread)), chi_square, len(labels), int(inside.sum()))


def _centred(values: NDArray, weight: NDArray, group: NDArray) -> NDArray[np.float64]:
    centred = np.array(values, np.float64)
    for label in np.unique(group):
        members = group == label
        centred[members] -= np.average(centred[members], weights=weight[members])
    return centred


def rdf_scatter(rdf: ArrayLike, rdf_se: ArrayLike) -> NDArray[np.float64]:
    r"""Return, for each of n runs of one liquid, how far its g lies from their mean over what noise makes of it.

    Σ_r |g_i − ḡ| / Σ_r sqrt(2/π) σ_i, σ_i² = SE_i² (1 − 2/n) + Σ_j SE_j²/n² the variance of g_i − ḡ; 1 is expected.
    Both arguments (n, 150), result (n,).
    """
    g, variance = np.asarray(rdf, np.float64), np.asarray(rdf_se, np.float64) ** 2
    count = len(g)
    expected = np.sqrt(2 / np.pi) * np.sqrt(variance * (1 - 2 / count) + variance.sum(axis=0) / count**2)
    inside = R_NM >= 0.1
    return np.abs(g - g.mean(axis=0))[:, inside].sum(axis=1) / expected[:, inside].sum(axis=1)


def frictionless_groups(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return potential_id → runs without friction whose D is known well, where at least two masses were run."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        diffusion, error = row.get("diffusion_nm2_ns"), row.get("diffusion_nm2_ns_se")
        known = diffusion is not None and error is not None and diffusion > LEAST_SIGNIFICANCE * error > 0
        if row["thermostat"] == "nose_hoover" and row["friction_1_ps"] == 0 and known:
            state = f"{row['number_density_nm3']:.6g}/{row['temperature_k']:.6g}"
            groups.setdefault(f"{row['potential_id']}/{state}", []).append(row)
    return {
        name: sorted(members, key=lambda row: row["mass_g_mol"])
        for name, members in sorted(groups.items())
        if len({row["mass_g_mol"] for row in members}) > 1
    }


def mass_law(release: Release) -> Exhibit:
    """Draw D·sqrt(m) against m, and the scatter of g(r) over its noise, of runs that differ in mass only."""
    title = "Mass law"
    groups = frictionless_groups(release.ok("coarse"))
    if not groups:
        return blank("mass_law", title, "no two runs without friction that differ in mass only")
    labels = np.array([name for name, rows in groups.items() for _ in rows])
    mass, value, error = (
        np.array([row[column] for rows in groups.values() for row in rows])
        for column in ("mass_g_mol", "diffusion_nm2_ns", "diffusion_nm2_ns_se")
    )
    fit = fit_mass_law(labels, mass, value, error)
    relative, relative_se = _relative_to_group(labels, value * np.sqrt(mass), error * np.sqrt(mass))
    scatter = np.concatenate([_group_scatter(rows) for rows in groups.values()])
    figure = Figure(figsize=(9.2, 3.5))
    left, right = figure.subplots(1, 2)
    if fit.freedom >= LEAST_FREEDOM:
        _fitted(left, fit, mass)
    for area, points, points_se in ((left, relative, relative_se), (right, scatter, None)):
        _single_and_binned(area, mass, points, points_se)
        area.axhline(1, color="black", linewidth=0.8, label="mass law, b = −1/2")
        _mass_axis(area)
    left.set_ylabel("D·sqrt(m) / its mean of one potential")
    right.set_ylabel("Σ|g − mean g| / expected from noise")
    right.set_ylim(0, max(2.0, right.get_ylim()[1]))
    low, high = left.get_ylim()
    left.set_ylim(low, high + 0.35 * (high - low))
    left.legend(loc="upper left")
    notes = [f"{np.isnan(scatter).sum()} runs without the error of g(r)"] * bool(np.isnan(scatter).any())
    return Exhibit("mass_law", title, figure, _mass_law_text(fit, scatter[np.isfinite(scatter)]), tuple(notes))


def _relative_to_group(labels: NDArray, values: NDArray, errors: NDArray) -> tuple[NDArray, NDArray]:
    level = np.empty_like(values)
    for label in np.unique(labels):
        members = labels == label
        level[members] = np.average(values[members], weights=(values / errors)[members] ** 2)
    return values / level, errors / level


def _group_scatter(rows: Sequence[Row]) -> NDArray[np.float64]:
    if any(row.get("rdf") is None or row.get("rdf_se") is None for row in rows):
        return np.full(len(rows), np.nan)
    return rdf_scatter([row["rdf"] for row in rows], [row["rdf_se"] for row in rows])


def _single_and_binned(area: Axes, mass: NDArray, values: NDArray, errors: NDArray | None) -> None:
    many = mass.size > FEW_RUNS
    single = {"color": LOOKS["ibi"].colour, "alpha": 0.35 if many else 0.9, "markersize": 3.2, "linewidth": 0}
    bars = None if errors is None or many else errors
    area.errorbar(mass, values, yerr=bars, fmt="o", elinewidth=0.8, **single, label="one run")
    if not many:
        return
    usable = np.isfinite(values)
    edges = np.quantile(mass[usable], np.linspace(0, 1, 9))
    members = np.clip(np.searchsorted(edges, mass, side="right") - 1, 0, 7)
    for index in range(8):
        inside = values[usable & (members == index)]
        if inside.size > 1:
            centre = np.exp(np.log(mass[usable & (members == index)]).mean())
            error = inside.std(ddof=1) / inside.size**0.5
            label = "mean of an eighth of the runs" if index == 0 else None
            area.errorbar(centre, inside.mean(), yerr=error, fmt="D", color="black", markersize=4.5, label=label)


def _fitted(area: Axes, fit: MassLaw, mass: NDArray) -> None:
    masses = np.geomspace(mass.min(), mass.max(), 50)
    excess = np.log(masses) - np.log(mass).mean()
    curve, width = np.exp((fit.exponent + 0.5) * excess), np.exp(np.abs(excess) * fit.exponent_se)
    area.fill_between(masses, curve / width, curve * width, color="#E69F00", alpha=0.3, linewidth=0)
    label = f"fit D ∝ m^b, b = {measured(fit.exponent, fit.exponent_se)}"
    area.plot(masses, curve, color="#B07800", linestyle="--", label=label)


def _mass_axis(area: Axes) -> None:
    area.set_xlabel("bead mass m / (g/mol)")


def _mass_law_text(fit: MassLaw, scatters: Sequence[float]) -> str:
    counted = f"{fit.runs} runs of {fit.groups} potential{'s' * (fit.groups != 1)}"
    if fit.freedom < LEAST_FREEDOM:
        text = f"{counted}: too few for an exponent."
    else:
        distance = abs(fit.exponent + 0.5) / fit.exponent_se
        text = f"D ∝ m^b with b = {measured(fit.exponent, fit.exponent_se)}, {distance:.1f} standard errors from −1/2 "
        text += f"({counted}; χ²/ν = {fit.reduced_chi_square:.2f})."
    if len(scatters):
        text += f" g(r) of one potential at different masses scatters by {np.median(scatters):.2f} times its noise "
        text += f"(median; largest {max(scatters):.2f})."
    return text


def density(release: Release) -> Exhibit:
    """Draw the density of the atomistic liquids relative to the reference.

    Liquids that are metastable, and references that nobody verified, are marked and counted apart.
    """
    title = "Density of the atomistic liquids"
    references = {row["molecule_id"]: row for row in release.rows.get("molecules", [])}
    runs = {
        molecule: known
        for molecule, rows in pristine_runs(release).items()
        if (known := [row for row in rows if row.get("density_kg_m3") is not None])
    }
    shown = [m for m in sorted(runs) if references.get(m, {}).get("reference_density_kg_m3")]
    notes = [f"{molecule}: no reference density" for molecule in sorted(runs) if molecule not in shown]
    notes += [f"{m}: no atomistic run that succeeded" for m in sorted(references) if m not in runs]
    if not shown:
        return blank("density", title, "no atomistic density with a reference beside it")
    figure = Figure(figsize=(8.2, 0.42 * len(shown) + 1.1))
    area = figure.subplots()
    deviations, names = {}, liquid_names(release)
    doubts = {molecule: reference_doubt(references[molecule]) for molecule in shown}
    for line, molecule in enumerate(shown):
        reference = references[molecule]["reference_density_kg_m3"]
        deviations[molecule] = _density_line(area, line, runs[molecule], reference, doubts[molecule])
        notes += [
            f"{molecule}, replica {row['replica']}: the density had not settled"
            for row in runs[molecule]
            if row.get("density_settled") is False
        ]
    area.set_yticks(range(len(shown)), [names[m] for m in shown])
    area.set_ylim(len(shown) - 0.5, -0.5)
    area.axvline(0, color="black", linewidth=0.8)
    area.grid(axis="x", color=FAINT, linewidth=0.5)
    largest = max(2.0, 1.25 * max(abs(value) for value in deviations.values()))
    area.set_xlim(-largest, largest)
    area.set_xlabel("density of the atomistic liquid relative to the reference / %")
    area.text(1.02, 1.01, "ρ / (kg/m³)", transform=area.transAxes, fontsize=7.5, va="bottom")
    judged = [deviations[m] for m in shown if not doubts[m]]
    seen = "No reference is that of a stable liquid and verified."
    if judged:
        seen = (
            f"Deviations from {min(judged):+.1f} to {max(judged):+.1f} %, {np.mean(np.abs(judged)):.1f} % on average "
            f"over {len(judged)} liquids."
        )
    apart = ", ".join(f"{names[m]} {deviations[m]:+.1f} % ({doubts[m]})" for m in shown if doubts[m])
    seen += f" Not counted: {apart}." if apart else ""
    # Names of molecules have hyphens of their own: 3-ethylhexane.
    return Exhibit("density", title, figure, re.sub(r"(?<= )-(?=\d)", "−", seen), tuple(notes))


def _density_line(area: Axes, line: int, rows: Sequence[Row], reference: float, doubt: str) -> float:
    """Draw one liquid; return the deviation of its mean density from the reference in percent."""
    for row in rows:
        face = "none" if row.get("density_settled") is False else MUTED
        percent = 100 * (row["density_kg_m3"] / reference - 1)
        area.plot(percent, line, "o", color=MUTED, markerfacecolor=face, markersize=3.5)
    mean, error = mean_of(rows, "density_kg_m3")
    deviation = 100 * (mean / reference - 1)
    width = 100 * np.nan_to_num(error) / reference
    face = "white" if doubt else "black"
    area.errorbar(deviation, line, xerr=width, fmt="D", color="black", markerfacecolor=face, markersize=5, zorder=3)
    text = f"{measured(mean, error)}   (reference {reference:g}{', ' * bool(doubt)}{doubt})"
    area.text(1.02, line, text, transform=area.get_yaxis_transform(), va="center", fontsize=7.5)
    return deviation
