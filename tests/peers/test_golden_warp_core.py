import json
import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import maximum_filter

from skytool.core.resampling.kernels import lanczos, resampling_kernel
from skytool.core.resampling.pixel_map import PixelMap
from skytool.core.resampling.resample import resample

NO_DATA = 1 << 8
EDGE = 1 << 4

RUN = re.compile(
    r"\d+_(?P<target>.+)_(?P<kernel>lanczos\d|bilinear|nearest)_m-(?P<mask>\w+?)"
    r"_il(?P<step>\d+)_g(?P<grow>\d+)_c(?P<cache>\d+)_(?P<source>input|input_clean)"
)


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "golden/04-warp"


@pytest.fixture(scope="module")
def golden(folder):
    with np.load(folder / "output.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def parameters(folder):
    return json.loads((folder / "params.json").read_text())


@pytest.fixture(scope="module")
def sources(folder):
    planes = {}
    for name in ("input", "input_clean"):
        with fits.open(folder / f"{name}.fits.gz") as hdus:
            planes[name] = (hdus["SCI"].data, hdus["VAR"].data, hdus["MASK"].data)
            planes[name] += (WCS(hdus["SCI"].header),)
    return planes


def celestial_map(source_wcs, target, **options):
    target_wcs = WCS(fits.Header(target["wcs"]))
    x0, y0, width, height = target["box_x0_y0_w_h"]

    def to_source(x, y):
        return tuple(source_wcs.all_world2pix(*target_wcs.all_pix2world(x + x0, y + y0, 0), 0))

    return PixelMap(to_source, (height, width), **options)


def linear_map(source_wcs, target, *, step):
    """Map that is linear between lines, and exact for steps of 0 and 1."""
    step = step if step > 1 else 0
    return celestial_map(source_wcs, target, step=step, tolerance=None, method="linear")


def assert_same(result, image, variance, mask, *, tolerance):
    """Compare with a result in which the neighbours of lost pixels are NaN without the bit."""
    good = np.isfinite(image)
    peak = maximum_filter(np.abs(np.where(good, image, 0)), 9)
    assert_array_equal(np.isfinite(result.image), good)
    assert (np.abs(result.image - image)[good] <= tolerance * peak[good]).all()
    assert_allclose(result.variance[good], variance[good], rtol=tolerance)
    assert_array_equal(result.mask[good], mask[good])
    assert (result.mask[~good] == NO_DATA).all()
    assert np.isposinf(result.variance[~good]).all()


def runs_in(golden):
    return sorted(key.removesuffix("_img") for key in golden if RUN.match(key))


def test_every_run_is_reproduced_to_float32_rounding(golden, parameters, sources):
    keys = [key for key in runs_in(golden) if "_same_" not in key and key.endswith(tuple(sources))]
    keys = sorted(set(keys))
    assert len(keys) == 21

    for key in keys:
        run = RUN.fullmatch(key).groupdict()
        image, variance, mask, wcs = sources[run["source"]]
        target = parameters["destinations"][run["target"]]
        pixel_map = linear_map(wcs, target, step=int(run["step"]))

        result = resample(
            image,
            variance,
            mask,
            pixel_map,
            no_data=NO_DATA,
            centred_area=False,
            kernel=run["kernel"],
            mask_kernel=run["mask"],
            grow=int(run["grow"]),
        )

        # a cache of a million phases rounds positions to 1e-6 pixel
        tolerance = 1e-6 if run["cache"] == "0" else 5e-6
        planes = (golden[f"{key}_{plane}"] for plane in ("img", "var", "msk"))
        assert_same(result, *planes, tolerance=tolerance)


@pytest.mark.parametrize("step", [0, 10])
def test_the_same_grid_is_a_copy_that_spreads_nothing(golden, parameters, sources, step):
    image, variance, mask, wcs = sources["input"]
    key = next(key for key in runs_in(golden) if f"_same_lanczos3_m-bilinear_il{step}_" in key)
    pixel_map = linear_map(wcs, parameters["destinations"]["same"], step=step)

    result = resample(
        image, variance, mask, pixel_map, no_data=NO_DATA, grow=EDGE, centred_area=False
    )

    # there the sine of a multiple of pi is 1e-16 instead of zero, which is enough to spread
    # lost pixels and the bits of EDGE over the whole footprint
    expected = golden[f"{key}_img"]
    good = np.isfinite(expected)
    assert_array_equal(result.image[good], expected[good])
    assert_array_equal(result.variance[good], golden[f"{key}_var"][good])
    assert_array_equal(result.mask[good] & ~EDGE, golden[f"{key}_msk"][good] & ~EDGE)
    inside = np.s_[2:-3, 2:-3]
    assert_array_equal(result.image[inside], image[inside])
    lost = np.isnan(image[inside])
    assert_array_equal(result.mask[inside][~lost], mask[inside][~lost])
    assert (result.mask[inside][lost] == NO_DATA).all()


def test_the_defaults_of_the_warper_are_reproduced(golden, parameters, sources):
    image, variance, mask, wcs = sources["input_clean"]
    target = {
        "wcs": parameters["destinations"]["rot17"]["wcs"],
        "box_x0_y0_w_h": parameters["destinations"]["Warper_default"]["dest_x0_y0_w_h"],
    }

    result = resample(
        image,
        variance,
        mask,
        linear_map(wcs, target, step=10),
        no_data=NO_DATA,
        centred_area=False,
        grow=parameters["warper_config_default"]["growFullMask"],
    )

    planes = (golden[f"Warper_default_{plane}"] for plane in ("img", "var", "msk"))
    assert_same(result, *planes, tolerance=5e-6)


def test_our_own_interpolation_of_positions_is_at_least_as_good_as_exact_ones(
    golden, parameters, sources
):
    image, variance, mask, wcs = sources["input_clean"]
    target = parameters["destinations"]["farcrval"]
    ours = celestial_map(wcs, target, source_shape=image.shape)
    key = next(key for key in runs_in(golden) if "_farcrval_lanczos3_m-bilinear_il0_" in key)

    result = resample(image, variance, mask, ours, no_data=NO_DATA, grow=EDGE, centred_area=False)

    planes = (golden[f"{key}_{plane}"] for plane in ("img", "var", "msk"))
    assert_same(result, *planes, tolerance=2e-6)
    assert ours.max_error < 1e-8


def test_positions_agree(golden, parameters, sources):
    wcs = sources["input"][3]
    for name in ("shift", "same", "rot17", "scale_down", "scale_up", "farcrval"):
        x, y, u, v = golden[f"map_{name}"]
        target = WCS(fits.Header(parameters["destinations"][name]["wcs"]))

        ours = wcs.all_world2pix(*target.all_pix2world(x, y, 0), 0)

        assert_allclose(ours, (u, v), rtol=0, atol=2e-9)


def test_kernels_are_products_of_ours(golden):
    keys = [key for key in golden if key.startswith("kernel_")]
    assert len(keys) == 20

    for key in keys:
        _, name, fx, fy = key.split("_")
        taps = np.array(resampling_kernel(name).taps)
        along = []
        for fraction in (float(fy), float(fx)):
            if name.startswith("lanczos"):
                along.append(lanczos(taps - fraction, int(name[-1])))
            else:
                along.append(resampling_kernel(name).weights(fraction))

        assert_allclose(golden[key], np.outer(*along), rtol=0, atol=1e-15)
