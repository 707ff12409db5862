import dataclasses

import numpy as np
import pytest

from mobcg.predictor import process
from mobcg.predictor.process import NEIGHBOURS, Process, fit, kernel, leave_groups_out

GRID = {"length_scales": [0.5, 1.0, 2.0, 4.0], "noises": [1e-4, 1e-2, 1.0]}


def curves(n: int, seed: int = 1):
    generator = np.random.default_rng(seed)
    inputs = generator.uniform(-2, 2, size=(n, 2))
    return inputs, np.column_stack([np.sin(inputs[:, 0]), inputs[:, 0] * inputs[:, 1]])


def test_leaving_groups_out_is_what_it_says():
    inputs, targets = curves(7)
    groups = np.array([0, 2, 1, 1, 0, 2, 1])
    matrix = kernel((inputs, None), (inputs, None), 1.3) + 0.2 * np.eye(7)
    errors = leave_groups_out(matrix, targets, groups)
    for group in range(3):
        out, rest = np.flatnonzero(groups == group), np.flatnonzero(groups != group)
        gain = matrix[np.ix_(out, rest)] @ np.linalg.inv(matrix[np.ix_(rest, rest)])
        np.testing.assert_allclose(errors[out], targets[out] - gain @ targets[rest])


def test_it_learns_a_smooth_function_and_how_well_it_knows_it():
    inputs, targets = curves(150)
    fitted, left_out = fit(inputs, targets, np.arange(150), GRID)
    new, truth = curves(200, seed=2)
    error = fitted.mean(new) - truth
    assert np.sqrt(np.mean(error**2)) < 0.03
    assert left_out.score < 0.05
    z = error / fitted.standard_error(new)
    assert 0.5 < np.sqrt(np.mean(z**2)) < 1.5
    far = fitted.standard_error(np.array([[8.0, 8.0]]))
    assert (far > 5 * fitted.standard_error(new).mean(axis=0)).all()


def test_variance_is_the_exact_one_while_all_rows_are_neighbours():
    inputs, targets = curves(NEIGHBOURS)
    terms = inputs[:, :1]
    fitted, _ = fit(inputs, targets, np.arange(NEIGHBOURS), GRID, terms=terms)
    new = np.array([[0.3, -0.2], [3.0, 1.0]])
    rows, asked = (inputs, terms), (new, new[:, :1])
    numbers = fitted.length_scale, 10.0
    fitted = dataclasses.replace(fitted, trend=10.0)
    matrix = kernel(rows, rows, *numbers) + fitted.noise * np.eye(NEIGHBOURS)
    to_rows = kernel(asked, rows, *numbers)
    exact = np.diag(kernel(asked, asked, *numbers) - to_rows @ np.linalg.solve(matrix, to_rows.T))
    np.testing.assert_allclose(fitted.variance(*asked), exact, rtol=1e-3, atol=1e-5)


def test_an_excluded_row_is_not_used():
    inputs, targets = curves(20)
    fitted, _ = fit(inputs, targets, np.arange(20), GRID)
    alone = fitted.variance(inputs[:1], exclude=np.arange(20)[None, :] == 0)
    rest, _ = fit(inputs[1:], targets[1:], np.arange(19), {key: [getattr(fitted, key[:-1])] for key in GRID})
    np.testing.assert_allclose(alone, rest.variance(inputs[:1]), rtol=1e-3, atol=1e-6)


def test_a_trend_goes_on_where_there_are_no_data():
    x = np.linspace(-1, 1, 30)[:, None]
    fitted, _ = fit(x, 3 * x, np.arange(30), GRID, terms=x)
    assert fitted.mean(np.array([[3.0]]), np.array([[3.0]]))[0, 0] == pytest.approx(9.0, rel=0.05)


def test_no_trend_where_there_is_none():
    generator = np.random.default_rng(4)
    x = generator.normal(size=(40, 2))
    fitted, _ = fit(x, generator.normal(size=(40, 1)), np.arange(40), GRID, terms=x)
    assert fitted.trend == 0.0


def test_a_single_group_teaches_little():
    inputs, targets = curves(5)
    fitted, left_out = fit(inputs, targets, np.zeros(5, int), GRID)
    assert fitted.noise == 1.0
    np.testing.assert_allclose(left_out.errors, targets)


def test_a_noisy_row_counts_less():
    x = np.array([[0.0], [0.0]])
    targets, noise = np.array([[0.0], [1.0]]), np.array([1.0, 100.0])
    fitted, _ = fit(x, targets, np.arange(2), {"length_scales": [1.0], "noises": [0.1]}, relative_noise=noise)
    assert fitted.mean(x)[0, 0] < 0.1


def test_survives_the_disk():
    inputs, targets = curves(12)
    fitted, _ = fit(inputs, targets, np.arange(12), GRID, terms=inputs)
    again = Process.restore("x", fitted.arrays("x"))
    np.testing.assert_array_equal(again.mean(inputs, inputs), fitted.mean(inputs, inputs))
    np.testing.assert_array_equal(again.standard_error(inputs, inputs), fitted.standard_error(inputs, inputs))


def test_of_many_rows_whole_groups_make_the_choice(monkeypatch):
    inputs, targets = curves(60)
    groups = np.arange(60) % 12
    chosen = process._first_groups(groups)
    np.testing.assert_array_equal(chosen, np.arange(60))
    monkeypatch.setattr(process, "SEARCH_ROWS", 23)
    chosen = process._first_groups(groups)
    assert set(groups[chosen]) == {0, 1, 2, 3}
    assert chosen.size == 20
    fitted, left_out = fit(inputs, targets, groups, GRID)
    assert len(fitted.inputs) == len(left_out.errors) == 60
