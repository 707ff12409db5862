from pathlib import Path

import pytest

from mobcg import records
from mobcg.errors import InputError
from mobcg.plan import Plan, load_plan
from mobcg.status import plan_status

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(REPOSITORY)
    return load_plan({"version": "2026.11.0", "scale": "demo", "results_dir": str(tmp_path / "results")})


def atomistic_row(plan: Plan, name: str, **changes: object) -> dict:
    spec = plan.atomistic[name]
    return {
        "run_id": name,
        "molecule_id": spec["molecule"]["id"],
        "force_field_id": "0" * 16,
        "replica": 0,
        "temperature_k": 298.15,
        "pressure_bar": 1.0,
        "n_molecules": spec["n_molecules"],
        "status": "ok",
        "spec": spec,
        "versions": {},
        **changes,
    }


def test_nothing_is_done_at_first_and_nothing_is_written(plan: Plan) -> None:
    stages = plan_status(plan)
    assert [stage.planned for stage in stages] == [
        len(plan.atomistic),
        len(plan.inversions),
        len(plan.shards),
        len(plan.prior_shards),
        len(plan.evaluations),
    ]
    assert all((stage.done, stage.reused, stage.failed, stage.left) == (0, 0, {}, stage.planned) for stage in stages)
    assert not Path(plan.config.results_dir).exists()


def test_records_count_and_a_failure_tells_its_reason(plan: Plan) -> None:
    good, bad, *_ = plan.atomistic
    records.write_record(Path(plan.record_path("atomistic", good)), "atomistic", atomistic_row(plan, good))
    failed = atomistic_row(plan, bad, status="failed", reason="LINCS warnings\nand more")
    records.write_record(Path(plan.record_path("atomistic", bad)), "atomistic", failed)
    stage = plan_status(plan)[0]
    assert (stage.done, stage.left) == (2, len(plan.atomistic) - 2)
    assert stage.failed == {bad: "LINCS warnings\nand more"}


def test_every_stage_looks_where_its_rule_writes(plan: Plan) -> None:
    results = Path(plan.config.results_dir)
    row = atomistic_row(plan, next(iter(plan.atomistic)))
    for path in (
        results / "inversion" / f"{next(iter(plan.inversions))}.parquet",
        results / "coarse" / f"{next(iter(plan.shards))}.parquet",
        results / "prior" / f"{next(iter(plan.prior_shards))}.coarse.parquet",
        results / "demo" / "evaluation" / f"{next(iter(plan.evaluations))}.parquet",
    ):
        records.write_record(path, "atomistic", row)
    assert [stage.done for stage in plan_status(plan)] == [0, 1, 1, 1, 1]


def test_what_the_base_release_holds_is_reused_not_left(plan: Plan) -> None:
    first = next(iter(plan.atomistic))
    fields = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    stage = plan_status(Plan(**(fields | {"reused": {"atomistic": frozenset([first])}})))[0]
    assert (stage.planned, stage.reused, stage.done, stage.left) == (5, 1, 0, 4)


def test_a_broken_record_is_named(plan: Plan) -> None:
    path = Path(plan.record_path("atomistic", next(iter(plan.atomistic))))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 half")
    with pytest.raises(InputError, match=rf"{path.name}.*whole Parquet file"):
        plan_status(plan)
