"""The part of a plan that is force matching."""

from pathlib import Path

import pytest
import yaml

from mobcg.errors import InputError
from mobcg.forcematch.learning import steps_of
from mobcg.plan import Plan, load_plan
from mobcg.spec import run_id

MATCHED = {
    "models": ["pair_fm", "schnet"],
    "sizes": {"benzene": {"n_molecules": [500, 1000], "judging": {"starts": 1, "nvt_ps": 20}}},
    "held_ps": {"benzene": 20},
    "studies": {
        "one": {
            "molecule": "benzene",
            "base": {"epochs": 3},
            "grids": [{"sigma_nm": [0.3, 0.5]}, {"cutoff_nm": [0.6, 0.8], "energy_weight": [0, 0.1]}],
        }
    },
    "transfer": {
        "benzene": {
            "states": [[280, 850], [280, 880], [320, 850], [320, 880]],
            "train": {"cold": [[280, 880]], "both": [[280, 880], [320, 850]]},
            "models": ["pair_fm", "ibi", "mobcg"],
        }
    },
}
LIQUIDS = ["benzene", "neopentane"]
TRANSFER = {"states": [[280, 850], [320, 850]], "train": {"cold": [[280, 850]]}, "judging": {"nvt_ps": 97}}


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])


def plan_with(tmp_path: Path, section: dict, molecules: list[str] = LIQUIDS) -> Plan:
    scale = tmp_path / "matched.yaml"
    scale.write_text(yaml.safe_dump({"name": "matched", "molecules": molecules, "forcematch": section}))
    return load_plan({"scale": str(scale), "version": "2026.11.0"})


def test_a_scale_without_the_section_matches_nothing() -> None:
    plan = load_plan({"scale": "quick", "version": "2026.11.0"})
    assert not plan.forcematch.fits
    assert not plan.forcematch.judgements
    assert not {"pair_fm", "schnet", "hipnn"} & {key.split(".")[1] for key in plan.evaluations}


def test_every_id_is_that_of_its_spec(tmp_path: Path) -> None:
    matching = plan_with(tmp_path, MATCHED).forcematch
    for specs in (matching.atomistic, matching.inversions, matching.fits, matching.judgements):
        assert specs
        assert all(run_id(spec) == name for name, spec in specs.items())


def test_every_liquid_is_on_the_scoreboard_with_every_model(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, MATCHED)
    assert set(plan.forcematch.scoreboard) == {f"{name}.{model}" for name in LIQUIDS for model in MATCHED["models"]}
    pair = plan.evaluation_inputs("neopentane", "pair_fm")
    many = plan.evaluation_inputs("neopentane", "schnet")
    assert pair["potential"].endswith("/potential.parquet")
    assert pair["atomistic"] == many["atomistic"]
    assert many["judgement"].startswith("results/forcematch/judgements/")
    # They learn from the runs that they are scored against.
    (fit,) = [
        spec
        for spec in plan.forcematch.fits.values()
        if plan.beads_path(spec["parent_run_ids"][0])
        in plan.judgement_inputs(plan.forcematch.scoreboard["neopentane.schnet"])["beads"]
        and spec["model"] == "schnet"
    ]
    assert fit["settings"]["cutoff_nm"] == 0.8


def test_other_sizes_are_runs_of_every_model_with_a_judging_of_their_own(tmp_path: Path) -> None:
    matching = plan_with(tmp_path, MATCHED).forcematch
    asked = [matching.judgements[name] for name in matching.sizes["benzene"]]
    assert {(spec["model"], spec["n_molecules"]) for spec in asked} == {
        (model, size) for model in MATCHED["models"] for size in (500, 1000)
    }
    assert {spec["nvt_ps"] for spec in asked} == {20}
    assert "neopentane" not in matching.sizes


def test_other_sizes_may_be_of_models_that_are_not_on_the_scoreboard(tmp_path: Path) -> None:
    sizes = MATCHED["sizes"]["benzene"] | {"models": ["pair_fm", "hipnn"]}
    for models in ([], ["hipnn"]):
        matching = plan_with(tmp_path, {"models": models, "sizes": {"benzene": sizes}}).forcematch
        asked = [matching.judgements[name]["model"] for name in matching.sizes["benzene"]]
        assert asked == ["pair_fm", "pair_fm", "hipnn", "hipnn"]
        assert len(matching.fits) == 2 + len(models)  # of benzene, and the scoreboard's of neopentane


def test_the_runs_of_the_chain_know_nothing_of_it(tmp_path: Path) -> None:
    plain = plan_with(tmp_path, {})
    matched = plan_with(tmp_path, MATCHED)
    assert plain.atomistic == matched.atomistic
    assert plain.inversions == matched.inversions
    assert not matched.forcematch.atomistic.keys() & matched.atomistic.keys()


def test_a_slow_model_may_be_judged_by_less(tmp_path: Path) -> None:
    short = {"starts": 2, "nvt_ps": 110}
    matching = plan_with(tmp_path, {"models": ["pair_fm", "hipnn"], "judging_of": {"hipnn": short}}).forcematch
    found = {matching.judgements[name]["model"]: matching.judgements[name] for name in matching.scoreboard.values()}
    assert [(found[name]["starts"], found[name]["nvt_ps"]) for name in ("pair_fm", "hipnn")] == [(3, 150), (2, 110)]
    assert found["pair_fm"]["nve_ps"] == found["hipnn"]["nve_ps"] == 20


def test_the_release_runs_pair_potentials_at_1_atm_and_only_matched_ones_have_a_run_at_constant_energy(
    tmp_path: Path,
) -> None:
    judging = {"nvt_ps": 150, "nve_ps": 15, "npt_ps": 30}
    transfer = MATCHED["transfer"]["benzene"] | {"models": ["pair_fm", "schnet", "ibi", "mobcg"], "judging": judging}
    asked = plan_with(tmp_path, {"transfer": {"benzene": transfer}}).forcematch.judgements.values()
    assert {(spec["model"], spec["nve_ps"], spec["npt_ps"]) for spec in asked} == {
        ("pair_fm", 15, 0),
        ("schnet", 15, 30),
        ("ibi", 0, 0),
        ("mobcg", 0, 0),
    }


def test_what_is_no_network_and_what_needs_no_diffusion_may_be_judged_by_little(tmp_path: Path) -> None:
    little = {"nvt_ps": 10}
    study = MATCHED["studies"]["one"] | {"judging": little}
    section = {"models": ["pair_fm"], "judging": little, "transfer": {"benzene": TRANSFER | {"models": ["pair_fm"]}}}
    section |= {"sizes": {"benzene": {"n_molecules": [200], "judging": little}}, "studies": {"one": study}}
    asked = plan_with(tmp_path, section).forcematch.judgements.values()
    assert {spec["nvt_ps"] for spec in asked} == {10, 97}


def test_a_study_tries_each_setting_once_with_what_all_share(tmp_path: Path) -> None:
    matching = plan_with(tmp_path, MATCHED).forcematch
    fits = [matching.fits[matching.judgements[name]["source"]["fit_id"]] for name in matching.studies["one"]]
    # The last point of the second grid is the first grid's second: σ 0.5, cutoff 0.8, λ 0.1 are the defaults.
    assert len(fits) == 5
    assert {fit["settings"]["epochs"] for fit in fits} == {3}
    assert {fit["settings"]["sigma_nm"] for fit in fits} == {0.3, 0.5}


def test_a_transfer_runs_every_model_at_every_state(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, MATCHED)
    matching = plan.forcematch
    states = {(spec["temperature_k"], spec["density_kg_m3"]) for spec in matching.atomistic.values()}
    assert states == {(280, 850), (280, 880), (320, 850), (320, 880)}
    assert len({spec["n_molecules"] for spec in matching.atomistic.values()}) == 1
    rows = matching.transfers["benzene"]
    # Inversion and predictor have one g(r) to begin from, so they learn at one state; four states each.
    assert len(rows) == 4 * (2 + 1 + 1)
    (inversion,) = matching.inversions.values()
    assert inversion["temperature_k"] == 280
    assert not inversion["pressure_correction"]
    proposals = [plan.judgement_inputs(row["judgement"])["potential"] for row in rows if row["model"] == "mobcg"]
    assert len(set(proposals)) == 1
    assert proposals[0].startswith("results/matched/forcematch/proposals/benzene.")


def test_trainings_of_a_transfer_take_as_many_steps_from_however_many_states(tmp_path: Path) -> None:
    section = {"schnet": {"epochs": 20, "patience": 5}, "every_ps": 2, "lengths": {"nvt_ps": 300}}
    transfer = MATCHED["transfer"]["benzene"] | {"models": ["pair_fm", "schnet"]}
    train = {"one": [[280, 880]], "two": [[280, 880], [320, 850]], "three": [[280, 880], [320, 850], [320, 880]]}
    plan = plan_with(tmp_path, section | {"transfer": {"benzene": transfer | {"train": train}}})
    networks = [fit for fit in plan.forcematch.fits.values() if fit["model"] == "schnet"]
    assert {len(fit["parent_run_ids"]): fit["settings"]["epochs"] for fit in networks} == {1: 60, 2: 30, 3: 20}
    assert {fit["settings"]["epochs"] / fit["settings"]["patience"] for fit in networks} == {4, 30 / 8}
    batch = networks[0]["settings"]["batch_frames"]
    for fit in networks:
        frames = [240] * len(fit["parent_run_ids"])  # of 300 ps, every ps, 0.8 are learned from
        assert fit["settings"]["epochs"] * len(list(steps_of(frames, batch, 1, 0))) == 60 * 240 / batch
    # Every frame is learned from, as long as the section says nothing else of this.
    assert {fit["every_ps"] for fit in plan.forcematch.fits.values()} == {1}
    assert {fit["settings"].get("epochs") for fit in plan.forcematch.fits.values()} == {None, 20, 30, 60}


def test_a_study_may_be_too_short_for_a_diffusion_coefficient(tmp_path: Path) -> None:
    study = MATCHED["studies"]["one"] | {"judging": {"starts": 1, "nvt_ps": 50, "nve_ps": 5}}
    asked = plan_with(tmp_path, {"studies": {"one": study}}).forcematch.judgements.values()
    assert {spec["nvt_ps"] for spec in asked} == {50}


def test_the_beads_of_a_mapping_are_held_in_the_run_that_is_learned_from(tmp_path: Path) -> None:
    study = {"molecule": "benzene", "mapping": "three-beads", "grids": [{"sigma_nm": [0.4]}]}
    held = {"benzene": 20, "benzene.three-beads": 25}
    plan = plan_with(tmp_path, {"studies": {"three": study}, "held_ps": held})
    floors = plan.forcematch.floors
    (mapped,) = plan.forcematch.atomistic
    assert floors["benzene.three-beads"]["run_id"] == mapped
    assert "mapping" not in plan.atomistic_spec(floors["benzene"]["run_id"])
    assert {name: floor["held_ps"] for name, floor in floors.items()} == held


def test_a_mapping_is_a_run_of_its_own(tmp_path: Path) -> None:
    study = {"molecule": "benzene", "mapping": "three-beads", "grids": [{"sigma_nm": [0.4]}]}
    matching = plan_with(tmp_path, {"studies": {"three": study}}).forcematch
    (spec,) = matching.atomistic.values()
    assert sorted(atom for group in spec["mapping"] for atom in group) == list(range(12))
    (fit,) = matching.fits.values()
    assert fit["parent_run_ids"] == list(matching.atomistic)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"held_ps": {"toluene": 5}}, r"held_ps: found 'toluene'"),
        ({"held_ps": {"benzene": 3}}, r"held_ps\.benzene.*greater than or equal to 5"),
        ({"held_ps": {"benzene.two": 5}}, r"found 'two'; allowed: a mapping of this file: three-beads"),
        ({"held_ps": {"toluene.three-beads": 5}}, r"held_ps: found 'toluene'"),
        ({"studies": {"a": {"molecule": "mesitylene", "grids": [{"sigma_nm": [0.4]}]}}}, r"studies\.a\.molecule"),
        ({"studies": {"a": {"molecule": "benzene", "grids": [{"sigma": [0.4]}]}}}, r"sigma"),
        ({"studies": {"a": {"molecule": "benzene", "grids": [{"sigma_nm": [-1]}]}}}, r"greater than 0"),
        (
            {"studies": {"a": {"molecule": "neopentane", "mapping": "two", "grids": [{"sigma_nm": [1]}]}}},
            r"found 'two'; allowed: a mapping of this file: none",
        ),
        (
            {"transfer": {"benzene": {"states": [[300, 870]], "train": {"a": [[301, 870]]}}}},
            r"301 K, 870 kg/m³\) is no state",
        ),
        (
            {"models": ["schnet"], "judging": {"nvt_ps": 105}},
            r"scale matched: forcematch\.judging\.nvt_ps: found 105\.0; allowed: 109 and more for neopentane",
        ),
        (
            {"models": ["schnet", "hipnn"], "judging_of": {"hipnn": {"nvt_ps": 90}}},
            r"forcematch\.judging_of\.hipnn\.nvt_ps: found 90\.0; allowed: 10\d and more for benzene",
        ),
        (
            {"transfer": {"benzene": TRANSFER | {"models": ["pair_fm", "schnet"]}}},
            r"forcematch\.transfer\.benzene\.judging\.nvt_ps: found 97\.0; allowed: 100 and more for benzene",
        ),
        (
            {"lengths": {"nvt_ps": 90}, "transfer": {"benzene": TRANSFER | {"models": ["pair_fm"]}}},
            r"forcematch\.lengths\.nvt_ps: found 90\.0; allowed: 101 and more for benzene",
        ),
        (
            {"models": ["pair_fm"], "sizes": {"benzene": {"n_molecules": [200, 181]}}},
            r"sizes\.benzene\.n_molecules: found '181 benzene, a box of 3\.00 nm'; allowed: more than 3 nm",
        ),
    ],
)
def test_what_cannot_be_is_refused(section: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        plan_with(tmp_path, section)
