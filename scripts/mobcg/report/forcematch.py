"""What came of force matching: scoreboard, sizes, studies of hyper-parameters and transfer, as tables and figures.

`python -m mobcg.report.forcematch --config JSON --out DIR` writes report.md, a .csv of every table, and the figures.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mobcg.database.build import current_commit
from mobcg.errors import InputError, SimulationError
from mobcg.observables import rdf_error
from mobcg.pair import R_NM
from mobcg.plan import Plan, load_plan
from mobcg.predictor.scoring import Reference, mean_reference, mobility, rdf_error_se
from mobcg.records import atomic_path, read_record
from mobcg.report.scores import measured
from mobcg.report.style import ATOMISTIC_COLOUR, LOOKS, MUTED, drawing, legend_above, panels, save_png
from mobcg.step import run_step

VERDICTS = {"stable": "o", "unstable": "X", "frozen": "s", "collapsed": "v", "failed": "P"}
# Gerakinis et al. report a false peak of the three-bead model here where σ is 0.2 nm.
FALSE_PEAK_NM = (0.2, 0.27)
NAN = float("nan")


@dataclass(frozen=True)
class Judged:
    """One judgement: what its runs at constant temperature say together.

    Means and standard errors over the runs that were stable, each run's own where there is only one; nan without any.
    """

    spec: Mapping[str, Any]
    verdicts: tuple[str, ...]
    reasons: tuple[str, ...]
    error: tuple[float, float]
    alpha: tuple[float, float]
    pressure_bar: tuple[float, float]
    density_1atm_kg_m3: tuple[float, float]
    energy_kj_mol: tuple[float, float]
    rdf: NDArray[np.float64] | None
    bead_rdf: NDArray[np.float64] | None
    temperature_k: float
    density_nm3: float
    n_molecules: int
    md_core_s_ns_bead: float
    steps_per_second: float
    drift_kt_ns: float

    @property
    def verdict(self) -> str:
        """`stable` if all runs are, else the commonest of what else became of them."""
        wrong = [verdict for verdict in self.verdicts if verdict != "stable"]
        return max(sorted(set(wrong)), key=wrong.count) if wrong else "stable"


def summarise(rows: Sequence[Mapping[str, Any]], reference: Reference) -> Judged:
    """Return what the rows of one judgement (`mobcg.forcematch.judgement`) say against the atomistic liquid."""
    nvt, npt = ([row for row in rows if row["ensemble"] == ensemble] for ensemble in ("nvt", "npt"))
    sound = [row for row in nvt if row["verdict"] == "stable" and row["rdf"]]
    errors = [(rdf_error(row["rdf"], reference.rdf), _error_se(row, reference)) for row in sound]
    alphas = [
        mobility(*(row[name] for name in ("diffusion_nm2_ns", "diffusion_nm2_ns_se")), *_diffusion(reference))
        for row in sound
        if row["diffusion_nm2_ns"]
    ]
    first = nvt[0]
    drifts = [row["energy_drift_kt_ns"] for row in rows if row["ensemble"] == "nve" and row["energy_drift_kt_ns"]]
    return Judged(
        json.loads(first["spec"]),
        tuple(row["verdict"] for row in rows if row["ensemble"] != "npt"),
        tuple(row["reason"] for row in rows if row["ensemble"] != "npt"),
        _mean(errors),
        _mean(alphas),
        _mean([(row["pressure_bar"], row["pressure_bar_se"]) for row in sound if row["pressure_bar"] is not None]),
        _mean(
            [
                (row["density_1atm_kg_m3"], row["density_1atm_kg_m3_se"])
                for row in npt
                if row["density_1atm_kg_m3"] is not None
            ]
        ),
        _mean(
            [
                (row["molecule_energy_kj_mol"], row["molecule_energy_kj_mol_se"])
                for row in sound
                if row["molecule_energy_kj_mol"]
            ]
        ),
        np.mean([row["rdf"] for row in sound], axis=0) if sound else None,
        np.mean([row["bead_rdf"] for row in sound], axis=0) if sound and sound[0]["bead_rdf"] else None,
        first["temperature_k"],
        first["n_molecules"] / first["box_length_nm"] ** 3,
        first["n_molecules"],
        _median(row["core_s_ns_bead"] for row in nvt),
        _median(row["steps_per_second"] for row in nvt),
        float(np.max(np.abs(drifts))) if drifts else NAN,
    )


def _error_se(row: Mapping[str, Any], reference: Reference) -> float:
    return rdf_error_se(row["rdf"], row["rdf_se"], reference.rdf, reference.rdf_se, seed=1)


def _diffusion(reference: Reference) -> tuple[float, float]:
    return reference.diffusion_nm2_ns, reference.diffusion_nm2_ns_se


def _mean(values: Sequence[tuple[float, float]]) -> tuple[float, float]:
    if not values:
        return NAN, NAN
    if len(values) == 1:
        return values[0]
    found = np.array(values)[:, 0]
    return float(found.mean()), float(found.std(ddof=1) / len(found) ** 0.5)


def _median(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else NAN


class Results:
    """The files of a plan's force matching."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.matching = plan.forcematch

    @cache  # noqa: B019 one object a report
    def judged(self, name: str) -> Judged:
        """Return a judgement."""
        rows = pq.read_table(self.plan.judgement_path(name)).to_pylist()
        targets = self.matching.judgements[name]["target_run_ids"]
        records = [read_record(Path(self.plan.record_path("atomistic", run))) for run in targets]
        return summarise(rows, mean_reference(records))

    @cache  # noqa: B019
    def reference(self, name: str) -> Reference:
        """Return the atomistic liquid at the state of an atomistic run."""
        return mean_reference([read_record(Path(self.plan.record_path("atomistic", name)))])

    @cache  # noqa: B019
    def training(self, name: str) -> dict[str, Any] | None:
        """Return the training record behind a judgement; None where there is none."""
        fit = self.matching.judgements[name]["source"].get("fit_id")
        return None if fit is None else json.loads((Path(self.plan.fit_dir(fit)) / "training.json").read_text())

    def floor(self, molecule: str) -> dict[str, Any] | None:
        """Return the noise floor of a molecule's net forces, where it was measured."""
        path = Path(self.plan.scale_dir) / "forcematch" / f"floor.{molecule}.json"
        return json.loads(path.read_text()) if path.is_file() else None


Row = dict[str, str]


def judged_cells(results: Results, name: str) -> Row:
    """Return the cells that every table has of a judgement."""
    judged, training = results.judged(name), results.training(name)
    accuracy, seconds = test_accuracy(training), NAN if training is None else training.get("seconds", NAN)
    return {
        "verdict": ", ".join(
            f"{judged.verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(judged.verdicts)
        ),
        "α = D/D_AA": measured(*judged.alpha),
        "rdf_error e": measured(*judged.error),
        "R² of test forces": measured(*accuracy),
        "pressure / bar": measured(*judged.pressure_bar),
        "density at 1 atm / (kg/m³)": measured(*judged.density_1atm_kg_m3),
        "drift, NVE / (kT per bead and ns)": measured(judged.drift_kt_ns),
        "training / s": measured(seconds),
        "MD / (core-s per ns and bead)": measured(judged.md_core_s_ns_bead),
    }


def test_accuracy(training: Mapping[str, Any] | None) -> tuple[float, float]:
    """Return R² of the forces on test frames and its standard error; nan where nothing was trained, or diverged."""
    if training is None or "accuracy" not in training:
        return NAN, NAN
    test = training["accuracy"]["test"]
    return test["r2"], test["r2_se"]


def scoreboard(results: Results) -> list[Row]:
    """Return one row for each liquid and force-matched model."""
    rows = []
    for key, name in results.matching.scoreboard.items():
        molecule, model = key.split(".")
        floor = results.floor(molecule)
        ceiling = "–" if floor is None else measured(floor["r2_floor"], floor["r2_floor_se"])
        rows.append(
            {"liquid": molecule, "model": LOOKS[model].label}
            | judged_cells(results, name)
            | {"R² that can be had": ceiling}
        )
    return rows


def sized(results: Results, molecule: str) -> list[Judged]:
    """Return the judgements of a molecule's models by model and number of molecules, the scoreboard's with them."""
    own = [name for key, name in results.matching.scoreboard.items() if key.startswith(f"{molecule}.")]
    found = [results.judged(name) for name in (*own, *results.matching.sizes[molecule])]
    return sorted(found, key=lambda one: (one.spec["model"], one.n_molecules))


def sizes(results: Results) -> list[Row]:
    """Return one row for each model and number of molecules: energy per molecule and g(r)."""
    return [
        {
            "liquid": molecule,
            "model": LOOKS[judged.spec["model"]].label,
            "molecules": str(judged.n_molecules),
            "verdict": judged.verdict,
            "energy / (kJ/mol per molecule)": measured(*judged.energy_kj_mol),
            "rdf_error e": measured(*judged.error),
            "α = D/D_AA": measured(*judged.alpha),
            "steps / s": measured(judged.steps_per_second),
        }
        for molecule in results.matching.sizes
        for judged in sized(results, molecule)
    ]


def varied(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the settings that are not the same in all."""
    return [key for key in specs[0] if len({json.dumps(spec[key]) for spec in specs}) > 1]


@dataclass(frozen=True)
class Trial:
    """One setting of a study: what it was, how it ended, and its training."""

    settings: Mapping[str, Any]
    judged: Judged
    training: Mapping[str, Any]
    name: str


def trials(results: Results, study: str) -> list[Trial]:
    """Return the settings of a study."""
    found = []
    for name in results.matching.studies[study]:
        fit = results.matching.fits[results.matching.judgements[name]["source"]["fit_id"]]
        found.append(Trial(fit["settings"], results.judged(name), results.training(name), name))
    return found


def study_table(results: Results, study: str) -> list[Row]:
    """Return one row a setting: what varies, how it ended."""
    found = trials(results, study)
    names = varied([trial.settings for trial in found])
    return [
        {name: f"{trial.settings[name]}" for name in names}
        | judged_cells(results, trial.name)
        | {"false peak": measured(false_peak(trial.judged)), "reason": trial.judged.reasons[0]}
        for trial in found
    ]


def false_peak(judged: Judged) -> float:
    """Return the largest g(r) of beads of different molecules between 0.2 and 0.27 nm; nan for one bead a molecule."""
    if judged.bead_rdf is None:
        return NAN
    first, last = np.searchsorted(R_NM, FALSE_PEAK_NM)
    return float(judged.bead_rdf[first:last].max())


def findings(found: Sequence[Trial]) -> list[str]:
    """Return what a study says of the published findings (Gerakinis et al.), each with its evidence."""
    told = [
        _ended(found, "λ = 0 is unstable", "energy_weight", lambda value: value == 0),
        _ended(found, "a cutoff of 0.6 nm is unstable", "cutoff_nm", lambda value: value <= 0.6),
    ]
    sigmas = [(trial.settings["sigma_nm"], trial.judged) for trial in found if trial.judged.verdict == "stable"]
    if found[0].judged.bead_rdf is not None or any(judged.bead_rdf is not None for _, judged in sigmas):
        for label, chosen in (("below 0.3 nm", lambda s: s < 0.3), ("of 0.3 nm and more", lambda s: s >= 0.3)):
            peaks = [false_peak(judged) for sigma, judged in sigmas if chosen(sigma)]
            shown = f"{len(peaks)} stable settings, the largest {max(peaks):.2g}" if peaks else "no stable setting"
            told.append(f"False peak of g(r) of beads at 0.23 nm, σ {label}: {shown}.")
    pairs = [(sigma, judged.error[0]) for sigma, judged in sigmas if np.isfinite(judged.error[0])]
    if len({sigma for sigma, _ in pairs}) > 2:
        ranks = np.argsort(np.argsort(np.array(pairs), axis=0, kind="stable"), axis=0, kind="stable")
        told.append(
            f"Rank correlation of σ and rdf_error over {len(pairs)} stable settings: "
            f"{np.corrcoef(ranks.T)[0, 1]:+.2f} (+1 or −1: monotone)."
        )
    losses = [(test_accuracy(trial.training)[0], trial.judged) for trial in found]
    good = [r2 for r2, judged in losses if judged.verdict == "stable"]
    bad = [r2 for r2, judged in losses if judged.verdict != "stable" and np.isfinite(r2)]
    if good and bad:
        apart = "do" if max(bad) < min(good) else "do not"
        told.append(
            f"The loss does not predict stability (published): R² of stable settings {min(good):.3f} to "
            f"{max(good):.3f}, of the others {min(bad):.3f} to {max(bad):.3f}; here they {apart} separate."
        )
    return told


def _ended(found: Sequence[Trial], claim: str, key: str, chosen: Callable[[Any], bool]) -> str:
    there = [trial for trial in found if chosen(trial.settings[key])]
    if not there:
        return f"Published: {claim}. Not tried here."
    stable = sum(trial.judged.verdict == "stable" for trial in there)
    verdict = "reproduced" if stable == 0 else "not reproduced" if stable == len(there) else "reproduced in part"
    others = len(found) - len(there)
    calm = sum(trial.judged.verdict == "stable" for trial in found) - stable
    return (
        f"Published: {claim}. {verdict.capitalize()}: {stable} of {len(there)} such settings are stable, of the others "
        f"{calm} of {others}."
    )


def transfer_table(results: Results, molecule: str) -> list[Row]:
    """Return one row for each model, training set and state."""
    rows = []
    for row in results.matching.transfers[molecule]:
        spec = results.plan.atomistic_spec(row["test"])
        rows.append(
            {
                "model": LOOKS[row["model"]].label,
                "learned at": row["train"],
                "T / K": f"{spec['temperature_k']:g}",
                "density / (kg/m³)": f"{spec['density_kg_m3']:g}",
            }
            | {key: value for key, value in judged_cells(results, row["judgement"]).items() if key not in SAME}
        )
    return rows


SAME = ("R² of test forces", "training / s", "drift, NVE / (kT per bead and ns)")


def transfer_means(results: Results, molecule: str) -> list[Row]:
    """Return one row for each model and training set: means over the states that it never saw."""
    groups: dict[tuple[str, str], list[Judged]] = {}
    transfer = results.plan.scale.forcematch.transfer[molecule]
    for row in results.matching.transfers[molecule]:
        spec = results.plan.atomistic_spec(row["test"])
        seen = (spec["temperature_k"], spec["density_kg_m3"]) in transfer.train[row["train"]]
        groups.setdefault((row["train"], row["model"]), [])
        if not seen:
            groups[row["train"], row["model"]].append(results.judged(row["judgement"]))
    return [
        {
            "learned at": train,
            "model": LOOKS[model].label,
            "states never seen": str(len(found)),
            "stable": str(sum(one.verdict == "stable" for one in found)),
            "mean e": measured(*_mean([one.error for one in found if np.isfinite(one.error[0])])),
            "mean α": measured(*_mean([one.alpha for one in found if np.isfinite(one.alpha[0])])),
        }
        for (train, model), found in sorted(groups.items())
    ]


# Figures


def rdf_figure(results: Results) -> Figure:
    """Return g(r) of the atomistic liquids and of each force-matched model of them."""
    molecules = list(dict.fromkeys(key.split(".")[0] for key in results.matching.scoreboard))
    figure, axes = panels(len(molecules))
    handles = []
    for molecule, place in zip(molecules, axes, strict=True):
        place.set_title(molecule)
        for key, name in results.matching.scoreboard.items():
            if key.split(".")[0] != molecule:
                continue
            model, judged = key.split(".")[1], results.judged(name)
            run = results.matching.judgements[name]["target_run_ids"][0]
            handles += place.plot(R_NM, results.reference(run).rdf, color=ATOMISTIC_COLOUR, label="all-atom", zorder=1)
            if judged.rdf is not None:
                look = LOOKS[model]
                label = look.label
                handles += place.plot(R_NM, judged.rdf, color=look.colour, linestyle=look.line, label=label)
        place.set_xlabel("r / nm")
    axes[0].set_ylabel("g(r)")
    legend_above(figure, handles)
    return figure


def sizes_figure(found: Sequence[Judged]) -> Figure:
    """Return, for each model, g(r) and the energy per molecule in boxes of several numbers of molecules."""
    models = list(dict.fromkeys(judged.spec["model"] for judged in found))
    numbers = sorted({judged.n_molecules for judged in found})
    shades = dict(zip(numbers, colormaps["viridis"](np.linspace(0, 0.9, len(numbers))), strict=True))
    figure = Figure(figsize=(2.7 * len(models) + 0.4, 4.6))
    handles = []
    for model, (curves, energies) in zip(models, figure.subplots(2, len(models), squeeze=False).T, strict=True):
        curves.set_title(LOOKS[model].label)
        for judged in (one for one in found if one.spec["model"] == model):
            look = {"color": shades[judged.n_molecules], "label": f"{judged.n_molecules} molecules"}
            if judged.rdf is not None:
                handles += curves.plot(R_NM, judged.rdf, **look)
            if np.isfinite(judged.energy_kj_mol[0]):
                energies.errorbar(judged.n_molecules, *judged.energy_kj_mol, fmt="o", **look)
        curves.set(xlabel="r / nm", ylabel="g(r)")
        energies.set(xlabel="molecules", ylabel="U per molecule / (kJ/mol)")
    legend_above(figure, handles)
    return figure


def study_figure(found: Sequence[Trial]) -> Figure:
    """Return rdf_error against each setting that varies, the verdict as the marker, α as the colour."""
    names = [name for name in varied([trial.settings for trial in found]) if _is_number(found[0].settings[name])]
    figure = Figure(figsize=(max(5.4, 2.3 * len(names)), 3.0))
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    errors = [trial.judged.error[0] for trial in found]
    top = 1.15 * np.nanmax(errors) if np.isfinite(errors).any() else 1.0
    drawn = None
    for name, place in zip(names, axes, strict=True):
        place.set_xlabel(name)
        for verdict, marker in VERDICTS.items():
            some = [trial for trial in found if trial.judged.verdict == verdict]
            if not some:
                continue
            heights = [error if np.isfinite(error := trial.judged.error[0]) else top for trial in some]
            colours = [trial.judged.alpha[0] for trial in some]
            shades = {"c": colours, "vmin": 1, "vmax": 4, "cmap": "viridis"} if verdict == "stable" else {"c": MUTED}
            points = place.scatter([trial.settings[name] for trial in some], heights, marker=marker, **shades)
            points.set_label(verdict)
            drawn = points if verdict == "stable" else drawn
    axes[0].set_ylabel("rdf_error e (top: no liquid)")
    if drawn is not None:
        figure.colorbar(drawn, ax=axes, label="α = D/D_AA", shrink=0.9)
    handles = [handle for place in axes for handle in place.collections]
    legend_above(figure, handles)
    return figure


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def transfer_figure(results: Results, molecule: str) -> Figure:
    """Return matrices of rdf_error and α: a row for each model and training set, a column for each state."""
    rows = results.matching.transfers[molecule]
    states = list(dict.fromkeys(row["test"] for row in rows))
    models = list(dict.fromkeys((row["train"], row["model"]) for row in rows))
    labels = [
        f"{spec['temperature_k']:g} K, {spec['density_kg_m3']:g}" for spec in map(results.plan.atomistic_spec, states)
    ]
    errors, alphas = (np.full((len(models), len(states)), NAN) for _ in range(2))
    for row in rows:
        place = models.index((row["train"], row["model"])), states.index(row["test"])
        judged = results.judged(row["judgement"])
        errors[place], alphas[place] = judged.error[0], judged.alpha[0]
    figure = Figure(figsize=(2.2 + 0.55 * len(states), 1.6 + 0.5 * len(models)))
    for values, label, place in zip(
        (errors, alphas), ("rdf_error e", "α = D/D_AA"), figure.subplots(2, 1), strict=True
    ):
        shown = place.imshow(values, aspect="auto", cmap="viridis_r")
        for (row_number, column), value in np.ndenumerate(values):
            text = f"{value:.2f}" if np.isfinite(value) else "×"
            place.text(
                column,
                row_number,
                text,
                ha="center",
                va="center",
                fontsize=6,
                color="white" if np.isfinite(value) else "black",
            )
        place.set_yticks(range(len(models)), [f"{LOOKS[model].label}, {train}" for train, model in models])
        place.set_xticks(range(len(states)), labels, rotation=40, ha="right")
        figure.colorbar(shown, ax=place, label=label)
    return figure


# Files


def markdown_table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[key] for key in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def csv_text(rows: Sequence[Row]) -> str:
    """Return rows as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def provenance(results: Results, commit: str) -> str:
    """Return what made the numbers, as a paragraph: command, commit, programs, seeds, errors."""
    programs: dict[str, set[str]] = {}
    for name in results.matching.targets:
        _note(programs, read_record(Path(results.plan.record_path("atomistic", name)))["versions"])
    for name in results.matching.judgements:
        _note(programs, (results.training(name) or {}).get("versions", {}))
    named = ", ".join(f"{program} {' and '.join(sorted(found))}" for program, found in sorted(programs.items()))
    return (
        f"Made by `make forcematch SCALE={results.plan.scale.name}` at commit {commit}, with {named}. Every seed is a "
        "hash of the spec of what it starts. Errors are standard errors: over runs from different frames where there "
        "are several, else from time blocks; of R², from time blocks of the test frames.\n"
    )


def _note(programs: dict[str, set[str]], versions: Mapping[str, str]) -> None:
    for program, version in versions.items():
        programs.setdefault(program, set()).add(version)


def write_report(results: Results, directory: Path, commit: str) -> None:
    """Write report.md, the tables as .csv and the figures as .png; report.md comes last."""
    directory.mkdir(parents=True, exist_ok=True)
    matching, parts = results.matching, ["# Force matching\n", provenance(results, commit)]
    if results.plan.scale.rough:
        parts.append("**These numbers are rough: short runs, made to show that the chain works.**\n")

    def table(name: str, rows: list[Row]) -> None:
        _write(directory / f"{name}.csv", csv_text(rows))
        parts.append(markdown_table(rows))

    def picture(name: str, figure: Figure) -> None:
        save_png(figure, directory / f"{name}.png")
        parts.append(f"![{name}]({name}.png)\n")

    if matching.scoreboard:
        parts.append("## Models of the liquids\n")
        table("scoreboard", scoreboard(results))
        picture("rdf", rdf_figure(results))
    if matching.sizes:
        parts.append("## Other numbers of molecules at the same density\n")
        table("sizes", sizes(results))
        for molecule in matching.sizes:
            picture(f"sizes_{molecule}", sizes_figure(sized(results, molecule)))
    for study in matching.studies:
        found = trials(results, study)
        parts.append(f"## Study {study}\n")
        parts += [f"- {line}" for line in findings(found)]
        parts.append("")
        table(f"study_{study}", study_table(results, study))
        picture(f"study_{study}", study_figure(found))
    for molecule in matching.transfers:
        parts.append(f"## Transfer, {molecule}\n")
        table(f"transfer_{molecule}_means", transfer_means(results, molecule))
        picture(f"transfer_{molecule}", transfer_figure(results, molecule))
        table(f"transfer_{molecule}", transfer_table(results, molecule))
    _write(directory / "report.md", "\n".join(parts))


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.report.forcematch", description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=json.loads, required=True, help="the configuration, as JSON")
    parser.add_argument("--out", type=Path, required=True, help="directory for tables and figures")
    options = parser.parse_args(arguments)
    try:
        plan = load_plan(options.config, "--config")
        if not plan.forcematch.judgements:
            advice = "Take a scale that has it: make forcematch SCALE=pilot."
            raise InputError(f"scale {plan.scale.name}", "forcematch", "nothing", "models, studies or transfer", advice)
        with drawing():
            write_report(Results(plan), options.out, current_commit())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except SimulationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
