import yaml

from mobcg.errors import InputError, SimulationError


def test_message_names_file_key_value_allowed_and_advice() -> None:
    error = InputError("a.yaml", "temperature_k", -3, "a number above 0", "Correct it.")
    assert str(error) == "a.yaml: temperature_k: found -3; allowed: a number above 0. Correct it."


def test_message_without_key_has_no_empty_place() -> None:
    assert str(InputError("a.yaml", "", "x", "YAML")) == "a.yaml: found 'x'; allowed: YAML."


def test_a_value_cannot_break_the_line_or_the_terminal() -> None:
    message = str(InputError("a.yaml", "name", "x\n\x1b[31mmobcg: all fine", "a name"))
    assert "\n" not in message
    assert "\x1b" not in message


def test_a_long_value_is_cut() -> None:
    assert len(str(InputError("a.yaml", "name", "x" * 10_000, "a name"))) < 200


def test_aliases_of_aliases_are_not_spelt_out() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    bomb = yaml.safe_load("\n".join(lines))
    assert len(str(InputError("a.yaml", "name", bomb["a29"], "a name"))) < 200


def test_the_two_kinds_are_apart() -> None:
    assert not issubclass(SimulationError, InputError)
    assert not issubclass(InputError, SimulationError)
