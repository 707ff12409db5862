import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest

from mobcg import observables
from mobcg.inversion import votca
from mobcg.pair import R_NM
from tests.inversion.cases import BOX_LENGTH_NM, N_BEADS, known_potential, sample


def settings(**changes):
    return votca.Settings(
        **{
            "temperature_k": 298.15,
            "number_density_nm3": 6.2,
            "target_pressure_bar": 1.0,
            "iterations_max": 25,
            "production_ps": 60.0,
        }
        | changes
    )


def text(xml, path):
    return ElementTree.fromstring(xml).findtext(path)


def test_settings_aim_at_the_pressure_only_when_asked():
    corrected, plain = votca.settings_xml(settings()), votca.settings_xml(settings(target_pressure_bar=None))
    assert text(corrected, "non-bonded/inverse/post_update") == "smooth pressure"
    assert text(corrected, "non-bonded/inverse/p_target") == "1.0"
    assert text(plain, "non-bonded/inverse/post_update") == "smooth"
    assert "p_target" not in plain


def test_gentle_settings_scale_the_update():
    gentle = votca.settings_xml(settings(update_scale=0.5))
    assert text(gentle, "non-bonded/inverse/post_update") == "scale smooth pressure"
    assert text(gentle, "non-bonded/inverse/post_update_options/scale") == "0.5"


def test_settings_escape_what_they_hold():
    xml = votca.settings_xml(settings(iterations_max="<&>"))
    assert text(xml, "inverse/iterations_max") == "<&>"


def test_normalisations_are_inverse_of_each_other():
    assert votca.to_votca_rdf(1.0, 200) == pytest.approx(199 / 200)
    np.testing.assert_allclose(votca.from_votca_rdf(votca.to_votca_rdf(R_NM, 200), 200), R_NM)


def test_table_round_trip(tmp_path):
    values = np.sin(R_NM) * 1e3
    votca.write_table(tmp_path / "table", values)
    np.testing.assert_allclose(votca.read_table(tmp_path / "table")[0], values, rtol=1e-9)


def test_table_with_comments_and_errors(tmp_path):
    rows = [f"{r:.3f} 1.5 {'-nan' if k == 0 else 0.25} i" for k, r in enumerate(R_NM)]
    (tmp_path / "table").write_text("# comment\n@ other\n" + "\n".join(rows) + "\n")
    values, errors = votca.read_table(tmp_path / "table")
    assert set(values) == {1.5}
    assert list(errors) == [0.0] + [0.25] * 149


def test_table_on_another_grid_is_refused(tmp_path):
    (tmp_path / "table").write_text("".join(f"{r:.3f} 1.0 i\n" for r in R_NM + 0.005))
    with pytest.raises(ValueError, match="not the common grid"):
        votca.read_table(tmp_path / "table")


def test_table_that_is_not_finite_is_refused(tmp_path):
    (tmp_path / "table").write_text("".join(f"{r:.3f} nan i\n" for r in R_NM))
    with pytest.raises(ValueError, match="not finite"):
        votca.read_table(tmp_path / "table")


def test_lattice_has_every_bead_on_a_site_of_its_own():
    lines = votca.lattice_data(200, 3.2, seed=1).split("Atoms\n\n")[1].splitlines()
    positions = {tuple(line.split()[2:]) for line in lines}
    assert len(positions) == 200
    assert all(0 <= float(x) < 32 for position in positions for x in position)


def test_csg_stat_is_on_the_common_grid_and_normalises_by_n(tmp_path):
    positions = sample(tmp_path, known_potential(), 6, seed=3)
    (tmp_path / "settings.xml").write_text(votca.settings_xml(settings()))
    command = ["csg_stat", "--options", "settings.xml", "--top", "start.data", "--trj", "trajectory.dump"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    found, _ = votca.read_table(tmp_path / f"{votca.PAIR}.dist.new")
    expected = observables.radial_distribution(positions, BOX_LENGTH_NM).rdf
    np.testing.assert_allclose(
        votca.from_votca_rdf(found, N_BEADS), expected, atol=5e-3
    )  # two pairs on the other side of an edge
    assert found.max() < 0.998 * expected.max()


def test_csg_property_answers_twice_the_same_and_keeps_its_failures(tmp_path):
    (tmp_path / "settings.xml").write_text("<cg><a>1 &amp; 2</a></cg>\n")
    real = subprocess.run(["which", "csg_property"], capture_output=True, text=True, check=True).stdout.strip()
    remembering = tmp_path / "csg_property"
    remembering.write_text(votca.hooks("python", real)["csg_property"])
    remembering.chmod(0o755)
    for path in ("cg.a", "cg.missing"):
        arguments = ["--file", "settings.xml", "--path", path, "--short", "--print", "."]
        answers = [
            subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
            for program in (real, str(remembering), str(remembering))
        ]
        assert {(answer.returncode, answer.stdout) for answer in answers} == {
            (answers[0].returncode, answers[0].stdout)
        }
