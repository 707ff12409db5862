import numpy as np
import pytest

from mobcg import observables
from mobcg.inversion import votca
from tests.inversion.cases import BOX_LENGTH_NM, KnownLiquid, known_potential, parent_row, sample


@pytest.fixture(scope="session")
def known_liquid(tmp_path_factory):
    where = tmp_path_factory.mktemp("known")
    potential = known_potential()
    positions = sample(where, potential, 600, seed=7)
    g = observables.radial_distribution(positions[1:], BOX_LENGTH_NM, n_blocks=10)
    pressure_bar = float(np.loadtxt(where / votca.PRESSURE_FILE, skiprows=1).mean())
    return KnownLiquid(potential, pressure_bar, parent_row(g.rdf, g.rdf_se))
