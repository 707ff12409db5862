import pytest
import torch
from threadpoolctl import threadpool_limits

from mobcg.predictor.dataset import Liquids
from tests.predictor.cases import small_liquids

# As in the command line: the networks are small, and bits must not depend on the number of cores.
torch.set_num_threads(1)
threadpool_limits(1)


@pytest.fixture(scope="session")
def liquids() -> Liquids:
    return small_liquids()
