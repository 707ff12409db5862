"""What a user may write: the models of config/config.yaml and config/{molecules,scale,chosen}/*.yaml.

The JSON schema in config/schema.json is made from these models (`python -m mobcg.config > config/schema.json`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.json_schema import models_json_schema

from mobcg.errors import InputError
from mobcg.schema import MODELS, TRAINED_MODELS

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=64)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# Paths reach shell commands and file names: no blanks, quotes or other signs that mean something to a shell.
PlainPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./][A-Za-z0-9_./-]*$", max_length=400)]
PositiveInt = Annotated[int, Field(ge=1)]
# A published release: calendar version, perhaps with the name of a scale.
Version = Annotated[str, Field(pattern=r"^\d{4}\.(1[0-2]|[1-9])\.\d+(-[a-z0-9-]+)?$")]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
AtomGroup = Annotated[list[Count], Field(min_length=1)]
# A molecule as one bead, or molecule.mapping.
Mapped = Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)?$", max_length=129)]
FewBumps = Annotated[int, Field(ge=0, le=10)]


def _whole_tenths(interval_ps: float) -> float:
    if interval_ps < 0.1 or abs(interval_ps - round(interval_ps, 1)) > 1e-9:
        raise ValueError("a multiple of 0.1 ps is needed: energies are written so often, and a frame has its own")
    return interval_ps


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"the lower end {pair[0]} lies above the upper end {pair[1]}")
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]


class Section(BaseModel):
    """A section of a file; a key that is not in the model is an error.

    Defaults are validated like values, so that leaving out a key and writing its default make the same spec.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


class Topology(Section):
    """A user's own GROMACS topology in place of OPLS-AA; paths relative to the molecule's file."""

    itp: str = Field(
        description="molecule's .itp: [ moleculetype ]; with [ atomtypes ] of its own it needs [ defaults ] too"
    )
    gro: str = Field(description="coordinates of one molecule")


class Molecule(Section):
    """One liquid: a molecule and its state point."""

    id: Identifier = Field(description="short name, the same as the file's")
    name: str = Field(min_length=1, max_length=120)
    smiles: str = Field(min_length=1, max_length=400)
    inchikey: str = Field(pattern=r"^[A-Z]{14}-[A-Z]{10}-[A-Z]$")
    temperature_k: Positive = 298.15
    pressure_bar: Positive = 1.01325
    role: Literal["parent", "test", "extension"] = "extension"
    # No liquid is outside of these limits; one given in g/cm³ is.
    reference_density_kg_m3: Annotated[float, Field(ge=10, le=10_000, allow_inf_nan=False)] = Field(
        description="in kg/m³; the box is built for it, and the result compared with it"
    )
    reference_density_source: str = Field(min_length=1)
    topology: Topology | None = None
    mappings: dict[Identifier, Annotated[list[AtomGroup], Field(min_length=1)]] = Field(
        {},
        description="name → beads of a molecule, each a list of atoms counted from 0: those of the SMILES in its "
        "order, then the hydrogens, in the order of the atoms that bear them",
    )


class AtomisticLengths(Section):
    """Lengths (ps) of the stages of an atomistic run."""

    squeeze_ps: Positive = 20
    npt_block_ps: Positive = Field(50, description="the drift of the density is judged between blocks of this length")
    npt_max_ps: Positive = Field(400, description="the run goes on unsettled, and says so, after this long")
    nvt_equilibration_ps: Positive = 20
    nvt_ps: Positive = 1000


class Atomistic(Section):
    """All-atom runs of the liquids."""

    box_length_nm: Annotated[float, Field(gt=3.1)] = Field(
        3.4, description="least edge of the box at the reference density; g(r) to 1.5 nm needs more than 3"
    )
    n_molecules: Annotated[int, Field(ge=1)] | None = Field(
        None, description="molecules in every box, whatever its edge"
    )
    replicas: PositiveInt = 2
    larger_boxes_nm: dict[Identifier, Positive] = Field(
        {}, description="molecule → edge of one more run, in a larger box: a check of the finite-size correction"
    )
    frame_ps: Annotated[Positive, AfterValidator(_whole_tenths)] = Field(
        1.0, description="time between two frames of the bead trajectory, a multiple of 0.1 ps"
    )
    publish_trajectories: bool = Field(
        False,
        description="the bead trajectories of the liquids are published beside the release; no run's identity"
        " depends on it",
    )
    lengths: AtomisticLengths = AtomisticLengths()


class SyntheticRanges(Section):
    """Ranges in which the bonded parameters of a synthetic force field are drawn, one draw a parameter."""

    bond_length_factor: PositiveRange = (0.9, 1.12)
    bond_force_constant_factor: PositiveRange = (0.33, 3.0)
    angle_shift_deg: Range = (-12.0, 12.0)
    angle_force_constant_factor: PositiveRange = (0.33, 3.0)
    torsion_kj_mol: Range = (-6.0, 6.0)


class Synthetic(Section):
    """Atomistic runs with randomised bonded parameters."""

    draws: dict[Identifier, Annotated[int, Field(ge=0)]] = Field({}, description="molecule → synthetic force fields")
    box_length_nm: Annotated[float, Field(gt=3.1)] | None = Field(
        None, description="least edge of their boxes; left out: that of the liquids"
    )
    ranges: SyntheticRanges = SyntheticRanges()
    lengths: AtomisticLengths = AtomisticLengths(nvt_ps=400)


class Inversion(Section):
    """Iterative Boltzmann inversion."""

    iterations_max: Annotated[int, Field(ge=1, le=25)] = 25
    iteration_ps_100: Positive = Field(100, description="length of an iteration for a bead of 100 g/mol")
    pressure_correction: bool = True
    target_pressure_bar: float = 1.0
    also_uncorrected: bool = Field(False, description="pristine liquids: keep the uncorrected potential as well")


class Perturbation(Section):
    """A smooth random change of a pair potential: a sum of Gaussians of r outside the core."""

    gaussians: PositiveInt = 3
    amplitude_kt: Positive = Field(0.5, description="largest amplitude of a Gaussian, either sign, uniform")
    centre_nm: PositiveRange = (0.45, 1.3)
    width_nm: PositiveRange = (0.04, 0.15)


class Coarse(Section):
    """Coarse-grained runs for the database."""

    n_beads: Annotated[int, Field(ge=100)] = 1000
    records_per_potential: Annotated[int, Field(ge=0)] = 60
    records_per_shard: PositiveInt = 60
    mass_g_mol: PositiveRange = (20.0, 200.0)
    scale_factors: list[Positive] = Field([0.7, 0.85, 1.0, 1.2, 1.5, 1.8, 2.2], min_length=1)
    friction_1_ps_100: dict[Literal["langevin", "dpd"], PositiveRange] = Field(
        # A bead feels the pair friction of DPD about seven times over: it has some twenty neighbours, three directions.
        {"langevin": (0.2, 20.0), "dpd": (0.03, 3.0)},
        description="ranges of the friction for a bead of 100 g/mol, log-uniform",
    )
    thermostat_weights: dict[Literal["nose_hoover", "langevin", "dpd"], Annotated[float, Field(ge=0)]] = {
        "nose_hoover": 0.6,
        "langevin": 0.2,
        "dpd": 0.2,
    }
    equilibration_ps_100: Positive = 20
    production_ps_100: Positive = 200
    perturbed_records_per_potential: Annotated[int, Field(ge=0)] = Field(
        0, description="further runs of each potential, each with a smooth random change of U"
    )
    uncorrected_records_per_potential: Annotated[int, Field(ge=0)] = Field(
        0, description="runs of each potential without pressure correction (inversion.also_uncorrected)"
    )
    perturbation: Perturbation = Perturbation()

    @model_validator(mode="after")
    def _some_thermostat(self) -> Coarse:
        if not sum(self.thermostat_weights.values()) > 0:
            raise ValueError("thermostat_weights: at least one weight must be above 0")
        return self


class PriorRanges(Section):
    """Ranges in which the pair potentials of the prior are drawn; energies in kT.

    `contact` is the distance at which the wall is kT, over the mean distance ρ^(-1/3); other lengths without a unit are
    over the contact distance. See `mobcg.coarse.prior`.
    """

    number_density_nm3: PositiveRange = (3.0, 8.0)
    contact: PositiveRange = (0.75, 1.02)
    wall_exponent: PositiveRange = (5.0, 24.0)
    shoulder_kt: PositiveRange = (0.5, 3.0)
    well_depth_kt: Range = (0.0, 2.4)
    well_place: PositiveRange = (1.1, 1.6)
    well_width: PositiveRange = (0.06, 0.3)
    bumps: Annotated[tuple[FewBumps, FewBumps], AfterValidator(_ordered)] = (0, 3)
    bump_kt: Range = (-0.6, 0.6)
    bump_place: PositiveRange = (1.0, 2.4)
    bump_width: PositiveRange = (0.05, 0.25)
    tail_kt: Range = (0.0, 0.25)
    tail_length_nm: PositiveRange = (0.06, 0.4)


class PriorScreen(Section):
    """What an integral equation must say of a potential of the prior for it to be run: a liquid, and no other phase."""

    rdf_peak: PositiveRange = (1.2, 3.6)
    structure_factor_peak_max: Positive = 2.85
    structure_factor_zero_max: Positive = 0.5


class Prior(Section):
    """Coarse-grained liquids whose pair potentials are drawn at random: no molecule, no atomistic run, no inversion."""

    liquids: Annotated[int, Field(ge=0)] = 0
    liquids_per_shard: PositiveInt = 50
    temperature_k: Positive = 298.15
    ranges: PriorRanges = PriorRanges()
    screen: PriorScreen = PriorScreen()
    n_beads: Annotated[int, Field(ge=100)] = 1000
    mass_g_mol: PositiveRange = (20.0, 200.0)
    friction_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.15, description="share of the liquids that are run again with Langevin friction and with DPD friction"
    )
    chosen_friction_share: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0, description="the same, of the liquids that active learning chose, which are near the molecular ones"
    )
    friction_1_ps_100: dict[Literal["langevin", "dpd"], PositiveRange] = Field(
        {"langevin": (0.5, 25.0), "dpd": (0.07, 2.5)},
        description="ranges of the friction for a bead of 100 g/mol, log-uniform; a liquid gets one of each kind",
    )
    strong_friction_1_ps_100: dict[Literal["langevin", "dpd"], PositiveRange] = Field(
        {"langevin": (4.0, 25.0), "dpd": (0.8, 4.0)},
        description="ranges of a second friction of each kind, as strong as molecules that are no spheres need it",
    )
    strong_friction_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.4, description="share of the liquids that active learning chose that are run with it too: such runs take long"
    )
    equilibration_ps_100: Positive = 20
    production_ps_100: Positive = 200


class ChosenDraws(Section):
    """config/chosen/SCALE.yaml: liquids of the prior that `make improve` chose, on top of those of the scale file."""

    rounds: list[Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]] = Field(
        description="draws of each round, none of them among the first `prior.liquids`"
    )

    @model_validator(mode="after")
    def _each_once(self) -> ChosenDraws:
        draws = [draw for draws in self.rounds for draw in draws]
        if len(set(draws)) < len(draws):
            raise ValueError("rounds: a draw is there twice")
        return self


class Predictor(Section):
    """Training."""

    models: list[Literal["bag2024", "mobcg"]] = ["bag2024", "mobcg"]
    bag2024_folds: PositiveInt = Field(10, description="networks whose mean is the published model")
    bag2024_epochs: PositiveInt = 200


class Evaluation(Section):
    """Coarse-grained runs that score the models."""

    models: list[Literal[MODELS]] = [
        "ibi",
        "ibi_scaled",
        "ibi_dpd",
        "ibi_langevin",
        "bag2024",
        "mobcg",
        "mobcg_dpd",
        "mobcg_langevin",
    ]
    scale_factors: list[Positive] = [1.2, 1.5, 1.8]
    knob_factors: list[Positive] = Field(
        [0.7, 1.0, 1.3],
        description="settings of the knob of mobcg, from structure to mobility; 1, its own choice, must be among them",
    )
    replicas: Annotated[int, Field(ge=2)] = 3
    equilibration_ps_100: Positive = 20
    production_ps_100: Positive = 300
    npt_ps_100: Positive = 200

    @model_validator(mode="after")
    def _own_choice(self) -> Evaluation:
        if 1.0 not in self.knob_factors:
            raise ValueError("knob_factors: 1, the model's own choice, must be among them")
        return self


class NetworkSettings(Section):
    """What all many-body models have: a prior, a cutoff, and a training."""

    cutoff_nm: Positive = Field(0.8, description="no beads further apart feel each other")
    sigma_nm: Positive = Field(0.5, description="σ of the prior Σ ε (σ/r)^n")
    power: Annotated[float, Field(ge=1, le=24)] = Field(7, description="n of the prior")
    epsilon_kj_mol: Positive = Field(4.184, description="ε of the prior; that of Σ (σ/r)^n in kcal/mol is 4.184")
    bond_length_nm: Positive | None = Field(None, description="of the bonds in a molecule; null: from the data")
    bond_kj_mol_nm2: Positive | None = Field(
        None, description="k of the bond energy k/2 (r − r0)²; null: from the data"
    )
    energy_weight: NotNegative = Field(0.1, description="λ: weight of the energy's error beside the force's")
    epochs: PositiveInt = 100
    patience: PositiveInt = Field(15, description="epochs without a better validation force before training ends")
    batch_frames: PositiveInt = Field(4, description="frames from which one step of training is taken")
    learning_rate: Positive = 1e-3
    last_learning_rate: Positive = Field(1e-5, description="the rate falls to it by the same factor every epoch")
    precision: Literal["float32", "float64"] = "float32"

    @model_validator(mode="after")
    def _enough_frames_for_energies(self) -> NetworkSettings:
        if self.energy_weight > 0 and self.batch_frames < 2:
            raise ValueError("an energy_weight above 0 needs batch_frames of 2 and more: energies have no zero")
        return self


class SchNetSettings(NetworkSettings):
    """SchNet; the published sizes are features 120 or 240, filters 128 or 256, 1 to 6 blocks."""

    blocks: PositiveInt = Field(2, description="interaction blocks between molecules")
    intra_blocks: Count = Field(0, description="blocks of a second network within molecules; 0: the bonds alone")
    features: PositiveInt = 64
    filters: PositiveInt = 64
    gaussians: Annotated[int, Field(ge=2)] = Field(32, description="Gaussians that a distance is spread over")
    activation: Literal["softplus", "tanh"] = Field("softplus", description="softplus is shifted to be 0 at 0")


class HipnnSettings(NetworkSettings):
    """HIP-NN-TS; the published size is 128 features, 20 sensitivities of 0.2 to 1.3 nm, cutoff 1.5 nm."""

    cutoff_nm: Positive = Field(1.0, description="no beads further apart feel each other")
    blocks: PositiveInt = Field(1, description="interaction layers")
    features: PositiveInt = 32
    sensitivities: Annotated[int, Field(ge=2)] = 16
    soft_min_nm: Positive = Field(0.25, description="midpoint of the first sensitivity: below first contact")
    soft_max_nm: Positive = Field(0.9, description="midpoint of the last sensitivity: below the cutoff")
    atom_layers: Count = 3
    order: Literal[1, 2] = Field(2, description="1: vectors (HipnnVec), 2: vectors and quadrupoles (HipnnQuad)")
    activation: Literal["softplus", "tanh"] = "softplus"

    @model_validator(mode="after")
    def _ranges_in_order(self) -> HipnnSettings:
        if not self.soft_min_nm < self.soft_max_nm <= self.cutoff_nm:
            raise ValueError("soft_min_nm < soft_max_nm <= cutoff_nm is needed")
        return self


# The published models of force matching, and the pair spline that they are measured against.
NETWORK_SETTINGS: dict[str, type[NetworkSettings]] = {"schnet": SchNetSettings, "hipnn": HipnnSettings}
State = tuple[Positive, Positive]


class Judging(Section):
    """Molecular dynamics of force-matched potentials."""

    starts: PositiveInt = Field(3, description="runs, each from another atomistic frame")
    equilibration_ps: Positive = 10
    nvt_ps: Positive = 150
    nve_ps: NotNegative = Field(20, description="length of the runs at constant energy; 0: none")
    npt_ps: NotNegative = Field(0, description="length of the runs at 1 atm, many-body models; 0: none")


class Study(Section):
    """A study of hyper-parameters: each setting is trained, run and judged."""

    molecule: Identifier
    mapping: Identifier | None = Field(None, description="of the molecule's file; null: one bead")
    model: Literal["schnet", "hipnn"] = "schnet"
    base: dict[str, Any] = Field({}, description="settings that all have")
    grids: list[Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)]] = Field(
        description="setting → values; every combination in a grid is tried, on top of `base`", min_length=1
    )
    judging: Judging = Judging(starts=1, nve_ps=0)

    def settings(self) -> list[dict[str, Any]]:
        """Return the settings that the grids ask for, each once, in order, complete and checked."""
        found: dict[str, dict[str, Any]] = {}
        for grid in self.grids:
            for values in product(*grid.values()):
                asked = {**self.base, **dict(zip(grid, values, strict=True))}
                whole = NETWORK_SETTINGS[self.model].model_validate(asked).model_dump()
                found.setdefault(json.dumps(whole, sort_keys=True), whole)
        return list(found.values())

    @model_validator(mode="after")
    def _settings_that_can_be(self) -> Study:
        self.settings()
        return self


class Transfer(Section):
    """Thermodynamic transferability: models that learned at some states of a liquid, run at all of them."""

    states: list[State] = Field(description="temperature (K) and density (kg/m³) of each", min_length=1)
    train: dict[Identifier, Annotated[list[State], Field(min_length=1)]] = Field(
        description="name → some of the states, which a model learns from", min_length=1
    )
    models: list[Literal["pair_fm", "schnet", "hipnn", "ibi", "mobcg"]] = ["pair_fm", "schnet", "hipnn", "ibi"]
    every_ps: Positive = Field(1.0, description="least time between two frames that are learned from, here")
    judging: Judging = Judging(starts=1, nve_ps=0)

    @model_validator(mode="after")
    def _known_states(self) -> Transfer:
        for name, states in self.train.items():
            for temperature_k, density_kg_m3 in states:
                if (temperature_k, density_kg_m3) not in self.states:
                    raise ValueError(f"train.{name}: ({temperature_k:g} K, {density_kg_m3:g} kg/m³) is no state of it")
        return self


class Sizes(Section):
    """Other numbers of molecules at the density of a liquid."""

    n_molecules: Annotated[list[Annotated[int, Field(ge=100)]], Field(min_length=1)]
    models: Annotated[list[Literal["pair_fm", "schnet", "hipnn"]], Field(min_length=1)] | None = Field(
        None, description="models to run; null: those of forcematch.models"
    )
    judging: Judging = Judging(starts=1, nve_ps=0)


class ForceMatching(Section):
    """Potentials whose forces are nearest to the atomistic ones, pairwise and many-body."""

    models: list[Literal["pair_fm", "schnet", "hipnn"]] = Field([], description="of every liquid of the scale")
    schnet: SchNetSettings = SchNetSettings()
    hipnn: HipnnSettings = HipnnSettings()
    every_ps: Positive = Field(1.0, description="least time between two frames that are learned from")
    judging: Judging = Judging()
    judging_of: dict[Literal["pair_fm", "schnet", "hipnn"], Judging] = Field(
        {}, description="model → what it is judged by instead, where it is slow"
    )
    sizes: dict[Identifier, Sizes] = Field({}, description="molecule → further runs at its density")
    held_ps: dict[Mapped, Annotated[float, Field(ge=5, allow_inf_nan=False)]] = Field(
        {},
        description="molecule, or molecule.mapping → how long centres of mass, or beads, are held for the noise floor",
    )
    studies: dict[Identifier, Study] = {}
    transfer: dict[Identifier, Transfer] = Field({}, description="molecule → states")
    box_length_nm: Annotated[float, Field(gt=3.0)] = Field(3.1, description="least edge of the boxes of further states")
    lengths: AtomisticLengths = AtomisticLengths(nvt_ps=300)


class Scale(Section):
    """How much is simulated: one file of config/scale."""

    name: Identifier
    rough: bool = Field(False, description="data card and report say that what this scale runs is rough")
    extends: Version | None = Field(
        None,
        description="release that the liquids of this scale are added to: it is kept whole, and its models, which "
        "never saw these liquids, are taken as they are; `base_release` names another place for it",
    )
    molecules: Literal["all"] | Annotated[list[Identifier], Field(min_length=1)] = Field(
        "all", description="liquids to simulate; molecules of the role extension always join"
    )
    atomistic: Atomistic = Atomistic()
    synthetic: Synthetic = Synthetic()
    inversion: Inversion = Inversion()
    coarse: Coarse = Coarse()
    prior: Prior = Prior()
    predictor: Predictor = Predictor()
    evaluation: Evaluation = Evaluation()
    forcematch: ForceMatching = ForceMatching()

    @model_validator(mode="after")
    def _scored_models_are_trained(self) -> Scale:
        asked = {TRAINED_MODELS[name] for name in self.evaluation.models if name in TRAINED_MODELS}
        missing = asked.difference(self.predictor.models) if self.extends is None else ()
        if missing:
            raise ValueError(f"evaluation.models: {', '.join(sorted(missing))} is not among predictor.models")
        return self


class Config(Section):
    """config/config.yaml."""

    scale: str = Field("demo", description="name of a file in config/scale, or the path of one", min_length=1)
    version: str = Field(description="calendar version of the release to make", pattern=r"^\d{4}\.(1[0-2]|[1-9])\.\d+$")
    base_release: PlainPath | None = Field(None, description="directory of the release whose records are reused")
    molecules_dir: PlainPath = "config/molecules"
    results_dir: PlainPath = "results"
    releases_dir: PlainPath = "releases"
    keep_trajectories: Literal["none", "beads", "all"] = Field(
        "beads",
        description="of atomistic runs: nothing once g(r) and D are known, centres of mass and net forces, or the "
        "positions of the atoms as well; no run's identity depends on it",
    )


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, "", error.strerror, "a readable file", "Check the name.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: not UTF-8, or a date or number that cannot be.
        raise InputError(path, "", str(error), "YAML in UTF-8", "Correct the line named.") from error


def validate(model: type[Section], content: Any, where: object) -> Any:
    """Return `content` as the model.

    Raises
    ------
    InputError
        With the first key that is wrong, the value found and what is allowed.
    """
    if not isinstance(content, Mapping):
        raise InputError(where, "", content, "keys and values", "See config/README.md.")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields) if "." not in key else "only the keys of config/schema.json"
            raise InputError(where, key, first["input"], f"no such key; known are {known}", "Remove it.") from error
        advice = f"{error.error_count()} errors in all; see config/README.md."
        found = "nothing" if first["type"] == "missing" else first["input"]
        raise InputError(where, key, found, first["msg"], advice) from error


def load_molecule(path: Path) -> Molecule:
    """Return one molecule file, its form checked (its chemistry is `mobcg.molecule`'s).

    Raises
    ------
    InputError
        The file does not follow the model, or its id is not its name.
    """
    molecule = validate(Molecule, _read_yaml(path), path)
    if molecule.id != path.stem:
        raise InputError(path, "id", molecule.id, f"the file's name, {path.stem}", "Rename the one or the other.")
    if molecule.id == "all":
        raise InputError(path, "id", molecule.id, "another name", "`all` is the fold that holds no molecule out.")
    return molecule


def load_molecules(directory: Path) -> dict[str, Molecule]:
    """Return id → molecule of every .yaml in a directory, sorted by id; raises as `load_molecule`."""
    paths = sorted(directory.glob("*.yaml"))
    if not paths:
        raise InputError(directory, "", "no .yaml file", "one molecule a file", "Is molecules_dir right?")
    return {path.stem: load_molecule(path) for path in paths}


def scale_path(name: str, directory: Path = Path("config/scale")) -> Path:
    """Return the file of a scale: `name` itself where it is a path of a .yaml, else directory/name.yaml."""
    return Path(name) if name.endswith(".yaml") else directory / f"{name}.yaml"


def load_scale(path: Path, molecules: Mapping[str, Molecule]) -> Scale:
    """Return a scale file; molecules it names must exist.

    Raises
    ------
    InputError
        The file does not follow the model, or names a molecule or parent that there is no file for.
    """
    if not path.exists():
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.yaml"))) or "none"
        raise InputError(path, "scale", path.stem, f"one of {known}", "Choose one with SCALE=name.")
    scale = validate(Scale, _read_yaml(path), path)
    if scale.name != path.stem:
        raise InputError(path, "name", scale.name, f"the file's name, {path.stem}", "Rename the one or the other.")
    named = [] if scale.molecules == "all" else scale.molecules
    larger = scale.atomistic.larger_boxes_nm
    for key, ids in (
        ("molecules", named),
        ("synthetic.draws", scale.synthetic.draws),
        ("atomistic.larger_boxes_nm", larger),
    ):
        for molecule_id in ids:
            if molecule_id not in molecules:
                raise InputError(path, key, molecule_id, f"one of {', '.join(molecules)}", "Add its file first.")
    for molecule_id, edge_nm in larger.items():
        if edge_nm <= scale.atomistic.box_length_nm:
            allowed = f"more than atomistic.box_length_nm, {scale.atomistic.box_length_nm:g}"
            raise InputError(path, f"atomistic.larger_boxes_nm.{molecule_id}", edge_nm, allowed, "Take a larger box.")
    for molecule_id in scale.synthetic.draws:
        if molecules[molecule_id].topology is not None:
            advice = "Only OPLS-AA parameters can be drawn at random."
            raise InputError(path, "synthetic.draws", molecule_id, "molecules without a topology of their own", advice)
    return scale


def chosen_path(scale_name: str, directory: Path = Path("config/chosen")) -> Path:
    """Return the file of the liquids that were chosen for a scale; there need not be one."""
    return directory / f"{scale_name}.yaml"


def load_chosen(path: Path, scale: Scale) -> list[list[int]]:
    """Return the draws of each round of a file of `ChosenDraws`; no rounds where there is no such file.

    Raises
    ------
    InputError
        The file does not follow the model, or a draw is one of the scale file's own.
    """
    if not path.exists():
        return []
    rounds = validate(ChosenDraws, _read_yaml(path), path).rounds
    for number, draws in enumerate(rounds):
        if min(draws) < scale.prior.liquids:
            allowed = f"{scale.prior.liquids} and more: those below are in the scale file already (prior.liquids)"
            raise InputError(path, f"rounds.{number}", min(draws), allowed, "Remove it.")
    return rounds


def read_config(path: Path = Path("config/config.yaml")) -> dict[str, Any]:
    """Return what config.yaml holds, unchecked, for a command line to add to; `load_config` checks the whole.

    Raises
    ------
    InputError
        It cannot be read, or holds no keys and values.
    """
    content = _read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(path, "", content, "keys and values", "See config/README.md.")
    return content


def load_config(content: Mapping[str, Any], where: object = "config/config.yaml") -> Config:
    """Return the configuration as the workflow has it (file and command line merged)."""
    return validate(Config, content, where)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the four kinds of file, each under its model's name in `$defs`."""
    models = (Config, Molecule, Scale, ChosenDraws)
    _, definitions = models_json_schema([(model, "validation") for model in models])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mobcg configuration: config.yaml, molecules/*.yaml, scale/*.yaml, chosen/*.yaml",
        "anyOf": [{"$ref": f"#/$defs/{model.__name__}"} for model in models],
        **definitions,
    }


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2, sort_keys=True))
