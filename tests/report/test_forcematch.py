"""What the report says of judged runs."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from mobcg.forcematching import ForceMatching
from mobcg.observables import finite_size_factor
from mobcg.pair import R_NM
from mobcg.predictor.scoring import Reference
from mobcg.report.forcematch import (
    Results,
    Trial,
    bead_cells,
    bead_figure,
    csv_text,
    false_peak,
    findings,
    floors,
    main,
    markdown_table,
    sizes_figure,
    study_figure,
    summarise,
)

RDF = 1 - np.exp(-((R_NM / 0.5) ** 12))
REFERENCE = Reference(("a" * 16,), 78.0, 298.15, 6.7, 200, 1.8, 0.05, RDF, np.full(150, 0.005))


def run(start: int = 0, ensemble: str = "nvt", verdict: str = "stable", **changes) -> dict:
    return {
        "spec": json.dumps({"model": "schnet", "nvt_ps": 100.0}),
        "start": start,
        "ensemble": ensemble,
        "verdict": verdict,
        "reason": f"it was {verdict}",
        "temperature_k": 298.15,
        "n_molecules": 200,
        "box_length_nm": 3.1,
        "diffusion_nm2_ns": 3.6,
        "diffusion_nm2_ns_se": 0.1,
        "rdf": RDF.tolist(),
        "rdf_se": [0.005] * 150,
        "bead_rdf": None,
        "bead_rdf_se": [0.004] * 150,
        "atomistic_bead_rdf_se": [0.003] * 150,
        "atomistic_pressure_bar": 40.0,
        "atomistic_pressure_bar_se": 9.0,
        "pressure_bar": 3900.0,
        "pressure_bar_se": 10.0,
        "molecule_energy_kj_mol": -3.0,
        "molecule_energy_kj_mol_se": 0.1,
        "core_s_ns_bead": 2.0,
        "steps_per_core_s": 100.0,
        "smallest_distance_nm": 0.35,
        "density_1atm_kg_m3": None,
        "atomistic_bead_rdf": None,
        "versions": json.dumps({"mobcg": "1.0"}),
        "energy_drift_kt_ns": 0.01,
    } | changes


def trial(sigma_nm: float, *runs: dict, energy_weight: float = 0.1, r2: float = 0.12) -> Trial:
    settings = {"sigma_nm": sigma_nm, "energy_weight": energy_weight, "cutoff_nm": 0.8}
    training = {"accuracy": {"test": {"r2": r2, "r2_se": 0.003}}, "core_s": 10.0}
    return Trial(settings, summarise(runs, REFERENCE), training, "id")


def test_means_are_over_the_runs_at_constant_temperature_that_were_stable():
    rows = [run(), run(1, diffusion_nm2_ns=4.0), run(2, verdict="collapsed", rdf=None), run(ensemble="nve", rdf=None)]
    judged = summarise(rows, REFERENCE)
    # The scatter of two runs, 0.2, is more than their own errors say, and D_AA adds its own 2.8 %.
    assert judged.alpha == (pytest.approx(3.8 / 1.8), pytest.approx(3.8 / 1.8 * np.hypot(0.2 / 3.8, 0.05 / 1.8)))
    assert judged.error[0] == 0
    assert judged.verdicts == ("stable", "stable", "collapsed")
    assert judged.verdict == "collapsed"
    assert judged.drift_kt_ns == 0.01


def test_equal_runs_are_no_better_known_than_their_own_errors_say():
    judged = summarise([run(), run(1)], REFERENCE)
    assert judged.alpha[1] == pytest.approx(2.0 * np.hypot(0.1 / 2**0.5 / 3.6, 0.05 / 1.8))
    assert judged.pressure_bar == (3900.0, pytest.approx(10 / 2**0.5))


def test_a_start_that_drifts_at_constant_energy_is_told_so():
    judged = summarise([run(), run(ensemble="nve", verdict="unstable", rdf=None)], REFERENCE)
    assert (judged.verdicts, judged.verdict) == (("unstable",), "unstable")


def test_without_an_atomistic_liquid_there_is_a_row_that_says_why():
    missing = dict.fromkeys(run()) | {"spec": "{}", "ensemble": "nvt", "verdict": "failed", "reason": "evaporated"}
    judged = summarise([missing | {"n_molecules": 5, "versions": "{}"}], None)
    assert judged.reasons == ("evaporated",)
    assert np.isnan([*judged.error, judged.smallest_nm, judged.md_core_s_ns_bead]).all()


def test_a_model_without_a_stable_run_has_no_numbers():
    judged = summarise([run(verdict="unstable", rdf=None, diffusion_nm2_ns=None, pressure_bar=None)], REFERENCE)
    assert np.isnan([*judged.alpha, *judged.error, *judged.pressure_bar]).all()
    assert judged.rdf is None


def test_findings_name_what_reproduces_and_what_does_not():
    unstable = {"verdict": "unstable", "rdf": None}
    found = [
        trial(0.3, run()),
        trial(0.4, run(rdf=(RDF * 1.01).tolist())),
        trial(0.5, run(rdf=(RDF * 1.02).tolist())),
        trial(0.6, run(rdf=(RDF * 1.03).tolist())),
        trial(0.5, run(rdf=(RDF * 1.5).tolist()), energy_weight=1.0),
        trial(0.5, run(**unstable), energy_weight=0.0, r2=0.05),
    ]
    told = findings(found)
    assert "λ = 0 is unstable. Reproduced: 1 of 1 such settings are unstable, of the others 0 of 5." in told[0]
    assert told[0].endswith("Unstable at sigma_nm 0.5, energy_weight 0.0.")
    assert "a cutoff of 0.6 nm is unstable. Not tried here." in told[1]
    ranks = "Rank correlation of σ and rdf_error, λ = 0.1, 4 settings that differ in σ alone: +1.00"
    assert [line for line in told if "Rank" in line] == [f"{ranks} (+1 or −1: monotone)."]
    assert findings(found[::-1])[2:-1] == told[2:-1]
    assert any("of the others 0.050 to 0.050; here they do separate" in line for line in told)
    assert told[-1] == "Each setting was judged from 1 start, 100 ps at constant temperature."
    calm = findings([trial(0.5, run(), energy_weight=0.0), trial(0.5, run())])
    assert "Not reproduced: 0 of 1 such settings are unstable" in calm[0]


def test_what_freezes_or_collapses_is_not_counted_as_unstable():
    ends = ("unstable", "collapsed", "frozen")
    found = [trial(0.3 + 0.1 * place, run(verdict=end, rdf=None), energy_weight=0) for place, end in enumerate(ends)]
    found += [trial(0.5, run(verdict="unstable", rdf=None)), trial(0.6, run())]
    told = findings(found)[0]
    assert "Reproduced in part: 1 of 3 such settings are unstable, of the others 1 of 2." in told
    assert "collapsed at sigma_nm 0.4" in told
    assert "Not reproduced: 0 of 2" in findings(found[1:3])[0]


def test_a_trend_that_few_settings_show_is_not_decided():
    lost = {"verdict": "collapsed", "rdf": None}
    found = [trial(0.2, run(**lost)), trial(0.3, run()), trial(0.4, run()), trial(0.5, run())]
    ranks = [line for line in findings(found) if "Rank" in line]
    assert ranks == ["Rank correlation of σ and rdf_error, λ = 0.1: only 3 of 4 σ are stable: not decided."]
    assert not any("Rank" in line for line in findings([trial(0.3, run()), trial(0.3, run(), energy_weight=0)]))


def test_a_study_says_how_many_starts_decide_and_why_it_has_no_mobility():
    short = {"diffusion_nm2_ns": None, "spec": json.dumps({"model": "schnet", "nvt_ps": 50.0})}
    found = [trial(sigma, run(**short), run(1, **short)) for sigma in (0.3, 0.4)]
    told = findings(found)[-1]
    assert told.startswith(
        "Each setting was judged from 2 starts, 50 ps at constant temperature: too short for a self-"
    )
    assert told.endswith("so that α is left out.")
    assert np.isnan(found[0].judged.alpha).all()
    assert found[0].judged.error[0] == 0
    colours = [points.get_array() for place in study_figure(found).axes for points in place.collections]
    assert colours == [None] * len(colours)  # drawn, but with no colour for α


def test_mobilities_in_boxes_of_different_sizes_are_compared_in_an_infinite_one():
    rows = [run(n_molecules=200), run(n_molecules=1000)]
    small, large = (summarise([row], REFERENCE).alpha for row in rows)
    assert small[0] == pytest.approx(2.0)
    # The same D is that of a slower liquid in a larger box.
    ratio = finite_size_factor(1000) / finite_size_factor(200)
    assert 0.8 < ratio < 1
    assert large == (pytest.approx(2.0 * ratio), pytest.approx(small[1] * ratio))


def test_beads_are_scored_beside_the_molecules():
    off = (RDF * 1.03).tolist()
    judged = summarise(
        [run(bead_rdf=off, atomistic_bead_rdf=RDF.tolist()), run(1, bead_rdf=off, atomistic_bead_rdf=RDF.tolist())],
        REFERENCE,
    )
    assert judged.bead_error[0] == pytest.approx(0.03)
    assert 0 < judged.bead_error[1] < 0.01
    assert np.isnan(summarise([run()], REFERENCE).bead_error).all()
    assert judged.atomistic_pressure_bar == (40.0, 9.0)
    training = {"accuracy": {"test": {"r2": 0.98, "r2_se": 0.001, "molecules": {"r2": 0.4, "r2_se": 0.02}}}}
    cells = bead_cells(Trial({}, judged, training, "id"))
    assert cells["R² of net forces on molecules"] == "0.400 ± 0.020"
    assert cells["rdf_error e of beads"].startswith("0.03")
    assert bead_cells(Trial({}, judged, {"failed": "nan"}, "id"))["R² of net forces on molecules"] == "–"


def test_the_false_peak_is_that_of_beads_of_different_molecules():
    peak = np.where(np.abs(R_NM - 0.23) < 0.02, 3.0, 0.0)
    beads = {"atomistic_bead_rdf": RDF.tolist()}
    low = trial(0.2, run(bead_rdf=peak.tolist(), verdict="collapsed", **beads), energy_weight=0.01)
    high = trial(0.4, run(bead_rdf=RDF.tolist(), **beads))
    assert false_peak(low.judged) == 3.0
    assert false_peak(high.judged) < 0.01
    assert np.isnan(false_peak(trial(0.3, run(verdict="unstable", rdf=None)).judged))
    told = findings([low, high])
    assert any("σ below 0.3 nm: at most 3 in 1 settings (sigma_nm 0.2, energy_weight 0.01)." in line for line in told)
    assert "σ of 0.3 nm and less is unstable at λ of 0.01 and less. Not reproduced: 0 of 1" in told[0]
    assert told[0].endswith("Collapsed at sigma_nm 0.2, energy_weight 0.01.")
    assert not any("cutoff" in line for line in told)  # found for one bead a molecule
    curves = bead_figure([low, high]).axes[0].lines
    assert [curve.get_linestyle() for curve in curves] == [":", "-", "-"]


def test_a_figure_shows_every_setting_that_varies_and_those_that_failed():
    short = run(diffusion_nm2_ns=None, diffusion_nm2_ns_se=None)
    found = [trial(0.3, run()), trial(0.5, run(verdict="frozen", rdf=None)), trial(0.5, short, energy_weight=0.0)]
    figure = study_figure(found)
    axes = [place for place in figure.axes if place.get_xlabel()]
    assert [place.get_xlabel() for place in axes] == ["sigma_nm", "energy_weight"]
    shown = [points.get_offsets() for points in axes[0].collections]
    assert sum(np.ma.count(offsets[:, 0]) for offsets in shown) == len(found)
    assert sum(points.get_array() is not None for points in axes[0].collections) == 1  # where α is known


def test_sizes_are_drawn_with_what_has_a_liquid():
    found = [
        summarise([run(n_molecules=number, spec=json.dumps({"model": model})) for _ in range(2)], REFERENCE)
        for model in ("hipnn", "schnet")
        for number in (200, 1000)
    ]
    found.append(summarise([run(n_molecules=500, verdict="unstable", rdf=None)], REFERENCE))
    figure = sizes_figure(found)
    assert len(figure.axes) == 4
    assert [len(place.lines) for place in figure.axes[:2]] == [2, 2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["200 molecules", "1000 molecules"]


def test_a_noise_floor_that_failed_is_a_row_with_its_reason(tmp_path):
    plan = SimpleNamespace(scale_dir=str(tmp_path), forcematch=ForceMatching(floors={"benzene": {}, "neopentane": {}}))
    (tmp_path / "forcematch").mkdir()
    half = {"r2_floor_first_half": 0.21, "r2_floor_first_half_se": 0.02, "configurations": 6}
    good = {"r2_floor": 0.2, "r2_floor_se": 0.01, **half, "noise_decorrelation_ps": 0.5, "displacement_rms_nm": 0.003}
    for name, found in (("benzene", good), ("neopentane", {"failed": "they strayed"})):
        (tmp_path / f"forcematch/floor.{name}.json").write_text(json.dumps(found | {"held_ps": 25.0}))
    results = Results(plan)
    assert [results.ceiling(name) for name in ("benzene", "neopentane", "benzene.two")] == ["0.200 ± 0.010", "–", "–"]
    first, second = floors(results)
    assert (first["R² that can be had"], first["configurations"], first["failed"]) == ("0.200 ± 0.010", "6", "–")
    assert (second["R² that can be had"], second["held / ps"], second["failed"]) == ("–", "25", "they strayed")


def test_a_scale_without_force_matching_says_so(tmp_path, capsys):
    words = ["--config", json.dumps({"scale": "quick", "version": "2026.11.0"}), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "SCALE=pilot" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tables():
    rows = [{"a": "1", "b": "x, y"}, {"a": "2", "b": "–"}]
    assert markdown_table(rows).splitlines()[2] == "| 1 | x, y |"
    assert csv_text(rows).splitlines() == ["a,b", '1,"x, y"', "2,–"]
