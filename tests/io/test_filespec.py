from pathlib import Path

import pytest

from skytool.errors import InputError
from skytool.io.filespec import FileSpec


@pytest.mark.parametrize(
    ("text", "path", "extension"),
    [
        ("night/a.fits", "night/a.fits", None),
        ("a.fits[SCI]", "a.fits", "SCI"),
        ("a.fits[2]", "a.fits", 2),
        ("a.fits[0]", "a.fits", 0),
        ("a.fits[SCI,2]", "a.fits", ("SCI", 2)),
        ("a.fits[ SCI , 2 ]", "a.fits", ("SCI", 2)),
        ("b[1].fits[3]", "b[1].fits", 3),
        ("b[1].fits", "b[1].fits", None),
        ("-", "-", None),
        ("-[1]", "-", 1),
    ],
)
def test_an_argument_is_taken_apart(text, path, extension):
    spec = FileSpec.parse(text)

    assert (str(spec.path), spec.extension) == (path, extension)


@pytest.mark.parametrize(
    "text", ["a.fits[]", "a.fits[1:20,3:40]", "a.fits[SCI,b]", "a.fits[,1]", ""]
)
def test_brackets_that_name_no_extension_are_refused(text):
    with pytest.raises(InputError):
        FileSpec.parse(text)


def test_a_null_character_is_refused():
    with pytest.raises(InputError, match="no file name"):
        FileSpec.parse("a\0.fits")


def test_a_file_whose_name_ends_in_brackets_wins(tmp_path):
    odd = tmp_path / "a.fits[1]"
    odd.touch()

    assert FileSpec.parse(odd) == FileSpec(odd)
    odd.unlink()
    assert FileSpec.parse(odd) == FileSpec(tmp_path / "a.fits", 1)


def test_a_file_named_minus_is_no_stream(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert FileSpec.parse("-").is_standard_stream
    assert not FileSpec.parse("./-").is_standard_stream
    assert FileSpec.parse("./-").path == tmp_path / "-"


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("raw7.fits", "raw7", ".fits"),
        ("raw7.fits.fz", "raw7", ".fits.fz"),
        ("raw7.FIT.GZ", "raw7", ".FIT.GZ"),
        ("v1.2.fits.bz2", "v1.2", ".fits.bz2"),
        ("a.fits.old.fits", "a.fits.old", ".fits"),
        ("a.fz", "a", ".fz"),
        ("a.img", "a", ".img"),
        ("a", "a", ""),
        (".fits", ".fits", ""),
    ],
)
def test_all_suffixes_are_known(name, stem, suffix):
    spec = FileSpec(Path("night") / name)

    assert (spec.stem, spec.suffix) == (stem, suffix)


def test_a_product_keeps_the_base_name():
    assert FileSpec.parse("night/raw7.fits.fz[SCI,1]").product_name() == "raw7.fits"
    assert FileSpec.parse("night/raw7.fit").product_name("-matched") == "raw7-matched.fits"
    assert FileSpec.parse("-").product_name() == "stdin.fits"


def test_names_say_the_extension_but_not_the_folder():
    spec = FileSpec.parse("night/a.fits[SCI,2]")

    assert spec.name == "a.fits[SCI,2]"
    assert str(spec) == "night/a.fits[SCI,2]"
    assert FileSpec.parse(str(spec)) == spec
    assert FileSpec.parse(spec) == spec
    assert spec.with_extension(None).name == "a.fits"
