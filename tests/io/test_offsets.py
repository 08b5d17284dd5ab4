import pytest

from skytool.errors import InputError
from skytool.io.offsets import offset_of, read_offsets, unknown_names


def test_names_and_numbers_are_read(tmp_path):
    path = tmp_path / "offsets.txt"
    path.write_text("# known\nnight/a.fits  -1.5\nb.fits,2e3 # second\n\nc\t0\n")

    offsets = read_offsets(str(path))

    assert offsets == {"a.fits": -1.5, "b.fits": 2000.0, "c": 0.0}
    assert offset_of("a.fits", offsets) == -1.5
    assert offset_of("c.fits.gz", offsets) == 0.0
    assert offset_of("d.fits", offsets) is None
    assert unknown_names(offsets, ["a.fits", "c.fits"]) == ["b.fits"]


@pytest.mark.parametrize("line", ["a.fits", "a.fits x", "a.fits 1 2", "a.fits nan", "3"])
def test_lines_that_mean_nothing_are_named(tmp_path, line):
    path = tmp_path / "offsets.txt"
    path.write_text(f"ok.fits 1\n{line}\n")

    with pytest.raises(InputError, match="line 2"):
        read_offsets(str(path))


def test_names_twice_and_missing_files_are_errors(tmp_path):
    path = tmp_path / "offsets.txt"
    path.write_text("a 1\na 2\n")

    with pytest.raises(InputError, match="a is there twice"):
        read_offsets(str(path))
    with pytest.raises(InputError, match="cannot be read"):
        read_offsets(str(tmp_path / "none.txt"))
