from itertools import chain

import pint
import pyarrow as pa
import pytest

from mobcg.schema import SCHEMA_VERSION, TABLES, TRAJECTORY, TRAJECTORY_INDEX, Column, Table

ALL = {**TABLES, "trajectory": TRAJECTORY, "trajectories.json": TRAJECTORY_INDEX}

COLUMNS = [
    pytest.param(table, column, id=f"{table.name}.{column.name}") for table in ALL.values() for column in table.columns
]
EACH_TABLE = pytest.mark.parametrize("table", ALL.values(), ids=ALL)
# What an unit must be when the name carries it; the longest ending counts.
ENDINGS = {
    "_nm2_ns": "nm**2/ns",
    "_kj_mol_nm": "kJ/mol/nm",
    "_kj_mol": "kJ/mol",
    "_g_mol": "g/mol",
    "_kg_m3": "kg/m**3",
    "_nm3": "1/nm**3",
    "_nm2": "nm**2",
    "_nm": "nm",
    "_ps": "ps",
    "_1_ps": "1/ps",
    "_fs": "fs",
    "_k": "K",
    "_bar": "bar",
    "_core_s": "s",
    "_s_ns_bead": "s/ns",
}


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_every_field_has_a_description_and_a_unit_that_pint_reads(table: Table, column: Column) -> None:
    assert len(column.description) > 3
    assert UNITS(column.unit or "dimensionless") is not None
    field = table.arrow_schema.field(column.name)
    assert field.metadata[b"description"].decode() == column.description
    assert field.metadata[b"unit"].decode() == column.unit
    assert field.nullable is not column.required


UNITS = pint.UnitRegistry().parse_units


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_the_unit_in_a_name_is_the_unit_of_the_column(table: Table, column: Column) -> None:
    name = column.name.removesuffix("_se")
    endings = [ending for ending in ENDINGS if name.endswith(ending)]
    expected = ENDINGS[max(endings, key=len)] if endings else ""
    assert column.unit == expected


@EACH_TABLE
def test_no_name_twice_and_keys_are_required_columns(table: Table) -> None:
    columns = {column.name: column for column in table.columns}
    assert len(columns) == len(table.columns)
    assert table.key
    for name in table.key:
        assert columns[name].required


@EACH_TABLE
def test_references_lead_to_the_key_of_another_table(table: Table) -> None:
    for column in table.columns:
        if column.references:
            other, name = column.references.split(".")
            assert TABLES[other].key[0] == name


@EACH_TABLE
def test_a_standard_error_stands_beside_its_value_and_shares_its_unit(table: Table) -> None:
    columns = {column.name: column for column in table.columns}
    for name, column in columns.items():
        if name.endswith("_se"):
            assert columns[name.removesuffix("_se")].unit == column.unit


@EACH_TABLE
def test_limits_are_for_numbers_and_texts_for_texts(table: Table) -> None:
    for column in table.columns:
        limits = (column.minimum, column.maximum, column.exclusive_minimum)
        if any(limit is not None for limit in limits):
            inner = column.type.value_type if pa.types.is_list(column.type) else column.type
            assert pa.types.is_floating(inner) or pa.types.is_integer(inner)
        if column.allowed:
            assert column.type == pa.string()
        if column.on_grid:
            assert pa.types.is_list(column.type)
        assert not (column.required and column.expected)


@EACH_TABLE
def test_a_run_that_can_fail_says_so(table: Table) -> None:
    names = {column.name for column in table.columns}
    if any(column.expected for column in table.columns):
        assert {"status", "reason", "spec", "versions"} <= names


def test_tables_are_named_after_themselves() -> None:
    assert all(name == table.name for name, table in TABLES.items())


def test_the_version_is_semantic() -> None:
    assert [part.isdigit() for part in SCHEMA_VERSION.split(".")] == [True] * 3


def test_a_name_means_the_same_unit_in_every_table() -> None:
    units: dict[str, str] = {}
    for column in chain.from_iterable(table.columns for table in ALL.values()):
        assert units.setdefault(column.name, column.unit) == column.unit, column.name
