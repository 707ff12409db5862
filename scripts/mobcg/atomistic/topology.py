"""OPLS-AA topologies of hydrocarbons: SMILES → typed molecule → self-contained GROMACS topology and coordinates.

Types come from SMARTS patterns, parameters from the `oplsaa.ff` that GROMACS itself brings along. Every parameter is
written out in the topology, so that a synthetic force field is the same writer with other numbers.

Source of the force field: Jorgensen, Maxwell, Tirado-Rives, J. Am. Chem. Soc. 1996, 118, 11225 (alkanes);
Jorgensen, Severance, J. Am. Chem. Soc. 1990, 112, 4768 (benzene).
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from mobcg.errors import InputError
from mobcg.molecule import parse_smiles
from mobcg.units import ANGSTROM_PER_NM

# The first atom of a pattern gets the type. The patterns exclude each other: no order of precedence to know about.
TYPING: Sequence[tuple[str, str]] = (
    ("[CX4H4]", "opls_138"),  # methane
    ("[CX4H3]-[CX4]", "opls_135"),
    ("[CX4H2](-[CX4])-[CX4]", "opls_136"),
    ("[CX4H1](-[CX4])(-[CX4])-[CX4]", "opls_137"),
    ("[CX4H0](-[CX4])(-[CX4])(-[CX4])-[CX4]", "opls_139"),
    ("[CX4H3]-c", "opls_148"),  # toluene
    ("[CX4H2](-c)-[CX4]", "opls_149"),  # ethylbenzene
    ("[CX4H1](-c)(-[CX4])-[CX4]", "opls_515"),  # isopropylbenzene
    ("[CX4H0](-c)(-[CX4])(-[CX4])-[CX4]", "opls_516"),  # tert-butylbenzene
    ("[cX3r6](:c)(:c)-[#1,CX4]", "opls_145"),
    ("[#1]-[CX4]", "opls_140"),
    ("[#1]-c", "opls_146"),
)
TYPED_HERE = "alkanes, cycloalkanes with rings of 5 or more atoms, benzene and alkylbenzenes"
OWN_FILES = "give your own topology instead (topology: itp and gro)."
AROMATIC_IMPROPER = "improper_Z_CA_X_Y"
EMBEDDING_SEED = 20240229
EXCLUDED_BONDS = 3
MOLECULE_NAME = "MOL"

Types = tuple[str, ...]


@dataclass(frozen=True)
class AtomType:
    """One non-bonded type: mass (g/mol), charge (e), Lennard-Jones sigma (nm) and epsilon (kJ/mol)."""

    bonded_type: str
    atomic_number: int
    mass_g_mol: float
    charge_e: float
    sigma_nm: float
    epsilon_kj_mol: float


@dataclass(frozen=True)
class Parameters:
    """Force-field parameters by the tuple of bonded types they belong to.

    Attributes
    ----------
    atoms
        Name of the non-bonded type → its parameters.
    bonds
        (i, j) → (length in nm, force constant in kJ/mol/nm²), V = k (r − r0)² / 2.
    angles
        (i, j, k) → (angle in degrees, force constant in kJ/mol/rad²), V = k (θ − θ0)² / 2.
    torsions
        (i, j, k, l), with X for any type → six Ryckaert–Bellemans coefficients C0..C5 in kJ/mol,
        V = Σ Cn cosⁿ(φ − 180°).
    impropers
        The one aromatic improper → (angle in degrees, force constant in kJ/mol, multiplicity).
    """

    atoms: Mapping[str, AtomType]
    bonds: Mapping[Types, tuple[float, float]]
    angles: Mapping[Types, tuple[float, float]]
    torsions: Mapping[Types, tuple[float, ...]]
    impropers: Mapping[Types, tuple[float, float, int]]


@dataclass(frozen=True)
class Topology:
    """One typed molecule: the graph's terms as atom indices, and the parameters that these terms use.

    Each list of terms pairs a tuple of atom indices (from 0) with its key in `parameters`.
    """

    smiles: str
    atom_types: tuple[str, ...]
    bonds: tuple[tuple[tuple[int, ...], Types], ...]
    angles: tuple[tuple[tuple[int, ...], Types], ...]
    torsions: tuple[tuple[tuple[int, ...], Types], ...]
    impropers: tuple[tuple[tuple[int, ...], Types], ...]
    pairs: tuple[tuple[int, int], ...]
    parameters: Parameters

    @property
    def masses_g_mol(self) -> np.ndarray:
        """Masses of the atoms, shape (n_atoms,), in g/mol."""
        return np.array([self.parameters.atoms[name].mass_g_mol for name in self.atom_types])

    @property
    def charge_e(self) -> float:
        """Total charge in units of e."""
        return math.fsum(self.parameters.atoms[name].charge_e for name in self.atom_types)


def build_topology(smiles: str, where: str = "SMILES") -> Topology:
    """Type a hydrocarbon with OPLS-AA and look up every bonded term.

    Parameters
    ----------
    smiles
        One neutral molecule of C and H; stereocentres given where there is more than one.
    where
        File (and row) the SMILES came from, for the error message.

    Returns
    -------
    Topology
        With reference parameters, neutral, every term found.

    Raises
    ------
    InputError
        Not a hydrocarbon, a ring of 3 or 4 atoms, a group that is not typed, a bonded term that OPLS-AA lacks (the
        message names it), a net charge, or an unspecified diastereomer.
    """
    molecule = parse_hydrocarbon(smiles, where)
    tables = read_oplsaa(oplsaa_directory())
    atom_types = assign_types(molecule, smiles, where)
    bonded = [tables.atoms[name].bonded_type for name in atom_types]

    def find(name: str, types: Types, table: Mapping[Types, tuple]) -> Types:
        key = matching_key(types, table)
        if key is None:
            missing = f"OPLS-AA has no parameters for the {name} {'-'.join(types)}; {OWN_FILES}"
            raise InputError(where, "smiles", smiles, TYPED_HERE, missing)
        return key

    def keyed(terms: Iterable[tuple[int, ...]], name: str, table: Mapping[Types, tuple]) -> tuple:
        typed = [(term, tuple(bonded[i] for i in term)) for term in terms]
        keys = {types: find(name, types, table) for types in dict.fromkeys(types for _, types in typed)}
        return tuple((term, keys[types]) for term, types in typed)

    bonds = keyed(bond_terms(molecule), "bond", tables.bonds)
    angles = keyed(angle_terms(molecule), "angle", tables.angles)
    torsions = keyed(torsion_terms(molecule), "torsion", tables.torsions)
    improper_key = next(iter(tables.impropers))
    impropers = tuple((term, improper_key) for term in improper_terms(molecule))
    parameters = Parameters(
        atoms={name: tables.atoms[name] for name in sorted(set(atom_types))},
        bonds={key: tables.bonds[key] for key in sorted({key for _, key in bonds})},
        angles={key: tables.angles[key] for key in sorted({key for _, key in angles})},
        torsions={key: tables.torsions[key] for key in sorted({key for _, key in torsions})},
        impropers=tables.impropers if impropers else {},
    )
    pairs = tuple(pair_terms(molecule))
    topology = Topology(smiles, atom_types, bonds, angles, torsions, impropers, pairs, parameters)
    if abs(topology.charge_e) > 1e-6:
        raise InputError(
            where, "smiles", smiles, TYPED_HERE, f"OPLS-AA types sum to a charge of {topology.charge_e:+.3f} e."
        )
    return topology


def check(smiles: str, where: str) -> None:
    """Refuse, before any simulation, a SMILES that the atomistic room cannot simulate (see `build_topology`).

    Raises
    ------
    InputError
        As `build_topology`, or no three-dimensional structure is found.
    """
    build_topology(smiles, where)
    embed(smiles, where)


def parse_hydrocarbon(smiles: str, where: str) -> Chem.Mol:
    """Return one closed-shell hydrocarbon with explicit hydrogens; anything else is an `InputError`."""
    parse_smiles(smiles, where)
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() not in (1, 6):
            raise InputError(
                where, "smiles", smiles, "the elements C and H", f"It holds {atom.GetSymbol()}; {OWN_FILES}"
            )
        if atom.GetFormalCharge() or atom.GetNumRadicalElectrons() or atom.GetIsotope():
            raise InputError(where, "smiles", smiles, "neutral, closed-shell molecules without isotope labels")
    sizes = sorted(len(ring) for ring in molecule.GetRingInfo().AtomRings())
    if sizes and sizes[0] < 5:
        raise InputError(
            where,
            "smiles",
            smiles,
            "rings of 5 or more atoms",
            f"It has a ring of {sizes[0]}: OPLS-AA has no strain there.",
        )
    centres = [
        centre for centre in Chem.FindPotentialStereo(molecule) if centre.type == Chem.StereoType.Atom_Tetrahedral
    ]
    if len(centres) > 1 and any(centre.specified == Chem.StereoSpecified.Unspecified for centre in centres):
        raise InputError(
            where, "smiles", smiles, "one stereoisomer", "Mark every stereocentre with @ or @@ (cis or trans?)."
        )
    return molecule


def assign_types(molecule: Chem.Mol, smiles: str, where: str) -> tuple[str, ...]:
    """Return the OPLS-AA type of each atom (hydrogens explicit); an atom without one is an `InputError`."""
    types: list[str | None] = [None] * molecule.GetNumAtoms()
    for pattern, name in TYPING:
        # uniquify would drop a match whose atoms were seen in another order: the second methyl of ethane.
        for match in molecule.GetSubstructMatches(Chem.MolFromSmarts(pattern), uniquify=False, maxMatches=100_000):
            types[match[0]] = name
    for atom, name in zip(molecule.GetAtoms(), types, strict=True):
        if name is None:
            neighbours = "".join(sorted(neighbour.GetSymbol() for neighbour in atom.GetNeighbors()))
            described = f"Atom {atom.GetIdx()} ({atom.GetSymbol()} with neighbours {neighbours})"
            raise InputError(where, "smiles", smiles, TYPED_HERE, f"{described} has no OPLS-AA type here; {OWN_FILES}")
    return tuple(types)


def bond_terms(molecule: Chem.Mol) -> Iterator[tuple[int, int]]:
    """Yield the bonds as pairs of atom indices."""
    for bond in molecule.GetBonds():
        yield bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()


def angle_terms(molecule: Chem.Mol) -> Iterator[tuple[int, int, int]]:
    """Yield the angles i-j-k, j in the middle."""
    for atom in molecule.GetAtoms():
        for i, k in combinations(sorted(neighbour.GetIdx() for neighbour in atom.GetNeighbors()), 2):
            yield i, atom.GetIdx(), k


def torsion_terms(molecule: Chem.Mol) -> Iterator[tuple[int, int, int, int]]:
    """Yield the proper torsions i-j-k-l about each bond j-k."""
    for j, k in bond_terms(molecule):
        for i in sorted(neighbour.GetIdx() for neighbour in molecule.GetAtomWithIdx(j).GetNeighbors()):
            for m in sorted(neighbour.GetIdx() for neighbour in molecule.GetAtomWithIdx(k).GetNeighbors()):
                if i != k and m != j:
                    yield i, j, k, m


def improper_terms(molecule: Chem.Mol) -> Iterator[tuple[int, int, int, int]]:
    """Yield ring neighbour, ring neighbour, centre, substituent of each aromatic carbon (the order of oplsaa.ff)."""
    for atom in molecule.GetAtoms():
        if atom.GetIsAromatic():
            ring = sorted(b.GetOtherAtomIdx(atom.GetIdx()) for b in atom.GetBonds() if b.GetIsAromatic())
            (outside,) = (b.GetOtherAtomIdx(atom.GetIdx()) for b in atom.GetBonds() if not b.GetIsAromatic())
            yield ring[0], ring[1], atom.GetIdx(), outside


def pair_terms(molecule: Chem.Mol) -> Iterator[tuple[int, int]]:
    """Yield the 1-4 pairs: three bonds apart by the shortest way, so that no ring makes a 1-3 neighbour a 1-4 pair."""
    distance = Chem.GetDistanceMatrix(molecule)
    for i, j in combinations(range(molecule.GetNumAtoms()), 2):
        if distance[i, j] == EXCLUDED_BONDS:
            yield i, j


def matching_key(types: Types, table: Mapping[Types, tuple]) -> Types | None:
    """Return the table's key for these types, read either way, that has the fewest wildcards X (as grompp chooses)."""

    def fits(key: Types, wanted: Types) -> bool:
        return all(a in ("X", b) for a, b in zip(key, wanted, strict=True))

    found = [key for key in table if fits(key, types) or fits(key, types[::-1])]
    return min(found, key=lambda key: key.count("X"), default=None)


def oplsaa_directory() -> Path:
    """Return the `oplsaa.ff` folder of the installed GROMACS ($GMXDATA, else the data prefix that `gmx` prints).

    Raises
    ------
    InputError
        There is none.
    """
    candidates = _data_directories(os.environ.get("GMXDATA"), shutil.which("gmx"))
    for directory in candidates:
        if (directory / "oplsaa.ff" / "ffbonded.itp").is_file():
            return directory / "oplsaa.ff"
    raise InputError(
        "GROMACS",
        "oplsaa.ff",
        [str(directory) for directory in candidates],
        "a GROMACS with its force-field files",
        "Put `gmx` on PATH or set GMXDATA; `mobcg doctor` shows what is found.",
    )


@cache
def _data_directories(gmxdata: str | None, gmx: str | None) -> tuple[Path, ...]:
    directories = [] if gmxdata is None else [Path(gmxdata) / "top"]
    if gmx is not None:
        printed = subprocess.run([gmx, "--version"], capture_output=True, text=True, check=False)
        if prefix := re.search(r"Data prefix:\s+(.+)", printed.stdout + printed.stderr):
            directories.append(Path(prefix.group(1).strip()) / "share" / "gromacs" / "top")
    return tuple(directories)


@cache
def read_oplsaa(directory: Path) -> Parameters:
    """Read the parameter tables of an `oplsaa.ff` folder (bonded types; first entry of each key counts)."""
    bonded = (directory / "ffbonded.itp").read_text()
    nonbonded = (directory / "ffnonbonded.itp").read_text()
    improper = re.search(rf"#define\s+{AROMATIC_IMPROPER}\s+(\S+)\s+(\S+)\s+(\d+)", bonded)
    return Parameters(
        # Lines of 8 words name a bonded type; the shorter ones are virtual water sites.
        atoms={words[0]: _atom_type(words) for words in read_section(nonbonded, "atomtypes") if len(words) == 8},
        bonds=_table(bonded, "bondtypes", 2, "1"),
        angles=_table(bonded, "angletypes", 3, "1"),
        torsions=_table(bonded, "dihedraltypes", 4, "3"),
        impropers={("X", "X", "CA", "X"): (float(improper[1]), float(improper[2]), int(improper[3]))},
    )


def _atom_type(words: Sequence[str]) -> AtomType:
    mass, charge = map(float, words[3:5])
    sigma, epsilon = map(float, words[6:8])
    return AtomType(words[1], int(words[2]), mass, charge, sigma, epsilon)


def _table(itp: str, section: str, n_types: int, function: str) -> dict[Types, tuple[float, ...]]:
    table: dict[Types, tuple[float, ...]] = {}
    for words in read_section(itp, section):
        if words[n_types] == function:
            table.setdefault(tuple(words[:n_types]), tuple(map(float, words[n_types + 1 :])))
    return table


def read_section(itp: str, name: str) -> Iterator[list[str]]:
    """Yield the words of each line of one section of a topology's text, without comments and preprocessor lines."""
    current = ""
    for line in itp.splitlines():
        text = line.split(";")[0].strip()
        if header := re.fullmatch(r"\[\s*(\w+)\s*\]", text):
            current = header[1]
        elif text and not text.startswith("#") and current == name:
            yield text.split()


def embed(smiles: str, where: str = "SMILES") -> np.ndarray:
    """Return coordinates (n_atoms, 3) in nm of one relaxed conformer: ETKDG with a fixed seed, then MMFF94.

    Atoms are in the order of `build_topology`.

    Raises
    ------
    InputError
        RDKit finds no structure.
    """
    molecule = parse_hydrocarbon(smiles, where)
    options = rdDistGeom.ETKDGv3()
    options.randomSeed = EMBEDDING_SEED
    if rdDistGeom.EmbedMolecule(molecule, options) < 0:
        raise InputError(where, "smiles", smiles, "a molecule with a three-dimensional structure", OWN_FILES)
    rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=2000)
    return molecule.GetConformer().GetPositions() / ANGSTROM_PER_NM


def atom_names(topology: Topology) -> list[str]:
    """Return atom names C1, C2, …, H1, H2, … in the order of the atoms."""
    counts: dict[str, int] = {}
    names = []
    for name in topology.atom_types:
        element = Chem.GetPeriodicTable().GetElementSymbol(topology.parameters.atoms[name].atomic_number)
        counts[element] = counts.get(element, 0) + 1
        names.append(f"{element}{counts[element]}")
    return names


def format_itp(topology: Topology) -> str:
    """Return a self-contained GROMACS include file: defaults, atom types and the molecule, every parameter explicit."""
    parameters = topology.parameters
    atoms = []
    for i, (name, label) in enumerate(zip(topology.atom_types, atom_names(topology), strict=True), start=1):
        kind = parameters.atoms[name]
        atoms.append(f"{i} {name} 1 {MOLECULE_NAME} {label} {i} {kind.charge_e:.6f} {kind.mass_g_mol:.5f}")
    sections = {
        "defaults": ["1 3 yes 0.5 0.5"],
        "atomtypes": [
            f"{name} {kind.bonded_type} {kind.atomic_number} {kind.mass_g_mol:.5f} {kind.charge_e:.6f}"
            f" A {kind.sigma_nm!r} {kind.epsilon_kj_mol!r}"
            for name, kind in parameters.atoms.items()
        ],
        "moleculetype": [f"{MOLECULE_NAME} {EXCLUDED_BONDS}"],
        "atoms": atoms,
        "bonds": _lines(topology.bonds, 1, parameters.bonds),
        "pairs": [f"{i + 1} {j + 1} 1" for i, j in topology.pairs],
        "angles": _lines(topology.angles, 1, parameters.angles),
        "dihedrals": _lines(topology.torsions, 3, parameters.torsions)
        + _lines(topology.impropers, 4, parameters.impropers),
    }
    return "".join(f"[ {name} ]\n" + "\n".join(lines) + "\n\n" for name, lines in sections.items() if lines)


def _lines(terms: Iterable[tuple[tuple[int, ...], Types]], function: int, table: Mapping[Types, tuple]) -> list[str]:
    return [
        " ".join([*(str(i + 1) for i in atoms), str(function), *(repr(value) for value in table[key])])
        for atoms, key in terms
    ]


def format_gro(names: Sequence[str], positions_nm: np.ndarray, box_nm: float) -> str:
    """Return one molecule in GROMACS' .gro format (positions (n_atoms, 3) and edge of the cubic box in nm)."""
    lines = [
        f"{1:5d}{MOLECULE_NAME:<5s}{name:>5s}{i:5d}{x:8.3f}{y:8.3f}{z:8.3f}"
        for i, (name, (x, y, z)) in enumerate(zip(names, positions_nm, strict=True), start=1)
    ]
    return "\n".join([MOLECULE_NAME, str(len(lines)), *lines, f"{box_nm:10.5f}" * 3]) + "\n"


def format_top(includes: Sequence[str], molecule_name: str, n_molecules: int) -> str:
    """Return the system topology of so many molecules, described by the included files."""
    included = "".join(f'#include "{name}"\n' for name in includes)
    return f"{included}\n[ system ]\n{molecule_name}\n\n[ molecules ]\n{molecule_name} {n_molecules}\n"
