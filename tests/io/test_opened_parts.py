import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import InputError
from skytool.io.fits import image_array, opened_parts
from skytool.io.sources import find_sources
from tests.io.foreign import ESTIMATED, image_hdu, planes, primary, wcs_header, write


@pytest.fixture(params=[3, 12])
def many(tmp_path, rng, request):
    """A file of a few or of many detectors, and their pixels."""
    images = [planes(rng, shape=(20 + k, 30)).image for k in range(request.param)]
    hdus = [
        image_hdu(image, f"N{k}", header=wcs_header(), compressed=bool(k % 2))
        for k, image in enumerate(images)
    ]
    return write(tmp_path / "mosaic.fits", primary(EXPTIME=7.0), *hdus), images


def test_extensions_have_the_numbers_that_they_have_in_the_file(many):
    path, images = many
    last = len(images)
    with opened_parts(path, [last, 2]) as hdus:
        assert set(hdus) >= {0, 2, last}
        assert hdus[0].header["EXPTIME"] == 7.0
        assert hdus[2].name == "N1"
        assert np.array_equal(image_array(hdus[2]), images[1])
        assert np.array_equal(image_array(hdus[last]), images[-1])


@ESTIMATED
def test_every_detector_of_a_mosaic_is_read(many):
    path, images = many
    sources = find_sources(path)
    assert [source.extension for source in sources] == [f"N{k}" for k in range(len(images))]
    for source, image in zip(sources, images, strict=True):
        assert np.array_equal(source.read().image, image)


def test_the_datasum_of_a_detector_is_its_own(many):
    path, images = many
    sums = [source.datasum() for source in find_sources(path)]
    with fits.open(path, disable_image_compression=True) as hdus:
        assert sums == [str(hdu.add_datasum()) for hdu in hdus[1:]]
    assert len(set(sums)) == len(images)


def test_an_extension_that_is_not_there_is_an_input_error(many):
    path, images = many
    with (
        pytest.raises(InputError, match=f"has no extension {len(images) + 1}"),
        opened_parts(path, [len(images) + 1]),
    ):
        pass
