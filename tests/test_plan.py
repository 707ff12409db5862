import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mobcg.config import load_chosen, load_config, load_molecules, load_scale, scale_path
from mobcg.errors import InputError
from mobcg.estimate import job_seconds
from mobcg.jobs import workflow_jobs
from mobcg.molecule import draft
from mobcg.plan import (
    Plan,
    build_plan,
    canonical_json,
    expand_shard,
    load_plan,
    molecule_rows,
    prior_potentials,
    record_files,
    run_id,
    seed,
)
from mobcg.spec import derived_potential_id
from mobcg.units import number_density_nm3, thermal_energy_kj_mol

REPOSITORY = Path(__file__).parents[1]
STAGES = ("atomistic", "inversions", "shards", "prior_shards")

ATOMISTIC = {
    "kind": "atomistic",
    "protocol": 1,
    "molecule": {"id": "benzene", "smiles": "c1ccccc1"},
    "force_field": {"kind": "pristine"},
    "temperature_k": 298.15,
    "pressure_bar": 1.01325,
    "n_molecules": 231,
    "start_density_kg_m3": 873.5,
    "lengths": {
        "squeeze_ps": 10.0,
        "npt_block_ps": 20.0,
        "npt_max_ps": 80.0,
        "nvt_equilibration_ps": 10.0,
        "nvt_ps": 130.0,
    },
    "frame_ps": 1.0,
    "replica": 0,
}
PARENT = "9ea4ce7bfbda38fa"
SHARD = {
    "kind": "shard",
    "temperature_k": 298.15,
    "parts": [{"parent_id": PARENT, "first": 0, "count": 60}],
    "sampling": {
        "n_beads": 400,
        "mass_g_mol": [20.0, 200.0],
        "scale_factors": [0.7, 0.85, 1.0, 1.2, 1.5, 1.8, 2.2],
        "friction_1_ps_100": {"langevin": [0.2, 20.0], "dpd": [0.03, 3.0]},
        "thermostat_weights": {"nose_hoover": 0.6, "langevin": 0.2, "dpd": 0.2},
        "equilibration_ps_100": 15.0,
        "production_ps_100": 150.0,
        "perturbation": {"gaussians": 3, "amplitude_kt": 0.5, "centre_nm": [0.45, 1.3], "width_nm": [0.04, 0.15]},
    },
}


def draws(count: int, first: int = 0, parent_id: str = PARENT, **changes: object) -> list[dict]:
    part = {"parent_id": parent_id, "first": first, "count": count, **changes}
    return expand_shard({**SHARD, "parts": [part]})


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


@pytest.fixture
def molecules_dir(tmp_path: Path) -> Path:
    return Path(shutil.copytree("config/molecules", tmp_path / "molecules"))


def plan_of(scale: str = "workstation", **changes: str) -> Plan:
    return load_plan({"version": "2026.11.0", "scale": scale, **changes})


def edit(path: Path, **changes: object) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def coarse_ids(plan: Plan) -> list[str]:
    shards = [*plan.shards.values(), *plan.prior_shards.values()]
    return [run_id(spec) for shard in shards for spec in expand_shard(shard)]


def evaluation_ids(plan: Plan) -> set[str]:
    return {run_id(spec) for spec in plan.evaluations.values()}


def all_ids(plan: Plan) -> set[str]:
    shards = {*plan.shards, *plan.prior_shards}
    return {*plan.atomistic, *plan.inversions, *shards, *coarse_ids(plan), *evaluation_ids(plan)}


def parents_of(shard: dict) -> set[str]:
    return {part["parent_id"] for part in shard["parts"]}


def ids_of_molecule(plan: Plan, molecule: str) -> set[str]:
    atomistic = {name for name, spec in plan.atomistic.items() if spec["molecule"]["id"] == molecule}
    inversions = {name for name, spec in plan.inversions.items() if spec["molecule_id"] == molecule}
    shards = {name: shard for name, shard in plan.shards.items() if parents_of(shard) <= inversions}
    coarse = {run_id(spec) for shard in shards.values() for spec in expand_shard(shard)}
    evaluations = {run_id(spec) for spec in plan.evaluations.values() if spec["molecule_id"] == molecule}
    return {*atomistic, *inversions, *shards, *coarse, *evaluations}


# Identity


def test_golden_ids() -> None:
    # A published release is found by these: they may never change.
    assert run_id(ATOMISTIC) == "4be4202b68f68f1f"
    assert run_id(expand_shard(SHARD)[0]) == "aee290577d46a7de"
    assert run_id(expand_shard(SHARD)[2]) == "a2072ca3b9cb6ada"


def test_the_shipped_files_ask_for_the_golden_runs() -> None:
    plan = plan_of("quick")
    assert plan.atomistic["89afbb32417a71f3"] == ATOMISTIC | {"lengths": ATOMISTIC["lengths"] | {"nvt_ps": 160.0}}
    assert "a2271dde7e472232" in plan.inversions
    assert {"8b98b2a378e76962", "4ef9049c906a8287"} <= set(coarse_ids(plan))
    # Those of the released runs.
    plan = plan_of("workstation")
    assert "b49dff40eaf78101" in plan.atomistic
    assert "775cf50ebb61293d" in plan.inversions
    assert {"c2cf4f170817239b", "9952f934dd1c0826"} <= set(coarse_ids(plan))


def test_a_mapping_in_a_molecules_file_changes_no_run() -> None:
    plan = plan_of("workstation")
    assert plan.molecules["benzene"].mappings
    # The first benzene of the released runs: neither key is in the spec that does not ask for it.
    assert not {"mapping", "density_kg_m3"} & plan.atomistic["b49dff40eaf78101"].keys()


def test_an_id_is_the_beginning_of_the_hash_of_the_canonical_json() -> None:
    assert canonical_json({"b": [1.0, 2, None, True], "a": "α"}) == '{"a":"\\u03b1","b":[1.0,2,null,true]}'
    text = canonical_json(ATOMISTIC)
    assert run_id(ATOMISTIC) == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert run_id(json.loads(text)) == run_id(ATOMISTIC)


def test_an_id_does_not_know_the_order_of_keys() -> None:
    turned = dict(reversed(ATOMISTIC.items()))
    turned["lengths"] = dict(reversed(ATOMISTIC["lengths"].items()))
    assert list(turned) != list(ATOMISTIC)
    assert run_id(turned) == run_id(ATOMISTIC)


@pytest.mark.parametrize("key", ATOMISTIC)
def test_every_key_counts(key: str) -> None:
    assert run_id({**ATOMISTIC, key: "another"}) != run_id(ATOMISTIC)


def test_a_nan_has_no_id() -> None:
    with pytest.raises(ValueError, match="JSON"):
        run_id({"temperature_k": float("nan")})


def test_seeds_are_in_the_range_that_programs_accept_and_differ() -> None:
    seeds = [seed({"replica": replica}, purpose) for replica in range(2000) for purpose in ("velocities", "box")]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 1
    assert max(seeds) <= 2**31 - 2
    assert np.mean(seeds) == pytest.approx(2**30, rel=0.03)
    assert seed({"a": 1, "b": 2}, "x") == seed({"b": 2, "a": 1}, "x")
    assert seed({"a": 1}, "x") == 637961311


def test_the_parent_is_its_own_scaled_potential_for_a_factor_of_one() -> None:
    parent = "a" * 16
    assert derived_potential_id({"parent_id": parent, "scale_factor": 1.0}) == parent
    assert derived_potential_id({"parent_id": parent, "scale_factor": 1}) == parent
    scaled = {"kind": "scaled", "parent_id": parent, "scale_factor": 1.2}
    assert derived_potential_id({"parent_id": parent, "scale_factor": 1.2}) == run_id(scaled)
    # A published release has it.
    assert run_id(scaled) == "eded37ab099eb24f"


# Coarse draws


@pytest.mark.parametrize("size", [1, 7, 13, 60])
def test_draws_do_not_know_how_they_are_cut_into_shards(size: int) -> None:
    pieces = [spec for first in range(0, 60, size) for spec in draws(min(size, 60 - first), first)]
    assert pieces == expand_shard(SHARD)
    parts = [{"parent_id": PARENT, "first": first, "count": min(size, 60 - first)} for first in range(0, 60, size)]
    assert expand_shard({**SHARD, "parts": parts}) == pieces


def test_more_draws_leave_the_first_as_they_are() -> None:
    assert draws(200)[:60] == expand_shard(SHARD)
    assert draws(40, perturbed=True)[:9] == draws(9, perturbed=True)


def test_the_first_draw_is_the_parent_itself_without_friction() -> None:
    first = expand_shard(SHARD)[0]
    assert first["potential"] == {"parent_id": PARENT, "scale_factor": 1.0}
    assert (first["thermostat"], first["friction_1_ps"]) == ("nose_hoover", 0.0)


def test_draws_follow_the_sampling() -> None:
    specs = draws(2000)
    masses = np.array([spec["mass_g_mol"] for spec in specs])
    assert masses.min() >= 20
    assert masses.max() <= 200
    assert masses.mean() == pytest.approx(110, abs=4)
    kinds = Counter(spec["thermostat"] for spec in specs)
    assert kinds["nose_hoover"] / 2000 == pytest.approx(0.6, abs=0.04)
    assert kinds["dpd"] / 2000 == pytest.approx(0.2, abs=0.03)
    friction = np.array([spec["friction_1_ps"] * np.sqrt(spec["mass_g_mol"] / 100) for spec in specs])
    kind = np.array([spec["thermostat"] for spec in specs])
    none = kind == "nose_hoover"
    assert np.all(friction[none] == 0)
    for thermostat, (low, high) in SHARD["sampling"]["friction_1_ps_100"].items():
        drawn = friction[kind == thermostat]
        assert low * 0.999 <= drawn.min() < drawn.max() <= high * 1.001
        assert np.log(drawn).mean() == pytest.approx(np.log(low * high) / 2, abs=0.2)  # log-uniform
    factors = Counter(spec["potential"]["scale_factor"] for spec in specs[1:])
    assert set(factors) == set(SHARD["sampling"]["scale_factors"])
    assert max(factors.values()) - min(factors.values()) <= 1
    # Mass, friction and factor are drawn apart.
    langevin = kind == "langevin"
    assert abs(np.corrcoef(masses[langevin], np.log(friction[langevin]))[0, 1]) < 0.12


def test_draws_of_two_parents_differ() -> None:
    other = draws(60, parent_id="0" * 16)
    assert [spec["mass_g_mol"] for spec in other] != [spec["mass_g_mol"] for spec in expand_shard(SHARD)]


def test_a_weight_of_zero_is_never_drawn() -> None:
    sampling = {**SHARD["sampling"], "thermostat_weights": {"langevin": 1.0, "dpd": 0.0}}
    specs = expand_shard({**SHARD, "sampling": sampling})
    assert {spec["thermostat"] for spec in specs[1:]} == {"langevin"}


def test_perturbed_draws_carry_their_perturbation_and_no_friction() -> None:
    specs = draws(400, perturbed=True)
    assert specs[17] == draws(1, 17, perturbed=True)[0]
    assert {spec["thermostat"] for spec in specs} == {"nose_hoover"}
    assert [spec["mass_g_mol"] for spec in specs] != [spec["mass_g_mol"] for spec in draws(400)]
    shape = SHARD["sampling"]["perturbation"]
    limits = {"centre_nm": shape["centre_nm"], "width_nm": shape["width_nm"]}
    largest_kj_mol = 0.5 * thermal_energy_kj_mol(298.15)
    limits["amplitude_kj_mol"] = (-largest_kj_mol, largest_kj_mol)
    for name, (low, high) in limits.items():
        drawn = np.array([spec["potential"]["perturbation"][name] for spec in specs])
        assert drawn.shape == (400, 3)
        assert drawn.min() == pytest.approx(low, abs=0.02 * (high - low))
        assert drawn.max() == pytest.approx(high, abs=0.02 * (high - low))
    assert len({derived_potential_id(spec["potential"]) for spec in specs}) == 400
    assert {spec["potential"]["scale_factor"] for spec in specs} == set(SHARD["sampling"]["scale_factors"])


def test_only_perturbed_draws_know_of_perturbations() -> None:
    assert all("perturbation" not in spec["potential"] for spec in draws(60))
    perturbed = draws(1, perturbed=True)[0]["potential"]
    assert derived_potential_id(perturbed) == run_id({"kind": "perturbed", **perturbed})


# Shards


def shards_of(plan: Plan, molecule: str) -> list[dict]:
    own = {name for name, spec in plan.inversions.items() if spec["molecule_id"] == molecule}
    return [shard for shard in plan.shards.values() if parents_of(shard) <= own]


@pytest.mark.parametrize("scale", ["quick", "workstation", "paper"])
def test_shards_are_filled_over_the_potentials_of_one_molecule(scale: str) -> None:
    plan = plan_of(scale)
    section = plan.scale.coarse
    assert sum(len(shards_of(plan, molecule)) for molecule in plan.molecules) == len(plan.shards)
    for molecule in plan.molecules:
        potentials = 1 + plan.scale.synthetic.draws.get(molecule, 0)
        each = section.records_per_potential + section.perturbed_records_per_potential
        for corrected, records in ((True, potentials * each), (False, section.uncorrected_records_per_potential)):
            sizes = [
                sum(part["count"] for part in shard["parts"])
                for shard in shards_of(plan, molecule)
                if plan.inversion_spec(shard["parts"][0]["parent_id"])["pressure_correction"] == corrected
            ]
            assert set(sizes[:-1]) <= {section.records_per_shard}
            assert sum(sizes) == records
    # Every draw of every potential once: pristine first, then the synthetic ones, then all that is perturbed; those
    # without pressure correction apart.
    every = [part for shard in shards_of(plan, "ethylbenzene") for part in shard["parts"]]
    parts = [part for part in every if plan.inversion_spec(part["parent_id"])["pressure_correction"]]
    assert every[: len(parts)] == parts
    assert sum(part["count"] for part in every[len(parts) :]) == section.uncorrected_records_per_potential
    kinds = [part.get("perturbed", False) for part in parts]
    assert kinds == sorted(kinds)
    pristine = plan.evaluations["ethylbenzene.ibi"]["parent_potential_id"]
    assert parts[0]["parent_id"] == pristine
    for kind, count in ((False, section.records_per_potential), (True, section.perturbed_records_per_potential)):
        drawn = [
            draw
            for part in parts
            if part["parent_id"] == pristine and part.get("perturbed", False) == kind
            for draw in range(part["first"], part["first"] + part["count"])
        ]
        assert drawn == list(range(count))


def test_potentials_without_pressure_correction_have_runs_where_they_are_asked_for(tmp_path: Path) -> None:
    scale = yaml.safe_load(Path("config/scale/workstation.yaml").read_text())
    plans = []
    for count in (0, 7):
        scale["coarse"]["uncorrected_records_per_potential"] = count
        scale["name"] = f"with-{count}"
        path = tmp_path / f"with-{count}.yaml"
        path.write_text(yaml.safe_dump(scale))
        plans.append(plan_of(str(path)))
    without, some = plans
    added = {name: shard for name, shard in some.shards.items() if name not in without.shards}
    assert set(without.shards) < set(some.shards)
    assert len(added) == 8
    for shard in added.values():
        (part,) = shard["parts"]
        assert (part["first"], part["count"]) == (0, 7)
        assert not some.inversion_spec(part["parent_id"])["pressure_correction"]


def test_the_paper_scale_is_few_jobs() -> None:
    assert sum(map(len, job_seconds(plan_of("paper")).values())) < 2550


def test_a_shard_reads_each_of_its_potentials_once(tmp_path: Path) -> None:
    plan = plan_of("paper")
    of_several = of_one_twice = 0
    for shard_id, shard in plan.shards.items():
        records = {f"results/inversion/{parent}.parquet" for parent in parents_of(shard)}
        assert sorted(plan.shard_potentials(shard_id)) == sorted(records)
        of_several += len(records) > 1
        of_one_twice += len(records) < len(shard["parts"])
    assert min(of_several, of_one_twice) > 0


# The prior


def test_more_liquids_of_the_prior_leave_the_first_as_they_are(tmp_path: Path) -> None:
    scale = yaml.safe_load(Path("config/scale/quick.yaml").read_text())
    changes = {"liquids": 100, "liquids_per_shard": 33, "friction_share": 0.5}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(scale | {"name": "more", "prior": scale["prior"] | changes}))
    few, more = (
        [spec for shard in plan.prior_shards.values() for spec in expand_shard(shard)]
        for plan in (plan_of("quick"), plan_of(str(tmp_path / "more.yaml")))
    )
    assert {run_id(spec) for spec in few} < {run_id(spec) for spec in more}
    # One run without friction each; where there is one with, there is one of each kind.
    kinds: dict[str, list[str]] = {}
    for spec in more:
        kinds.setdefault(spec["potential"]["parent_id"], []).append(spec["thermostat"])
    assert len(kinds) == 100
    assert Counter(map(tuple, kinds.values())).keys() == {("nose_hoover",), ("nose_hoover", "langevin", "dpd")}
    assert np.mean([len(found) > 1 for found in kinds.values()]) == pytest.approx(0.5, abs=0.15)


def test_chosen_liquids_are_shards_of_their_own_and_change_no_other(tmp_path: Path) -> None:
    config = load_config({"scale": "quick", "version": "2026.11.0"})
    molecules = load_molecules(Path("config/molecules"))
    scale = load_scale(scale_path("quick"), molecules)
    path = tmp_path / "quick.yaml"

    def shards(rounds: list[list[int]]) -> dict:
        path.write_text(yaml.safe_dump({"rounds": rounds}))
        return build_plan(config, scale, {}, {}, {}, load_chosen(path, scale)).prior_shards

    before = build_plan(config, scale, {}, {}, {}).prior_shards
    one, two = shards([[40, 77, 12]]), shards([[40, 77, 12], [91]])
    assert list(two)[: len(one)] == list(one)
    assert list(one)[: len(before)] == list(before)
    added = [spec for shard in list(two.values())[len(before) :] for spec in prior_potentials(shard).values()]
    assert [spec["draw"] for spec in added] == [40, 77, 12, 91]
    # They are near the molecular liquids: each is run with both frictions too, mild and strong.
    for shard in list(two.values())[len(before) :]:
        every = {name: shard | {"sampling": shard["sampling"] | {"strong_friction_share": name}} for name in (0, 1)}
        specs, count = expand_shard(every[1]), len(shard["draws"])
        assert expand_shard(every[0]) == [spec for spec in specs if spec["draw"] <= 2]
        found = Counter(spec["thermostat"] for spec in specs)
        assert found == {"nose_hoover": count, "langevin": 2 * count, "dpd": 2 * count}
        for kind, ranges in (
            ("friction_1_ps_100", shard["sampling"]["friction_1_ps_100"]),
            ("strong_friction_1_ps_100", scale.prior.strong_friction_1_ps_100),
        ):
            drawn = [s for s in specs if (s["draw"] > 2) == (kind != "friction_1_ps_100") and s["friction_1_ps"]]
            assert len(drawn) == 2 * count
            for spec in drawn:
                low, high = ranges[spec["thermostat"]]
                assert 0.999 * low < spec["friction_1_ps"] * (spec["mass_g_mol"] / 100) ** 0.5 < 1.001 * high
    # The same draw is the same liquid, however it came into the plan.
    (tmp_path / "more.yaml").write_text(
        yaml.safe_dump(
            yaml.safe_load(Path("config/scale/quick.yaml").read_text()) | {"name": "more", "prior": {"liquids": 100}}
        )
    )
    listed = [prior_potentials(shard) for shard in plan_of(str(tmp_path / "more.yaml")).prior_shards.values()]
    assert {run_id(spec) for spec in added} < {name for found in listed for name in found}


@pytest.mark.parametrize(
    ("rounds", "message"),
    [
        ([[3, 90]], r"rounds\.0: found 3; allowed: 8 and more"),
        ([[90], [91, 90]], "a draw is there twice"),
        ([[]], "at least 1 item"),
    ],
)
def test_chosen_liquids_that_cannot_be_are_refused(rounds: list[list[int]], message: str, tmp_path: Path) -> None:
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump({"rounds": rounds}))
    scale = load_scale(scale_path("quick"), load_molecules(Path("config/molecules")))
    with pytest.raises(InputError, match=message):
        load_chosen(tmp_path / "quick.yaml", scale)


def test_synthetic_boxes_may_be_smaller(tmp_path: Path) -> None:
    scale = yaml.safe_load(Path("config/scale/workstation.yaml").read_text())
    scale["synthetic"] |= {"box_length_nm": 3.15}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(scale | {"name": "small"}))
    sizes = {
        kind: {s["n_molecules"] for s in plan_of(str(tmp_path / "small.yaml")).atomistic.values() if fits(s, kind)}
        for kind in ("pristine", "synthetic")
    }
    assert max(sizes["synthetic"]) < min(sizes["pristine"])


def fits(spec: dict, kind: str) -> bool:
    return spec["molecule"]["id"] == "ethylbenzene" and spec["force_field"]["kind"] == kind


def test_liquids_of_the_prior_know_no_molecule(molecules_dir: Path) -> None:
    before = plan_of("quick", molecules_dir=str(molecules_dir))
    (molecules_dir / "n-heptane.yaml").write_text(draft("CCCCCCC", "n-heptane", 679.5))
    assert plan_of("quick", molecules_dir=str(molecules_dir)).prior_shards == before.prior_shards
    specs = [spec for shard in before.prior_shards.values() for spec in prior_potentials(shard).values()]
    assert [spec["draw"] for spec in specs] == list(range(before.scale.prior.liquids))
    assert {spec["kind"] for spec in specs} == {"prior"}


def test_golden_ids_of_the_prior() -> None:
    shard = next(iter(plan_of("workstation").prior_shards.values()))
    name, spec = next(iter(prior_potentials(shard).items()))
    assert name == run_id(spec) == "6ab24befd2178b0e"
    assert run_id(expand_shard(shard)[0]) == "d3535e3b20b5cf06"


def test_a_prior_whose_boxes_are_too_small_is_refused(tmp_path: Path) -> None:
    scale = yaml.safe_load(Path("config/scale/quick.yaml").read_text())
    (tmp_path / "small.yaml").write_text(
        yaml.safe_dump(scale | {"name": "small", "prior": {"liquids": 1, "n_beads": 200}})
    )
    with pytest.raises(
        InputError, match=r"prior\.n_beads: found '200 beads, at the highest density a box of 2\.92 nm'"
    ):
        plan_of(str(tmp_path / "small.yaml"))


# The plan of the shipped scales


@pytest.mark.parametrize("scale", ["quick", "workstation", "paper"])
def test_no_id_twice_and_every_id_hashes_its_spec(scale: str) -> None:
    plan = plan_of(scale)
    listed = [*plan.atomistic, *plan.inversions, *plan.shards, *plan.prior_shards, *coarse_ids(plan)]
    listed += [run_id(spec) for spec in plan.evaluations.values()]
    assert len(listed) == len(set(listed))
    for stage in STAGES:
        assert all(run_id(spec) == name for name, spec in getattr(plan, stage).items())


@pytest.mark.parametrize("scale", ["quick", "workstation", "paper"])
def test_what_a_stage_builds_on_is_in_the_plan(scale: str) -> None:
    plan = plan_of(scale)
    assert all(parent in plan.atomistic for spec in plan.inversions.values() for parent in spec["parent_run_ids"])
    assert all(parents_of(shard) <= plan.inversions.keys() for shard in plan.shards.values())
    potentials = plan.inversions.keys() | plan.forcematch.fits.keys()
    for spec in plan.evaluations.values():
        if "judgement_id" in spec:
            assert spec["judgement_id"] in plan.forcematch.judgements
        else:
            assert spec["parent_potential_id"] in potentials
    assert all("\\" not in canonical_json(spec) for spec in plan.atomistic.values())


def test_one_trained_model_serves_its_variants_and_the_knob_is_turned_for_one() -> None:
    plan = plan_of("workstation")
    trained = {
        model: plan.evaluation_inputs("benzene", model).get("model")
        for model in ("ibi_dpd", "bag2024", "mobcg", "mobcg_dpd", "mobcg_langevin")
    }
    assert trained["ibi_dpd"] is None
    assert trained["bag2024"].endswith("models/benzene/bag2024/model.json")
    assert len({trained[name] for name in ("mobcg", "mobcg_dpd", "mobcg_langevin")}) == 1
    assert plan.evaluations["benzene.mobcg"]["scale_factors"] == [0.7, 1.0, 1.3]
    assert plan.evaluations["benzene.mobcg_dpd"]["scale_factors"] == [1.0]


def test_the_sizes_that_the_scales_promise() -> None:
    workstation, paper = plan_of("workstation"), plan_of("paper")
    synthetic = Counter(
        spec["molecule"]["id"] for spec in paper.atomistic.values() if spec["force_field"]["kind"] == "synthetic"
    )
    assert sorted(synthetic.values()) == [250, 250, 250]
    assert len(paper.atomistic) == 8 * 3 + 750
    assert all(spec["n_molecules"] == 1000 for spec in paper.atomistic.values())
    assert len(coarse_ids(paper)) >= 5000
    assert len(coarse_ids(workstation)) >= 3000


@pytest.mark.parametrize("scale", ["quick", "workstation", "paper"])
def test_every_box_holds_twice_the_reach_of_the_rdf_even_if_denser(scale: str) -> None:
    plan = plan_of(scale)
    for spec in plan.atomistic.values():
        molar_mass = plan.species[spec["molecule"]["id"]].molar_mass_g_mol
        edge_nm = (spec["n_molecules"] / number_density_nm3(spec["start_density_kg_m3"], molar_mass)) ** (1 / 3)
        section = getattr(plan.scale, "synthetic" if spec["force_field"]["kind"] == "synthetic" else "atomistic")
        least_nm = section.box_length_nm or plan.scale.atomistic.box_length_nm
        assert edge_nm / 1.04 ** (1 / 3) > least_nm > 3.1


def test_a_box_too_small_is_refused_before_any_simulation(tmp_path: Path) -> None:
    scale = yaml.safe_load(Path("config/scale/quick.yaml").read_text())
    scale |= {"name": "small", "atomistic": {"n_molecules": 100}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(scale))
    with pytest.raises(InputError, match=r"atomistic\.n_molecules: found '100 benzene, a box of 2\.\d\d nm'"):
        plan_of(str(tmp_path / "small.yaml"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            # Both are too short; the slower one is named.
            {"atomistic": {"lengths": {"nvt_ps": 90}}},
            r"atomistic\.lengths\.nvt_ps: found 90\.0; allowed: 150 and more for n-octane\. ",
        ),
        (
            {"synthetic": {"draws": {"n-octane": 1}, "lengths": {"nvt_ps": 149}}},
            r"synthetic\.lengths\.nvt_ps: found 149\.0; allowed: 150 and more for n-octane\. ",
        ),
        (
            {"atomistic": {"frame_ps": 20.0}},
            r"atomistic\.frame_ps: found 20\.0; allowed: less for benzene\. frames of 20 ps are too far apart",
        ),
    ],
)
def test_a_run_too_short_for_its_diffusion_is_refused_before_it(
    changes: dict, message: str, tmp_path: Path, molecules_dir: Path
) -> None:
    (molecules_dir / "n-octane.yaml").write_text(draft("CCCCCCCC", "n-octane", 698.6))
    scale = tmp_path / "short.yaml"
    scale.write_text(yaml.safe_dump({"name": "short", "molecules": ["benzene", "n-octane"]} | changes))
    with pytest.raises(InputError, match=f"scale short: {message}"):
        plan_of(str(scale), molecules_dir=str(molecules_dir))


def test_the_least_length_is_long_enough_and_what_is_there_is_not_asked(tmp_path: Path, molecules_dir: Path) -> None:
    (molecules_dir / "n-octane.yaml").write_text(draft("CCCCCCCC", "n-octane", 698.6))
    scale = tmp_path / "short.yaml"
    content = {"name": "short", "molecules": ["n-octane"], "atomistic": {"lengths": {"nvt_ps": 150}, "replicas": 1}}
    scale.write_text(yaml.safe_dump(content))
    ((_, spec),) = plan_of(str(scale), molecules_dir=str(molecules_dir)).atomistic.items()
    content["atomistic"]["lengths"]["nvt_ps"] = 130
    scale.write_text(yaml.safe_dump(content))
    short = run_id(spec | {"lengths": spec["lengths"] | {"nvt_ps": 130.0}})
    base = release_of(tmp_path / "base", [short], [], [])
    assert plan_of(str(scale), molecules_dir=str(molecules_dir), base_release=base).to_simulate("atomistic") == []


@pytest.mark.parametrize("scale", ["demo", "quick", "pilot", "study", "workstation", "paper"])
def test_octane_may_join_every_shipped_scale(scale: str, molecules_dir: Path) -> None:
    (molecules_dir / "n-octane.yaml").write_text(draft("CCCCCCCC", "n-octane", 698.6))
    assert "n-octane" in plan_of(scale, molecules_dir=str(molecules_dir)).molecules


def test_the_number_of_synthetic_draws_leaves_the_first_as_they_are(tmp_path: Path) -> None:
    scale = yaml.safe_load(Path("config/scale/quick.yaml").read_text())
    scale |= {"name": "more", "synthetic": scale["synthetic"] | {"draws": {"ethylbenzene": 4}}}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(scale))
    few, more = plan_of("quick"), plan_of(str(tmp_path / "more.yaml"))
    # A shard that was not full may be cut anew; the runs in it stay what they were.
    runs_of_few, runs_of_more = ({*plan.atomistic, *plan.inversions, *coarse_ids(plan)} for plan in (few, more))
    assert runs_of_few < runs_of_more
    assert len(more.atomistic) == len(few.atomistic) + 2


# Extension


@pytest.mark.parametrize("scale", ["quick", "workstation"])
def test_a_new_molecule_leaves_all_other_ids_untouched(molecules_dir: Path, scale: str) -> None:
    before = plan_of(scale, molecules_dir=str(molecules_dir))
    assert all_ids(before) == all_ids(plan_of(scale))
    (molecules_dir / "n-heptane.yaml").write_text(draft("CCCCCCC", "n-heptane", 679.5))
    after = plan_of(scale, molecules_dir=str(molecules_dir))
    assert all_ids(before) < all_ids(after)
    assert all_ids(after) - all_ids(before) == ids_of_molecule(after, "n-heptane") != set()
    assert after.folds == [*sorted([*before.molecules, "n-heptane"]), "all"]


def test_a_changed_molecule_changes_its_own_ids_and_no_other(molecules_dir: Path) -> None:
    before = plan_of(molecules_dir=str(molecules_dir))
    edit(molecules_dir / "benzene.yaml", reference_density_kg_m3=870.0)
    after = plan_of(molecules_dir=str(molecules_dir))
    assert all_ids(before) - all_ids(after) == ids_of_molecule(before, "benzene")
    assert all_ids(after) - all_ids(before) == ids_of_molecule(after, "benzene")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "benzol"},
        {"reference_density_source": "a better one"},
        {"role": "extension"},
        {"smiles": "C1=CC=CC=C1"},
    ],
)
def test_words_about_a_molecule_change_no_id(molecules_dir: Path, changes: dict) -> None:
    before = all_ids(plan_of(molecules_dir=str(molecules_dir)))
    edit(molecules_dir / "benzene.yaml", **changes)
    assert all_ids(plan_of(molecules_dir=str(molecules_dir))) == before


@pytest.mark.parametrize("kept", ["none", "all"])
def test_what_is_kept_of_a_run_changes_no_id(kept: str) -> None:
    assert all_ids(plan_of(keep_trajectories=kept)) == all_ids(plan_of())


def test_what_is_published_changes_no_id_and_is_what_is_no_synthetic_force_field(tmp_path: Path) -> None:
    plan = plan_of()
    shutil.copy("config/scale/workstation.yaml", tmp_path)
    atomistic = yaml.safe_load((tmp_path / "workstation.yaml").read_text())["atomistic"]
    edit(tmp_path / "workstation.yaml", atomistic=atomistic | {"publish_trajectories": False})
    quiet = plan_of(str(tmp_path / "workstation.yaml"))
    assert all_ids(quiet) == all_ids(plan)
    assert quiet.to_publish() == []
    kinds = {run: spec["force_field"]["kind"] for run, spec in plan.atomistic.items()}
    assert Counter(kinds[run] for run in plan.to_publish()) == {"pristine": 16}
    assert Counter(kinds.values()) == {"pristine": 17, "synthetic": 36}
    # Nor does it change what is listed for the tables, which would make them and all models anew.
    assert record_files(quiet) == record_files(plan)


def test_beads_that_were_not_kept_are_not_simulated_again_to_be_published(tmp_path: Path) -> None:
    plan = plan_of(results_dir=str(tmp_path))
    first, second, third, fourth, *others = plan.to_publish()
    for path in (
        plan.record_path("atomistic", first),  # done, and its beads are gone
        plan.record_path("atomistic", second),
        plan.beads_path(second),
        plan.record_path("atomistic", third),
        plan.packed_path(third),
        plan.beads_path(fourth),
    ):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).touch()
    assert plan.to_publish() == [second, third, fourth, *others]


def test_the_contents_of_a_users_topology_count(molecules_dir: Path) -> None:
    (molecules_dir / "own.itp").write_text("[ moleculetype ]\n")
    (molecules_dir / "own.gro").write_text("one\n")
    edit(molecules_dir / "benzene.yaml", mappings={}, topology={"itp": "own.itp", "gro": "own.gro"})
    first = plan_of("quick", molecules_dir=str(molecules_dir))
    spec = next(spec for spec in first.atomistic.values() if spec["molecule"]["id"] == "benzene")
    assert spec["force_field"]["kind"] == "file"
    assert spec["force_field"]["itp_sha256"] == hashlib.sha256(b"[ moleculetype ]\n").hexdigest()
    (molecules_dir / "own.itp").write_text("[ moleculetype ]\n; other\n")
    second = plan_of("quick", molecules_dir=str(molecules_dir))
    assert all_ids(first) - all_ids(second) == ids_of_molecule(first, "benzene")


# Reuse of a base release


def release_of(directory: Path, atomistic: list[str], potentials: list[str], coarse: list[str]) -> str:
    (directory / "data").mkdir(parents=True)
    for table, key, ids in (
        ("atomistic", "run_id", atomistic),
        ("potentials", "potential_id", potentials),
        ("coarse", "run_id", coarse),
    ):
        pq.write_table(
            pa.table({key: pa.array(ids, pa.string()), "other": [0] * len(ids)}), directory / f"data/{table}.parquet"
        )
    return str(directory)


def test_a_base_release_removes_exactly_the_runs_recorded_in_it(tmp_path: Path) -> None:
    fresh = plan_of("quick")
    atomistic, inversions, shards = list(fresh.atomistic), list(fresh.inversions), list(fresh.shards)
    recorded = [run_id(spec) for shard in shards[:2] for spec in expand_shard(fresh.shards[shard])]
    recorded += [run_id(spec) for spec in expand_shard(next(iter(fresh.prior_shards.values())))]
    base = release_of(tmp_path / "base", atomistic[:3], [*inversions[1:3], "f" * 16], recorded)
    plan = plan_of("quick", base_release=base)
    assert plan.to_simulate("atomistic") == atomistic[3:]
    assert plan.to_simulate("inversions") == [inversions[0], *inversions[3:]]
    assert plan.to_simulate("shards") == shards[2:]
    assert plan.to_simulate("prior_shards") == list(fresh.prior_shards)[1:]
    # What is reused stays in the plan, under the same ids, for what builds on it.
    assert all_ids(plan) == all_ids(fresh)
    assert plan.record_path("atomistic", atomistic[0]) == f"results/reused/atomistic/{atomistic[0]}.parquet"
    assert plan.record_path("atomistic", atomistic[3]) == f"results/atomistic/{atomistic[3]}.parquet"
    assert plan.record_path("potentials", inversions[1]) == f"results/reused/inversion/{inversions[1]}.parquet"
    assert plan.record_path("potentials", inversions[0]) == f"results/inversion/{inversions[0]}.parquet"


def test_a_complete_base_release_leaves_nothing_to_simulate(tmp_path: Path) -> None:
    fresh = plan_of("quick")
    base = release_of(tmp_path / "base", list(fresh.atomistic), list(fresh.inversions), coarse_ids(fresh))
    plan = plan_of("quick", base_release=base)
    assert [plan.to_simulate(stage) for stage in STAGES] == [[], [], [], []]


def test_extending_a_complete_release_by_a_molecule_costs_that_molecule(tmp_path: Path, molecules_dir: Path) -> None:
    fresh = plan_of("quick")
    base = release_of(tmp_path / "base", list(fresh.atomistic), list(fresh.inversions), coarse_ids(fresh))
    (molecules_dir / "n-heptane.yaml").write_text(draft("CCCCCCC", "n-heptane", 679.5))
    plan = plan_of("quick", base_release=base, molecules_dir=str(molecules_dir))
    left = {name for stage in STAGES for name in plan.to_simulate(stage)}
    assert left == ids_of_molecule(plan, "n-heptane") & {*plan.atomistic, *plan.inversions, *plan.shards}
    assert len(left) == 3


def extension(tmp_path: Path, molecules: list[str], held: list[str], models: tuple[str, ...]) -> Plan:
    """Return the plan of a scale that adds molecules to a release which holds others."""
    released = Path(release_of(tmp_path / "releases/2026.11.0", [], [], []))
    pq.write_table(pa.table({"molecule_id": pa.array(held, pa.string())}), released / "data/molecules.parquet")
    for model in models:
        (released / "models" / model).mkdir(parents=True)
        (released / "models" / model / "model.json").write_text("{}")
    scale = tmp_path / "extension.yaml"
    scale.write_text(yaml.safe_dump({"name": "extension", "extends": "2026.11.0", "molecules": molecules}))
    return plan_of(str(scale), releases_dir=str(tmp_path / "releases"))


def test_an_extension_keeps_the_molecules_and_takes_the_models_of_its_release(tmp_path: Path) -> None:
    plan = extension(tmp_path, ["benzene"], ["neopentane"], ("bag2024", "mobcg"))
    released = tmp_path / "releases/2026.11.0"
    assert [row["molecule_id"] for row in molecule_rows(plan)] == ["neopentane", "benzene"]
    assert plan.config.base_release == str(released)
    assert plan.folds == ["all"]
    assert plan.training_input("mobcg") == f"{released}/models/mobcg"
    assert plan.evaluation_inputs("benzene", "mobcg_dpd")["model"] == "results/extension/models/all/mobcg/model.json"
    rules = [job.rule for job in workflow_jobs(plan)]
    assert rules.count("train") == 2
    assert "assemble_tables" not in rules
    # Elsewhere models are trained, one a fold.
    whole = plan_of("quick")
    assert whole.training_input("mobcg") == "results/quick/tables"
    assert whole.folds == [*whole.molecules, "all"]


def test_the_demo_adds_one_liquid_to_the_published_release(molecules_dir: Path) -> None:
    plan = plan_of("demo")
    assert plan.scale.extends in {path.name for path in Path("releases").iterdir()}
    assert list(plan.molecules) == ["n-hexane"]
    shipped = {path.stem for path in Path("config/molecules").glob("*.yaml")}
    assert {row["molecule_id"] for row in plan.kept_molecules} == shipped - {"n-hexane"}
    assert {name.split(".")[0] for name in plan.evaluations} == {"n-hexane"}
    assert "simulate_prior_shard" not in [job.rule for job in workflow_jobs(plan)]
    (molecules_dir / "n-heptane.yaml").write_text(draft("CCCCCCC", "n-heptane", 679.5))
    more = plan_of("demo", molecules_dir=str(molecules_dir))
    assert all_ids(more) - all_ids(plan) == ids_of_molecule(more, "n-heptane") != set()


@pytest.mark.parametrize(
    ("held", "models", "message"),
    [
        (["benzene"], ("bag2024", "mobcg"), r"molecules: found 'benzene'.*must not have seen"),
        (["neopentane"], ("mobcg",), r"extends: .*models/bag2024"),
    ],
)
def test_an_extension_that_cannot_be_is_refused(
    held: list[str], models: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        extension(tmp_path, ["benzene"], held, models)


def test_an_extension_of_a_release_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    scale = tmp_path / "extension.yaml"
    scale.write_text("name: extension\nextends: 2026.12.3\n")
    with pytest.raises(InputError, match=r"extends: .*2026\.12\.3.*mobcg release download"):
        plan_of(str(scale))


def test_a_shard_with_one_run_missing_is_simulated(tmp_path: Path) -> None:
    fresh = plan_of("quick")
    base = release_of(tmp_path / "base", [], [], coarse_ids(fresh)[1:])
    plan = plan_of("quick", base_release=base)
    assert plan.to_simulate("shards") == [next(iter(fresh.shards))]
    assert plan.to_simulate("prior_shards") == []


def test_a_base_release_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"base_release: found .*nowhere.*atomistic\.parquet"):
        plan_of("quick", base_release=str(tmp_path / "nowhere"))
    base = Path(release_of(tmp_path / "base", [], [], []))
    (base / "data/coarse.parquet").write_bytes(b"PAR1 half")
    with pytest.raises(InputError, match=r"coarse\.parquet.*Download the release again"):
        plan_of("quick", base_release=str(base))
    pq.write_table(pa.table({"id": ["a"]}), base / "data/coarse.parquet")
    with pytest.raises(InputError, match=r"coarse\.parquet: run_id"):
        plan_of("quick", base_release=str(base))


def test_a_larger_box_is_one_more_run_that_nothing_is_inverted_from(tmp_path: Path) -> None:
    text = (REPOSITORY / "config/scale/workstation.yaml").read_text(encoding="utf-8")
    assert "larger_boxes_nm: {benzene: 4.6}" in text
    (tmp_path / "workstation.yaml").write_text(text.replace("  larger_boxes_nm: {benzene: 4.6}\n", ""))
    where = {"version": "2026.12.0", "molecules_dir": str(REPOSITORY / "config/molecules")}
    with_box = load_plan({"scale": str(REPOSITORY / "config/scale/workstation.yaml"), **where})
    without = load_plan({"scale": str(tmp_path / "workstation.yaml"), **where})
    (added,) = with_box.atomistic.keys() - without.atomistic.keys()
    assert without.atomistic.keys() < with_box.atomistic.keys()
    assert with_box.inversions == without.inversions
    edge_nm = (with_box.atomistic[added]["n_molecules"] / number_density_nm3(873.5, 78.114)) ** (1 / 3)
    assert 4.6 <= edge_nm < 4.75
