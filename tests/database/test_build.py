from mobcg.database.validate import validate


def test_release_of_sound_records_is_valid(release):
    assert validate(release) == []
