from pathlib import Path

import pytest
import yaml

from mobcg.forcematch.bench import SIZES, SMALL_HIPNN, fields

SCALES = Path(__file__).parents[2] / "config/scale"


@pytest.mark.parametrize("scale", ["pilot", "workstation"])
def test_the_small_network_is_that_of_the_scales(scale: str) -> None:
    section = yaml.safe_load((SCALES / f"{scale}.yaml").read_text())["forcematch"]["hipnn"]
    assert {key: section[key] for key in SMALL_HIPNN} == SMALL_HIPNN


def test_networks_are_timed_as_the_judgements_run_them() -> None:
    assert SIZES == (200, 500, 1000)
    rates = fields(200, 0.05)
    assert rates.keys() == {"pair_table", "schnet", "hipnn", "hipnn_small"}
    assert all(rate > 0 for rate in rates.values())
