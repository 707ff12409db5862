from pathlib import Path

import numpy as np
import pytest
import yaml
from rdkit import Chem

from mobcg import molecule
from mobcg.config import Molecule, load_molecule
from mobcg.errors import InputError
from mobcg.observables import BeadTrajectory, self_diffusion
from mobcg.units import number_density_nm3

REPOSITORY = Path(__file__).parents[1]
MOLECULES = sorted((REPOSITORY / "config/molecules").glob("*.yaml"))
# Molar masses (g/mol) of IUPAC 2021 atomic weights, and atoms, counted by hand from the formula.
KNOWN = {
    "2-3-4-trimethylpentane": ("C8H18", 114.232, 26),
    "2-3-dimethylbutane": ("C6H14", 86.178, 20),
    "3-ethylhexane": ("C8H18", 114.232, 26),
    "3-methylpentane": ("C6H14", 86.178, 20),
    "benzene": ("C6H6", 78.114, 12),
    "ethylbenzene": ("C8H10", 106.168, 18),
    "mesitylene": ("C9H12", 120.195, 21),
    "neopentane": ("C5H12", 72.151, 17),
}


@pytest.mark.parametrize("path", MOLECULES, ids=lambda path: path.stem)
def test_the_shipped_molecules_are_what_they_say(path: Path) -> None:
    species = molecule.species_of(load_molecule(path), path)
    if path.stem in KNOWN:
        formula, molar_mass_g_mol, n_atoms = KNOWN[path.stem]
        assert (species.formula, species.n_atoms, species.charge) == (formula, n_atoms, 0)
        assert species.molar_mass_g_mol == pytest.approx(molar_mass_g_mol, abs=0.003)


def test_every_known_molecule_is_shipped() -> None:
    assert set(KNOWN) <= {path.stem for path in MOLECULES}


def test_ways_to_write_a_molecule_are_one_species() -> None:
    first = molecule.parse_smiles("CCc1ccccc1", "here")
    assert molecule.parse_smiles("C1=CC=CC=C1CC", "here") == first
    assert molecule.parse_smiles("c1(CC)ccccc1", "here") == first
    assert first.smiles == "CCc1ccccc1"


@pytest.mark.parametrize(
    "smiles", ["", "C1CC", "c1cccc1", "C(C)(C)(C)(C)C", "CC(", "benzene", "C;touch hacked", "$(touch hacked)", "C\\x00"]
)
def test_what_rdkit_cannot_read(smiles: str) -> None:
    with pytest.raises(InputError, match=r"file\.yaml: smiles: found .*a SMILES that RDKit can read"):
        molecule.parse_smiles(smiles, "file.yaml")


@pytest.mark.parametrize("smiles", ["C.C", "[Na+].[Cl-]", "CC.O"])
def test_mixtures_and_salts(smiles: str) -> None:
    with pytest.raises(InputError, match="one molecule"):
        molecule.parse_smiles(smiles, "file.yaml")


def test_the_charge_is_told() -> None:
    assert molecule.parse_smiles("C[N+](C)(C)C", "here").charge == 1
    assert molecule.parse_smiles("CC(=O)[O-]", "here").charge == -1


def test_smiles_and_inchikey_must_be_of_one_molecule() -> None:
    content = yaml.safe_load((REPOSITORY / "config/molecules/benzene.yaml").read_text())
    wrong = Molecule.model_validate(content | {"smiles": "Cc1ccccc1"})
    with pytest.raises(InputError, match=r"benzene\.yaml: inchikey: .*YXFVVABEGXRONW-UHFFFAOYSA-N, from the SMILES"):
        molecule.species_of(wrong, "benzene.yaml")


@pytest.mark.parametrize("edge_nm", [3.2, 3.4, 5.0])
def test_molecules_in_box_is_the_least_number_with_that_edge(edge_nm: float) -> None:
    n = molecule.molecules_in_box(edge_nm, 873.5, 78.114)
    density = number_density_nm3(873.5, 78.114)
    assert (n / density) ** (1 / 3) >= 1.015 * edge_nm > ((n - 1) / density) ** (1 / 3)
    assert (n / (1.04 * density)) ** (1 / 3) > edge_nm  # four per cent denser than expected


@pytest.mark.parametrize("density_kg_m3", [560.0, 700.3, 873.5])
@pytest.mark.parametrize("frame_ps", [0.1, 1.0, 4.2])
def test_a_run_of_the_least_length_has_a_diffusion_and_not_much_shorter_ones_have_none(
    density_kg_m3: float, frame_ps: float
) -> None:
    state = {"mass_g_mol": 114.23, "temperature_k": 298.15}
    density = number_density_nm3(density_kg_m3, state["mass_g_mol"])

    def diffusion(length_ps: float) -> float:
        walk = np.cumsum(np.random.default_rng(0).normal(0, 0.1, (round(length_ps / frame_ps) + 1, 4, 3)), axis=0)
        return self_diffusion(BeadTrajectory(walk, (4 / density) ** (1 / 3), frame_ps, **state)).diffusion_nm2_ns

    least_ps = molecule.least_production_ps(frame_ps, density_kg_m3, *state.values())
    assert diffusion(least_ps) > 0
    with pytest.raises(ValueError, match="too short"):
        diffusion(least_ps - 5 * frame_ps)


def test_a_draft_passes_the_check_that_files_must_pass(tmp_path: Path) -> None:
    path = tmp_path / "n-heptane.yaml"
    path.write_text(molecule.draft("C(C)CCCCC", "n-heptane"))
    assert "a guess" in path.read_text()
    loaded = load_molecule(path)
    assert molecule.species_of(loaded, path).formula == "C7H16"
    assert loaded.role == "extension"
    assert loaded.smiles == "CCCCCCC"


def test_a_draft_takes_the_density() -> None:
    content = yaml.safe_load(molecule.draft("CCCCCCC", "n-heptane", 679.5))
    assert content["reference_density_kg_m3"] == 679.5
    assert "guess" not in content["reference_density_source"]


def test_a_draft_keeps_a_smiles_with_a_backslash() -> None:
    smiles = yaml.safe_load(molecule.draft("C/C=C\\C", "cis-2-butene"))["smiles"]
    assert "\\" in smiles
    assert molecule.parse_smiles(smiles, "here").inchikey == "IAQRGUVFOMOMEM-ARJAWSKDSA-N"


@pytest.mark.parametrize("molecule_id", ["123", "no", "2024-01-01", "1e5", "null"])
def test_a_draft_of_an_id_that_yaml_takes_for_something_else(molecule_id: str) -> None:
    assert yaml.safe_load(molecule.draft("CC", molecule_id))["id"] == molecule_id


@pytest.mark.parametrize("molecule_id", ["Heptane", "n heptane", "../x", "x\nrole: parent", "", 'x"', "x;touch y"])
def test_a_draft_with_a_wrong_id_is_refused(molecule_id: str) -> None:
    with pytest.raises(InputError, match="mobcg molecule draft: id: found"):
        molecule.draft("CCCCCCC", molecule_id)


@pytest.mark.parametrize("density_kg_m3", [0.0, -679.5, float("nan"), float("inf")])
def test_a_draft_with_a_wrong_density_is_refused(density_kg_m3: float) -> None:
    with pytest.raises(InputError, match="reference_density_kg_m3: found"):
        molecule.draft("CCCCCCC", "n-heptane", density_kg_m3)


# Mappings

HALVES = [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11]]


def mapped(groups: list[list[int]], **changed: object) -> Molecule:
    content = yaml.safe_load((REPOSITORY / "config/molecules/benzene.yaml").read_text())
    return Molecule.model_validate(content | {"mappings": {"some": groups}} | changed)


def test_the_three_beads_of_benzene_are_a_ring_of_one_kind() -> None:
    path = REPOSITORY / "config/molecules/benzene.yaml"
    groups = molecule.mapping_of(load_molecule(path), "three-beads", path)
    beads = molecule.molecule_beads("c1ccccc1", groups, [12.011] * 6 + [1.008] * 6, path)
    assert beads.kinds == (0, 0, 0)
    assert beads.bonds == ((0, 1), (0, 2), (1, 2))
    assert beads.masses_g_mol == pytest.approx([26.038] * 3)


def test_ends_and_middle_of_a_chain_are_two_kinds() -> None:
    # n-Hexane: C 0 to 5, then three hydrogens of C 0, two each of C 1 to 4, three of C 5.
    groups = [[0, 1, *range(6, 11)], [2, 3, *range(11, 15)], [4, 5, *range(15, 20)]]
    beads = molecule.molecule_beads("CCCCCC", groups, [12.011] * 6 + [1.008] * 14, "here")
    assert beads.kinds == (0, 1, 0)
    assert beads.bonds == ((0, 1), (1, 2))
    assert beads.masses_g_mol == pytest.approx([29.062, 28.054, 29.062])


@pytest.mark.parametrize(
    ("groups", "key", "said"),
    [
        ([HALVES[0], [*HALVES[1], 12]], "mappings.some.1", "found 12; allowed: atoms from 0 to 11"),
        ([HALVES[0], [*HALVES[1], -1]], "mappings.some.1", "found -1"),
        ([*HALVES, []], "mappings.some.2", "one at least"),
        ([HALVES[0], HALVES[1][:-1]], "mappings.some", "found 'atom 11 in no group'"),
        ([HALVES[0], [*HALVES[1], 0]], "mappings.some", "found 'atom 0 more than once'"),
        ([[0, 3, 6, 9], [1, 2, 7, 8], [4, 5, 10, 11]], "mappings.some.0", "atoms that bonds hold together"),
        ([[*range(6)], [*range(6, 12)]], "mappings.some.1", "atoms that bonds hold together"),
        ([[*range(6), *range(7, 12)], [6]], "mappings.some.1", "found 'hydrogen 6 apart from atom 0'"),
    ],
)
def test_groups_that_are_no_beads(groups: list[list[int]], key: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        molecule.check_groups("c1ccccc1", groups, "benzene.yaml", "mappings.some")
    assert (caught.value.where, caught.value.key) == ("benzene.yaml", key)


def test_a_wrong_mapping_is_found_when_the_molecule_is() -> None:
    with pytest.raises(InputError, match=r"benzene\.yaml: mappings\.some: found 'atom 11 in no group'"):
        molecule.species_of(mapped([[*range(11)]]), "benzene.yaml")
    with pytest.raises(InputError, match=r"mappings: found 'two'; allowed: a mapping of this file: some"):
        molecule.mapping_of(mapped(HALVES), "two", "benzene.yaml")


def test_a_topology_of_ones_own_has_no_mapping() -> None:
    with pytest.raises(InputError, match=r"mappings\.some: found 'a\.itp'"):
        molecule.species_of(mapped(HALVES, topology={"itp": "a.itp", "gro": "a.gro"}), "benzene.yaml")


def test_a_mapping_counts_as_the_file_does_and_specs_as_the_topology() -> None:
    # Toluene with its methyl group last, which the canonical SMILES has first.
    written = "c1ccccc1C"
    methyl, ring = [6, 12, 13, 14], [*range(6), *range(7, 12)]
    toluene = {"smiles": written, "inchikey": "YXFVVABEGXRONW-UHFFFAOYSA-N"}
    canonical = molecule.parse_smiles(written, "here").smiles
    assert canonical != written
    first, second = molecule.mapping_of(mapped([methyl, ring], **toluene), "some", "here")
    atoms = Chem.AddHs(Chem.MolFromSmiles(canonical))
    carbon, *hydrogens = first
    assert [atoms.GetAtomWithIdx(atom).GetSymbol() for atom in first] == ["C", "H", "H", "H"]
    assert {atom.GetIdx() for atom in atoms.GetAtomWithIdx(carbon).GetNeighbors()} > set(hydrogens)
    assert sorted([*first, *second]) == list(range(15))
    masses = np.array([atom.GetMass() for atom in atoms.GetAtoms()])
    beads = molecule.molecule_beads(canonical, [first, second], masses, "here")
    assert beads.masses_g_mol == pytest.approx([15.035, 77.106])
    assert beads.bonds == ((0, 1),)


# A user's own topology


def own(itp: str) -> Molecule:
    content = yaml.safe_load((REPOSITORY / "config/molecules/benzene.yaml").read_text())
    return Molecule.model_validate(content | {"topology": {"itp": itp, "gro": "a.gro"}})


def test_a_topology_lies_beside_or_below_its_molecule(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.itp").touch()
    where = tmp_path / "benzene.yaml"
    assert molecule.topology_path(own("sub/a.itp"), where, "itp") == (tmp_path / "sub/a.itp").resolve()
    assert molecule.topology_path(own("sub/../sub/a.itp"), where, "itp").is_file()


@pytest.mark.parametrize("itp", ["../secret.itp", "/etc/passwd", "sub/../../secret.itp", "link.itp"])
def test_a_topology_outside_is_refused(tmp_path: Path, itp: str) -> None:
    (tmp_path / "secret.itp").touch()
    (tmp_path / "molecules" / "sub").mkdir(parents=True)
    (tmp_path / "molecules" / "link.itp").symlink_to(tmp_path / "secret.itp")
    with pytest.raises(InputError, match=r"topology\.itp: found .*below the molecule's directory"):
        molecule.topology_path(own(itp), tmp_path / "molecules" / "benzene.yaml", "itp")


@pytest.mark.parametrize("itp", ["missing.itp", "", "."])
def test_a_topology_that_is_not_there(tmp_path: Path, itp: str) -> None:
    with pytest.raises(InputError, match="a file that exists"):
        molecule.topology_path(own(itp), tmp_path / "benzene.yaml", "itp")
