"""Molecules: what RDKit makes of a SMILES, and how many of them fill a box."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import yaml
from rdkit import Chem, RDLogger
from rdkit.Chem import Descriptors, inchi, rdMolDescriptors

from mobcg.config import Molecule, validate
from mobcg.errors import InputError
from mobcg.units import number_density_nm3

RDLogger.DisableLog("rdApp.*")

# Source of the density in a draft that was given none.
GUESS = "guess, to be replaced"


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
        The SMILES is wrong, or its InChIKey is not the one in the file.
    """
    species = parse_smiles(molecule.smiles, where)
    if species.inchikey != molecule.inchikey:
        advice = "SMILES and InChIKey name different molecules; correct the wrong one."
        raise InputError(where, "inchikey", molecule.inchikey, f"{species.inchikey}, from the SMILES", advice)
    return species


def molecules_in_box(box_length_nm: float, density_kg_m3: float, molar_mass_g_mol: float) -> int:
    """Return the least number of molecules whose cubic box has at least this edge (nm) at this density (kg/m³).

    One and a half per cent of the edge are added, so that a liquid up to 4 % denser than expected still has that edge.
    """
    return math.ceil(number_density_nm3(density_kg_m3, molar_mass_g_mol) * (1.015 * box_length_nm) ** 3)


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
