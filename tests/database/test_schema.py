import pint
import pyarrow as pa
import pytest

from mobcg.schema import CURVE, SCHEMA_VERSION, TABLES, WHOLE

COLUMNS = [(table.name, column) for table in TABLES.values() for column in table.columns]
# Unit suffix of a name → the unit that the column must have; the name is what a reader sees.
SUFFIXES = {
    "_nm2_ns": "nm**2/ns",
    "_kj_mol_nm": "kJ/mol/nm",
    "_kg_m3": "kg/m**3",
    "_kj_mol": "kJ/mol",
    "_g_mol": "g/mol",
    "_1_ps": "1/ps",
    "_nm3": "1/nm**3",
    "_nm2": "nm**2",
    "_bar": "bar",
    "_nm": "nm",
    "_ps": "ps",
    "_fs": "fs",
    "_k": "K",
}


@pytest.fixture(scope="module")
def registry():
    return pint.UnitRegistry()


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=lambda value: getattr(value, "name", value))
def test_unit_is_what_the_name_says_and_pint_reads_it(table, column, registry):
    name = column.name.removesuffix("_se")
    expected = next((unit for suffix, unit in SUFFIXES.items() if name.endswith(suffix)), "")
    assert column.unit == expected
    assert registry.Unit(column.unit) == registry.Unit(expected)


def test_units_of_force_field_parameters_are_read_by_pint(release, registry):
    import pyarrow.parquet as pq

    for unit in set(pq.read_table(release / "data/force_fields.parquet")["unit"].to_pylist()):
        registry.Unit(unit)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_table_is_well_formed(table):
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    assert set(table.key) <= set(names)
    assert table.description
    for column in table.columns:
        assert column.description, column.name
        assert column.name not in table.key or column.required
        if column.name.endswith("_se"):
            assert column.name.removesuffix("_se") in names
        if column.on_grid:
            assert column.type == CURVE
        if column.allowed:
            assert column.type == pa.string()
        if column.type == WHOLE:
            assert column.unit == ""
        if column.references:
            target, field = column.references.split(".")
            assert field in {other.name for other in TABLES[target].columns}


def test_arrow_fields_carry_unit_and_description():
    field = TABLES["coarse"].arrow_schema.field("diffusion_nm2_ns")
    assert field.metadata[b"unit"] == b"nm**2/ns"
    assert field.metadata[b"description"]
    assert TABLES["coarse"].arrow_schema.field("status").metadata[b"allowed"] == b"ok|failed"


def test_schema_version_is_semantic():
    assert [part.isdigit() for part in SCHEMA_VERSION.split(".")] == [True] * 3
