import subprocess
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from mobcg.atomistic.topology import (
    atom_names,
    build_topology,
    check,
    embed,
    format_gro,
    format_itp,
    format_top,
    matching_key,
    oplsaa_directory,
    read_oplsaa,
)
from mobcg.errors import InputError

LIQUIDS = {
    "2,3,4-trimethylpentane": "CC(C)C(C)C(C)C",
    "ethylbenzene": "CCc1ccccc1",
    "3-methylpentane": "CCC(C)CC",
    "benzene": "c1ccccc1",
    "mesitylene": "Cc1cc(C)cc(C)c1",
    "neopentane": "CC(C)(C)C",
    "2,3-dimethylbutane": "CC(C)C(C)C",
    "3-ethylhexane": "CCCC(CC)CC",
}
OTHERS = ("C", "CC", "C1CCCC1", "C1CCCCC1", "C1CCc2ccccc2C1", "CC(C)(C)c1ccccc1", "C[C@H]1CC[C@@H](C)CC1")


@pytest.mark.parametrize("smiles", [*LIQUIDS.values(), *OTHERS])
def test_hydrocarbons_are_neutral_with_every_term_found(smiles):
    topology = build_topology(smiles)
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    degrees = [atom.GetDegree() for atom in molecule.GetAtoms()]
    assert topology.charge_e == pytest.approx(0, abs=1e-9)
    assert len(topology.bonds) == molecule.GetNumBonds()
    assert len(topology.angles) == sum(n * (n - 1) // 2 for n in degrees)
    assert len(topology.torsions) == sum(
        (degrees[b.GetBeginAtomIdx()] - 1) * (degrees[b.GetEndAtomIdx()] - 1) for b in molecule.GetBonds()
    )
    assert len(topology.impropers) == sum(atom.GetIsAromatic() for atom in molecule.GetAtoms())
    assert topology.masses_g_mol.sum() == pytest.approx(sum(atom.GetMass() for atom in molecule.GetAtoms()), abs=0.02)


def test_types_of_ethylbenzene():
    assert build_topology("CCc1ccccc1").atom_types[:4] == ("opls_135", "opls_149", "opls_145", "opls_145")


def test_both_methyls_of_ethane_are_typed():
    assert build_topology("CC").atom_types == ("opls_135",) * 2 + ("opls_140",) * 6


@pytest.mark.parametrize(("smiles", "pairs"), [("CCCC", 27), ("C1CCCC1", 40), ("c1ccccc1", 21)])
def test_rings_make_no_14_pair_of_atoms_closer_than_three_bonds(smiles, pairs):
    topology = build_topology(smiles)
    distance = Chem.GetDistanceMatrix(Chem.AddHs(Chem.MolFromSmiles(smiles)))
    assert len(topology.pairs) == pairs
    assert all(distance[i, j] == 3 for i, j in topology.pairs)


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("C1CC1", "ring of 3"),
        ("C1CCC1", "ring of 4"),
        ("c1ccccc1-c1ccccc1", "no OPLS-AA type"),
        ("C=Cc1ccccc1", "no OPLS-AA type"),
        ("C=CCCCC", "no OPLS-AA type"),
        ("C=CC=C", "no OPLS-AA type"),
        ("CC#C", "no OPLS-AA type"),
        ("c1ccc2ccccc2c1", "no OPLS-AA type"),
        ("c1ccccc1CCc1ccccc1", "torsion CA-CT-CT-CA"),
        ("CCO", "It holds O"),
        ("[CH3-]", "neutral"),
        ("[CH3]", "closed-shell"),
        ("[2H]C", "isotope"),
        ("C.C", "one molecule"),
        ("not a molecule", "RDKit"),
        ("CC1CCC(C)CC1", "stereo"),
    ],
)
def test_refusals(smiles, message):
    with pytest.raises(InputError, match=message) as caught:
        check(smiles, "here.yaml")
    assert "here.yaml" in str(caught.value)


def test_a_charge_is_refused(monkeypatch):
    # Every typed hydrocarbon is neutral, so the pattern of one type has to be wrong.
    from mobcg.atomistic import topology

    wrong = tuple((pattern, "opls_137" if name == "opls_136" else name) for pattern, name in topology.TYPING)
    monkeypatch.setattr(topology, "TYPING", wrong)
    with pytest.raises(InputError, match=r"charge of \+0\.060 e"):
        build_topology("CCC")


def test_embedding_is_reproducible_and_whole():
    positions = embed("CCC(C)CC")
    assert np.array_equal(positions, embed("CCC(C)CC"))
    for (i, j), types in build_topology("CCC(C)CC").bonds:
        assert np.linalg.norm(positions[i] - positions[j]) == pytest.approx(
            0.153 if types == ("CT", "CT") else 0.109, abs=0.005
        )


def test_without_gromacs_the_message_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("GMXDATA", raising=False)
    with pytest.raises(InputError, match=r"oplsaa\.ff"):
        oplsaa_directory()


def test_the_key_with_the_fewest_wildcards_counts_read_either_way():
    torsions = {("X", "CA", "CT", "X"): (), ("HA", "CA", "CT", "X"): ()}
    assert matching_key(("HC", "CT", "CA", "HA"), torsions) == ("HA", "CA", "CT", "X")
    assert matching_key(("HC", "CT", "CA", "CA"), torsions) == ("X", "CA", "CT", "X")
    assert matching_key(("HC", "CT", "CT", "HC"), torsions) is None


def test_tables_hold_what_the_paper_prints():
    tables = read_oplsaa(oplsaa_directory())
    assert tables.bonds["CA", "CA"] == pytest.approx((0.140, 469 * 2 * 418.4))
    assert tables.angles["HC", "CT", "HC"] == pytest.approx((107.8, 33 * 2 * 4.184))
    assert tables.atoms["opls_135"].charge_e == -0.18


@pytest.mark.parametrize("smiles", ["CCc1ccccc1", "CC(C)C(C)C(C)C"])
def test_energies_are_those_of_gromacs_own_parameter_lookup(smiles, tmp_path):
    """The same molecule once with every number written out, once with none: grompp must find the same."""
    topology = build_topology(smiles)
    (tmp_path / "ours.itp").write_text(format_itp(topology))
    (tmp_path / "theirs.itp").write_text(_without_parameters(format_itp(topology)))
    (tmp_path / "molecule.gro").write_text(format_gro(atom_names(topology), embed(smiles) + 1.5, 3.0))
    (tmp_path / "ours.top").write_text(format_top(["ours.itp"], "MOL", 1))
    (tmp_path / "theirs.top").write_text(format_top(["oplsaa.ff/forcefield.itp", "theirs.itp"], "MOL", 1))
    (tmp_path / "zero.mdp").write_text("integrator = md\nnsteps = 0\nrcoulomb = 1.0\nrvdw = 1.0\nnstcalcenergy = 1\n")
    ours, theirs = (_energies(tmp_path, name) for name in ("ours", "theirs"))
    assert len(ours) >= 6
    assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-4)


def _without_parameters(itp: str) -> str:
    keep = {"bonds": 3, "pairs": 3, "angles": 4, "dihedrals": 5}
    lines, section = [], ""
    for line in itp.splitlines():
        if line.startswith("["):
            section = line.strip("[] ")
        words = line.split()
        if section in keep and words and not line.startswith("["):
            improper = section == "dihedrals" and words[4] == "4"
            line = " ".join(words[: keep[section]]) + (" improper_Z_CA_X_Y" if improper else "")
        if section not in ("defaults", "atomtypes"):
            lines.append(line)
    return "\n".join(lines) + "\n"


def _energies(directory: Path, name: str) -> list[float]:
    for command in (
        ["grompp", "-f", "zero.mdp", "-c", "molecule.gro", "-p", f"{name}.top", "-o", f"{name}.tpr"],
        ["mdrun", "-deffnm", name, "-nt", "1"],
        ["energy", "-f", f"{name}.edr", "-o", f"{name}.xvg", "-xvg", "none", "-dp"],
    ):
        terms = " ".join(map(str, range(1, 9)))
        subprocess.run(["gmx", *command], cwd=directory, check=True, capture_output=True, text=True, input=terms)
    return np.loadtxt(directory / f"{name}.xvg", ndmin=2)[0, 1:].tolist()
