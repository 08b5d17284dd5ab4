import numpy as np
import pytest
from astropy.table import Table

from skytool.errors import InputError
from skytool.io.throughput import read_throughput

WAVELENGTHS = np.array([390.0, 400.0, 410.0, 540.0, 560.0, 570.0])
THROUGHPUT = np.array([0.0, 0.004, 0.5, 0.8, 0.1, 0.0])
# where straight lines between the points pass 0.008: between 400 and 410, and between 560 and 570
LIMITS = (400.0 + 10.0 * 0.004 / 0.496, 560.0 + 10.0 * 0.092 / 0.1)


@pytest.mark.parametrize(
    ("unit", "separator", "names"),
    [(1.0, "  ", ""), (10.0, ",", "wave,through\n"), (1e-3, "\t", "# micrometres\n")],
    ids=["nanometres", "angstrom", "micrometres"],
)
def test_text_is_read_in_its_unit(tmp_path, unit, separator, names):
    rows = zip(WAVELENGTHS * unit, THROUGHPUT, strict=True)
    text = names + "\n".join(f"{w:.12g}{separator}{t}" for w, t in rows)
    (tmp_path / "g.dat").write_text(text + "\n")

    band = read_throughput(str(tmp_path / "g.dat"))

    assert band.limits == pytest.approx(LIMITS, rel=1e-9)
    assert band.throughput(np.array([410.0, 475.0])) == pytest.approx([0.5, 0.65])


@pytest.mark.parametrize("name", ["g.fits", "g.ecsv"])
def test_tables_are_read_whatever_their_columns_are_called(tmp_path, name):
    table = Table({"lam": WAVELENGTHS[::-1], "T": THROUGHPUT[::-1], "other": THROUGHPUT})
    table.write(tmp_path / name)

    band = read_throughput(str(tmp_path / name))

    assert band.limits == pytest.approx(LIMITS, rel=1e-9)


def test_mean_wavelength_is_that_of_the_light(tmp_path):
    (tmp_path / "g.dat").write_text("400 1\n500 1\n500.001 3\n600 3\n")

    band = read_throughput(str(tmp_path / "g.dat"))

    assert band.limits == (400.0, 600.0)
    assert band.mean_wavelength == pytest.approx(525.0, abs=0.2)  # (450 + 3 * 550) / 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("400 0\n500 0\n", "positive"),
        ("400 1\n400 2\n", "grow"),
        ("400\n500\n", "two columns"),
        ("blue 1\nred 2\nno 3\n", "two columns"),
    ],
)
def test_what_is_no_curve_is_refused(tmp_path, text, words):
    (tmp_path / "g.dat").write_text(text)

    with pytest.raises(InputError, match=words):
        read_throughput(str(tmp_path / "g.dat"))
