import dataclasses

import numpy as np
import pytest

from mobcg.coarse.simulate import measure, simulate
from mobcg.errors import InputError
from mobcg.observables import finite_size_factor, rdf_error
from mobcg.predictor.closure import infinite_rdf
from mobcg.predictor.dataset import States, structure_rows
from mobcg.predictor.features import describe
from mobcg.predictor.knob import Start, respond
from mobcg.predictor.mobility import largest_log_ratio, predict_mobility
from mobcg.predictor.models import mobcg
from mobcg.predictor.predict import EDGE, INSIDE, OUTSIDE, consistent_tail, one_state, propose
from mobcg.predictor.response import rdf_response
from mobcg.predictor.storage import load_model, save_model
from mobcg.predictor.virial import cavity_logarithm, virial_pressure_bar
from mobcg.units import thermal_energy_kj_mol
from tests.predictor.cases import TEMPERATURE_K, well, with_friction, with_multiples


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def rows(liquids):
    return with_multiples(with_friction(liquids, {"langevin": 1.5, "dpd": 0.4}))


@pytest.fixture(scope="module")
def model(rows):
    return mobcg.train(rows, mobcg.DEFAULTS, 1, silent)


def states_of(liquids, **changes) -> States:
    names = [field.name for field in dataclasses.fields(States)]
    return States(**{name: changes.get(name, getattr(liquids, name)) for name in names})


def test_a_saved_model_proposes_the_same(model, liquids, tmp_path):
    save_model(tmp_path, "mobcg", model)
    state = one_state(liquids.rdf[4], 2.0, TEMPERATURE_K, 90.0, 3.0, 1e9)
    for thermostat in ("nose_hoover", "dpd", "langevin"):
        found, direct = (propose(each, state, thermostat) for each in (load_model(tmp_path), model))
        for name, value in vars(direct).items():
            np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)


def test_many_liquids_at_once_are_each_as_alone(model, liquids):
    together = propose(model, states_of(liquids), "dpd")
    for row in (0, 7):
        alone = propose(model, states_of(liquids).take([row]), "dpd")
        np.testing.assert_allclose(together.potential_kj_mol[row], alone.potential_kj_mol[0], atol=1e-9)
        np.testing.assert_allclose(together.friction_1_ps[row], alone.friction_1_ps[0])


@pytest.mark.parametrize("thermostat", ["nose_hoover", "langevin", "dpd"])
def test_everything_scales_with_mass_and_energy(thermostat, model, liquids):
    """Twice the energy, eight times the mass: U and p double, times double."""
    slow = states_of(liquids, diffusion_nm2_ns=liquids.diffusion_nm2_ns / 2)
    other = states_of(
        slow,
        mass_g_mol=8 * slow.mass_g_mol,
        temperature_k=2 * slow.temperature_k,
        diffusion_nm2_ns=slow.diffusion_nm2_ns / 2,
    )
    first, second = (
        propose(model, slow, thermostat, pressure_bar=40.0),
        propose(model, other, thermostat, pressure_bar=80.0),
    )
    np.testing.assert_allclose(second.potential_kj_mol, 2 * first.potential_kj_mol, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(second.diffusion_nm2_ns, first.diffusion_nm2_ns / 2)
    np.testing.assert_allclose(second.alpha, first.alpha)
    np.testing.assert_allclose(second.alpha_se, first.alpha_se)
    np.testing.assert_allclose(second.pressure_bar_se, 2 * first.pressure_bar_se, rtol=1e-6)
    np.testing.assert_array_equal(second.scale_factor, first.scale_factor)
    if thermostat != "nose_hoover":
        np.testing.assert_allclose(second.friction_1_ps, first.friction_1_ps / 2)
        assert (first.friction_1_ps > 0).all()


def test_friction_leaves_the_potential_for_the_structure_alone(model, liquids):
    found = propose(model, states_of(liquids), "dpd", pressure_bar=None)
    np.testing.assert_array_equal(found.potential_kj_mol, model.predict(liquids)[0])
    np.testing.assert_array_equal(found.scale_factor, 1.0)


def test_the_potential_has_the_pressure_that_was_asked_for(model, liquids):
    found = propose(model, states_of(liquids), "langevin", pressure_bar=25.0)
    np.testing.assert_allclose(found.pressure_bar, 25.0)
    plain = propose(model, states_of(liquids), "langevin", pressure_bar=None)
    cavity = cavity_logarithm(plain.potential_kj_mol, liquids.rdf, liquids.temperature_k)
    # g(r) is that of the atomistic liquid with either potential.
    cavity += (found.potential_kj_mol - plain.potential_kj_mol) / thermal_energy_kj_mol(TEMPERATURE_K)
    state = liquids.number_density_nm3, liquids.temperature_k, liquids.n_beads
    np.testing.assert_allclose(virial_pressure_bar(found.potential_kj_mol, cavity, *state), 25.0, atol=1.0)


def test_the_ramp_for_the_pressure_counts_in_the_error_of_the_structure(model, liquids):
    states = states_of(liquids)
    plain, aimed = (propose(model, states, "langevin", pressure_bar=pressure) for pressure in (None, 2000.0))
    structure = describe(states)
    change = (aimed.potential_kj_mol - plain.potential_kj_mol) / thermal_energy_kj_mol(TEMPERATURE_K)
    moved = rdf_response(structure.rdf, states.number_density_nm3, change)
    ramp = [rdf_error(g + difference, g) for g, difference in zip(structure.rdf, moved, strict=True)]
    np.testing.assert_allclose(aimed.rdf_error, np.hypot(plain.rdf_error, ramp), rtol=1e-6)
    assert np.min(ramp) > 0.1
    assert (aimed.pressure_bar_se > plain.pressure_bar_se).all()


@pytest.mark.parametrize("thermostat", ["nose_hoover", "dpd"])
@pytest.mark.parametrize(("error", "verdict"), [(0.1, INSIDE), (0.5, EDGE), (3.0, OUTSIDE)])
def test_a_liquid_whose_mobility_is_hardly_known_is_not_inside(thermostat, error, verdict, model, liquids):
    states = states_of(liquids).take([0])
    structure = describe(states)
    scores = model.levels.scores(structure.correlation)
    own = predict_mobility(model.processes["mobility"], scores, structure)[1][0]
    arrays = model.arrays
    for name, process in model.processes.items():
        arrays = arrays | process.with_errors_times(error / own if name == "mobility" else 1e-3).arrays(name)
    # All but a thousandth of ν is the liquid's own: the error of its mobility is that of α.
    states = dataclasses.replace(
        states, diffusion_nm2_ns=propose(model, states, "nose_hoover").diffusion_nm2_ns * 0.999
    )
    found = propose(mobcg.Model(model.settings, arrays), states, thermostat)
    assert found.verdict[0] == verdict
    assert len(found.reasons[0]) == (verdict != INSIDE)


def test_a_multiple_that_freezes_the_liquid_is_on_the_edge(model, liquids):
    states = states_of(liquids).take([0])
    best, far = (propose(model, states, "nose_hoover", knob=knob) for knob in (1.0, 3.0))
    assert not any("freeze" in reason for reason in best.reasons[0])
    assert far.verdict[0] == EDGE
    assert any("slows it to D* = 0.0" in reason and "freeze near 0.025" in reason for reason in far.reasons[0])


def test_a_multiple_beyond_those_learned_from_is_on_the_edge(model, liquids):
    best = float(propose(model, (states := states_of(liquids).take([0])), "nose_hoover").scale_factor[0])
    for factor, beyond in ((0.65, True), (0.75, False), (2.1, False), (2.3, True)):
        found = propose(model, states, "nose_hoover", knob=factor / best)
        assert any("beyond the multiples" in reason for reason in found.reasons[0]) == beyond
        assert not beyond or found.verdict[0] == EDGE


def test_a_high_ramp_is_on_the_edge_and_the_reason_said(model, liquids):
    states = states_of(liquids).take([0])
    low, high = (propose(model, states, "langevin", pressure_bar=pressure) for pressure in (50.0, 2000.0))
    assert (low.verdict[0], low.reasons) == (INSIDE, [[]])
    assert high.verdict[0] == EDGE
    assert len(high.reasons[0]) == 1
    assert "kT at contact" in high.reasons[0][0]


@pytest.mark.parametrize("pressure_bar", [np.nan, np.inf, 101325.0, -50000.0])
def test_a_pressure_in_another_unit_is_refused(pressure_bar, model, liquids):
    with pytest.raises(InputError, match=r"pressure_bar: found .*-500 to 20000"):
        propose(model, states_of(liquids), "nose_hoover", pressure_bar=pressure_bar)


@pytest.mark.parametrize("knob", [np.nan, np.inf, 0.0, -1.0])
def test_a_knob_that_is_no_multiple_is_refused(knob, model, liquids):
    with pytest.raises(InputError, match="knob: found"):
        propose(model, states_of(liquids), "nose_hoover", knob=knob)


def test_the_error_of_alpha_is_that_of_alpha_and_counts_the_error_of_the_knob(model, liquids):
    # The knob of the made-up rows answers as exactly as they were made.
    model = mobcg.Model(model.settings, model.arrays | model.processes["knob"].with_errors_times(20).arrays("knob"))
    slow = states_of(liquids, diffusion_nm2_ns=liquids.diffusion_nm2_ns / 2.5)
    found, structure = propose(model, slow, "nose_hoover", pressure_bar=None), describe(slow)
    mobility, mobility_se = predict_mobility(
        model.processes["mobility"], model.levels.scores(structure.correlation), structure
    )
    at_rest = propose(model, slow, "dpd", pressure_bar=0.0).potential_kj_mol
    own_error = propose(model, slow, "dpd", pressure_bar=None).rdf_error
    start = Start.of(mobility, at_rest, structure, slow, own_error)
    response = respond(model.processes["knob"], start, np.ones(len(slow)), found.scale_factor[:, None])
    changed_se = np.hypot(response.log_mobility_se, response.own_log_mobility_se)[:, 0]
    relative = np.hypot(mobility_se, changed_se)
    np.testing.assert_allclose(found.alpha_se, found.alpha * relative, rtol=1e-6)
    np.testing.assert_allclose(found.diffusion_nm2_ns_se, found.diffusion_nm2_ns * relative, rtol=1e-6)
    assert (np.abs(found.alpha - 1) > 0.1).all()
    assert (relative > 1.1 * mobility_se).all()


@pytest.mark.parametrize("thermostat", ["langevin", "dpd"])
def test_a_liquid_that_is_slow_already_is_promised_the_d_that_it_has_without_friction(thermostat, model, liquids):
    # In a small box, where a Langevin friction and Nosé-Hoover dynamics differ in what D of the box means.
    rdf = liquids.rdf / infinite_rdf(np.ones(150), 161.0)
    fast = states_of(
        liquids, rdf=rdf, diffusion_nm2_ns=3 * liquids.diffusion_nm2_ns, n_beads=np.full(len(liquids), 161.0)
    )
    found = propose(model, fast, thermostat)
    np.testing.assert_array_equal(found.friction_1_ps, 0.0)
    np.testing.assert_allclose(found.alpha, found.diffusion_nm2_ns / fast.diffusion_nm2_ns)


def test_a_model_that_tells_nothing_of_the_pressure_has_no_error_of_it(model, liquids):
    arrays = {name: values for name, values in model.arrays.items() if name != "pressure_error_per_kt"}
    found = propose(mobcg.Model(model.settings, arrays), states_of(liquids), "dpd")
    assert np.isnan(found.pressure_bar_se).all()
    np.testing.assert_array_equal(found.pressure_bar, propose(model, states_of(liquids), "dpd").pressure_bar)


def test_the_knob_goes_from_structure_to_mobility(model, liquids):
    slow = states_of(liquids, diffusion_nm2_ns=liquids.diffusion_nm2_ns / 2.5).take([0])
    settings = [propose(model, slow, "nose_hoover", knob=knob) for knob in (0.7, 1.0, 1.3)]
    errors, alphas, factors = (
        [getattr(found, name)[0] for found in settings] for name in ("rdf_error", "alpha", "scale_factor")
    )
    assert factors[0] < factors[1] < factors[2]
    assert alphas[0] > alphas[1] > alphas[2]
    scores = [np.hypot(e / 0.1, np.log2(alpha)) for e, alpha in zip(errors, alphas, strict=True)]
    assert scores[1] == min(scores)


def test_the_multiple_that_is_told_is_the_multiple_that_is_given(model, liquids):
    slow = states_of(liquids, diffusion_nm2_ns=liquids.diffusion_nm2_ns / 2.5)
    found = propose(model, slow, "nose_hoover", pressure_bar=None)
    assert (found.scale_factor > 1.05).all()
    np.testing.assert_allclose(found.potential_kj_mol, found.scale_factor[:, None] * model.predict(slow)[0])


def test_diffusion_is_that_of_the_box_of_the_liquid(model, liquids):
    # The same liquid in two boxes: its g(r), normalised by N − 1, differs by what `infinite_rdf` takes out.
    small, large = (
        states_of(liquids, n_beads=np.full(len(liquids), n), rdf=liquids.rdf / infinite_rdf(np.ones(150), n))
        for n in (100.0, 8000.0)
    )
    few, many = (propose(model, states, "langevin").diffusion_nm2_ns for states in (small, large))
    np.testing.assert_allclose(many / few, finite_size_factor(100) / finite_size_factor(8000), rtol=1e-3)


def test_verdict_and_distance_tell_a_stranger(model, liquids):
    known = propose(model, states_of(liquids), "nose_hoover")
    assert set(known.verdict) == {INSIDE}
    np.testing.assert_array_equal(known.rdf_factor, 1.0)
    noise = np.abs(1 + 0.8 * np.random.default_rng(1).standard_normal((1, 150)))
    noise[:, :40] = 0
    half = np.exp(-well(0.3, 0.24) / thermal_energy_kj_mol(TEMPERATURE_K))[None]
    smaller = propose(model, states_of(liquids.take([0]), rdf=half), "nose_hoover")
    assert smaller.verdict[0] != INSIDE
    assert smaller.distance[0] > 1
    strange = {
        "noise": noise,
        "cut short": np.where(np.arange(150) < 55, liquids.rdf[:1], 0.0),
    }
    for name, rdf in strange.items():
        found = propose(model, states_of(liquids.take([0]), rdf=rdf), "nose_hoover")
        assert found.verdict[0] == OUTSIDE, name
        assert found.distance[0] > 2, name
        assert 0.98 < found.rdf_factor[0] < 1.02


def test_a_friction_beyond_the_training_rows_is_on_the_edge_and_far_beyond_outside(model, liquids):
    largest = np.exp(largest_log_ratio(model.processes["langevin"]))
    for beyond, verdict in ((1.2, INSIDE), (3.0, EDGE), (30.0, OUTSIDE)):
        crawling = states_of(liquids, diffusion_nm2_ns=liquids.diffusion_nm2_ns / largest / beyond)
        found = propose(model, crawling, "langevin")
        assert set(found.verdict) == {verdict}
        assert (found.distance < 1).all()
        # Its structure is known: the friction is the only reason.
        assert [len(reasons) for reasons in found.reasons] == [int(verdict != INSIDE)] * len(liquids)
        assert all("a friction is to slow it" in reason for reasons in found.reasons for reason in reasons)
        assert set(propose(model, crawling, "nose_hoover").verdict) == {INSIDE}


class Distances:
    """A model to which the liquid whose g(r) is `best` times the first one is near, and every other one far."""

    def __init__(self, states: States, best: float):
        self.best, self.first = best, describe(states).rdf[0].sum()

    def distance(self, structure):
        return 6 * np.minimum(np.abs(structure.rdf.sum(axis=1) / self.first - self.best) / 0.005, 2)


@pytest.mark.parametrize(("best", "found"), [(1.0045, 1.0045), (0.9916, 0.9916), (1.022, 1.0162), (1.1, 1.0)])
def test_a_rescaling_is_looked_for_within_its_range(best, found, liquids):
    states = states_of(liquids).take([0])
    assert consistent_tail(Distances(states, best), states)[2][0] == pytest.approx(found, abs=2e-4)


def test_a_rescaling_is_the_reason_that_is_given_and_one_at_the_end_of_its_range_is_refused(model, liquids):
    states = states_of(liquids).take([0])

    def told(best):
        distances = Distances(states, best)
        changed = type("Rescaled", (), {"distance": lambda self, structure: distances.distance(structure) / 1.6})()
        for name in ("levels", "basis", "residual", "raw_potential", "own_errors", "arrays"):
            setattr(changed, name, getattr(model, name))
        changed.processes = {name: process.with_errors_times(1e-3) for name, process in model.processes.items()}
        return propose(changed, states, "dpd", pressure_bar=None)

    kept, ended = told(1.0075), told(1.0225)
    assert (kept.verdict[0], ended.verdict[0]) == (EDGE, OUTSIDE)
    assert "g(r) was rescaled by 1.007" in kept.reasons[0][0]
    rescaled = describe(dataclasses.replace(states, rdf=states.rdf * kept.rdf_factor[:, None]))
    own, _ = model.own_errors(rescaled, states, model.residual(rescaled)[1])
    np.testing.assert_allclose(kept.rdf_error, np.hypot(own, kept.rdf_factor - 1), rtol=1e-6)
    assert any("rescaled by 1.0162" in reason for reason in ended.reasons[0])


def test_a_thermostat_that_was_never_seen_is_refused(liquids):
    model = mobcg.train(with_friction(liquids, {"langevin": 1.5}), mobcg.DEFAULTS, 1, silent)
    with pytest.raises(InputError, match="thermostat: found 'dpd'"):
        propose(model, states_of(liquids), "dpd")


class Alone:
    """A model that knows potentials and nothing else."""

    def predict(self, states):
        return np.zeros((len(states), 150)), np.zeros((len(states), 150))


def test_what_a_model_has_not_is_refused_and_not_left_out(model, liquids):
    states = states_of(liquids).take([0])
    knobless = mobcg.Model({"processes": ["structure", "mobility"]}, model.arrays)
    for each, thermostat in ((Alone(), "nose_hoover"), (knobless, "nose_hoover"), (model, "dpd")):
        with pytest.raises(InputError, match=r"knob: found 0\.5; allowed: 1, where there is no knob"):
            propose(each, states, thermostat, knob=0.5)
        assert propose(each, states, thermostat).potential_kj_mol.shape == (1, 150)
    with pytest.raises(InputError, match="thermostat: found 'dpd'; allowed: nose_hoover\\."):
        propose(Alone(), states, "dpd")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"rdf": np.ones((1, 149))}, "rdf"),
        ({"rdf": np.zeros((1, 150))}, "rdf"),
        ({"rdf": np.full((1, 150), np.nan)}, "rdf"),
        ({"number_density_nm3": np.array([-1.0])}, "number_density_nm3"),
        ({"temperature_k": np.array([np.inf])}, "temperature_k"),
        ({"diffusion_nm2_ns": np.array([0.0])}, "diffusion_nm2_ns"),
        ({"n_beads": np.array([0.0])}, "n_beads"),
    ],
)
def test_a_value_that_cannot_be_is_named(change, key, model, liquids):
    with pytest.raises(InputError, match=f"predict: {key}: found"):
        propose(model, states_of(liquids.take([0]), **change), "nose_hoover")


def run(potential, thermostat, friction, seed, directory, production_ps_100=150):
    return measure(
        simulate(
            potential,
            mass_g_mol=25.0,
            temperature_k=TEMPERATURE_K,
            number_density_nm3=5.0,
            n_beads=160,
            thermostat=thermostat,
            friction_1_ps=friction,
            equilibration_ps_100=5,
            production_ps_100=production_ps_100,
            seed=seed,
            directory=directory,
        )
    )


@pytest.mark.workflow
def test_predicted_friction_brings_a_real_run_to_the_target(liquids, tmp_path):
    """Learn from real runs of three liquids, with friction and without; slow a fourth down, which was never seen."""
    parts = []
    for number, depth in enumerate((0.3, 0.6, 0.9)):
        potential = well(depth, 0.48)
        for seed, friction in enumerate((0.0, 3.0, 20.0)):
            thermostat = "langevin" if friction else "nose_hoover"
            found = run(potential, thermostat, friction, seed + 1, tmp_path / "run")
            changes = {
                "rdf": np.array([found["rdf"]]),
                "number_density_nm3": np.array([5.0]),
                "mass_g_mol": np.array([25.0]),
                "n_beads": np.array([160.0]),
                "potential_kj_mol": potential[None],
                "thermostat": np.array([thermostat]),
                "friction_1_ps": np.array([friction]),
                "potential_id": np.array([f"real-{number}"]),
                "parent_potential_id": np.array([f"real-{number}"]),
                "run_id": np.array([f"{number}-{seed}"]),
            } | {name: np.array([found[name]]) for name in ("diffusion_nm2_ns", "diffusion_nm2_ns_se", "pressure_bar")}
            parts.append(dataclasses.replace(liquids.take([0]), **changes))
    names = [field.name for field in dataclasses.fields(parts[0])]
    rows = type(parts[0])(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
    model = mobcg.train(rows, mobcg.DEFAULTS, 1, silent)
    target = run(well(0.5, 0.48), "nose_hoover", 0.0, 7, tmp_path / "run")
    wanted = target["diffusion_nm2_ns"] / 3
    state = one_state(target["rdf"], 5.0, TEMPERATURE_K, 25.0, wanted, 160)
    found = propose(model, state, "langevin", pressure_bar=None)
    reached = run(found.potential_kj_mol[0], "langevin", found.friction_1_ps[0], 9, tmp_path / "run", 300)
    assert reached["diffusion_nm2_ns"] == pytest.approx(wanted, rel=0.2)
    assert np.abs(np.array(reached["rdf"]) - target["rdf"]).mean() < 0.03
    low = dataclasses.replace(state, rdf=0.99 * state.rdf)
    same = propose(model, low, "langevin", pressure_bar=None)
    assert same.rdf_factor[0] == pytest.approx(1 / 0.99, abs=2e-3)
    assert same.friction_1_ps[0] == pytest.approx(found.friction_1_ps[0], rel=0.1)
    assert len(structure_rows(rows)) == 3
