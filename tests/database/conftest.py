"""The release of analytic liquids of `tests.database.cases`, published once for all tests of this room."""

from pathlib import Path

import pytest

from mobcg.database.build import build_release
from mobcg.plan import Plan, molecule_rows
from tests.database.cases import COMMIT, VERSION, Chain, Editable, Inputs, make_plan, write_models


@pytest.fixture(scope="session")
def plan(tmp_path_factory) -> Plan:
    return make_plan(tmp_path_factory.mktemp("scale"))


@pytest.fixture(scope="session")
def inputs(tmp_path_factory, plan) -> Inputs:
    return Inputs(molecule_rows(plan), Chain(tmp_path_factory.mktemp("records"), plan).paths())


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """A directory with the two files of the repository that go into a release."""
    path = tmp_path_factory.mktemp("repository")
    (path / "LICENSE-DATA").write_text("Creative Commons Attribution 4.0 International\n")
    (path / "CITATION.cff").write_text(
        "cff-version: 1.2.0\ntitle: mobcg\nmessage: cite\nauthors:\n  - name: The mobcg authors\nversion: 0.1.0\n"
    )
    return path


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory) -> Path:
    path = write_models(tmp_path_factory.mktemp("models"))
    (path / "mobcg" / ".snakemake_timestamp").touch()
    return path


@pytest.fixture(scope="session")
def release(tmp_path_factory, inputs, repository, models_dir) -> Path:
    """The published release; tests that change it copy it first."""
    return build_release(
        inputs.records,
        inputs.molecules,
        VERSION,
        tmp_path_factory.mktemp("releases"),
        models=[models_dir / "mobcg"],
        repository=repository,
        commit=COMMIT,
    )


@pytest.fixture
def editable(release, tmp_path) -> Editable:
    return Editable(release, tmp_path)
