import numpy as np

from mobcg.forcematch.beads_of import beads_of
from mobcg.observables import BeadTrajectory, MoleculeBeads


def test_one_bead_a_molecule():
    beads = beads_of(BeadTrajectory(np.zeros((2, 5, 3)), 3.5, 1.0, 78.11, 300.0))
    assert len(beads) == 5
    assert list(beads.molecules) == [0, 1, 2, 3, 4]
    assert np.array_equal(beads.masses_g_mol, np.full(5, 78.11))
    assert beads.bonds.shape == (0, 2)


def test_several_beads_a_molecule_in_the_order_of_the_trajectory():
    molecule = MoleculeBeads((29.0, 28.0, 29.0), (0, 1, 0), ((0, 1), (1, 2)))
    beads = beads_of(BeadTrajectory(np.zeros((2, 6, 3)), 3.5, 1.0, 86.0, 300.0, molecule=molecule))
    assert list(beads.kinds) == [0, 1, 0, 0, 1, 0]
    assert list(beads.molecules) == [0, 0, 0, 1, 1, 1]
    assert list(beads.masses_g_mol) == [29.0, 28.0, 29.0] * 2
    assert beads.bonds.tolist() == [[0, 1], [1, 2], [3, 4], [4, 5]]
    assert beads.bonds.dtype == beads.kinds.dtype == np.int64


def test_beads_without_bonds():
    molecule = MoleculeBeads((39.0, 39.0), (0, 0), ())
    assert beads_of(BeadTrajectory(np.zeros((2, 6, 3)), 3.5, 1.0, 78.0, 300.0, molecule=molecule)).bonds.shape == (0, 2)
