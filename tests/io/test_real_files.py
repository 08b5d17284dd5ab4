"""Real exposures and golden files, read as a user would: with no option."""

import numpy as np
import pytest
from astropy.io import fits

from skytool.io.sources import find_sources, read_exposure
from tests.io.foreign import ESTIMATED, assert_planes_agree, planes_at

pytestmark = ESTIMATED

ALONE = {
    "allsky": ("bare", False),
    "bulge": ("bare", True),
    "decam-epochs": ("bare", True),
    "decam-stamps": ("decam", True),
    "infrared-chip": ("bare", True),
    "infrared-tiles": ("bare", True),
}


@pytest.mark.parametrize("folder", sorted(ALONE))
def test_real_exposures_are_read_without_options(shared, folder):
    layout, located = ALONE[folder]
    files = sorted((shared / "data" / folder).glob("*.fits*"))
    files = [file for file in files if "_oow_" not in file.name and "_ood_" not in file.name]
    assert files
    for file in files:
        (source,) = find_sources(file)
        assert source.layout == layout
        exposure = source.read()
        assert_planes_agree(exposure)
        assert (exposure.wcs is not None) is located
        assert exposure.shape == source.shape


def test_colour_frames_are_three_exposures_of_one_field(shared):
    for file in sorted((shared / "data" / "rgb-airmass").glob("*.fits.gz")):
        sources = find_sources(file)
        assert [source.extension for source in sources] == ["R", "G", "B"]
        for source in sources:
            exposure = source.read()
            assert_planes_agree(exposure)
            assert exposure.header["AIRMASS"] > 1.0
            assert exposure.wcs.sip is not None


def test_the_inverse_variance_of_the_infrared_chip_is_that_of_its_sky(shared):
    from skytool.core.noise.estimate import sky_noise

    for file in sorted((shared / "data" / "infrared-chip").glob("*.fits")):
        exposure = read_exposure(file)
        assert np.ptp(exposure.variance) == 0.0
        measured = sky_noise(exposure.image).typical_rms
        assert measured == pytest.approx(np.sqrt(exposure.variance[0, 0]), rel=0.03)


def test_weights_of_the_decam_stamps_are_those_of_their_sky(shared):
    from skytool.core.noise.estimate import sky_noise

    for file in sorted((shared / "data" / "decam-stamps").glob("*_ooi_*")):
        exposure = read_exposure(file)
        measured = sky_noise(exposure.image).typical_rms
        assert measured == pytest.approx(np.sqrt(np.median(exposure.variance)), rel=0.04)


def test_cosmic_rays_of_the_decam_stamps_are_codes(shared):
    (file,) = (shared / "data" / "decam-stamps").glob("*170316*_ooi_*")
    quality = fits.getdata(str(file).replace("_ooi_", "_ood_"), 1)
    exposure = read_exposure(file)
    assert np.array_equal(exposure.mask.any_of(["CR"]), quality == 5)
    assert not exposure.mask.any_of(["BAD", "SAT", "INTRP"]).any()


def test_golden_exposures_are_read_with_their_planes_and_origin(shared):
    folder = shared / "golden"
    files = sorted(folder.glob("*/*.fits.gz")) + sorted(folder.glob("*/*/*.fits.gz"))
    assert files
    for file in files:
        exposure = read_exposure(file)
        assert_planes_agree(exposure)
        with fits.open(file) as hdus:
            stored = hdus["SCI"].data
            assert exposure.origin == (hdus["SCI"].header["Y0"], hdus["SCI"].header["X0"])
            assert (exposure.psf is not None) == ("PSF" in hdus)
        valid = np.isfinite(exposure.image)
        assert np.array_equal(exposure.image[valid], stored[valid])


def test_golden_template_and_science_agree_on_the_sky(shared):
    folder = shared / "golden" / "06-diffim"
    science, template = (
        read_exposure(folder / f"in00_{kind}.fits.gz") for kind in ("science", "template")
    )
    # the template begins 20 pixels earlier on both axes
    expected = template.wcs.all_pix2world(120.0, 70.0, 0)
    assert np.allclose(science.wcs.all_pix2world(100.0, 50.0, 0), expected, rtol=0, atol=1e-10)


def test_unflagged_nan_of_the_infrared_tiles_is_named(shared):
    file = min((shared / "data" / "infrared-tiles").glob("*.fits.gz"))
    exposure = read_exposure(file)
    y, x = np.argwhere(np.isnan(exposure.image))[0]
    assert planes_at(exposure, y, x) == {"NO_DATA", "UNMASKEDNAN"}
