"""Molecules: what RDKit makes of a SMILES, what beads they are mapped to, and how many of them fill a box."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import ArrayLike
from rdkit import Chem, RDLogger
from rdkit.Chem import Descriptors, inchi, rdMolDescriptors
from scipy.sparse.csgraph import connected_components

from mobcg.config import Molecule, validate
from mobcg.errors import InputError
from mobcg.observables import FIT_WINDOW_TAU, MoleculeBeads
from mobcg.units import number_density_nm3, reduced_time_ps

RDLogger.DisableLog("rdApp.*")

# Source of the density in a draft that was given none.
GUESS = "guess, to be replaced"
# Of the measured density: so little a simulated liquid may come out at, and the less dense, the longer its τ.
LEAST_DENSITY = 0.85


@dataclass(frozen=True)
class Species:
    """A molecule as chemistry sees it; the SMILES is RDKit's canonical one."""

    smiles: str
    inchikey: str
    formula: str
    molar_mass_g_mol: float
    n_atoms: int
    charge: int


def parse_smiles(smiles: str, where: object, key: str = "smiles") -> Species:
    """Return the species of a SMILES.

    Raises
    ------
    InputError
        RDKit cannot read it, or it is more than one molecule.
    """
    parsed = Chem.MolFromSmiles(smiles)
    if parsed is None or parsed.GetNumAtoms() == 0:
        raise InputError(where, key, smiles, "a SMILES that RDKit can read", "Check brackets, rings and valences.")
    if "." in smiles:
        raise InputError(where, key, smiles, "one molecule, without '.'", "Mixtures and salts are not covered.")
    whole = Chem.AddHs(parsed)
    return Species(
        smiles=Chem.MolToSmiles(parsed),
        inchikey=inchi.MolToInchiKey(parsed),
        formula=rdMolDescriptors.CalcMolFormula(whole),
        molar_mass_g_mol=round(Descriptors.MolWt(whole), 4),
        n_atoms=whole.GetNumAtoms(),
        charge=Chem.GetFormalCharge(whole),
    )


def species_of(molecule: Molecule, where: object) -> Species:
    """Return the species of a molecule file.

    Raises
    ------
    InputError
        The SMILES is wrong, its InChIKey is not the one in the file, or a mapping does not fit the molecule.
    """
    species = parse_smiles(molecule.smiles, where)
    if species.inchikey != molecule.inchikey:
        advice = "SMILES and InChIKey name different molecules; correct the wrong one."
        raise InputError(where, "inchikey", molecule.inchikey, f"{species.inchikey}, from the SMILES", advice)
    for name in molecule.mappings:
        mapping_of(molecule, name, where)
    return species


def mapping_of(molecule: Molecule, name: str, where: object) -> list[list[int]]:
    """Return a mapping of a molecule file as specs have it: its atoms counted as in the canonical SMILES.

    The topology is made from that SMILES, whose order of atoms need not be that of the file's.

    Raises
    ------
    InputError
        There is no such mapping, it does not fit the molecule, or the molecule has a topology of its own.
    """
    if name not in molecule.mappings:
        known = ", ".join(molecule.mappings) or "none"
        raise InputError(where, "mappings", name, f"a mapping of this file: {known}", "Add it to the molecule's file.")
    if molecule.topology is not None:
        advice = "The order of the atoms in a topology of your own is not that of the SMILES."
        raise InputError(where, f"mappings.{name}", molecule.topology.itp, "molecules without a topology", advice)
    groups = molecule.mappings[name]
    check_groups(molecule.smiles, groups, where, f"mappings.{name}")
    written = _with_hydrogens(molecule.smiles)
    place = _with_hydrogens(parse_smiles(molecule.smiles, where).smiles).GetSubstructMatch(written, useChirality=True)
    return [sorted(place[atom] for atom in group) for group in groups]


def _with_hydrogens(smiles: str) -> Chem.Mol:
    return Chem.AddHs(Chem.MolFromSmiles(smiles))


def check_groups(smiles: str, groups: Sequence[Sequence[int]], where: object, key: str) -> None:
    """Check that groups of atoms are beads of a molecule.

    Raises
    ------
    InputError
        A group is empty, names an atom that is not there, or one that no bond joins to the rest of it; or an atom is in
        no group or in two; or a hydrogen is in another group than its neighbour: the length of that bond is fixed in
        the atomistic runs, and forces that fix it are not among those that GROMACS writes.
    """
    molecule = _with_hydrogens(smiles)
    bonded = Chem.GetAdjacencyMatrix(molecule)
    n_atoms, count = len(bonded), Counter(atom for group in groups for atom in group)
    order = "Atoms are counted from 0: those of the SMILES in its order, then the hydrogens."
    for number, group in enumerate(groups):
        outside = [atom for atom in group if not 0 <= atom < n_atoms]
        if outside or not group:
            found = outside[0] if outside else group
            raise InputError(where, f"{key}.{number}", found, f"atoms from 0 to {n_atoms - 1}, one at least", order)
    repeated = [atom for atom, times in count.items() if times > 1]
    left_out = [atom for atom in range(n_atoms) if atom not in count]
    if repeated or left_out:
        found = f"atom {repeated[0]} more than once" if repeated else f"atom {left_out[0]} in no group"
        raise InputError(where, key, found, f"each of the {n_atoms} atoms in one group", order)
    for number, group in enumerate(groups):
        parts, _ = connected_components(bonded[np.ix_(group, group)])
        if parts > 1:
            raise InputError(where, f"{key}.{number}", list(group), "atoms that bonds hold together", order)
    bead = {atom: number for number, group in enumerate(groups) for atom in group}
    for atom in molecule.GetAtoms():
        neighbours = [other.GetIdx() for other in atom.GetNeighbors()]
        if atom.GetAtomicNum() == 1 and bead[neighbours[0]] != bead[atom.GetIdx()]:
            found = f"hydrogen {atom.GetIdx()} apart from atom {neighbours[0]}"
            raise InputError(where, f"{key}.{bead[atom.GetIdx()]}", found, "hydrogens with the atom they are bound to")


def molecule_beads(
    smiles: str, groups: Sequence[Sequence[int]], masses_g_mol: ArrayLike, where: object, key: str = "mapping"
) -> MoleculeBeads:
    """Return the beads of a molecule whose atoms are grouped: masses, kinds and the bonds between them.

    Two beads are bonded where a bond joins an atom of the one to an atom of the other. They are of one kind where their
    atoms and the bonds among these are the same (the canonical SMILES of the fragment).

    Parameters
    ----------
    masses_g_mol
        (atoms,), in the order of the SMILES, hydrogens after it.

    Raises
    ------
    InputError
        See `check_groups`.
    """
    check_groups(smiles, groups, where, key)
    whole = _with_hydrogens(smiles)
    fragments = [Chem.MolFragmentToSmiles(whole, atomsToUse=list(group), isomericSmiles=False) for group in groups]
    kinds = list(dict.fromkeys(fragments))
    bead = {atom: number for number, group in enumerate(groups) for atom in group}
    ends = ((bead[bond.GetBeginAtomIdx()], bead[bond.GetEndAtomIdx()]) for bond in whole.GetBonds())
    masses = np.asarray(masses_g_mol, np.float64)
    return MoleculeBeads(
        masses_g_mol=tuple(float(masses[list(group)].sum()) for group in groups),
        kinds=tuple(kinds.index(fragment) for fragment in fragments),
        bonds=tuple(sorted({(min(pair), max(pair)) for pair in ends if pair[0] != pair[1]})),
    )


def molecules_in_box(box_length_nm: float, density_kg_m3: float, molar_mass_g_mol: float) -> int:
    """Return the least number of molecules whose cubic box has at least this edge (nm) at this density (kg/m³).

    One and a half per cent of the edge are added, so that a liquid up to 4 % denser than expected still has that edge.
    """
    return math.ceil(number_density_nm3(density_kg_m3, molar_mass_g_mol) * (1.015 * box_length_nm) ** 3)


def least_production_ps(frame_ps: float, density_kg_m3: float, molar_mass_g_mol: float, temperature_k: float) -> float:
    """Return the least length (ps) of a run of a liquid that has a self-diffusion coefficient, in whole frames.

    `mobcg.observables.self_diffusion` asks for four times the end of its fit window, 4 · 8 τ with
    τ = ρ^(-1/3) sqrt(m/kT); one frame more, as the window ends on a frame.
    """
    density = number_density_nm3(density_kg_m3, molar_mass_g_mol)
    needed_ps = 4 * FIT_WINDOW_TAU[1] * reduced_time_ps(molar_mass_g_mol, temperature_k, density)
    return round((math.ceil(needed_ps / frame_ps) + 1) * frame_ps, 6)


def draft(smiles: str, molecule_id: str, density_kg_m3: float | None = None) -> str:
    """Return the text of a new molecule file (YAML) for a SMILES; its density is a first guess to be replaced.

    Raises
    ------
    InputError
        RDKit cannot read the SMILES, or the file would not pass `mobcg molecule check`.
    """
    where = "mobcg molecule draft"
    species = parse_smiles(smiles, where)
    guess = "" if density_kg_m3 is not None else "  # a guess: put the measured density here, the box is built for it"
    source = GUESS if density_kg_m3 is None else "given on the command line"
    text = f"""\
id: {_quoted(molecule_id)}
name: {_quoted(molecule_id)}
smiles: {_quoted(species.smiles)}
inchikey: {species.inchikey}
temperature_k: 298.15
pressure_bar: 1.01325
role: extension
reference_density_kg_m3: {700.0 if density_kg_m3 is None else density_kg_m3}{guess}
reference_density_source: {source}
"""
    validate(Molecule, yaml.safe_load(text), where)
    return text


def _quoted(text: str) -> str:
    return json.dumps(text)  # a JSON string is a YAML one


def topology_path(molecule: Molecule, where: Path, name: str) -> Path:
    """Return the path of a molecule's own topology file, which lies beside or below its YAML file.

    Raises
    ------
    InputError
        The file leads out of the directory of the molecules, or is not there.
    """
    assert molecule.topology is not None
    relative = getattr(molecule.topology, name)
    path = (where.parent / relative).resolve()
    if not path.is_relative_to(where.parent.resolve()):
        raise InputError(where, f"topology.{name}", relative, "a path below the molecule's directory")
    if not path.is_file():
        raise InputError(where, f"topology.{name}", relative, "a file that exists", "Paths start at the YAML file.")
    return path
