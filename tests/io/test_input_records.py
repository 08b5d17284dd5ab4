import numpy as np
import pytest
from astropy.io import fits

from skytool.io.input_records import input_record
from skytool.io.sources import find_sources


@pytest.fixture
def source(tmp_path):
    """An exposure in the second extension of a file, with the sum of its pixels in a card."""
    hdus = [fits.PrimaryHDU()]
    hdus += [fits.ImageHDU(np.full((12, 9), n, np.float32), name="SCI", ver=n) for n in (1, 2)]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits", checksum=True)
    return find_sources(f"{tmp_path / 'a.fits'}[SCI,2]")[0]


def test_a_row_names_the_file_the_extension_and_its_pixels(source):
    record = input_record(source, role="science", weight=0.5)

    assert (record.role, record.weight) == ("science", 0.5)
    assert (record.file, record.extname, record.extver) == ("a.fits", "SCI", 2)
    assert record.datasum == fits.getheader(source.path, 2)["DATASUM"]


def test_what_is_given_counts(source):
    record = input_record(source, role="sky", file="other.fits", datasum="7")

    assert (record.file, record.datasum, record.extver) == ("other.fits", "7", 2)
