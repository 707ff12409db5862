"""The part of a plan that is force matching: what is run further, what is learned, what is run with it and judged.

Specs and ids are as in `mobcg.plan`: a fit is what is learned from some atomistic runs, a judgement is what dynamics of
a model at one state are like. A state of a transfer is an atomistic run at a given temperature and density.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mobcg.config import NETWORK_SETTINGS, Judging, Molecule, Scale, Transfer
from mobcg.errors import InputError
from mobcg.molecule import LEAST_DENSITY, Species, least_production_ps, mapping_of, molecules_in_box
from mobcg.pair import CUTOFF_NM
from mobcg.spec import Spec, run_id
from mobcg.units import number_density_nm3

# Raised when a stage is changed such that its old records no longer answer the same question.
PROTOCOL = {"fit": 1, "judgement": 3, "floor": 2}
# Time between two frames of the runs of a many-body model, at 100 g/mol (`mobcg.forcematch.dynamics`).
FRAME_PS_100 = 0.72


@dataclass(frozen=True)
class ForceMatching:
    """Everything that force matching asks for; ids → specs.

    Attributes
    ----------
    atomistic
        Runs on top of those of the chain: further states, and beads of another mapping.
    inversions
        Of the states that a transfer learns from.
    fits, judgements
        Models, and runs of them.
    scoreboard
        molecule.model → judgement.
    sizes, studies
        Molecule or name of a study → judgements.
    transfers
        Molecule → rows {model, train, test, judgement}, `test` an atomistic run.
    floors
        Molecule, or molecule.mapping → {run, held_ps}: which run's centres of mass, or beads, are held for the noise
        floor.
    """

    atomistic: dict[str, Spec] = field(default_factory=dict)
    inversions: dict[str, Spec] = field(default_factory=dict)
    fits: dict[str, Spec] = field(default_factory=dict)
    judgements: dict[str, Spec] = field(default_factory=dict)
    scoreboard: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, list[str]] = field(default_factory=dict)
    studies: dict[str, list[str]] = field(default_factory=dict)
    transfers: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    floors: dict[str, Spec] = field(default_factory=dict)

    @property
    def targets(self) -> list[str]:
        """The atomistic runs at whose states something is judged."""
        return list(dict.fromkeys(run for spec in self.judgements.values() for run in spec["target_run_ids"]))

    def is_pair(self, fit: str) -> bool:
        """Return whether a fit is a pair potential."""
        return self.fits[fit]["model"] == "pair_fm"

    def fit(self, model: str, settings: Mapping[str, Any], runs: Sequence[str], every_ps: float) -> str:
        """Ask for a model; return its id."""
        return _ask(
            self.fits,
            {
                "kind": "fit",
                "protocol": PROTOCOL["fit"],
                "model": model,
                "settings": dict(settings),
                "parent_run_ids": list(runs),
                "every_ps": every_ps,
            },
        )

    def judge(
        self,
        model: str,
        source: Mapping[str, str],
        targets: Sequence[str],
        judging: Judging,
        n_molecules: int | None = None,
    ) -> str:
        """Ask for runs of a model at the state of atomistic runs; return the id of the judgement.

        `source` says where the potential is from: {fit_id}, {potential_id}, or {scale, fold, state_run_id} for what
        the predictor of a scale's fold proposes for the g(r) of a run. Pair potentials have no run at 1 atm here, and
        those that no forces were matched for none at constant energy.
        """
        if "fit_id" not in source:
            judging = judging.model_copy(update={"nve_ps": 0.0, "npt_ps": 0.0})
        elif self.is_pair(source["fit_id"]):
            judging = judging.model_copy(update={"npt_ps": 0.0})
        return _ask(
            self.judgements,
            {
                "kind": "judgement",
                "protocol": PROTOCOL["judgement"],
                "model": model,
                "source": dict(source),
                "target_run_ids": list(targets),
                "n_molecules": n_molecules,
                **judging.model_dump(),
            },
        )


def _ask(specs: dict[str, Spec], spec: Spec) -> str:
    name = run_id(spec)
    specs[name] = spec
    return name


def force_matching(
    scale: Scale,
    molecules: Mapping[str, Molecule],
    species: Mapping[str, Species],
    replicas: Mapping[str, Sequence[str]],
    atomistic: Mapping[str, Spec],
    invert: Callable[[Molecule, list[str], float], tuple[str, Spec]],
) -> ForceMatching:
    """Return what the section `forcematch` of a scale asks for.

    Parameters
    ----------
    replicas
        Molecule → the ids of its atomistic runs in `atomistic`, which models of the scoreboard learn from.
    invert
        Returns id and spec of the inversion of some runs at a temperature.

    Raises
    ------
    InputError
        A molecule or a mapping that the section names is not there, a run that is to have a D is too short for it, or
        a box of `sizes` is too small for g(r).
    """
    section, asked = scale.forcematch, ForceMatching()
    where = f"scale {scale.name}"
    for key in ("sizes", "held_ps", "transfer"):
        for name in getattr(section, key):
            _known(name.partition(".")[0], molecules, where, f"forcematch.{key}")
    for name, study in section.studies.items():
        _known(study.molecule, molecules, where, f"forcematch.studies.{name}.molecule")
    for name, sizes in section.sizes.items():
        _check_boxes(sizes.n_molecules, molecules[name], species[name], where)
    for name in molecules if section.models else ():
        for model in section.models:
            state = molecules[name].temperature_k, LEAST_DENSITY * molecules[name].reference_density_kg_m3
            judging, key = section.judging, "forcematch.judging"
            if model in section.judging_of:
                judging, key = section.judging_of[model], f"forcematch.judging_of.{model}"
            _check_length(judging, model, name, state, species[name], where, key)
            fit = asked.fit(model, model_settings(scale, model), replicas[name], section.every_ps)
            asked.scoreboard[f"{name}.{model}"] = asked.judge(model, {"fit_id": fit}, replicas[name], judging)
    # Runs of sizes and studies may be too short for a D: the report then leaves α out.
    for name, sizes in section.sizes.items():
        for model in section.models if sizes.models is None else sizes.models:
            fit = asked.fit(model, model_settings(scale, model), replicas[name], section.every_ps)
            asked.sizes[name] = asked.sizes.get(name, []) + [
                asked.judge(model, {"fit_id": fit}, replicas[name], sizes.judging, size) for size in sizes.n_molecules
            ]
    for name, held_ps in section.held_ps.items():
        molecule, _, mapping = name.partition(".")
        run = replicas[molecule][0]
        if mapping:
            run = _mapped_run(asked, atomistic[run], molecules[molecule], mapping, f"{where}: forcematch.held_ps")
        asked.floors[name] = {"kind": "floor", "protocol": PROTOCOL["floor"], "run_id": run, "held_ps": held_ps}
    for name, study in section.studies.items():
        runs = list(replicas[study.molecule])
        if study.mapping is not None:
            mapped = _mapped_run(
                asked, atomistic[runs[0]], molecules[study.molecule], study.mapping, f"{where}: {name}"
            )
            runs = [mapped]
        for settings in study.settings():
            fit = asked.fit(study.model, settings, runs, section.every_ps)
            judged = asked.judge(study.model, {"fit_id": fit}, runs, study.judging)
            asked.studies.setdefault(name, []).append(judged)
    for name, transfer in section.transfer.items():
        _transfer(asked, scale, molecules[name], species[name], transfer, atomistic[replicas[name][0]], invert)
    return asked


def model_settings(scale: Scale, model: str) -> dict[str, Any]:
    """Return the settings of a network in a scale; pair_fm and what no forces are matched for have none."""
    return getattr(scale.forcematch, model).model_dump() if model in NETWORK_SETTINGS else {}


def _known(name: str, molecules: Mapping[str, Molecule], where: str, key: str) -> None:
    if name not in molecules:
        raise InputError(where, key, name, f"molecules of the scale: {', '.join(molecules)}", "Add it to `molecules`.")


def _check_boxes(sizes: Sequence[int], molecule: Molecule, species: Species, where: str) -> None:
    density = number_density_nm3(molecule.reference_density_kg_m3, species.molar_mass_g_mol)
    edge_nm = (min(sizes) / density) ** (1 / 3)
    if edge_nm <= 2 * CUTOFF_NM:
        found = f"{min(sizes)} {molecule.id}, a box of {edge_nm:.2f} nm"
        advice = f"Take more molecules: g(r) reaches {CUTOFF_NM:g} nm, twice that must fit."
        key = f"forcematch.sizes.{molecule.id}.n_molecules"
        raise InputError(where, key, found, f"more than {2 * CUTOFF_NM:g} nm", advice)


def _check_length(
    judging: Judging, model: str, name: str, state: tuple[float, float], species: Species, where: str, key: str
) -> None:
    """Raise `InputError` where a many-body model's run at a state (K, kg/m³) is too short for D; others never are."""
    if model not in NETWORK_SETTINGS:
        return
    temperature_k, density_kg_m3 = state
    frame_ps = FRAME_PS_100 * (species.molar_mass_g_mol / 100) ** 0.5
    least_ps = least_production_ps(frame_ps, density_kg_m3, species.molar_mass_g_mol, temperature_k)
    if judging.nvt_ps < least_ps:
        allowed = f"{math.ceil(least_ps)} and more for {name}"
        raise InputError(where, f"{key}.nvt_ps", judging.nvt_ps, allowed, "It is what a D takes, and α with it.")


def _mapped_run(asked: ForceMatching, spec: Spec, molecule: Molecule, mapping: str, where: str) -> str:
    return _ask(asked.atomistic, {**spec, "mapping": mapping_of(molecule, mapping, where)})


def _transfer(
    asked: ForceMatching,
    scale: Scale,
    molecule: Molecule,
    species: Species,
    transfer: Transfer,
    spec: Spec,
    invert: Callable[[Molecule, list[str], float], tuple[str, Spec]],
) -> None:
    section = scale.forcematch
    densest = max(density_kg_m3 for _, density_kg_m3 in transfer.states)
    n_molecules = molecules_in_box(section.box_length_nm, densest, species.molar_mass_g_mol)
    states = {
        (temperature_k, density_kg_m3): _ask(
            asked.atomistic,
            {
                **spec,
                "temperature_k": temperature_k,
                "density_kg_m3": density_kg_m3,
                "n_molecules": n_molecules,
                "lengths": section.lengths.model_dump(),
            },
        )
        for temperature_k, density_kg_m3 in transfer.states
    }
    rows = asked.transfers.setdefault(molecule.id, [])
    most = max(map(len, transfer.train.values()))
    for train, learned in transfer.train.items():
        runs = [states[state] for state in learned]
        for model in transfer.models:
            settings = _longer(model_settings(scale, model), most / len(learned))
            source = _source(asked, scale, molecule, model, settings, runs, learned[0][0], transfer.every_ps, invert)
            if source is None:
                continue
            key = f"forcematch.transfer.{molecule.id}.judging"
            for state, test in states.items():
                _check_length(transfer.judging, model, molecule.id, state, species, f"scale {scale.name}", key)
                judged = asked.judge(model, source, [test], transfer.judging)
                rows.append({"model": model, "train": train, "test": test, "judgement": judged})


def _source(
    asked: ForceMatching,
    scale: Scale,
    molecule: Molecule,
    model: str,
    settings: Mapping[str, Any],
    runs: list[str],
    temperature_k: float,
    every_ps: float,
    invert: Callable[[Molecule, list[str], float], tuple[str, Spec]],
) -> dict[str, str] | None:
    """Return where a model that learned at some states is from; None where it can learn at one state only."""
    if model in ("ibi", "mobcg"):
        if len(runs) > 1:
            return None
        if model == "mobcg":
            return {"scale": scale.name, "fold": molecule.id, "state_run_id": runs[0]}
        name, spec = invert(molecule, runs, temperature_k)
        asked.inversions[name] = spec
        return {"potential_id": name}
    return {"fit_id": asked.fit(model, settings, runs, every_ps)}


def _longer(settings: Mapping[str, Any], times: float) -> dict[str, Any]:
    """Return settings with so many times the epochs: as many gradient steps of fewer frames as others take of more."""
    return {**settings, **{key: round(times * settings[key]) for key in ("epochs", "patience") if key in settings}}
