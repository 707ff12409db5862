from importlib import metadata

import pytest

from mobcg import doctor
from mobcg.doctor import BAD, OK, WARN


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (None, BAD),
        ("4.6.7", BAD),
        ("5.1.4", BAD),
        ("2018.8", BAD),
        ("2020.6", BAD),  # C-rescale came with 2021
        ("2021", OK),
        ("2022.5", OK),
        ("2026.1", OK),
        ("unknown", BAD),
    ],
)
def test_gromacs(found: str | None, state: str) -> None:
    assert doctor.judge_gmx(found).state == state


@pytest.mark.parametrize(
    ("found", "state"), [(None, BAD), ("1.6.4", WARN), ("2022.1", OK), ("2025.1", OK), ("2026", BAD), ("2027.1", BAD)]
)
def test_votca(found: str | None, state: str) -> None:
    assert doctor.judge_votca("csg_inverse", found).state == state


@pytest.mark.parametrize(
    ("found", "state"),
    [(None, BAD), ("29 Sep 2021 - Update 2", OK), ("11 Aug 2017", WARN), ("2 Aug 2023", OK), ("unknown", WARN)],
)
def test_lammps(found: str | None, state: str) -> None:
    assert doctor.judge_lmp(found).state == state


def test_what_is_not_fine_comes_with_advice() -> None:
    judged = [
        doctor.judge_gmx(None),
        doctor.judge_gmx("2018"),
        doctor.judge_votca("csg_stat", None),
        doctor.judge_votca("csg_stat", "2026"),
        doctor.judge_lmp(None),
        doctor.judge_lmp("2017"),
    ]
    assert all(finding.advice for finding in judged)


def test_this_python_and_its_packages_are_found() -> None:
    found = {finding.subject: finding for finding in doctor.findings()}
    assert found["python"].state == OK
    assert found["pyarrow"].state == OK
    assert set(doctor.PACKAGES) <= set(found)


def test_a_machine_without_programs(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    states = {finding.subject: finding.state for finding in doctor.findings()}
    assert [states[name] for name in ("gmx", "csg_inverse", "csg_stat", "lmp")] == [BAD] * 4
    assert states["sbatch"] == WARN


def test_libraries_of_the_many_body_models_are_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(package: str) -> str:
        if package in doctor.MANY_BODY_PACKAGES:
            raise metadata.PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(doctor.metadata, "version", without)
    found = {finding.subject: finding for finding in doctor.findings()}
    for package in doctor.MANY_BODY_PACKAGES:
        assert found[package].state == WARN
        assert "make forcematch" in found[package].advice
