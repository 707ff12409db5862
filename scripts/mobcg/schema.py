"""The one place that says what is in the release: every table and column with type, unit and meaning.

Arrow schemas, the data dictionary and the checks are all made from `TABLES`. A list column is a curve on the common
grid of `grid.parquet` unless its description says otherwise. Bead trajectories lie beside a release, not in it:
`TRAJECTORY` is what such a file holds, `TRAJECTORY_INDEX` what the release says of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

# Semantic. Major: a table or column removed or renamed, or its type, unit or meaning changed; code that reads the old
# release may misread the new one. Minor: a table, column or allowed value added, a null allowed; old code still reads
# all that it knew. Patch: wording, in the descriptors of a release too, and what the data card makes of the tables. A
# release of another major version is not read, one of an older minor version is: it may lack the columns that came
# later.
SCHEMA_VERSION = "1.6.0"
DATA_LICENSE = "CC-BY-4.0"

TEXT = pa.string()
REAL = pa.float64()
WHOLE = pa.int64()
FLAG = pa.bool_()
CURVE = pa.list_(pa.field("element", pa.float64(), nullable=False))
TEXTS = pa.list_(pa.field("element", pa.string(), nullable=False))
# One frame of a trajectory: x, y, z of each bead in turn. A file has lists of one fixed size.
FRAME = pa.list_(pa.field("element", pa.float32(), nullable=False))
FRAME_WHOLE = pa.list_(pa.field("element", pa.int16(), nullable=False))


@dataclass(frozen=True)
class Column:
    """One column: Arrow type, unit (in pint's spelling, "" where it has none), meaning, and what it may hold.

    Attributes
    ----------
    required
        Never null.
    expected
        Null only in a row of a run that failed.
    allowed
        The only texts it may hold; empty for any.
    minimum, maximum, exclusive_minimum
        Limits of a number, or of every element of a list; None for no limit.
    references
        `table.column` that holds every value of this one; empty where it is no foreign key.
    on_grid
        A list with one element for each bin of the common grid.
    """

    name: str
    type: pa.DataType
    unit: str
    description: str
    symbol: str = ""
    required: bool = False
    allowed: tuple[str, ...] = ()
    expected: bool = False
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    references: str = ""
    on_grid: bool = False


@dataclass(frozen=True)
class Table:
    """One table: what a row is, its columns, and the columns that name a row and order the rows."""

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema; description, unit and symbol stand in each field's metadata."""
        return pa.schema([_arrow_field(column) for column in self.columns], metadata={"description": self.description})


def _arrow_field(column: Column) -> pa.Field:
    metadata = {"description": column.description, "unit": column.unit, "symbol": column.symbol}
    if column.allowed:
        metadata["allowed"] = "|".join(column.allowed)
    return pa.field(column.name, column.type, nullable=not column.required, metadata=metadata)


def _key(name: str, description: str, references: str = "") -> Column:
    return Column(name, TEXT, "", description, required=True, references=references)


def _number(name: str, unit: str, description: str, symbol: str = "", *, above: float | None = None, **more) -> Column:
    return Column(name, REAL, unit, description, symbol, exclusive_minimum=above, **more)


MOLECULE_ID = _key("molecule_id", "molecule, as in molecules.parquet", "molecules.molecule_id")
# A liquid drawn from the prior has no molecule behind it.
PARENT_MOLECULE_ID = Column(
    "molecule_id",
    TEXT,
    "",
    "molecule, as in molecules.parquet; null for liquids drawn from the prior",
    references="molecules.molecule_id",
)
STATUS = (
    Column("status", TEXT, "", "ok, or failed with the reason beside it", required=True, allowed=("ok", "failed")),
    Column("reason", TEXT, "", "why the run failed, or what to know of it; null where there is nothing to say"),
)
RETRIES = Column(
    "retries", WHOLE, "", "attempts before the last, each given up as unstable and repeated in smaller steps", minimum=0
)
PROVENANCE = (
    Column("spec", TEXT, "", "what was asked for, as canonical JSON; its SHA-256 begins with the id", required=True),
    Column("versions", TEXT, "", "program → version that made the row, as JSON", required=True),
)
DIFFUSION = (
    _number(
        "diffusion_nm2_ns",
        "nm**2/ns",
        "self-diffusion coefficient from the multiple-origin MSD",
        "D",
        above=0,
        maximum=1e4,
        expected=True,
    ),
    _number(
        "diffusion_nm2_ns_se",
        "nm**2/ns",
        "its standard error, from time blocks",
        "SE(D)",
        above=0,
        maximum=1e4,
        expected=True,
    ),
    _number(
        "diffusion_yh_nm2_ns",
        "nm**2/ns",
        "D f(N) in an infinite box, f = 1 / (1 - 2.837297 / (6π 0.146 N^(1/3))): correction of Yeh and Hummer, "
        "viscosity estimated from D itself. A constant of N times D, so that its statistical error is f SE(D). The "
        "correction f - 1 is uncertain by about 20 %, and not justified under DPD friction; null under Langevin "
        "friction",
        "D_∞",
        above=0,
        maximum=1e4,
    ),
)

TOGETHER = (
    _number(
        "neighbour_correlation",
        "",
        "how far first neighbours move together: mean product of their displacements over the mean squared "
        "displacement, in the time in which that reaches a quarter of ρ^(-2/3)",
        "C",
        minimum=-1,
        maximum=1,
    ),
    _number("neighbour_correlation_se", "", "its standard error, from time blocks", "SE(C)", minimum=0),
)


def _curve(name: str, unit: str, description: str, symbol: str, **more) -> Column:
    return Column(name, CURVE, unit, description, symbol, on_grid=True, **more)


STRUCTURE = (
    _curve("rdf", "", "radial distribution function, normalised by N-1", "g(r)", minimum=0, expected=True),
    _curve("rdf_se", "", "its standard error, from time blocks", "SE(g)", minimum=0, expected=True),
)
DISPLACEMENT = (
    Column(
        "msd_time_ps",
        CURVE,
        "ps",
        "lag times of the MSD (not the common grid)",
        "t",
        expected=True,
        minimum=0,
    ),
    Column(
        "msd_nm2",
        CURVE,
        "nm**2",
        "mean squared displacement at those lags, drift of the box removed",
        "MSD",
        expected=True,
        minimum=-1e-5,  # rounding of the Fourier transform at the shortest lags
    ),
)
THERMOSTAT = Column(
    "thermostat", TEXT, "", "what holds the temperature", required=True, allowed=("nose_hoover", "langevin", "dpd")
)
FRICTION = Column(
    "friction_1_ps",
    REAL,
    "1/ps",
    "friction of the thermostat over the bead mass (Langevin: on every bead; DPD: on the relative velocity along the "
    "line between two beads closer than 1 nm, the same at every such distance); 0 without",
    "γ/m",
    required=True,
    minimum=0,
)
PRESSURE = (
    Column("pressure_bar", REAL, "bar", "mean virial pressure", "p"),
    _number("pressure_bar_se", "bar", "its standard error, from time blocks", "SE(p)", minimum=0),
)

GRID = Table(
    "grid",
    "The common grid of every curve: 150 bin centres.",
    ("r_nm",),
    (_number("r_nm", "nm", "pair distance at the bin centre", "r", above=0, maximum=1.5, required=True),),
)

MOLECULES = Table(
    "molecules",
    "The liquids of the release, one molecule and one state point a row.",
    ("molecule_id",),
    (
        _key("molecule_id", "short name, lower case"),
        Column("name", TEXT, "", "IUPAC or common name", required=True),
        Column("smiles", TEXT, "", "canonical SMILES (RDKit)", required=True),
        Column("inchikey", TEXT, "", "InChIKey", required=True),
        Column("formula", TEXT, "", "Hill formula", required=True),
        _number("molar_mass_g_mol", "g/mol", "molar mass", "M", minimum=1, maximum=5000, required=True),
        Column("n_atoms", WHOLE, "", "atoms of one molecule, hydrogens counted", required=True, minimum=1),
        Column(
            "role",
            TEXT,
            "",
            "parent: its force field is also randomised; test: one of the other liquids; extension: added later",
            required=True,
            allowed=("parent", "test", "extension"),
        ),
        _number("temperature_k", "K", "temperature of the state point", "T", above=0, maximum=3000, required=True),
        Column("pressure_bar", REAL, "bar", "pressure of the state point", "p", required=True),
        _number(
            "reference_density_kg_m3",
            "kg/m**3",
            "density from experiment or an equation of state",
            "ρ",
            above=0,
            maximum=25000,
        ),
        Column("reference_density_source", TEXT, "", "where that density is from"),
    ),
)

FORCE_FIELDS = Table(
    "force_fields",
    "The bonded parameters of every force field, one parameter a row, beside the published OPLS-AA value.",
    ("force_field_id", "term", "atom_types", "parameter"),
    (
        _key("force_field_id", "force field: hash of the molecule and of what was asked for"),
        MOLECULE_ID,
        Column(
            "kind",
            TEXT,
            "",
            "pristine OPLS-AA, synthetic (parameters drawn at random) or the user's own file",
            required=True,
            allowed=("pristine", "synthetic", "file"),
        ),
        Column("term", TEXT, "", "bond, angle, dihedral or improper", required=True),
        Column("atom_types", TEXT, "", "OPLS bond types of the atoms, joined by hyphens", required=True),
        Column(
            "parameter",
            TEXT,
            "",
            "name of the parameter, as in the energies of GROMACS: bond ½ bond_k (r - length)²; angle ½ angle_k (θ - "
            "angle)²; dihedral Σ rb_cn cosⁿ(φ - 180°), n = 0 ... 5 (Ryckaert-Bellemans, trans at φ = 180°); improper "
            "improper_k (1 + cos(multiplicity φ - angle))",
            required=True,
        ),
        Column("unit", TEXT, "", "unit of value and reference_value, in pint's spelling", required=True),
        Column("value", REAL, "", "value used, in `unit`", required=True),
        Column("reference_value", REAL, "", "value of pristine OPLS-AA, in `unit`", required=True),
    ),
)

ATOMISTIC = Table(
    "atomistic",
    "All-atom molecular dynamics runs seen through the centres of mass of the molecules.",
    ("run_id",),
    (
        _key("run_id", "first 16 hex digits of the SHA-256 of `spec`"),
        MOLECULE_ID,
        _key("force_field_id", "force field, as in force_fields.parquet", "force_fields.force_field_id"),
        Column("replica", WHOLE, "", "number of the independent replica", required=True, minimum=0),
        _number("temperature_k", "K", "temperature of the thermostat", "T", above=0, maximum=3000, required=True),
        Column(
            "pressure_bar",
            REAL,
            "bar",
            "pressure of the NPT stage; where `spec` has density_kg_m3 there was none, and it is not that of the run",
            "p",
            required=True,
        ),
        Column("n_molecules", WHOLE, "", "molecules in the box", "N", required=True, minimum=2),
        _number("mass_g_mol", "g/mol", "mass of a molecule", "m", minimum=1, maximum=5000, expected=True),
        _number(
            "box_length_nm", "nm", "edge of the cubic box of the NVT stage", "L", above=0, maximum=1000, expected=True
        ),
        _number(
            "density_kg_m3",
            "kg/m**3",
            "density of the NVT stage: mean of the NPT stage once settled, or the density_kg_m3 that `spec` asks for",
            "ρ",
            above=0,
            maximum=25000,
            expected=True,
        ),
        _number(
            "density_kg_m3_se",
            "kg/m**3",
            "standard error of that mean, from time blocks; 0 for a density asked for",
            "SE(ρ)",
            minimum=0,
            expected=True,
        ),
        _number(
            "number_density_nm3",
            "1/nm**3",
            "molecules per volume in the NVT stage",
            "ρ_N",
            above=0,
            maximum=1000,
            expected=True,
        ),
        Column(
            "density_settled",
            FLAG,
            "",
            "whether the drift of the density met its limit before the time was up; null for a density asked for",
        ),
        _number(
            "temperature_centres_k",
            "K",
            "kinetic temperature of the centres of mass, m Σ v² / (3 (N - 1) k), mean over the production; the "
            "thermostat holds that of all atoms together, and vibrations, which a finite time step shifts, pass energy "
            "to translation within tens of ps only: some K off temperature_k, mostly below",
            "T",
            above=0,
        ),
        _number("time_step_fs", "fs", "time step that the run ended with", "Δt", minimum=0.05, maximum=100),
        RETRIES,
        _number("production_ps", "ps", "length of the NVT production", "t_prod", above=0, expected=True),
        *DIFFUSION,
        *TOGETHER,
        *STRUCTURE,
        *DISPLACEMENT,
        *STATUS,
        *PROVENANCE,
    ),
)

POTENTIALS = Table(
    "potentials",
    "Pair potentials between one-site beads, cut off at 1.5 nm.",
    ("potential_id",),
    (
        _key("potential_id", "hash of what the potential was asked to be"),
        PARENT_MOLECULE_ID,
        Column(
            "origin",
            TEXT,
            "",
            "ibi: iterative Boltzmann inversion; scaled: a parent times a constant; perturbed: that plus "
            "smooth Gaussians of r; prior: drawn at random; predicted; force_matched: nearest to the net forces",
            required=True,
            allowed=("ibi", "scaled", "perturbed", "predicted", "prior", "force_matched"),
        ),
        Column("parent_id", TEXT, "", "ibi: first atomistic run_id; scaled, perturbed: potential_id; else null"),
        Column("parent_run_ids", TEXTS, "", "atomistic runs whose mean g(r) was the target (replicas)"),
        _number("scale_factor", "", "constant that multiplies the parent; 1 without", required=True, above=0),
        _number(
            "temperature_k", "K", "temperature of the state it was made for", "T", above=0, maximum=3000, expected=True
        ),
        _number(
            "number_density_nm3",
            "1/nm**3",
            "beads per volume of that state",
            "ρ_N",
            above=0,
            maximum=1000,
            expected=True,
        ),
        _number("mass_g_mol", "g/mol", "mass of the parent's molecule; null for prior", "m", minimum=1, maximum=5000),
        Column("n_beads", WHOLE, "", "beads of the parent's box", "N", minimum=2),
        _curve("potential_kj_mol", "kJ/mol", "pair potential", "U(r)", expected=True),
        _curve(
            "force_kj_mol_nm", "kJ/mol/nm", "pair force, -dU/dr of the cubic spline through U", "F(r)", expected=True
        ),
        Column(
            "pressure_corrected",
            FLAG,
            "",
            "whether the inversion also aimed at the pressure; scaled, perturbed: that of the parent",
            required=True,
        ),
        Column("pressure_bar", REAL, "bar", "pressure of the last iterations", "p"),
        _number("pressure_bar_se", "bar", "its standard error", "SE(p)", minimum=0),
        Column("n_iterations", WHOLE, "", "iterations done", minimum=0),
        RETRIES,
        _number("rdf_deviation", "", "sum over bins of |g - g_target|, mean of the last iterations", minimum=0),
        _number("rdf_deviation_noise", "", "what that sum is expected to be from sampling noise alone", minimum=0),
        Column("history_rdf_deviation", CURVE, "", "sum over bins of |g - g_target| of each iteration (not the grid)"),
        Column("history_pressure_bar", CURVE, "bar", "pressure of each iteration (not the grid)"),
        Column(
            "history_potential_kj_mol",
            pa.list_(pa.field("element", CURVE, nullable=False)),
            "kJ/mol",
            "potential that went into each iteration",
        ),
        *STATUS,
        *PROVENANCE,
    ),
)

COARSE = Table(
    "coarse",
    "Molecular dynamics runs of coarse-grained one-bead liquids.",
    ("run_id",),
    (
        _key("run_id", "first 16 hex digits of the SHA-256 of `spec`"),
        PARENT_MOLECULE_ID,
        _key("potential_id", "potential, as in potentials.parquet", "potentials.potential_id"),
        _number("mass_g_mol", "g/mol", "mass of a bead", "m", minimum=1, maximum=5000, required=True),
        THERMOSTAT,
        FRICTION,
        _number("temperature_k", "K", "temperature of the thermostat", "T", above=0, maximum=3000, required=True),
        _number("temperature_measured_k", "K", "mean kinetic temperature", "T", above=0, maximum=3000),
        _number("number_density_nm3", "1/nm**3", "beads per volume", "ρ_N", above=0, maximum=1000, expected=True),
        Column("n_beads", WHOLE, "", "beads in the box", "N", required=True, minimum=2),
        _number("box_length_nm", "nm", "edge of the cubic box", "L", above=0, maximum=1000, expected=True),
        _number("time_step_fs", "fs", "time step that the run ended with", "Δt", minimum=0.05, maximum=100),
        RETRIES,
        _number("production_ps", "ps", "length of the production run", "t_prod", above=0, expected=True),
        *DIFFUSION,
        *PRESSURE,
        *STRUCTURE,
        *DISPLACEMENT,
        *STATUS,
        *PROVENANCE,
    ),
)

SPLITS = Table(
    "splits",
    "Which coarse rows train and test a model when one molecule is held out: fold = held-out molecule.",
    ("fold", "run_id"),
    (
        _key("run_id", "row of coarse.parquet", "coarse.run_id"),
        _key("fold", "molecule that this fold holds out, or all for the released model"),
        Column(
            "split",
            TEXT,
            "",
            "test: descends from the held-out molecule; validation: parent potentials held out of training",
            required=True,
            allowed=("train", "validation", "test"),
        ),
        Column(
            "parent_molecule_id",
            TEXT,
            "",
            "molecule that the row descends from; null for liquids drawn from the prior",
            references="molecules.molecule_id",
        ),
        _key(
            "parent_potential_id",
            "inverted or prior potential that it descends from",
            "potentials.potential_id",
        ),
    ),
)

MODELS = (
    "ibi",
    "ibi_scaled",
    "ibi_dpd",
    "ibi_langevin",
    "bag2024",
    "mobcg",
    "mobcg_dpd",
    "mobcg_langevin",
    "pair_fm",
    "schnet",
    "hipnn",
)
# The trained model behind each of those that are predicted: one model proposes potential, knob and friction.
TRAINED_MODELS = {"bag2024": "bag2024", "mobcg": "mobcg", "mobcg_dpd": "mobcg", "mobcg_langevin": "mobcg"}
EVALUATION = Table(
    "evaluation",
    "Every model of every liquid, run in the box of its atomistic parent and scored against it, one replica a row.",
    ("molecule_id", "model", "scale_factor", "replica"),
    (
        MOLECULE_ID,
        Column("model", TEXT, "", "what made the potential and the friction", required=True, allowed=MODELS),
        Column("replica", WHOLE, "", "number of the independent replica", required=True, minimum=0),
        _number(
            "scale_factor",
            "",
            "ibi_scaled: constant that multiplies the inverted potential; mobcg: setting of its knob, a factor on the "
            "multiple of the potential that it chooses itself, so that 1 is its own choice; 1 for others",
            required=True,
            above=0,
        ),
        THERMOSTAT,
        FRICTION,
        Column(
            "reference_run_ids",
            TEXTS,
            "",
            "atomistic runs whose mean D and mean g(r) the scores are against; null where none finished, and in rows "
            "of releases older than this column",
        ),
        Column(
            "weights_sha256",
            TEXT,
            "",
            "SHA-256 of the weights of the trained model: mostly that of the fold without this molecule, which is not "
            "the one that the release ships; null where nothing was trained",
        ),
        Column("n_beads", WHOLE, "", "beads in the box", "N", minimum=2, expected=True),
        _number("box_length_nm", "nm", "edge of the cubic box", "L", above=0, maximum=1000, expected=True),
        *DIFFUSION,
        *TOGETHER,
        _number("alpha", "", "D over D of the atomistic liquid", "α", above=0, expected=True),
        _number("alpha_se", "", "its standard error, propagated from those of both D", "SE(α)", above=0, expected=True),
        _number("rdf_error", "", "∫|g - g_AA| dr / ∫ g_AA dr over 0.1-1.5 nm", "e", minimum=0, expected=True),
        _number(
            "rdf_error_se", "", "its standard error, from a bootstrap of both g within their errors", "SE(e)", minimum=0
        ),
        _number("rdf_r2", "", "coefficient of determination of g over 0.1-1.5 nm", "R²", maximum=1, expected=True),
        *PRESSURE,
        _number(
            "density_1atm_kg_m3",
            "kg/m**3",
            "density of an NPT run at 1 atm; null where none is held",
            "ρ",
            above=0,
            maximum=25000,
        ),
        _number("density_1atm_kg_m3_se", "kg/m**3", "its standard error, from time blocks", "SE(ρ)", minimum=0),
        _number("score", "", "sqrt((e/0.1)² + (ln α/ln 2)²), smaller is better", "S", minimum=0, expected=True),
        _number("score_se", "", "its standard error, propagated from those of e and α", "SE(S)", minimum=0),
        RETRIES,
        _number(
            "training_core_s", "s", "core-seconds that a force-matched model took to train; null for others", minimum=0
        ),
        _number(
            "md_core_s_ns_bead",
            "s/ns",
            "core-seconds of dynamics per nanosecond and bead of a force-matched model: of a many-body model in the "
            "engine of mobcg, of pair_fm in LAMMPS, start and equilibration counted; null for others",
            above=0,
        ),
        _curve("potential_kj_mol", "kJ/mol", "the pair potential that was run", "U(r)"),
        *STRUCTURE,
        *DISPLACEMENT,
        *STATUS,
        *PROVENANCE,
    ),
)

TABLES: dict[str, Table] = {
    table.name: table for table in (GRID, MOLECULES, FORCE_FIELDS, ATOMISTIC, POTENTIALS, COARSE, SPLITS, EVALUATION)
}

# Beside the directories of the releases, which share them: one file a run; and the file of a release that names them.
TRAJECTORIES = "trajectories"
TRAJECTORIES_FILE = "trajectories.json"

TRAJECTORY = Table(
    "trajectory",
    "The beads of one atomistic run, one frame a row; box, spec and all else of the run are in the file's metadata.",
    ("time_ps",),
    (
        _number("time_ps", "ps", "time since the first frame", "t", minimum=0, required=True),
        Column("potential_kj_mol", REAL, "kJ/mol", "potential energy of the whole box, all atoms counted", "E_pot"),
        Column(
            "positions_nm",
            FRAME,
            "nm",
            "x, y, z of each bead in turn, wrapped into the box",
            "r",
            required=True,
        ),
        Column(
            "images",
            FRAME_WHOLE,
            "",
            "box lengths to add to each coordinate for the path of the bead without jumps",
            required=True,
        ),
        Column("forces_kj_mol_nm", FRAME, "kJ/mol/nm", "net force on each bead: Fx, Fy, Fz of each in turn", "F"),
    ),
)

TRAJECTORY_INDEX = Table(
    "trajectories",
    "Bead trajectories of the atomistic runs (an optional download), one run a row.",
    ("run_id",),
    (
        _key("run_id", "run, as in atomistic.parquet", "atomistic.run_id"),
        MOLECULE_ID,
        Column("replica", WHOLE, "", "number of the independent replica", required=True, minimum=0),
        Column("frames", WHOLE, "", "frames", required=True, minimum=1),
        _number("frame_ps", "ps", "time between two frames", "Δt", above=0, required=True),
        Column("beads", WHOLE, "", "beads in the box", "N", required=True, minimum=2),
        _number("box_length_nm", "nm", "edge of the cubic box", "L", above=0, maximum=1000, required=True),
        Column("file", TEXT, "", f"name of the file in {TRAJECTORIES}/ beside the release's directory", required=True),
        Column("bytes", WHOLE, "", "its size", required=True, minimum=1),
        Column("sha256", TEXT, "", "its SHA-256 in hex", required=True),
    ),
)
