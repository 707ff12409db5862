import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mobcg import config
from mobcg.config import Config, Molecule, Scale, validate
from mobcg.errors import InputError

REPOSITORY = Path(__file__).parents[1]
MOLECULES = sorted((REPOSITORY / "config/molecules").glob("*.yaml"))
SCALES = sorted((REPOSITORY / "config/scale").glob("*.yaml"))
MOLECULE = yaml.safe_load((REPOSITORY / "config/molecules/benzene.yaml").read_text())
SCALE = yaml.safe_load((REPOSITORY / "config/scale/quick.yaml").read_text())
CONFIG = {"scale": "quick", "version": "2026.11.0"}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def changed(content: dict, **changes: Any) -> dict:
    return {**content, **changes}


# What is shipped


@pytest.mark.parametrize("path", MOLECULES, ids=lambda path: path.stem)
def test_shipped_molecules_load(path: Path) -> None:
    assert config.load_molecule(path).id == path.stem


@pytest.mark.parametrize("path", SCALES, ids=lambda path: path.stem)
def test_shipped_scales_load(path: Path) -> None:
    molecules = config.load_molecules(REPOSITORY / "config/molecules")
    assert config.load_scale(path, molecules).name == path.stem


def test_the_shipped_configuration_loads() -> None:
    shipped = config.load_config(config.read_config(REPOSITORY / "config/config.yaml"))
    assert config.scale_path(shipped.scale, REPOSITORY / "config/scale").is_file()


def test_the_json_schema_is_up_to_date() -> None:
    command = [sys.executable, "-m", "mobcg.config"]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    advice = "run: python -m mobcg.config > config/schema.json"
    assert (REPOSITORY / "config/schema.json").read_text() == made, advice


def test_a_model_that_is_scored_is_trained() -> None:
    content = {"name": "short", "predictor": {"models": ["bag2024"]}}
    with pytest.raises(InputError, match=r"evaluation\.models: mobcg is not among predictor\.models"):
        validate(Scale, content, "short.yaml")
    validate(Scale, content | {"evaluation": {"models": ["ibi", "bag2024"]}}, "short.yaml")
    validate(Scale, content | {"extends": "2026.11.0"}, "short.yaml")  # takes those of the release


@pytest.mark.parametrize(
    ("model", "path"),
    [
        *[("Molecule", path) for path in MOLECULES],
        *[("Scale", path) for path in SCALES],
        ("Config", REPOSITORY / "config/config.yaml"),
    ],
    ids=lambda value: getattr(value, "stem", value),
)
def test_the_json_schema_accepts_what_is_shipped(model: str, path: Path) -> None:
    schema = json.loads((REPOSITORY / "config/schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    content = yaml.safe_load(path.read_text())
    jsonschema.validate(content, schema)
    jsonschema.validate(content, {**schema, "anyOf": [{"$ref": f"#/$defs/{model}"}]})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content | {"colour": "red"}, schema)


# Molecules


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", "Benzene"),
        ("id", "ben zene"),
        ("id", "benzene;touch hacked"),
        ("id", "../benzene"),
        ("id", "benzene\n"),
        ("id", "$(touch hacked)"),
        ("id", ""),
        ("id", 7),
        ("id", "b" * 65),
        ("id", "benzène"),
        ("name", ""),
        ("name", None),
        ("smiles", ""),
        ("smiles", ["C"]),
        ("smiles", "C" * 401),
        ("inchikey", "UHOVQNZJYSORNB-UHFFFAOYSA"),
        ("temperature_k", 0),
        ("temperature_k", -298.15),
        ("temperature_k", "warm"),
        ("temperature_k", float("nan")),
        ("temperature_k", float("inf")),
        ("pressure_bar", {"bar": 1}),
        ("role", "tester"),
        ("reference_density_kg_m3", 0),
        ("reference_density_source", ""),
        ("topology", "benzene.itp"),
        ("topology.itp", {"gro": "a.gro"}),
    ],
)
def test_a_wrong_value_names_file_key_value_and_what_is_allowed(tmp_path: Path, key: str, value: Any) -> None:
    path = write(tmp_path / "benzene.yaml", changed(MOLECULE, **{key.split(".")[0]: value}))
    with pytest.raises(InputError) as caught:
        config.load_molecule(path)
    assert caught.value.where == str(path)
    assert caught.value.key == key
    message = str(caught.value)
    assert message.startswith(f"{path}: {key}: found ")
    assert len(caught.value.allowed) > 5
    assert "\n" not in message


@pytest.mark.parametrize("key", ["id", "smiles", "inchikey", "reference_density_kg_m3", "reference_density_source"])
def test_a_missing_key(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "benzene.yaml", {name: value for name, value in MOLECULE.items() if name != key})
    with pytest.raises(InputError, match=rf"benzene\.yaml: {key}: found 'nothing'; allowed: Field required"):
        config.load_molecule(path)


@pytest.mark.parametrize("key", ["densty", "Smiles", 1, "__class__", "model_config"])
def test_an_unknown_key_is_refused_and_the_known_are_named(tmp_path: Path, key: Any) -> None:
    path = write(tmp_path / "benzene.yaml", {**MOLECULE, key: 1.0})
    with pytest.raises(InputError, match=rf"benzene\.yaml: {key}") as caught:
        config.load_molecule(path)
    if key == "densty":
        assert "reference_density_kg_m3" in str(caught.value)


def test_the_id_is_the_name_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"toluene\.yaml: id: found 'benzene'; allowed: the file's name, toluene"):
        config.load_molecule(write(tmp_path / "toluene.yaml", MOLECULE))


def test_the_name_of_a_fold_is_no_id(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"all\.yaml: id: found 'all'"):
        config.load_molecule(write(tmp_path / "all.yaml", changed(MOLECULE, id="all")))


@pytest.mark.parametrize(
    "text",
    [
        "id: [benzene",
        "id: benzene\n  name: x",
        "id: @benzene",
        "\tid: benzene",
        "id: \x00",
        "name: 2020-02-31",  # YAML reads a date that is none
        "a: " + "[" * 5000,
        "temperature_k: 1" + "0" * 5000,
        "id: *nowhere",
        "a: 1\n---\nb: 2",
    ],
)
def test_what_is_no_yaml(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"benzene\.yaml.*YAML"):
        config.load_molecule(write(tmp_path / "benzene.yaml", text))


def test_what_is_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "benzene.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(InputError, match="YAML in UTF-8"):
        config.load_molecule(tmp_path / "benzene.yaml")


@pytest.mark.parametrize("text", ["", "- id: benzene", "benzene", "42", "# nothing but a comment"])
def test_what_is_no_mapping(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"benzene\.yaml.*keys and values"):
        config.load_molecule(write(tmp_path / "benzene.yaml", text))


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch hacked']",
        "!!python/object/new:os.system ['touch hacked']",
        "!!python/name:os.system",
        "!!python/object/apply:subprocess.Popen [['touch', 'hacked']]",
    ],
)
def test_a_tag_executes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "benzene.yaml", f"id: benzene\nname: {tag}\n")
    with pytest.raises(InputError, match="YAML"):
        config.load_molecule(path)
    assert not (tmp_path / "hacked").exists()


def test_aliases_of_aliases_end_in_a_short_message(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    path = write(tmp_path / "benzene.yaml", "\n".join([*lines, "name: *a29"]))
    with pytest.raises(InputError) as caught:
        config.load_molecule(path)
    assert len(str(caught.value)) < 600


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.yaml.*No such file"):
        config.load_molecule(tmp_path / "no.yaml")
    (tmp_path / "dir.yaml").mkdir()
    with pytest.raises(InputError, match=r"dir\.yaml.*directory"):
        config.load_molecule(tmp_path / "dir.yaml")


def test_a_directory_without_molecules(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Is molecules_dir right"):
        config.load_molecules(tmp_path)
    with pytest.raises(InputError, match="Is molecules_dir right"):
        config.load_molecules(tmp_path / "nowhere")


# Scales


def load_scale(path: Path) -> Scale:
    return config.load_scale(path, {"benzene": None, "neopentane": None, "ethylbenzene": None})


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("atomistic", "box_length_nm", 3.0),
        ("atomistic", "box_length_nm", float("inf")),
        ("atomistic", "n_molecules", 0),
        ("atomistic", "replicas", 0),
        ("atomistic", "replicas", 1.5),
        ("atomistic", "frame_ps", 0),
        ("atomistic", "frame_ps", 0.05),
        ("atomistic", "frame_ps", 0.25),
        ("atomistic", "frame_ps", 1e-12),
        ("atomistic", "colour", "red"),
        ("atomistic.lengths", "nvt_ps", -1),
        ("atomistic.lengths", "nvt_ns", 1),
        ("synthetic.ranges", "bond_length_factor", [1.2, 0.9]),
        ("synthetic.ranges", "angle_shift_deg", [float("nan"), 12.0]),
        ("synthetic.ranges", "torsion_kj_mol", [1.0]),
        ("synthetic.draws", "benzene", -1),
        ("synthetic.draws", "../benzene", 1),
        ("inversion", "iterations_max", 26),
        ("inversion", "target_pressure_bar", float("inf")),
        ("inversion", "pressure_correction", "perhaps"),
        ("coarse", "n_beads", 99),
        ("coarse", "records_per_shard", 0),
        ("coarse", "scale_factors", []),
        ("coarse", "scale_factors", [0.0]),
        ("coarse", "mass_g_mol", [0, 200]),
        ("coarse", "friction_1_ps_100", {"dpd": [20.0, 0.2]}),
        ("coarse", "thermostat_weights", {"berendsen": 1.0}),
        ("coarse", "thermostat_weights", {"langevin": 0.0}),
        ("coarse", "thermostat_weights", {}),
        ("evaluation", "replicas", 1),
        ("evaluation", "models", ["ibi", "magic"]),
        ("evaluation", "knob_factors", [0.7, 1.3]),
        ("predictor", "models", ["schnet"]),
    ],
)
def test_a_wrong_value_of_a_scale_names_its_nested_key(tmp_path: Path, section: str, key: str, value: Any) -> None:
    content = json.loads(json.dumps(SCALE))
    inner = content
    for part in section.split("."):
        inner = inner.setdefault(part, {})
    inner[key] = value
    path = write(tmp_path / "quick.yaml", content)
    with pytest.raises(InputError) as caught:
        load_scale(path)
    assert caught.value.where == str(path)
    assert caught.value.key.startswith(section.split(".")[0])
    assert section in caught.value.key


def test_a_scale_with_an_unknown_molecule(tmp_path: Path) -> None:
    path = write(tmp_path / "quick.yaml", changed(SCALE, molecules=["benzene", "toluene"]))
    with pytest.raises(InputError, match=r"quick\.yaml: molecules: found 'toluene'; allowed: one of benzene.*Add its"):
        load_scale(path)
    path = write(tmp_path / "quick.yaml", changed(SCALE, synthetic={"draws": {"toluene": 1}}))
    with pytest.raises(InputError, match=r"quick\.yaml: synthetic\.draws: found 'toluene'"):
        load_scale(path)


def test_an_unknown_scale_names_the_known() -> None:
    with pytest.raises(InputError, match="found 'huge'; allowed: one of demo, paper, pilot, quick, study, workstation"):
        load_scale(config.scale_path("huge", REPOSITORY / "config/scale"))


def test_a_scale_may_be_a_path() -> None:
    assert config.scale_path("mine/small.yaml") == Path("mine/small.yaml")
    assert config.scale_path("quick") == Path("config/scale/quick.yaml")


def test_writing_a_default_out_changes_nothing() -> None:
    spelt = Scale.model_validate({"name": "a", "atomistic": {"frame_ps": 1, "lengths": {"squeeze_ps": 20}}})
    assert json.dumps(spelt.model_dump()) == json.dumps(Scale(name="a").model_dump())


# config.yaml


@pytest.mark.parametrize(
    "change",
    [
        {"version": "2026.13.0"},
        {"version": "2026.01.0"},
        {"version": "1.0"},
        {"version": 2026.11},
        {"version": "../2026.11.0"},
        {"scale": ""},
        {"scale": ["quick"]},
        {"base_release": 3},
        {"results": "results"},
    ],
)
def test_a_wrong_configuration(change: dict) -> None:
    with pytest.raises(InputError, match=rf"config/config\.yaml: {next(iter(change))}: found"):
        config.load_config(CONFIG | change)


@pytest.mark.parametrize("text", ["- scale: quick", "", "scale: [", "version: 2026-13-45"])
def test_a_configuration_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"config\.yaml"):
        config.read_config(write(tmp_path / "config.yaml", text))
    with pytest.raises(InputError, match="No such file"):
        config.read_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("model", [Config, Molecule, Scale])
def test_models_cannot_be_changed_after_the_check(model: type) -> None:
    assert model.model_config["frozen"]
    assert model.model_config["extra"] == "forbid"


def keys_of(model: type[config.Section]) -> set[str]:
    """Return every key that a file of this kind may hold, those of its sections too."""
    keys = set(model.model_fields)
    for field in model.model_fields.values():
        parts = getattr(field.annotation, "__args__", (field.annotation,))
        for part in parts:
            if isinstance(part, type) and issubclass(part, config.Section):
                keys |= keys_of(part)
    return keys


@pytest.mark.parametrize("model", [Config, Molecule, Scale])
def test_the_manual_explains_every_key(model: type[config.Section]) -> None:
    manual = (REPOSITORY / "config/README.md").read_text()
    missing = {key for key in keys_of(model) if not re.search(rf"`(\w+\.)?{key}[`.]", manual)}
    assert not missing


def test_the_manual_names_no_key_that_does_not_exist() -> None:
    manual = (REPOSITORY / "config/README.md").read_text()
    for section, key in re.findall(r"`(\w+)\.(\w+)`", manual):
        if section in Scale.model_fields:
            assert key in Scale.model_fields[section].annotation.model_fields, f"{section}.{key}"


def test_a_larger_box_must_be_larger(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text("name: small\natomistic: {box_length_nm: 3.4, larger_boxes_nm: {benzene: 3.3}}\n")
    with pytest.raises(InputError, match=r"larger_boxes_nm\.benzene"):
        config.load_scale(path, config.load_molecules(REPOSITORY / "config/molecules"))
