import numpy as np
import pytest

from mobcg.pair import R_NM
from mobcg.predictor.dataset import States
from mobcg.predictor.screening import screen
from tests.predictor import strangers
from tests.predictor.dense import DENSITY, dense_rdf

LIQUID = dense_rdf(R_NM)


def states(rdf, density=DENSITY, diffusion_nm2_ns=1.5, temperature_k=298.15) -> States:
    rdf = np.atleast_2d(rdf)
    numbers = density, temperature_k, 80.0, diffusion_nm2_ns, np.inf
    return States(rdf, *(np.broadcast_to(np.asarray(value, float), len(rdf)) for value in numbers))


def test_a_liquid_is_inside():
    found = screen(states(LIQUID))
    assert found.reasons == [[]]
    assert found.verdict.tolist() == ["inside"]


@pytest.mark.parametrize(
    ("stranger", "words"),
    [
        (strangers.hard_spheres, "width of the rise"),
        (strangers.crystal, "first minimum over first maximum"),
        (strangers.water, "first shell"),
        (strangers.noise, "scatter of g"),
    ],
)
def test_what_is_no_simple_liquid_is_outside_and_told_why(stranger, words):
    rdf, density = stranger()
    found = screen(states(np.array([LIQUID, rdf]), [DENSITY, density]))
    assert found.verdict.tolist() == ["inside", "outside"]
    assert any(words in reason for reason in found.reasons[1])


def test_the_first_shell_is_counted():
    # Twelve neighbours in a narrow shell, none near it, and a liquid beyond.
    shell = np.exp(-(((R_NM - 0.555) / 0.03) ** 2))
    shell *= 12 / (4 * np.pi * DENSITY * np.sum(shell * R_NM**2) * 0.01)
    found = screen(states(np.where(R_NM < 0.75, shell, 1.0)))
    assert found.numbers["first_shell"][0] == pytest.approx(12, rel=0.02)


def test_the_rise_is_measured_between_bins():
    # A straight line from 0 at 0.40 nm to the peak at 0.555 nm: a tenth of it is reached at 0.4155 nm.
    line = np.where(R_NM < 0.56, np.clip((R_NM - 0.40) / 0.155, 0, None) * 2.5, 1.0)
    found = screen(states(line))
    assert found.numbers["rise"][0] == pytest.approx((0.555 - 0.4155) / 0.555, rel=1e-6)


def test_noise_is_what_was_put_in():
    rough = LIQUID + np.where(R_NM > 0.7, 0.04, 0.0) * np.random.default_rng(3).standard_normal((200, R_NM.size))
    found = screen(states(rough))
    assert np.mean(found.numbers["noise"]) == pytest.approx(0.04, rel=0.05)
    assert set(found.verdict) == {"edge"}


def test_a_background_in_the_core_is_noticed():
    found = screen(states(np.array([np.maximum(LIQUID, level) for level in (0.004, 0.03)])))
    assert found.verdict.tolist() == ["inside", "edge"]
    assert "within half the distance" in found.reasons[1][0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"diffusion_nm2_ns": 1.5e-5}, "taken to be in nm²/ns: 1.59e-07"),  # cm²/s
        ({"diffusion_nm2_ns": 1.5e-3}, "taken to be in nm²/ns"),  # nm²/ps
        ({"diffusion_nm2_ns": 0.15}, "taken to be in nm²/ns"),  # Å²/ps
        ({"diffusion_nm2_ns": 1.5e2}, "taken to be in nm²/ns"),
        ({"temperature_k": 100.0}, "taken to be in K"),
    ],
)
def test_a_number_that_may_be_in_another_unit_is_noticed(change, words):
    found = screen(states(LIQUID, **change))
    assert found.verdict[0] == "edge"
    assert any(words in reason for reason in found.reasons[0])
