"""What came of force matching: scoreboard, sizes, studies of hyper-parameters and transfer, as tables and figures.

`python -m mobcg.report.forcematch --config JSON --out DIR` writes report.md, a .csv of every table, and the figures.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections import defaultdict
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
from scipy.stats import spearmanr

from mobcg.database.build import current_commit
from mobcg.errors import InputError, SimulationError
from mobcg.observables import finite_size_factor, rdf_error
from mobcg.pair import R_NM
from mobcg.plan import Plan, load_plan
from mobcg.predictor.scoring import Reference, mean_reference, mobility, rdf_error_se
from mobcg.records import atomic_path, read_record
from mobcg.report.liquids import mean_of
from mobcg.report.scores import measured
from mobcg.report.style import ATOMISTIC_COLOUR, FAINT, LOOKS, MUTED, drawing, legend_above, panels, save_png
from mobcg.step import run_step

VERDICTS = {"stable": "o", "unstable": "X", "frozen": "s", "collapsed": "v", "failed": "P"}
# Gerakinis et al. report a false peak of the three-bead model here where σ is 0.2 nm.
FALSE_PEAK_NM = (0.2, 0.27)
# Stable settings, at different σ, that a trend is read from.
LEAST_SIGMAS = 4
NAN = float("nan")


@dataclass(frozen=True)
class Judged:
    """One judgement: what its runs at constant temperature say together.

    Means over the runs that were stable, with the errors of `mobcg.predictor.scoring.mean_over_replicas`; nan without
    any. `verdicts` and `reasons` are one a start: of the run at constant temperature if it was not stable, else of that
    at constant energy where there is one. `alpha` is D/D_AA, both in an infinite box where the numbers of molecules
    differ; `bead_error` is rdf_error of beads of different molecules, where there are several in each.
    """

    spec: Mapping[str, Any]
    verdicts: tuple[str, ...]
    reasons: tuple[str, ...]
    error: tuple[float, float]
    bead_error: tuple[float, float]
    alpha: tuple[float, float]
    pressure_bar: tuple[float, float]
    atomistic_pressure_bar: tuple[float, float]
    density_1atm_kg_m3: tuple[float, float]
    energy_kj_mol: tuple[float, float]
    rdf: NDArray[np.float64] | None
    bead_rdf: NDArray[np.float64] | None
    atomistic_bead_rdf: NDArray[np.float64] | None
    n_molecules: int
    smallest_nm: float
    md_core_s_ns_bead: float
    steps_per_core_s: float
    drift_kt_ns: float
    versions: Mapping[str, str]

    @property
    def verdict(self) -> str:
        """`stable` if all runs are, else the commonest of what else became of them."""
        wrong = [verdict for verdict in self.verdicts if verdict != "stable"]
        return max(sorted(set(wrong)), key=wrong.count) if wrong else "stable"


def summarise(rows: Sequence[Mapping[str, Any]], reference: Reference | None) -> Judged:
    """Return what the rows of one judgement (`mobcg.forcematch.judgement`) say against the atomistic liquid.

    `reference` is None where no atomistic run finished, and nothing was then run.
    """
    nvt, npt = ([row for row in rows if row["ensemble"] == ensemble] for ensemble in ("nvt", "npt"))
    sound = [row for row in nvt if row["verdict"] == "stable" and row["rdf"]]
    scored = [row | _scores(row, reference) for row in sound]
    ended = [_ended_as(rows, row) for row in nvt]
    first = nvt[0]
    drifts = [row["energy_drift_kt_ns"] for row in rows if row["ensemble"] == "nve" and row["energy_drift_kt_ns"]]
    with_beads = [row for row in nvt if row["bead_rdf"]]
    smallest = [row["smallest_distance_nm"] for row in nvt if row["smallest_distance_nm"] is not None]
    return Judged(
        json.loads(first["spec"]),
        tuple(row["verdict"] for row in ended),
        tuple(row["reason"] for row in ended),
        mean_of(scored, "rdf_error"),
        mean_of([_bead_scores(row) for row in sound if row["bead_rdf"]], "rdf_error"),
        mean_of(scored, "alpha"),
        mean_of(scored, "pressure_bar"),
        mean_of(nvt[:1], "atomistic_pressure_bar"),
        mean_of(npt, "density_1atm_kg_m3"),
        mean_of(scored, "molecule_energy_kj_mol"),
        np.mean([row["rdf"] for row in sound], axis=0) if sound else None,
        np.mean([row["bead_rdf"] for row in with_beads], axis=0) if with_beads else None,
        None if first["atomistic_bead_rdf"] is None else np.array(first["atomistic_bead_rdf"]),
        first["n_molecules"],
        min(smallest, default=NAN),
        _median(row["core_s_ns_bead"] for row in nvt),
        _median(row["steps_per_core_s"] for row in nvt),
        float(np.max(np.abs(drifts))) if drifts else NAN,
        json.loads(first["versions"]),
    )


def _ended_as(rows: Sequence[Mapping[str, Any]], nvt: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the row that says how a start ended: that at constant temperature, or the one at constant energy."""
    nve = [row for row in rows if row["ensemble"] == "nve" and row["start"] == nvt["start"]]
    return nve[0] if nve and nvt["verdict"] == "stable" else nvt


def _scores(row: Mapping[str, Any], reference: Reference) -> dict[str, float]:
    """Return what a run scores; nothing of its mobility where it was too short for a D."""
    error_se = rdf_error_se(row["rdf"], row["rdf_se"], reference.rdf, reference.rdf_se, seed=1)
    found = {"rdf_error": rdf_error(row["rdf"], reference.rdf), "rdf_error_se": error_se}
    if row["diffusion_nm2_ns"]:
        # 1 where the model runs in the box of the atomistic liquid.
        larger = finite_size_factor(row["n_molecules"]) / finite_size_factor(reference.n_molecules)
        own = larger * row["diffusion_nm2_ns"], larger * row["diffusion_nm2_ns_se"]
        found["alpha"], found["alpha_se"] = mobility(*own, reference.diffusion_nm2_ns, reference.diffusion_nm2_ns_se)
    return found


def _bead_scores(row: Mapping[str, Any]) -> dict[str, float]:
    """Return rdf_error of beads of different molecules against those of the atomistic liquid, and its error."""
    curves = row["bead_rdf"], row["bead_rdf_se"], row["atomistic_bead_rdf"], row["atomistic_bead_rdf_se"]
    return {"rdf_error": rdf_error(curves[0], curves[2]), "rdf_error_se": rdf_error_se(*curves, seed=1)}


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
        try:
            reference = mean_reference(records)
        except SimulationError:
            reference = None
        return summarise(rows, reference)

    @cache  # noqa: B019
    def reference(self, runs: tuple[str, ...]) -> Reference:
        """Return the atomistic liquid that some replicas of it show."""
        return mean_reference([read_record(Path(self.plan.record_path("atomistic", name))) for name in runs])

    @cache  # noqa: B019
    def training(self, name: str) -> dict[str, Any] | None:
        """Return the training record behind a judgement; None where there is none."""
        fit = self.matching.judgements[name]["source"].get("fit_id")
        return None if fit is None else json.loads((Path(self.plan.fit_dir(fit)) / "training.json").read_text())

    def floor(self, name: str) -> dict[str, Any] | None:
        """Return the noise floor of the net forces of a molecule, or molecule.mapping, where it was measured."""
        path = Path(self.plan.scale_dir) / "forcematch" / f"floor.{name}.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def ceiling(self, name: str) -> str:
        """Return the R² that can be had, of the same, as a cell."""
        floor = self.floor(name)
        return "–" if floor is None or "failed" in floor else measured(floor["r2_floor"], floor["r2_floor_se"])


Row = dict[str, str]


def judged_cells(results: Results, name: str) -> Row:
    """Return the cells that every table has of a judgement."""
    judged, training = results.judged(name), results.training(name)
    accuracy, core_s = accuracy_on_test(training), NAN if training is None else training.get("core_s", NAN)
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
        "smallest distance / nm": measured(judged.smallest_nm),
        "training / core-s": measured(core_s),
        "MD / (core-s per ns and bead)": measured(judged.md_core_s_ns_bead),
    }


def accuracy_on_test(training: Mapping[str, Any] | None, of_molecules: bool = False) -> tuple[float, float]:
    """Return R² of the forces on test frames and its standard error; nan where nothing was trained, or diverged.

    Of the forces on beads, or of the net forces on molecules of several beads.
    """
    if training is None or "accuracy" not in training:
        return NAN, NAN
    test = training["accuracy"]["test"]
    found = test.get("molecules", {"r2": NAN, "r2_se": NAN}) if of_molecules else test
    return found["r2"], found["r2_se"]


def scoreboard(results: Results) -> list[Row]:
    """Return one row for each liquid and force-matched model."""
    rows = []
    for key, name in results.matching.scoreboard.items():
        molecule, model = key.split(".")
        rows.append(
            {"liquid": molecule, "model": LOOKS[model].label}
            | judged_cells(results, name)
            | {"R² that can be had": results.ceiling(molecule)}
        )
    return rows


def floors(results: Results) -> list[Row]:
    """Return one row for each liquid whose beads were held, one a molecule or more: what can be learned, or failed."""
    rows = []
    for name in results.matching.floors:
        found = defaultdict(lambda: NAN, results.floor(name))
        first_half = found["r2_floor_first_half"], found["r2_floor_first_half_se"]
        rows.append(
            {
                "liquid": name,
                "R² that can be had": measured(found["r2_floor"], found["r2_floor_se"]),
                "of the first half of the time": measured(*first_half),
                "configurations": str(found.get("configurations", "–")),
                "held / ps": measured(found["held_ps"]),
                "noise correlates over / ps": measured(found["noise_decorrelation_ps"]),
                "beads stray by / nm": measured(found["displacement_rms_nm"]),
                "failed": found.get("failed", "–"),
            }
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
            "α = D/D_AA, both in an infinite box": measured(*judged.alpha),
            "steps / core-s": measured(judged.steps_per_core_s),
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
    found, asked = trials(results, study), results.plan.scale.forcematch.studies[study]
    names = varied([trial.settings for trial in found])
    if asked.mapping is None:
        ceiling = {"R² that can be had": results.ceiling(asked.molecule)}
    else:
        ceiling = {"R² of net forces that can be had": results.ceiling(f"{asked.molecule}.{asked.mapping}")}
    return [
        {name: f"{trial.settings[name]}" for name in names}
        | judged_cells(results, trial.name)
        | ({} if asked.mapping is None else bead_cells(trial))
        | ceiling
        | {"false peak": measured(false_peak(trial.judged)), "reason": trial.judged.reasons[0]}
        for trial in found
    ]


def bead_cells(trial: Trial) -> Row:
    """Return the cells of molecules of several beads. Most of the force on each is that of a stiff bond, hence R²."""
    return {
        "rdf_error e of beads": measured(*trial.judged.bead_error),
        "R² of net forces on molecules": measured(*accuracy_on_test(trial.training, of_molecules=True)),
    }


def false_peak(judged: Judged) -> float:
    """Return the largest g(r) of beads of different molecules between 0.2 and 0.27 nm; nan where nothing was measured.

    The atomistic liquids have no two beads so close.
    """
    curve = judged.rdf if judged.bead_rdf is None else judged.bead_rdf
    if curve is None:
        return NAN
    first, last = np.searchsorted(R_NM, FALSE_PEAK_NM)
    return float(curve[first:last].max())


def findings(found: Sequence[Trial]) -> list[str]:
    """Return what a study says of the published findings (Gerakinis et al.), each with its evidence.

    Findings of the one-bead model are looked for in studies of one bead a molecule, those of the three-bead model in
    the others. The published λ weighs energies in other units than ours, so 0 is the only value that both share.
    """
    if any(trial.judged.atomistic_bead_rdf is not None for trial in found):
        claims = [
            ("σ of 0.3 nm and less is unstable at λ of 0.01 and less", _small_sigma),
        ]
        told = [_ended(found, claim, chosen) for claim, chosen in claims]
        for label, chosen in (("below 0.3 nm", lambda s: s < 0.3), ("of 0.3 nm and more", lambda s: s >= 0.3)):
            some = [trial for trial in found if chosen(trial.settings["sigma_nm"])]
            peaks = [(false_peak(trial.judged), trial) for trial in some if np.isfinite(false_peak(trial.judged))]
            shown = "no setting has a g(r)"
            if peaks:
                peak, worst = max(peaks, key=lambda pair: pair[0])
                shown = f"at most {peak:.2g} in {len(peaks)} settings ({_named(worst, found)})"
            told.append(f"Published: a false peak of g(r) of beads at 0.23 nm where σ is 0.2 nm. σ {label}: {shown}.")
    else:
        told = [
            _ended(found, "λ = 0 is unstable", lambda settings: settings["energy_weight"] == 0),
            _ended(found, "a cutoff of 0.6 nm is unstable", lambda settings: settings["cutoff_nm"] <= 0.6),
        ]
    told += _monotone(found)
    losses = [(accuracy_on_test(trial.training)[0], trial.judged) for trial in found]
    good = [r2 for r2, judged in losses if judged.verdict == "stable"]
    bad = [r2 for r2, judged in losses if judged.verdict != "stable" and np.isfinite(r2)]
    if good and bad:
        apart = "do" if max(bad) < min(good) else "do not"
        told.append(
            f"The loss does not predict stability (published): R² of stable settings {min(good):.3f} to "
            f"{max(good):.3f}, of the others {min(bad):.3f} to {max(bad):.3f}; here they {apart} separate."
        )
    return [*told, _judging(found)]


def _small_sigma(settings: Mapping[str, Any]) -> bool:
    return settings["sigma_nm"] <= 0.3 and settings["energy_weight"] <= 0.01


def _named(trial: Trial, found: Sequence[Trial]) -> str:
    return ", ".join(f"{name} {trial.settings[name]}" for name in varied([one.settings for one in found]))


def _monotone(found: Sequence[Trial]) -> list[str]:
    """Return how rdf_error goes with σ among stable settings that are alike in all else; with few, that it is open."""
    groups: dict[str, list[Trial]] = {}
    for trial in found:
        rest = {name: value for name, value in trial.settings.items() if name != "sigma_nm"}
        groups.setdefault(json.dumps(rest, sort_keys=True), []).append(trial)
    told = []
    for rest, some in groups.items():
        tried = {trial.settings["sigma_nm"] for trial in some}
        if len(tried) == 1:
            continue
        sound = [trial for trial in some if trial.judged.verdict == "stable" and np.isfinite(trial.judged.error[0])]
        head = f"Rank correlation of σ and rdf_error, λ = {json.loads(rest)['energy_weight']:g}"
        if len(sound) < LEAST_SIGMAS:
            told.append(f"{head}: only {len(sound)} of {len(tried)} σ are stable: not decided.")
            continue
        pairs = [(trial.settings["sigma_nm"], trial.judged.error[0]) for trial in sound]
        rank = float(spearmanr(*np.array(pairs).T).statistic)
        told.append(f"{head}, {len(pairs)} settings that differ in σ alone: {rank:+.2f} (+1 or −1: monotone).")
    return told


def _ended(found: Sequence[Trial], claim: str, chosen: Callable[[Mapping[str, Any]], bool]) -> str:
    """Return whether settings that are said to be unstable are; one that freezes or collapses is not counted so."""
    there = [trial for trial in found if chosen(trial.settings)]
    others = [trial for trial in found if not chosen(trial.settings)]
    if not there:
        return f"Published: {claim}. Not tried here."
    unstable, elsewhere = (sum(one.judged.verdict == "unstable" for one in some) for some in (there, others))
    verdict = "Reproduced in part" if unstable else "Not reproduced"
    verdict = "Reproduced" if unstable == len(there) else verdict
    text = (
        f"Published: {claim}. {verdict}: {unstable} of {len(there)} such settings are unstable, of the others "
        f"{elsewhere} of {len(others)}."
    )
    wrong = [f"{one.judged.verdict} at {_named(one, found)}" for one in there if one.judged.verdict != "stable"]
    return f"{text} {'; '.join(wrong).capitalize()}." if wrong else text


def _judging(found: Sequence[Trial]) -> str:
    """Return how much each verdict rests on."""
    starts = max(len(trial.judged.verdicts) for trial in found)
    length_ps = found[0].judged.spec["nvt_ps"]
    text = f"Each setting was judged from {starts} start{'s' * (starts > 1)}, {length_ps:g} ps at constant temperature"
    if any(np.isfinite(trial.judged.alpha[0]) for trial in found):
        return f"{text}."
    return f"{text}: too short for a self-diffusion coefficient, so that α is left out."


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
                "all-atom pressure / bar": measured(*results.judged(row["judgement"]).atomistic_pressure_bar),
            }
            | {key: value for key, value in judged_cells(results, row["judgement"]).items() if key not in SAME}
        )
    return rows


SAME = ("R² of test forces", "training / core-s", "drift, NVE / (kT per bead and ns)")


def transfer_means(results: Results, molecule: str) -> list[Row]:
    """Return one row for each model and training set: means over the states that were never seen.

    Only states at which every model of the training set is a liquid count, so that all are compared at the same ones.
    """
    found: dict[str, dict[str, dict[str, Judged]]] = {}
    transfer = results.plan.scale.forcematch.transfer[molecule]
    for row in results.matching.transfers[molecule]:
        spec = results.plan.atomistic_spec(row["test"])
        if (spec["temperature_k"], spec["density_kg_m3"]) not in transfer.train[row["train"]]:
            states = found.setdefault(row["train"], {}).setdefault(row["model"], {})
            states[row["test"]] = results.judged(row["judgement"])
    rows = []
    for train, models in sorted(found.items()):
        every = set.intersection(*(set(states) for states in models.values()))
        sound = [state for state in every if all(np.isfinite(states[state].error[0]) for states in models.values())]
        for model, states in sorted(models.items()):
            errors, alphas = ([getattr(states[state], name)[0] for state in sound] for name in ("error", "alpha"))
            rows.append(
                {
                    "learned at": train,
                    "model": LOOKS[model].label,
                    "states never seen": str(len(states)),
                    "stable": str(sum(one.verdict == "stable" for one in states.values())),
                    "compared at": str(len(sound)),
                    "mean e": _spread(errors, np.mean),
                    "largest e": _spread(errors, np.max),
                    "mean α": _spread(alphas, np.mean),
                    "α from": _spread(alphas, np.min),
                    "α to": _spread(alphas, np.max),
                }
            )
    return rows


def _spread(values: Sequence[float], what: Callable[[Sequence[float]], float]) -> str:
    known = [value for value in values if np.isfinite(value)]
    return measured(float(what(known))) if known else measured(NAN)


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
            runs = tuple(results.matching.judgements[name]["target_run_ids"])
            handles += place.plot(R_NM, results.reference(runs).rdf, color=ATOMISTIC_COLOUR, label="all-atom", zorder=1)
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
    """Return rdf_error against each setting that varies, the verdict as the marker, α, where known, as the colour."""
    names = [name for name in varied([trial.settings for trial in found]) if _is_number(found[0].settings[name])]
    figure = Figure(figsize=(max(5.4, 2.3 * len(names)), 3.0))
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    errors = [trial.judged.error[0] for trial in found]
    top = 1.15 * np.nanmax(errors) if np.isfinite(errors).any() else 1.0
    drawn = None
    for name, place in zip(names, axes, strict=True):
        place.set_xlabel(name)
        for verdict, marker in VERDICTS.items():
            for known in (True, False):
                some = [
                    trial
                    for trial in found
                    if trial.judged.verdict == verdict and np.isfinite(trial.judged.alpha[0]) == known
                ]
                if not some:
                    continue
                heights = [error if np.isfinite(error := trial.judged.error[0]) else top for trial in some]
                alphas = [trial.judged.alpha[0] for trial in some]
                shades = {"c": alphas, "vmin": 1, "vmax": 4, "cmap": "viridis"} if known else {"c": MUTED}
                points = place.scatter([trial.settings[name] for trial in some], heights, marker=marker, **shades)
                points.set_label(verdict)
                drawn = points if known else drawn
    axes[0].set_ylabel("rdf_error e (top: no liquid)")
    if drawn is not None:
        figure.colorbar(drawn, ax=axes, label="α = D/D_AA", shrink=0.9)
    handles = [handle for place in axes for handle in place.collections]
    legend_above(figure, handles)
    return figure


def bead_figure(found: Sequence[Trial]) -> Figure:
    """Return g(r) of beads of different molecules of every setting that was run, and of the atomistic liquid."""
    figure = Figure(figsize=(5.4, 3.4))
    place = figure.subplots()
    sigmas = sorted({trial.settings["sigma_nm"] for trial in found})
    shades = dict(zip(sigmas, colormaps["viridis"](np.linspace(0, 0.9, len(sigmas))), strict=True))
    for trial in found:
        if trial.judged.bead_rdf is not None:
            style = {"linestyle": "-" if trial.judged.verdict == "stable" else ":", "linewidth": 0.8}
            sigma = trial.settings["sigma_nm"]
            place.plot(R_NM, trial.judged.bead_rdf, color=shades[sigma], label=f"σ {sigma:g} nm", **style)
    curves = [one for trial in found if (one := trial.judged.atomistic_bead_rdf) is not None]
    place.plot(R_NM, curves[0], color=ATOMISTIC_COLOUR, label="all-atom")
    place.axvspan(*FALSE_PEAK_NM, color=FAINT, zorder=0)
    place.set(xlabel="r / nm", ylabel="g(r) of beads (dotted: not stable)")
    legend_above(figure, place.lines)
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
        _note(programs, results.judged(name).versions)
    named = ", ".join(f"{program} {' and '.join(sorted(found))}" for program, found in sorted(programs.items()))
    return (
        f"Made by `make forcematch SCALE={results.plan.scale.name}` at commit {commit}, with {named}. Every seed is a "
        "hash of the spec of what it starts; runs of a model share one training. Errors are standard errors, from time "
        "blocks or from the scatter of runs from different frames, whichever is larger; of R², from time blocks of the "
        "test frames. Core-seconds are processor time.\n"
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
    if matching.floors:
        parts.append("## Noise floor\n")
        table("floors", floors(results))
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
        if any(trial.judged.atomistic_bead_rdf is not None for trial in found):
            picture(f"study_{study}_beads", bead_figure(found))
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
