"""The results page sets ours beside the peers and says where ours are worse."""

import numpy as np
import pytest

from mobcg.report.results import FIGURES, main
from tests.report.conftest import write_release


@pytest.fixture
def page(release_dir, tmp_path) -> str:
    assert main(["--release", str(release_dir), "--out", str(tmp_path / "docs")]) == 0
    return (tmp_path / "docs/results.md").read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    return page.split(f"## {heading}\n")[1].split("\n## ")[0]


def test_every_figure_of_the_page_is_there(page, tmp_path) -> None:
    for name in FIGURES:
        assert f"](results/{name}.png)" in page
        assert (tmp_path / f"docs/results/{name}.png").read_bytes().startswith(b"\x89PNG")


def test_peers_stand_beside_ours(page) -> None:
    table = section(page, "Beside what exists")
    # S of the published network for benzene: sqrt((.060/.1)² + (ln 2.83/ln 2)²) = 1.616
    assert "| benzene | peer: published network | 2.83 | 0.060 | 1.62 |" in table
    assert "| benzene | peer: IBI × 1.5 | 0.95 |" in table
    assert "| benzene | mobcg |" in table
    assert "neopentane" not in table


def test_what_is_worse_is_said(page, tables, tmp_path) -> None:
    worse = section(page, "Where ours is worse")
    assert "- benzene: mobcg, S = " in worse
    assert "IBI × 1.5 (0.97)" in worse
    assert "mobcg + DPD" not in worse
    for row in tables["evaluation"]:
        if row["model"] == "mobcg_dpd" and row["molecule_id"] == "benzene":
            row |= {"alpha": 9.0, "diffusion_nm2_ns": 16.0}
    write_release(tmp_path / "spoilt", tables)
    assert main(["--release", str(tmp_path / "spoilt"), "--out", str(tmp_path)]) == 0
    assert "- benzene: mobcg + DPD" in section((tmp_path / "results.md").read_text(), "Where ours is worse")


def test_settings_of_the_knob_turned_after_the_run_are_not_taken_for_ours(tables, tmp_path) -> None:
    for row in [row for row in tables["evaluation"] if row["model"] == "mobcg"]:
        turned = {"scale_factor": 1.3, "alpha": 1.0, "rdf_error": 0.001, "score": 0.01}
        tables["evaluation"].append(row | turned | {"spec": row["spec"].replace("1.0", "1.3")})
    write_release(tmp_path / "turned", tables)
    assert main(["--release", str(tmp_path / "turned"), "--out", str(tmp_path)]) == 0
    page = (tmp_path / "results.md").read_text()
    assert "- benzene: mobcg, S = " in section(page, "Where ours is worse")
    assert "knob" not in section(page, "Where ours is worse") + section(page, "Beside what exists")
    assert "mobcg, knob × 1.3" in section(page, "Means over the liquids")


def test_published_liquids_stand_beside_ours(page, tables) -> None:
    runs = [row for row in tables["atomistic"] if row["molecule_id"] == "benzene"]
    table = section(page, "Our atomistic liquids and the published ones")
    (line,) = [line for line in table.splitlines() if line.startswith("| benzene |")]
    _, _, density, diffusion, _, alpha, coarse, _ = (cell.strip() for cell in line.split("|"))
    assert density.endswith(f"({np.mean([row['density_kg_m3'] for row in runs]) / 877:.2f})")
    found = np.mean([row["diffusion_nm2_ns"] for row in runs]) / 1.12
    assert diffusion.endswith(f"({found:.2f})")
    assert float(coarse.strip("()")) == pytest.approx(found * float(alpha.split("(")[1].strip(")")), abs=0.02)


def test_gates_close_the_page(page) -> None:
    assert "| coarse | 3000 records of molecules |" in section(page, "What was asked of this release")


def test_no_release_is_a_message(tmp_path, capsys) -> None:
    assert main(["--release", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert "none" in capsys.readouterr().err


def test_densities_at_1_atm_stand_beside_the_atomistic_one(page, tables) -> None:
    found, atomistic = (
        np.mean([row[column] for row in tables[table] if row["molecule_id"] == "benzene" and row.get("model") == model])
        for table, column, model in (
            ("evaluation", "density_1atm_kg_m3", "mobcg"),
            ("atomistic", "density_kg_m3", None),
        )
    )
    densities = section(page, "Density at 1 atm")
    names, line = (
        [cell.strip() for cell in next(x for x in densities.splitlines() if x.startswith(start)).split("|")]
        for start in ("| liquid |", "| benzene |")
    )
    deviation = line[names.index("mobcg")].split("±")[0].replace("−", "-")
    assert float(deviation) == pytest.approx(100 * (found / atomistic - 1), abs=0.05)
    # The tables were made 2 % denser than the atomistic liquids, less what those were drawn off.
    assert "mobcg in 2 of 2" in densities
