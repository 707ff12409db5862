"""The plan: every run that a configuration asks for, as specs with ids, known before the first job starts.

What a spec is and where its id comes from: `mobcg.spec`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mobcg.config import (
    AtomisticLengths,
    Coarse,
    Config,
    Molecule,
    Prior,
    Scale,
    chosen_path,
    load_chosen,
    load_config,
    load_molecules,
    load_scale,
    scale_path,
)
from mobcg.errors import InputError
from mobcg.forcematching import ForceMatching, force_matching
from mobcg.molecule import (
    LEAST_DENSITY,
    Species,
    least_production_ps,
    molecules_in_box,
    species_of,
    topology_path,
)
from mobcg.observables import fit_window
from mobcg.pair import CUTOFF_NM
from mobcg.records import atomic_path
from mobcg.schema import TRAINED_MODELS, TRAJECTORIES, TRAJECTORIES_FILE

# Those who plan find what makes an id here too.
from mobcg.spec import Spec as Spec
from mobcg.spec import canonical_json as canonical_json
from mobcg.spec import run_id as run_id
from mobcg.spec import seed as seed
from mobcg.step import run_step
from mobcg.units import number_density_nm3, thermal_energy_kj_mol

# Raised when a stage is changed such that its old records no longer answer the same question.
PROTOCOL = {"atomistic": 1, "inversion": 1, "coarse": 1, "prior": 1, "evaluation": 1}
LEAST_BOX_NM = 3.1
REUSABLE = {"atomistic": "run_id", "potentials": "potential_id", "coarse": "run_id"}


def expand_shard(shard: Mapping[str, Any]) -> list[Spec]:
    """Return the coarse specs of a shard, of a molecule's potentials or of the prior.

    A shard of a molecule lists parts: draws `first` to `first + count` of one parent potential. Draw 0 is the parent
    itself under Nosé-Hoover dynamics. The others take the scale factors in turn, and draw mass (uniform), thermostat
    (weighted) and friction (log-uniform, for a bead of 100 g/mol) from their own seed. Draws of a `perturbed` part are
    counted apart: they have no friction, and add a few Gaussians to the potential. A shard of the prior lists liquids.
    No draw depends on how many others there are or how they are cut into shards.
    """
    if shard["kind"] == "prior_shard":
        return [spec for potential in prior_potentials(shard).items() for spec in _prior_specs(shard, *potential)]
    return [
        _perturbed_spec(shard, part["parent_id"], draw)
        if part.get("perturbed")
        else _coarse_spec(shard, part["parent_id"], draw)
        for part in shard["parts"]
        for draw in range(part["first"], part["first"] + part["count"])
    ]


def _coarse_spec(shard: Mapping[str, Any], parent_id: str, draw: int) -> Spec:
    sampling = shard["sampling"]
    random = np.random.default_rng(seed({"parent_id": parent_id, "draw": draw}, "coarse draw"))
    factors = sampling["scale_factors"]
    mass_g_mol = round(float(random.uniform(*sampling["mass_g_mol"])), 3)
    kinds, weights = zip(*sorted(sampling["thermostat_weights"].items()), strict=True)
    thermostat = str(random.choice(kinds, p=np.array(weights) / sum(weights)))
    uniform = float(random.uniform())
    factor = factors[draw % len(factors)]
    if draw == 0:
        thermostat, factor = "nose_hoover", 1.0
    friction = _friction_1_ps(sampling["friction_1_ps_100"], thermostat, uniform, mass_g_mol)
    potential = {"parent_id": parent_id, "scale_factor": factor}
    return _run_spec(shard, potential, mass_g_mol, thermostat, friction, draw)


def _perturbed_spec(shard: Mapping[str, Any], parent_id: str, draw: int) -> Spec:
    sampling = shard["sampling"]
    shape = sampling["perturbation"]
    random = np.random.default_rng(seed({"parent_id": parent_id, "draw": draw}, "perturbed draw"))
    mass_g_mol = round(float(random.uniform(*sampling["mass_g_mol"])), 3)
    largest_kj_mol = shape["amplitude_kt"] * thermal_energy_kj_mol(shard["temperature_k"])
    ranges = {
        "amplitude_kj_mol": (-largest_kj_mol, largest_kj_mol),
        "centre_nm": shape["centre_nm"],
        "width_nm": shape["width_nm"],
    }
    factors = sampling["scale_factors"]
    potential = {
        "parent_id": parent_id,
        "scale_factor": factors[draw % len(factors)],
        "perturbation": {
            name: [round(float(value), 4) for value in random.uniform(*limits, shape["gaussians"])]
            for name, limits in ranges.items()
        },
    }
    return _run_spec(shard, potential, mass_g_mol, "nose_hoover", 0.0, draw)


def prior_potentials(shard: Mapping[str, Any]) -> dict[str, Spec]:
    """Return id → spec of the potentials of a shard of the prior; what they look like is `mobcg.coarse.prior`'s.

    A shard lists `draws`, or has `count` of them from `first` on.
    """
    specs = (
        {
            "kind": "prior",
            "protocol": PROTOCOL["prior"],
            "draw": draw,
            **{key: shard[key] for key in ("temperature_k", "ranges", "screen")},
        }
        for draw in shard.get("draws") or range(shard["first"], shard["first"] + shard["count"])
    )
    return {run_id(spec): spec for spec in specs}


def _prior_specs(shard: Mapping[str, Any], potential_id: str, potential: Mapping[str, Any]) -> list[Spec]:
    """Return the runs of one liquid of the prior: without friction, and for some with one or two of each kind."""
    sampling = shard["sampling"]
    kinds: list[tuple[str, Mapping[str, Any]]] = [("nose_hoover", {})]
    chance = np.random.default_rng(seed(potential, "friction")).uniform()
    for strength in ("", "strong_"):
        if chance < sampling.get(f"{strength}friction_share", 0):
            kinds += [(thermostat, sampling[f"{strength}friction_1_ps_100"]) for thermostat in ("langevin", "dpd")]
    specs = []
    for draw, (thermostat, friction_1_ps_100) in enumerate(kinds):
        random = np.random.default_rng(seed({"parent_id": potential_id, "draw": draw}, "prior draw"))
        mass_g_mol = round(float(random.uniform(*sampling["mass_g_mol"])), 3)
        friction = _friction_1_ps(friction_1_ps_100, thermostat, float(random.uniform()), mass_g_mol)
        parent = {"parent_id": potential_id, "scale_factor": 1.0}
        specs.append(_run_spec(shard, parent, mass_g_mol, thermostat, friction, draw))
    return specs


def _friction_1_ps(friction_1_ps_100: Mapping[str, Any], thermostat: str, uniform: float, mass_g_mol: float) -> float:
    if thermostat == "nose_hoover":
        return 0.0
    low, high = np.log(friction_1_ps_100[thermostat])
    friction_100 = math.exp(low + uniform * (high - low))
    return float(f"{friction_100 / math.sqrt(mass_g_mol / 100):.4g}")


def _run_spec(
    shard: Mapping[str, Any], potential: Spec, mass_g_mol: float, thermostat: str, friction_1_ps: float, draw: int
) -> Spec:
    sampling = shard["sampling"]
    return {
        "kind": "coarse",
        "protocol": PROTOCOL["coarse"],
        "potential": potential,
        "temperature_k": shard["temperature_k"],
        "mass_g_mol": mass_g_mol,
        "thermostat": thermostat,
        "friction_1_ps": friction_1_ps,
        "n_beads": sampling["n_beads"],
        "equilibration_ps_100": sampling["equilibration_ps_100"],
        "production_ps_100": sampling["production_ps_100"],
        "draw": draw,
    }


@dataclass(frozen=True)
class Plan:
    """Every run of a configuration by stage, id → spec, and where its record lies.

    `reused` holds the ids that the base release has; the stages below hold those too, so that what builds on them
    finds them, and `record_path` tells the two apart; under `trajectories`, those whose bead trajectory lies beside it.
    Evaluations are named molecule.model. `kept_molecules` are rows of the release that is extended.
    """

    config: Config
    scale: Scale
    molecules: dict[str, Molecule]
    species: dict[str, Species]
    atomistic: dict[str, Spec]
    inversions: dict[str, Spec]
    shards: dict[str, Spec]
    evaluations: dict[str, Spec]
    reused: dict[str, frozenset[str]] = field(default_factory=dict)
    prior_shards: dict[str, Spec] = field(default_factory=dict)
    kept_molecules: tuple[Spec, ...] = ()
    forcematch: ForceMatching = field(default_factory=ForceMatching)

    def atomistic_spec(self, name: str) -> Spec:
        """Return the spec of an atomistic run, of the chain or of force matching alone."""
        return self.atomistic.get(name) or self.forcematch.atomistic[name]

    def inversion_spec(self, name: str) -> Spec:
        """Return the spec of an inversion, of the chain or of force matching alone."""
        return self.inversions.get(name) or self.forcematch.inversions[name]

    def record_path(self, table: str, record_id: str) -> str:
        """Return the file of a record: simulated here, or taken from the base release."""
        reused = record_id in self.reused.get(table, ())
        room = {"potentials": "inversion"}.get(table, table)
        return f"{self.config.results_dir}/{'reused/' if reused else ''}{room}/{record_id}.parquet"

    def simulated_beads_path(self, run: str) -> str:
        """Return the bead trajectory of an atomistic run as the run itself leaves it, with its directory beside it."""
        return f"{self.config.results_dir}/atomistic/{run}.npz"

    def beads_path(self, run: str) -> str:
        """Return the bead trajectory that is learned from: restored from beside the base release, or simulated here.

        The plan alone decides, whatever lies here: else a run that the noise floor simulates once more would change the
        inputs of all that was made of it, and the next start would make that again.
        """
        if run in self.reused.get("trajectories", ()):
            return f"{self.config.results_dir}/reused/atomistic/{run}.npz"
        return self.simulated_beads_path(run)

    def packed_path(self, run: str) -> str:
        """Return the file of a bead trajectory that the release publishes."""
        return f"{self.config.results_dir}/trajectories/{run}.parquet"

    def to_publish(self) -> list[str]:
        """Return the runs whose bead trajectory the release publishes: of the liquids, simulated here.

        A larger box, which checks a correction, is left out. So is a run whose record is there and whose trajectory was
        not kept; it is not simulated again.
        """

        def can_be_had(run: str) -> bool:
            files = self.packed_path(run), self.simulated_beads_path(run)
            return any(Path(path).exists() for path in files) or not Path(self.record_path("atomistic", run)).exists()

        if not self.scale.atomistic.publish_trajectories:
            return []
        replicas = {run for spec in self.inversions.values() for run in spec["parent_run_ids"]}
        asked = [run for run in self.to_simulate("atomistic") if run in replicas]
        return [run for run in asked if self.atomistic[run]["force_field"]["kind"] != "synthetic" and can_be_had(run)]

    @property
    def scale_dir(self) -> str:
        """Directory of what belongs to one scale: tables, models, evaluations and report."""
        return f"{self.config.results_dir}/{self.scale.name}"

    @property
    def release_version(self) -> str:
        """Version of the release to make; rough numbers carry the name of their scale."""
        return self.config.version + (f"-{self.scale.name}" if self.scale.rough else "")

    def to_simulate(self, stage: str) -> list[str]:
        """Return the ids of a stage (atomistic, inversions, shards, prior_shards) that the base release lacks."""
        table = {"inversions": "potentials", "prior_shards": "shards"}.get(stage, stage)
        return [name for name in getattr(self, stage) if name not in self.reused.get(table, ())]

    def shard_potentials(self, shard_id: str) -> list[str]:
        """Return the records of the parent potentials of a shard, each once."""
        parents = dict.fromkeys(part["parent_id"] for part in self.shards[shard_id]["parts"])
        return [self.record_path("potentials", parent) for parent in parents]

    def prior_paths(self, shard_id: str) -> dict[str, str]:
        """Return table → file of a shard of the prior, which makes its potentials and runs them."""
        return {
            table: f"{self.config.results_dir}/prior/{shard_id}.{table}.parquet" for table in ("potentials", "coarse")
        }

    def evaluation_inputs(self, molecule_id: str, model: str) -> dict[str, str | list[str]]:
        """Return what the evaluation of a model of a liquid reads: its parents' records, and a trained model's files.

        A trained model is the one of the fold that holds this liquid out.
        """
        spec = self.evaluations[f"{molecule_id}.{model}"]
        if "judgement_id" in spec:
            judgement = self.forcematch.judgements[spec["judgement_id"]]
            return {
                "atomistic": [self.record_path("atomistic", name) for name in judgement["target_run_ids"]],
                "judgement": self.judgement_path(spec["judgement_id"]),
                "training": f"{self.fit_dir(judgement['source']['fit_id'])}/training.json",
            }
        parent_id = spec["parent_potential_id"]
        files = {
            "atomistic": [self.record_path("atomistic", name) for name in self.parent_runs(parent_id)],
            "potential": self.potential_path(parent_id),
        }
        if parent_id in self.forcematch.fits:
            return files | {"training": f"{self.fit_dir(parent_id)}/training.json"}
        if model not in TRAINED_MODELS:
            return files
        fold = molecule_id if molecule_id in self.folds else "all"
        return files | {"model": f"{self.scale_dir}/models/{fold}/{TRAINED_MODELS[model]}/model.json"}

    def parent_runs(self, name: str) -> list[str]:
        """Return the atomistic runs that a pair potential, inverted or force-matched, descends from."""
        return (self.forcematch.fits.get(name) or self.inversion_spec(name))["parent_run_ids"]

    def potential_path(self, name: str) -> str:
        """Return the record of a pair potential: inverted, or force-matched."""
        if name in self.forcematch.fits:
            return f"{self.fit_dir(name)}/potential.parquet"
        return self.record_path("potentials", name)

    def fit_dir(self, name: str) -> str:
        """Return the directory of a force-matched model."""
        return f"{self.config.results_dir}/forcematch/fits/{name}"

    def judgement_path(self, name: str) -> str:
        """Return the file of the judged runs of a model."""
        return f"{self.config.results_dir}/forcematch/judgements/{name}.parquet"

    def judgement_inputs(self, name: str) -> dict[str, str | list[str]]:
        """Return what a judgement reads: bead trajectories of the state, and where the potential is from."""
        spec = self.forcematch.judgements[name]
        source = spec["source"]
        files: dict[str, str | list[str]] = {"beads": [self.beads_path(run) for run in spec["target_run_ids"]]}
        if "fit_id" in source:
            return files | {"model": f"{self.fit_dir(source['fit_id'])}/model.json"}
        if "potential_id" in source:
            return files | {"potential": self.record_path("potentials", source["potential_id"])}
        proposal = f"{self.scale_dir}/forcematch/proposals/{source['fold']}.{source['state_run_id']}.parquet"
        return files | {"potential": proposal}

    def training_input(self, model: str) -> str:
        """Return what a model is trained on, or taken over from: the tables, or a directory of the base release."""
        if self.scale.extends is None:
            return f"{self.scale_dir}/tables"
        return f"{self.config.base_release}/models/{model}"

    def model_settings(self, model: str) -> Spec:
        """Return the settings of a model's training that the scale chooses."""
        section = self.scale.predictor
        return {"bag2024": {"folds": section.bag2024_folds, "epochs": section.bag2024_epochs}}.get(model, {})

    @property
    def folds(self) -> list[str]:
        """Names of the training folds: each molecule held out once, and `all`.

        The models of a release that is extended saw none of the new molecules: `all` is all there is.
        """
        return [*self.molecules, "all"] if self.scale.extends is None else ["all"]


def load_plan(content: Mapping[str, Any], where: object = "config/config.yaml") -> Plan:
    """Return the plan of a configuration, every file it names read and checked.

    Raises
    ------
    InputError
        Anything in these files is wrong.
    """
    config = load_config(content, where)
    molecules_dir = Path(config.molecules_dir)
    molecules = load_molecules(molecules_dir)
    scale = load_scale(scale_path(config.scale), molecules)
    if scale.molecules != "all":
        molecules = {
            name: molecule
            for name, molecule in molecules.items()
            if name in {*scale.molecules, *scale.synthetic.draws} or molecule.role == "extension"
        }
    species = {name: species_of(molecule, molecules_dir / f"{name}.yaml") for name, molecule in molecules.items()}
    kept: list[Spec] = []
    if scale.extends is not None:
        base = config.base_release or f"{config.releases_dir}/{scale.extends}"
        config = config.model_copy(update={"base_release": base})
        kept = extended_molecules(Path(base), scale, molecules)
    reused = recorded_ids(Path(config.base_release)) if config.base_release else {}
    return build_plan(config, scale, molecules, species, reused, load_chosen(chosen_path(scale.name), scale), kept)


def extended_molecules(release: Path, scale: Scale, molecules: Mapping[str, Molecule]) -> list[Spec]:
    """Return the rows of the table molecules of the release that a scale extends.

    Raises
    ------
    InputError
        There is no such release, it has no models, or it holds a molecule of the scale, which its models have seen.
    """
    path = release / "data" / "molecules.parquet"
    where = f"scale {scale.name}"
    if not path.is_file():
        advice = "Download it with `mobcg release download`, or name its directory with base_release."
        raise InputError(where, "extends", str(release), "the directory of a release", advice)
    rows = pq.read_table(path).to_pylist()
    seen = sorted({row["molecule_id"] for row in rows} & set(molecules))
    if seen:
        advice = f"A model that is scored on {seen[0]} must not have seen it: take it out of the scale's molecules."
        raise InputError(where, "molecules", seen[0], f"molecules that {release.name} does not hold", advice)
    for model in scale.predictor.models:
        if not (release / "models" / model / "model.json").is_file():
            raise InputError(where, "extends", release.name, f"a release with models/{model}", "Take another one.")
    return rows


def recorded_ids(release: Path) -> dict[str, frozenset[str]]:
    """Return table → ids of a release, of the tables whose rows are simulations, and of the trajectories beside it.

    Raises
    ------
    InputError
        There is no such release, or it holds no table of records that can be read.
    """
    ids = {}
    for table, key in REUSABLE.items():
        path = release / "data" / f"{table}.parquet"
        if not path.is_file():
            raise InputError("config/config.yaml", "base_release", str(release), f"a release with {path.name} in data/")
        try:
            ids[table] = frozenset(pq.read_table(path, columns=[key])[key].to_pylist())
        except (pa.ArrowInvalid, OSError, KeyError) as error:
            raise InputError(path, key, str(error), "a release's table", "Download the release again.") from error
    return ids | {"trajectories": _published_trajectories(release) & ids["atomistic"]}


def _published_trajectories(release: Path) -> frozenset[str]:
    """Return the runs whose bead trajectory a release names and that was downloaded with it."""
    path = release / TRAJECTORIES_FILE
    if not path.is_file():
        return frozenset()
    directory = release.resolve().parent / TRAJECTORIES
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return frozenset(row["run_id"] for row in rows if (directory / row["file"]).is_file())
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(path, "", str(error), "a list of trajectories", "Download the release again.") from error


def build_plan(
    config: Config,
    scale: Scale,
    molecules: dict[str, Molecule],
    species: dict[str, Species],
    reused: Mapping[str, frozenset[str]],
    chosen: Sequence[Sequence[int]] = (),
    kept_molecules: Sequence[Spec] = (),
) -> Plan:
    """Return the plan of a scale for some molecules; a pure function of what the files hold.

    `chosen` lists, round by round, further draws of the prior (`mobcg.config.ChosenDraws`), `kept_molecules` the rows
    of the release that is extended.

    Raises
    ------
    InputError
        What the scale asks for cannot be: a box too small for g(r), a run too short for D, a molecule not there.
    """
    atomistic: dict[str, Spec] = {}
    inversions: dict[str, Spec] = {}
    shards: dict[str, Spec] = {}
    evaluations: dict[str, Spec] = {}
    pristine_runs: dict[str, list[str]] = {}
    for name, molecule in molecules.items():
        where = Path(config.molecules_dir) / f"{name}.yaml"
        pristine = {"kind": "pristine"} if molecule.topology is None else file_force_field(molecule, where)
        replicas = _atomistic_specs(scale, molecule, species[name], pristine, scale.atomistic.lengths)
        atomistic |= replicas
        pristine_runs[name] = list(replicas)
        edge_nm = scale.atomistic.larger_boxes_nm.get(name)
        if edge_nm is not None:
            atomistic |= _atomistic_specs(
                scale, molecule, species[name], pristine, scale.atomistic.lengths, replicas=1, edge_nm=edge_nm
            )
        parent_id, parent = _inversion(scale, molecule, list(replicas), scale.inversion.pressure_correction)
        inversions[parent_id] = parent
        parents, uncorrected_parents = [parent_id], []
        if scale.inversion.also_uncorrected and scale.inversion.pressure_correction:
            uncorrected_id, uncorrected = _inversion(scale, molecule, list(replicas), False)
            inversions[uncorrected_id] = uncorrected
            uncorrected_parents.append(uncorrected_id)
        for model in scale.evaluation.models:
            evaluations[f"{name}.{model}"] = _evaluation(scale, molecule, model, parent_id)
        for model in scale.forcematch.models:
            evaluations[f"{name}.{model}"] = _evaluation(scale, molecule, model, parent_id)
        for draw in range(scale.synthetic.draws.get(name, 0)):
            ranges = json.loads(scale.synthetic.ranges.model_dump_json())
            force_field = {"kind": "synthetic", "draw": draw, "ranges": ranges}
            lengths, edge_nm = scale.synthetic.lengths, scale.synthetic.box_length_nm
            run = _atomistic_specs(scale, molecule, species[name], force_field, lengths, replicas=1, edge_nm=edge_nm)
            atomistic |= run
            synthetic_id, inversion = _inversion(scale, molecule, list(run), scale.inversion.pressure_correction)
            inversions[synthetic_id] = inversion
            parents.append(synthetic_id)
        shards |= _shards(scale, molecule, parents, uncorrected_parents)
    prior_shards = _prior_shards(scale, chosen)
    complete = frozenset(
        shard_id
        for shard_id, shard in (shards | prior_shards).items()
        if all(run_id(spec) in reused.get("coarse", ()) for spec in expand_shard(shard))
    )
    matching = force_matching(
        scale,
        molecules,
        species,
        pristine_runs,
        atomistic,
        lambda molecule, runs, temperature_k: _inversion(scale, molecule, runs, False, temperature_k),
    )
    simulated = {**atomistic, **matching.atomistic}
    _check_lengths(
        scale, species, [spec for name, spec in simulated.items() if name not in reused.get("atomistic", ())]
    )
    for key, judgement_id in matching.scoreboard.items():
        judgement = matching.judgements[judgement_id]
        if judgement["model"] == "pair_fm":
            evaluations[key] |= {"parent_potential_id": judgement["source"]["fit_id"]}
        else:
            names = ("kind", "protocol", "molecule_id", "model")
            evaluations[key] = {name: evaluations[key][name] for name in names} | {"judgement_id": judgement_id}
    return Plan(
        config,
        scale,
        molecules,
        species,
        atomistic,
        inversions,
        shards,
        evaluations,
        {**reused, "shards": complete},
        prior_shards,
        tuple(kept_molecules),
        matching,
    )


def _atomistic_specs(
    scale: Scale,
    molecule: Molecule,
    species: Species,
    force_field: Spec,
    lengths: AtomisticLengths,
    replicas: int | None = None,
    edge_nm: float | None = None,
) -> dict[str, Spec]:
    """Return the runs of one force field of a molecule; in a box of `edge_nm` in place of the scale's where given."""
    section = scale.atomistic
    n_molecules = section.n_molecules if edge_nm is None else None
    n_molecules = n_molecules or molecules_in_box(
        edge_nm or section.box_length_nm, molecule.reference_density_kg_m3, species.molar_mass_g_mol
    )
    edge_nm = (n_molecules / number_density_nm3(molecule.reference_density_kg_m3, species.molar_mass_g_mol)) ** (1 / 3)
    if edge_nm < LEAST_BOX_NM:
        found = f"{n_molecules} {molecule.id}, a box of {edge_nm:.2f} nm"
        advice = "Take more molecules: g(r) reaches 1.5 nm, twice that must fit."
        raise InputError(f"scale {scale.name}", "atomistic.n_molecules", found, f"{LEAST_BOX_NM} nm and more", advice)
    specs = (
        {
            "kind": "atomistic",
            "protocol": PROTOCOL["atomistic"],
            "molecule": {"id": molecule.id, "smiles": species.smiles},
            "force_field": force_field,
            "temperature_k": molecule.temperature_k,
            "pressure_bar": molecule.pressure_bar,
            "n_molecules": n_molecules,
            "start_density_kg_m3": molecule.reference_density_kg_m3,
            "lengths": lengths.model_dump(),
            "frame_ps": section.frame_ps,
            "replica": replica,
        }
        for replica in range(replicas or section.replicas)
    )
    return {run_id(spec): spec for spec in specs}


def _check_lengths(scale: Scale, species: Mapping[str, Species], specs: Sequence[Spec]) -> None:
    """Raise `InputError` where an atomistic run is too short for D, or would be if it came out at `LEAST_DENSITY`."""
    short = []
    for spec in specs:
        molecule, given = spec["molecule"]["id"], "density_kg_m3" in spec
        density_kg_m3 = spec["density_kg_m3"] if given else spec["start_density_kg_m3"]
        molar_mass, temperature_k = species[molecule].molar_mass_g_mol, spec["temperature_k"]
        try:
            fit_window(spec["frame_ps"], molar_mass, temperature_k, number_density_nm3(density_kg_m3, molar_mass))
        except ValueError as error:
            where, allowed = f"scale {scale.name}", f"less for {molecule}"
            raise InputError(where, "atomistic.frame_ps", spec["frame_ps"], allowed, f"{error}.") from error
        low_kg_m3 = density_kg_m3 if given else LEAST_DENSITY * density_kg_m3
        least_ps = least_production_ps(spec["frame_ps"], low_kg_m3, molar_mass, temperature_k)
        if spec["lengths"]["nvt_ps"] < least_ps:
            synthetic = spec["force_field"]["kind"] == "synthetic"
            section = "forcematch" if given else "synthetic" if synthetic else "atomistic"
            short.append((least_ps, molecule, f"{section}.lengths.nvt_ps", spec["lengths"]["nvt_ps"]))
    if short:
        least_ps, molecule, key, found = max(short)
        allowed = f"{least_ps:g} and more for {molecule}"
        advice = "A self-diffusion coefficient is fitted up to a lag of 8 τ, and needs four times that."
        raise InputError(f"scale {scale.name}", key, found, allowed, advice)


def file_force_field(molecule: Molecule, where: Path) -> Spec:
    """Return the force-field part of the spec of a molecule with a topology of its own; `where` is its YAML file.

    Raises
    ------
    InputError
        A file is not there, or leads out of the directory of the molecules.
    """
    paths = {name: topology_path(molecule, where, name) for name in ("itp", "gro")}
    hashes = {f"{name}_sha256": hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}
    return {"kind": "file", "itp": molecule.topology.itp, "gro": molecule.topology.gro, **hashes}


def _inversion(
    scale: Scale, molecule: Molecule, parents: list[str], pressure_correction: bool, temperature_k: float | None = None
) -> tuple[str, Spec]:
    section = scale.inversion
    spec = {
        "kind": "inversion",
        "protocol": PROTOCOL["inversion"],
        "molecule_id": molecule.id,
        "parent_run_ids": parents,
        "temperature_k": temperature_k or molecule.temperature_k,
        "pressure_correction": pressure_correction,
        "target_pressure_bar": section.target_pressure_bar,
        "iterations_max": section.iterations_max,
        "iteration_ps_100": section.iteration_ps_100,
    }
    return run_id(spec), spec


def _shards(scale: Scale, molecule: Molecule, parents: list[str], uncorrected: list[str]) -> dict[str, Spec]:
    """Return the shards of one molecule, each filled in the order of its potentials: the draws, then the perturbed.

    Draws of potentials without pressure correction fill shards of their own.
    """
    section = scale.coarse
    blocks: list[tuple[Spec, int]] = [({"parent_id": name}, section.records_per_potential) for name in parents]
    blocks += [({"parent_id": name, "perturbed": True}, section.perturbed_records_per_potential) for name in parents]
    sampling = _dumped(
        section,
        "n_beads",
        "mass_g_mol",
        "scale_factors",
        "friction_1_ps_100",
        "thermostat_weights",
        "equilibration_ps_100",
        "production_ps_100",
        "perturbation",
    )
    apart = [({"parent_id": name}, section.uncorrected_records_per_potential) for name in uncorrected]
    specs = (
        {"kind": "shard", "temperature_k": molecule.temperature_k, "parts": parts, "sampling": sampling}
        for parts in _cut(blocks, section.records_per_shard) + _cut(apart, section.records_per_shard)
    )
    return {run_id(spec): spec for spec in specs}


def _cut(blocks: list[tuple[Spec, int]], size: int) -> list[list[Spec]]:
    """Return blocks of draws (what they share, their number) cut into lists of parts with `size` draws in each list."""
    pieces: list[list[Spec]] = []
    room = 0
    for shared, count in blocks:
        first = 0
        while first < count:
            if room == 0:
                pieces.append([])
                room = size
            taken = min(room, count - first)
            pieces[-1].append({**shared, "first": first, "count": taken})
            first, room = first + taken, room - taken
    return pieces


def _dumped(section: Coarse | Prior, *keys: str) -> Spec:
    dumped = json.loads(section.model_dump_json())
    return {key: dumped[key] for key in keys}


def _prior_shards(scale: Scale, chosen: Sequence[Sequence[int]]) -> dict[str, Spec]:
    """Return the shards of the prior: the first draws, then each round of chosen ones cut by itself."""
    section = scale.prior
    edge_nm = (section.n_beads / section.ranges.number_density_nm3[1]) ** (1 / 3)
    if section.liquids and edge_nm <= 2 * CUTOFF_NM:
        found = f"{section.n_beads} beads, at the highest density a box of {edge_nm:.2f} nm"
        advice = "Take more beads or a lower density: g(r) reaches 1.5 nm, twice that must fit."
        raise InputError(f"scale {scale.name}", "prior.n_beads", found, f"more than {2 * CUTOFF_NM:g} nm", advice)
    shared = _dumped(section, "temperature_k", "ranges", "screen")
    shared["sampling"] = _dumped(
        section,
        "n_beads",
        "mass_g_mol",
        "friction_share",
        "friction_1_ps_100",
        "equilibration_ps_100",
        "production_ps_100",
    )
    size = section.liquids_per_shard
    specs = [spec for (spec,) in _cut([({"kind": "prior_shard", **shared}, section.liquids)], size)]
    sampling = shared["sampling"] | _dumped(section, "strong_friction_1_ps_100", "strong_friction_share")
    sampling |= {"friction_share": section.chosen_friction_share}
    for draws in chosen:
        parts = (draws[first : first + size] for first in range(0, len(draws), size))
        specs += [{"kind": "prior_shard", **shared, "sampling": sampling, "draws": list(part)} for part in parts]
    return {run_id(spec): spec for spec in specs}


def _evaluation(scale: Scale, molecule: Molecule, model: str, parent_id: str) -> Spec:
    section = scale.evaluation
    factors = {"ibi_scaled": section.scale_factors, "mobcg": section.knob_factors}
    return {
        "kind": "evaluation",
        "protocol": PROTOCOL["evaluation"],
        "molecule_id": molecule.id,
        "model": model,
        "parent_potential_id": parent_id,
        "scale_factors": factors.get(model, [1.0]),
        "replicas": section.replicas,
        "equilibration_ps_100": section.equilibration_ps_100,
        "production_ps_100": section.production_ps_100,
        "npt_ps_100": section.npt_ps_100,
    }


def molecule_rows(plan: Plan) -> list[Spec]:
    """Return the rows of the table molecules: those of the release that is extended, and the plan's."""
    return list(plan.kept_molecules) + [
        {
            "molecule_id": name,
            "name": molecule.name,
            "smiles": plan.species[name].smiles,
            "inchikey": plan.species[name].inchikey,
            "formula": plan.species[name].formula,
            "molar_mass_g_mol": plan.species[name].molar_mass_g_mol,
            "n_atoms": plan.species[name].n_atoms,
            "role": molecule.role,
            "temperature_k": molecule.temperature_k,
            "pressure_bar": molecule.pressure_bar,
            "reference_density_kg_m3": molecule.reference_density_kg_m3,
            "reference_density_source": molecule.reference_density_source,
        }
        for name, molecule in plan.molecules.items()
    ]


def record_files(plan: Plan) -> dict[str, list[str]]:
    """Return table → record files of this plan; what the base release holds is not among them."""
    return {
        "atomistic": [plan.record_path("atomistic", name) for name in plan.to_simulate("atomistic")],
        "potentials": [plan.record_path("potentials", name) for name in plan.to_simulate("inversions")]
        + [plan.prior_paths(name)["potentials"] for name in plan.to_simulate("prior_shards")]
        + [plan.potential_path(name) for name in scored_fits(plan).values() if plan.forcematch.is_pair(name)],
        "coarse": [plan.record_path("coarse", name) for name in plan.to_simulate("shards")]
        + [plan.prior_paths(name)["coarse"] for name in plan.to_simulate("prior_shards")],
        "evaluation": [f"{plan.scale_dir}/evaluation/{name}.parquet" for name in plan.evaluations],
    }


def scored_fits(plan: Plan) -> dict[str, str]:
    """Return molecule.model → fit of the force-matched models that are scored."""
    judgements = plan.forcematch.judgements
    return {key: judgements[name]["source"]["fit_id"] for key, name in plan.forcematch.scoreboard.items()}


def main(arguments: list[str] | None = None) -> int:
    """Write what the database room wants to know of a plan: the molecules' rows and where the records lie."""
    parser = argparse.ArgumentParser(prog="python -m mobcg.plan", description=main.__doc__)
    parser.add_argument("--config", required=True, help="the configuration, as JSON")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    plan = load_plan(json.loads(options.config), "--config")
    content = {
        "molecules": molecule_rows(plan),
        "records": record_files(plan),
        "models": {key.replace(".", "/"): plan.fit_dir(fit) for key, fit in scored_fits(plan).items()},
    }
    with atomic_path(options.out) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
