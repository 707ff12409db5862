import dataclasses

import numpy as np
import pytest

from mobcg.config import load_chosen
from mobcg.errors import InputError
from mobcg.plan import load_plan
from mobcg.predictor.improve import Round, candidates, choose, has_stalled, main, posterior_covariance, write_chosen
from mobcg.predictor.process import fit, kernel

GRID = {"length_scales": [1.0], "noises": [1e-2]}


def known(n: int = 40):
    inputs = np.random.default_rng(3).uniform(-2, 2, size=(n, 2))
    return fit(inputs, np.sin(inputs[:, :1]), np.arange(n), GRID)[0]


def test_the_covariance_is_that_of_the_process_given_its_rows():
    process, asked = known(), np.array([[0.5, 0.5], [3.0, -3.0]])
    matrix = kernel((process.inputs, None), (process.inputs, None), 1.0) + process.noise * np.eye(40)
    to_rows = kernel((asked, None), (process.inputs, None), 1.0)
    exact = kernel((asked, None), (asked, None), 1.0) - to_rows @ np.linalg.inv(matrix) @ to_rows.T
    np.testing.assert_allclose(posterior_covariance(process, asked), exact, atol=1e-9)
    np.testing.assert_allclose(np.diag(exact), process.variance(asked), rtol=1e-6)


def test_what_was_promised_of_a_choice_is_what_the_rows_then_bring():
    process, targets = known(), np.array([[3.0, 0.0], [2.5, 2.5]])
    possible = np.random.default_rng(4).uniform(-4, 4, size=(60, 2))
    rows, now, then, by_chance = choose(process, possible, targets, 6, np.ones(2), seed=1)
    assert len(set(rows)) == 6
    assert then < by_chance < now
    more = dataclasses.replace(
        process,
        inputs=np.concatenate([process.inputs, possible[rows]]),
        terms=np.zeros((46, 0)),
        relative_noise=np.ones(46, np.float32),
    )
    variances = np.diag(posterior_covariance(more, targets))
    assert then == pytest.approx(np.sqrt(variances.mean()), rel=1e-3)
    # Near the targets, and not all at one place.
    assert np.median(np.linalg.norm(possible[rows][:, None] - targets, axis=2).min(axis=1)) < 1.5


def test_of_two_alike_only_one_is_worth_running():
    process, target = known(), np.array([[3.0, 3.0]])
    possible = np.array([[2.9, 2.9], [2.9, 2.9], [2.2, 3.1]])
    rows, *_ = choose(dataclasses.replace(process, noise=1e-6), possible, target, 2, np.ones(1), seed=1)
    assert sorted(rows) != [0, 1]


def plan_of(scale: str):
    return load_plan({"scale": scale, "version": "2026.11.0"})


def test_candidates_are_liquids_of_the_prior_that_would_be_learned_from():
    found = candidates(plan_of("quick"), 1000, 12, print)
    assert len(found.draws) == len(found.states) > 6
    assert set(found.draws) <= set(range(1000, 1012))
    peaks = found.states.rdf.max(axis=1)
    assert ((peaks > 1.2) & (peaks < 3.6)).all()
    again = candidates(plan_of("quick"), 1000, 12, print)
    np.testing.assert_array_equal(again.states.rdf, found.states.rdf)


@pytest.mark.parametrize("count", [0, 1])
def test_draws_without_a_liquid_to_learn_from_are_too_few(count):
    """Draw 1000 would validate."""
    with pytest.raises(InputError, match=f"--candidates: found {count}"):
        candidates(plan_of("quick"), 1000, count, print)


def test_a_configuration_without_a_value_is_refused(capsys):
    assert main(["--scale", "quick", "--config", "version=2026.11.0", "results_dir"]) == 2
    assert "--config: found 'results_dir'; allowed: KEY=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(("errors", "stalled"), [([0.1], False), ([0.1, 0.09], False), ([0.1, 0.09, 0.0895], True)])
def test_it_ends_when_the_error_stalls(errors, stalled):
    assert has_stalled([Round(10, 0.1, error, 0.1) for error in errors], 0.02) == stalled


def test_what_is_written_is_what_the_plan_reads(tmp_path):
    path = tmp_path / "quick.yaml"
    write_chosen(path, "quick", [[100, 207], [301]])
    assert load_chosen(path, plan_of("quick").scale) == [[100, 207], [301]]
