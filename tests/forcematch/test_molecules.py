import numpy as np

from mobcg.forcematch.molecules import centres_of_mass, whole_molecules
from tests.forcematch.boxes import dimers


def test_molecules_across_the_edge_are_made_whole():
    beads, wrapped, edge = dimers()
    torn = np.linalg.norm(np.diff(wrapped.reshape(-1, 2, 3), axis=1)[:, 0], axis=1)
    whole = whole_molecules(wrapped, beads, edge)
    assert torn.max() > 1
    np.testing.assert_allclose(np.linalg.norm(np.diff(whole.reshape(-1, 2, 3), axis=1)[:, 0], axis=1), 0.15)
    np.testing.assert_allclose((whole - wrapped) / edge, np.round((whole - wrapped) / edge), atol=1e-9)


def test_centres_weigh_the_beads():
    beads, wrapped, edge = dimers()
    frames = np.stack([whole_molecules(wrapped, beads, edge)] * 2) + np.array([0.0, 1.0])[:, None, None]
    centres = centres_of_mass(frames, beads)
    assert centres.shape == (2, 30, 3)
    np.testing.assert_allclose(centres, 0.25 * frames[:, ::2] + 0.75 * frames[:, 1::2])
