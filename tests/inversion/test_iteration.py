import numpy as np
import pytest

from mobcg.inversion.convergence import Target, Verdict
from mobcg.inversion.iteration import progress_line, shape
from mobcg.pair import R_NM, core_index
from tests.inversion.cases import known_potential

CORE = np.where(R_NM < 0.44, 0.0, 1.0)


def test_a_finished_potential_stays_as_it_is():
    current = shape(known_potential(), known_potential(), CORE)
    np.testing.assert_allclose(shape(current, current, CORE), current, atol=1e-12)
    np.testing.assert_allclose(current[44:], known_potential()[44:])


def test_only_the_update_is_tapered():
    current = known_potential()
    ramp = 3 * (1.495 - R_NM)
    changed = shape(current, current + 0.5 + ramp, CORE) - current
    np.testing.assert_allclose(changed[44:140], ramp[44:140], atol=1e-12)
    assert changed[145] == pytest.approx(ramp[145] * 0.4, rel=0.1)
    assert changed[-1] == 0


def test_core_is_a_wall():
    core = np.where(R_NM < 0.44, 50.0, known_potential())
    shaped = shape(core, core, CORE)
    assert (np.diff(shaped[: core_index(CORE) + 3]) < 0).all()


def test_a_potential_without_a_wall_is_refused():
    rising = 5 * R_NM
    with pytest.raises(ValueError, match="no repulsive wall"):
        shape(rising, rising, CORE)


def test_progress_line_tells_what_is_left():
    verdict = Verdict(1.32, 0.85, 35.2, 9.8, False, False)
    line = progress_line(5, 25, verdict, Target(CORE, np.zeros(150), 1.0), 3.4)
    assert line == (
        "iteration 5 of at most 25: sum|dg| 1.32 (noise 0.85), pressure 35 ± 10 bar (target 1); "
        "3.4 s an iteration, at most 68 s left"
    )
