import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Be in a folder of small inputs whose names say what the toy command does to them."""
    monkeypatch.chdir(tmp_path)
    names = ("a", "b", "bad", "bug", "disk", "empty", "empty2", "few", "foreign", "memory", "warn")
    for name in names:
        (tmp_path / f"{name}.fits").write_text(name)
    return tmp_path
