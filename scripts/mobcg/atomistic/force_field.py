"""Force fields of one molecule: published OPLS-AA, drawn at random around it, or the user's own files.

A synthetic force field keeps the non-bonded parameters and the hard planarity of aromatic rings of OPLS-AA; bond
lengths, bond and angle force constants, angles and the torsions about single bonds are drawn, once for each tuple of
types. Where OPLS-AA's torsion is zero (CA-CA-CT-X) a factor would do nothing, so a Fourier series is added.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mobcg.atomistic.topology import (
    MOLECULE_NAME,
    Parameters,
    Topology,
    Types,
    atom_names,
    build_topology,
    embed,
    format_gro,
    format_itp,
    read_section,
)
from mobcg.errors import InputError
from mobcg.molecule import parse_smiles
from mobcg.plan import Spec, seed
from mobcg.spec import force_field_id
from mobcg.units import FS_PER_PS

# Time steps to choose from; each divides 0.1 ps, so frames and blocks are whole numbers of steps.
TIME_STEPS_FS = (2.0, 1.25, 1.0, 0.625, 0.5, 0.4, 0.25, 0.2, 0.125, 0.1)
STEPS_PER_PERIOD = 7
# Where a user's topology leaves harmonic parameters to a table that is not read here.
CAUTIOUS_TIME_STEP_FS = 1.0
LIGHTEST_HEAVY_ATOM_G_MOL = 3.5
UNITS: Mapping[str, str] = {
    "length": "nm",
    "bond_k": "kJ/mol/nm**2",
    "angle": "degree",
    "angle_k": "kJ/mol/rad**2",
    **{f"rb_c{n}": "kJ/mol" for n in range(6)},
    "improper_k": "kJ/mol",
    "multiplicity": "",
}

# Atom indices, and equilibrium value and force constant.
Term = tuple[tuple[int, ...], tuple[float, float]]


@dataclass(frozen=True)
class MoleculeFiles:
    """What GROMACS needs of one molecule: its texts, its name, atom masses and the time step it bears.

    `force_field_includes` are files of GROMACS' own that come before the molecule's.
    """

    itp: str
    gro: str
    molecule_name: str
    masses_g_mol: np.ndarray
    time_step_fs: float
    force_field_includes: tuple[str, ...] = ()


def molecule_files(spec: Spec, where: str = "spec", directory: Path = Path()) -> MoleculeFiles:
    """Return the topology and coordinates that an atomistic spec asks for; own files lie below `directory`.

    Raises
    ------
    InputError
        See `build_topology`, `choose_time_step_fs` and `read_own_files`.
    """
    smiles, force_field = spec["molecule"]["smiles"], spec["force_field"]
    if force_field["kind"] == "file":
        return read_own_files(force_field, smiles, where, directory)
    topology = resolve(smiles, force_field, where)
    positions_nm = embed(smiles, where)
    box_nm = float(np.ptp(positions_nm, axis=0).max()) + 1.0
    gro = format_gro(atom_names(topology), positions_nm, box_nm)
    limit_fs = choose_time_step_fs(shortest_period_ps(topology))
    return MoleculeFiles(format_itp(topology), gro, MOLECULE_NAME, topology.masses_g_mol, limit_fs)


def resolve(smiles: str, force_field: Mapping[str, Any], where: str = "spec") -> Topology:
    """Return the topology with the parameters of a pristine or synthetic force field.

    Raises
    ------
    InputError
        The molecule cannot be typed.
    """
    topology = build_topology(smiles, where)
    if force_field["kind"] == "pristine":
        return topology
    identity = {"smiles": smiles, "force_field": dict(force_field)}
    return replace(topology, parameters=synthetic_parameters(topology.parameters, force_field["ranges"], identity))


def synthetic_parameters(reference: Parameters, ranges: Mapping[str, Sequence[float]], identity: Spec) -> Parameters:
    """Draw bonded parameters around the reference; a key that `ranges` leaves out is not varied.

    Each number has a seed of its own, the hash of `identity`, the tuple of types and the key, so that one term's draw
    does not depend on which other terms the molecule has.

    Parameters
    ----------
    reference
        OPLS-AA parameters of the molecule.
    ranges
        As `mobcg.config.SyntheticRanges`: factors are drawn log-uniformly, shifts and the three torsion terms V1 to
        V3 uniformly.
    identity
        {"smiles": …, "force_field": …}; holds the number of the draw.

    Returns
    -------
    Parameters
        Non-bonded types, the torsions of aromatic rings and impropers as in the reference.
    """

    def draw(key: str, types: Types, part: str = "") -> float:
        neutral = 1.0 if key.endswith("_factor") else 0.0
        if key not in ranges:
            return neutral
        low, high = ranges[key]
        uniform = np.random.default_rng(seed(identity, f"{key} {'-'.join(types)} {part}")).uniform()
        if key.endswith("_factor"):
            return low * (high / low) ** uniform
        return low + (high - low) * uniform

    def torsion(types: Types, coefficients: tuple[float, ...]) -> tuple[float, ...]:
        if "CT" not in types[1:3]:
            return coefficients
        added = fourier_to_ryckaert_bellemans(*(draw("torsion_kj_mol", types, f"V{n}") for n in (1, 2, 3)))
        return tuple(round(c + a, 6) for c, a in zip(coefficients, added, strict=True))

    return replace(
        reference,
        bonds={
            types: (
                round(r0 * draw("bond_length_factor", types), 6),
                _bond_k(k, types, draw("bond_force_constant_factor", types)),
            )
            for types, (r0, k) in reference.bonds.items()
        },
        angles={
            types: (
                round(theta0 + draw("angle_shift_deg", types), 4),
                round(k * draw("angle_force_constant_factor", types), 4),
            )
            for types, (theta0, k) in reference.angles.items()
        },
        torsions={types: torsion(types, coefficients) for types, coefficients in reference.torsions.items()},
    )


def _bond_k(k: float, types: Types, factor: float) -> float:
    return k if any(name.startswith("H") for name in types) else round(k * factor, 2)


def fourier_to_ryckaert_bellemans(v1: float, v2: float, v3: float) -> tuple[float, ...]:
    """Return C0..C5 (kJ/mol) of V = [V1 (1 + cos φ) + V2 (1 − cos 2φ) + V3 (1 + cos 3φ)] / 2.

    GROMACS reference manual, Ryckaert–Bellemans function; its ψ is φ − 180°.
    """
    return (v2 + (v1 + v3) / 2, (3 * v3 - v1) / 2, -v2, -2 * v3, 0.0, 0.0)


def shortest_period_ps(topology: Topology) -> float:
    """Return the shortest period (ps) of the harmonic terms that remain when bonds to hydrogen are constrained.

    Bond: T = 2π sqrt(μ/k). Angle: T = 2π / sqrt(k G) with Wilson's diagonal element
    G = 1/(m1 r1²) + 1/(m3 r3²) + (1/r1² + 1/r3² − 2 cos θ / (r1 r3)) / m2 (Wilson, Decius, Cross, Molecular
    Vibrations, 1955), at the equilibrium lengths and angle.
    """
    masses, parameters = topology.masses_g_mol, topology.parameters
    lengths = {frozenset(atoms): parameters.bonds[types][0] for atoms, types in topology.bonds}
    bonds = [(atoms, parameters.bonds[types]) for atoms, types in topology.bonds]
    heavy = [item for item in bonds if masses[list(item[0])].min() > LIGHTEST_HEAVY_ATOM_G_MOL]
    angles = [(atoms, parameters.angles[types]) for atoms, types in topology.angles]
    return min(harmonic_periods_ps(masses, heavy, angles, lengths), default=math.inf)


def harmonic_periods_ps(
    masses: Mapping[int, float] | np.ndarray,
    bonds: Iterable[Term],
    angles: Iterable[Term],
    lengths: Mapping[frozenset[int], float],
) -> Iterator[float]:
    """Yield the periods (ps) of bonds and angles, each (atoms, (equilibrium, force constant)); see above."""
    for (i, j), (_, k) in bonds:
        yield 2 * math.pi / math.sqrt(k * (1 / masses[i] + 1 / masses[j]))
    for (i, j, m), (theta0_deg, k) in angles:
        r1, r3 = lengths[frozenset((i, j))], lengths[frozenset((j, m))]
        centre = 1 / r1**2 + 1 / r3**2 - 2 * math.cos(math.radians(theta0_deg)) / (r1 * r3)
        element = 1 / (masses[i] * r1**2) + 1 / (masses[m] * r3**2) + centre / masses[j]
        yield 2 * math.pi / math.sqrt(k * element)


def choose_time_step_fs(period_ps: float) -> float:
    """Return the longest of `TIME_STEPS_FS` that is at most a seventh of the shortest period.

    A seventh ran every force field tried, a quarter crashed.

    Raises
    ------
    InputError
        The period asks for less than the shortest step.
    """
    limit_fs = period_ps * FS_PER_PS / STEPS_PER_PERIOD
    for step_fs in TIME_STEPS_FS:
        if step_fs <= limit_fs:
            return step_fs
    raise InputError(
        "force field", "shortest period (fs)", period_ps * FS_PER_PS, f"{STEPS_PER_PERIOD * TIME_STEPS_FS[-1]} or more"
    )


def force_field_rows(spec: Spec) -> list[dict[str, Any]]:
    """Return one row of table `force_fields` for each bonded parameter of a spec's force field.

    Empty for the user's own files, which are known by their hashes in `spec`. Needs GROMACS' force-field files.
    """
    if spec["force_field"]["kind"] == "file":
        return []
    reference = build_topology(spec["molecule"]["smiles"]).parameters
    used = resolve(spec["molecule"]["smiles"], spec["force_field"]).parameters
    tables = (
        ("bond", used.bonds, reference.bonds, ("length", "bond_k")),
        ("angle", used.angles, reference.angles, ("angle", "angle_k")),
        ("dihedral", used.torsions, reference.torsions, tuple(f"rb_c{n}" for n in range(6))),
        ("improper", used.impropers, reference.impropers, ("angle", "improper_k", "multiplicity")),
    )
    return [
        {
            "force_field_id": force_field_id(spec),
            "molecule_id": spec["molecule"]["id"],
            "kind": spec["force_field"]["kind"],
            "term": term,
            "atom_types": "-".join(types),
            "parameter": name,
            "unit": UNITS[name],
            "value": float(value),
            "reference_value": float(reference_value),
        }
        for term, table, reference_table, names in tables
        for types, values in table.items()
        for name, value, reference_value in zip(names, values, reference_table[types], strict=True)
    ]


def read_own_files(force_field: Mapping[str, Any], smiles: str, where: str, directory: Path = Path()) -> MoleculeFiles:
    """Read a user's own topology (.itp) and coordinates (.gro) of one molecule; paths start at `directory`.

    The .itp is used as it is: one [ moleculetype ] with charges and masses in [ atoms ]. With [ atomtypes ] of its own
    it also needs [ defaults ], because the combination rule belongs to the types; with neither, its types are those of
    GROMACS' oplsaa.ff. The .gro holds the molecule once, in the same order of atoms. Names of hydrogens begin with H
    (GROMACS finds the bonds to constrain by that).

    Raises
    ------
    InputError
        A file is missing or is not the one whose SHA-256 was given, a section is missing, the file includes another,
        charge is not 0, or atoms and molar mass do not fit the SMILES or the coordinates.
    """
    itp = _read_checked(force_field, "itp", where, directory)
    gro = _read_checked(force_field, "gro", where, directory)
    path = directory / force_field["itp"]
    if any(line.lstrip().startswith("#include") for line in itp.splitlines()):
        raise InputError(path, "#include", path.name, "one self-contained file", "Paste the included text in.")
    own_types, defaults = (bool(list(read_section(itp, name))) for name in ("atomtypes", "defaults"))
    if own_types != defaults:
        raise InputError(
            path,
            "[ defaults ]",
            "one of [ defaults ] and [ atomtypes ] without the other",
            "both, or neither (types of oplsaa.ff)",
            "OPLS: '1 3 yes 0.5 0.5'; GAFF and Amber: '1 2 yes 0.5 0.8333'.",
        )
    names = [words[0] for words in read_section(itp, "moleculetype")]
    if len(names) != 1:
        raise InputError(path, "[ moleculetype ]", names, "one molecule")
    masses = _own_masses(path, itp)
    _check_same_molecule(path, masses, gro, directory / force_field["gro"], smiles, where)
    includes = () if defaults else ("oplsaa.ff/forcefield.itp",)
    return MoleculeFiles(itp, gro, names[0], masses, own_time_step_fs(itp), includes)


def _own_masses(path: Path, itp: str) -> np.ndarray:
    atoms = list(read_section(itp, "atoms"))
    if not atoms or any(len(words) < 8 for words in atoms):
        raise InputError(path, "[ atoms ]", "a line without charge or mass", "charge and mass of every atom")
    charge = math.fsum(float(words[6]) for words in atoms)
    if abs(charge) > 1e-4:
        raise InputError(path, "[ atoms ]", f"a charge of {charge:+.5f} e", "a neutral molecule")
    return np.array([float(words[7]) for words in atoms])


def _read_checked(force_field: Mapping[str, Any], key: str, where: str, directory: Path) -> str:
    path = directory / force_field[key]
    if not path.is_file():
        raise InputError(where, f"force_field.{key}", str(path), "a file that exists")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != force_field[f"{key}_sha256"]:
        raise InputError(
            path,
            "SHA-256",
            found,
            force_field[f"{key}_sha256"],
            "The file changed since the plan was made; plan again.",
        )
    return data.decode()


def _check_same_molecule(path: Path, masses: np.ndarray, gro: str, gro_path: Path, smiles: str, where: str) -> None:
    count = "".join(gro.splitlines()[1:2]).strip()
    if count != str(len(masses)):
        raise InputError(gro_path, "line 2, number of atoms", count, f"{len(masses)}, one molecule as in {path}")
    species = parse_smiles(smiles, where)
    if len(masses) != species.n_atoms or abs(masses.sum() - species.molar_mass_g_mol) > 0.1:
        found = f"{len(masses)} atoms, {masses.sum():.3f} g/mol"
        raise InputError(path, "[ atoms ]", found, f"{species.n_atoms} atoms, {species.molar_mass_g_mol:.3f} g/mol")


def own_time_step_fs(itp: str) -> float:
    """Return the time step (fs) for a user's topology, from its harmonic terms.

    `CAUTIOUS_TIME_STEP_FS` where a bond or angle is not harmonic or leaves its numbers to a table of types.
    """
    masses = {int(words[0]): float(words[7]) for words in read_section(itp, "atoms")}
    hydrogens = {int(words[0]) for words in read_section(itp, "atoms") if words[4].startswith("H")}
    bonds = [_harmonic_term(words, 2) for words in read_section(itp, "bonds")]
    angles = [_harmonic_term(words, 3) for words in read_section(itp, "angles")]
    if not bonds or None in bonds or None in angles:
        return CAUTIOUS_TIME_STEP_FS
    lengths = {frozenset(atoms): length for atoms, (length, _) in bonds}
    heavy = [(atoms, values) for atoms, values in bonds if not hydrogens.intersection(atoms)]
    return choose_time_step_fs(min(harmonic_periods_ps(masses, heavy, angles, lengths), default=math.inf))


def _harmonic_term(words: Sequence[str], n_atoms: int) -> Term | None:
    if words[n_atoms] != "1" or len(words) < n_atoms + 3:
        return None
    return tuple(map(int, words[:n_atoms])), (float(words[n_atoms + 1]), float(words[n_atoms + 2]))
