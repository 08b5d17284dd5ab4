"""Methods of a DCR model against LSST golden data."""

import json

import numpy as np
import pytest

from skytool.core.windows import Window
from skytool.models.dcr.model import DcrModel
from skytool.models.exposure import Exposure
from skytool.models.mask import Mask

BAD = ("NO_DATA", "BAD", "EDGE")
SINGLE = {"rtol": 0, "atol": 2e-6}  # of the brightest pixel, a few roundings of single precision


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden" / "07-dcr"
    with np.load(folder / "model_methods.npz") as stored:
        arrays = dict(stored)
    params = json.loads((folder / "params.json").read_text())
    return arrays, params["params"], params["mask_planes"]


@pytest.fixture
def model(golden):
    arrays, _, bits = golden
    images = [image.copy() for image in arrays["model_in"]]
    mask = Mask(arrays["model_mask"].copy(), bits)
    return DcrModel(model_images=images, mask=mask, variance=np.ones_like(images[0]))


def assert_like(found, expected):
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(found / scale, expected / scale, **SINGLE)


def test_image_is_divided(golden, model):
    arrays, _, _ = golden
    whole = arrays["fromImage"].sum(axis=0, dtype=np.float64).astype("f4")
    variance = arrays["fromImage_var"] * 3

    divided = DcrModel.from_image(Exposure(whole, model.mask, variance), 3)

    assert_like(np.stack(divided.model_images), arrays["fromImage"])
    np.testing.assert_allclose(divided.variance, arrays["fromImage_var"], rtol=1e-6)


def test_reference_is_the_mean(golden, model):
    assert_like(model.get_reference_image(), golden[0]["reference_image"])


@pytest.mark.parametrize("visit", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("split1_thr0.0_o3_amp1.0", {}),
        ("split0_thr0.0_o3_amp1.0", {"split_subfilters": False}),
        ("split0_thr0_o1_amp2.0", {"split_subfilters": False, "order": 1, "amplify_model": 2.0}),
    ],
)
def test_template(golden, model, visit, case, options):
    arrays, _, _ = golden

    template = model.build_matched_template(shifts=arrays[f"template_shift_v{visit}"], **options)

    assert_like(template, arrays[f"template_v{visit}_{case}"])


@pytest.mark.parametrize("visit", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("case", "threshold", "amplify"),
    [("split1_thr0.1_o1_amp3.0", 0.1, 3.0), ("split1_thr0.5_o1_amp1.0", 0.5, 1.0)],
)
def test_template_with_threshold(golden, model, visit, case, threshold, amplify):
    arrays, _, _ = golden
    shifts = arrays[f"template_shift_v{visit}"].copy()
    for pair in shifts:  # LSST means over the axes of each shift, not over the two shifts
        if np.abs(pair[0] - pair[1]).max() < threshold:
            pair[:] = pair.mean(axis=1)

    template = model.build_matched_template(
        shifts=shifts, order=1, split_threshold=threshold, amplify_model=amplify
    )

    assert_like(template, arrays[f"template_v{visit}_{case}"])


def test_noise_cutoff(golden, model):
    _, params, _ = golden
    box = Window(y=15, x=20, shape=(40, 50))

    for buffer_size in (0, 3, 5, 10):
        found = [model.calculate_noise_cutoff(image, BAD, buffer_size) for image in model]
        np.testing.assert_allclose(found, params["noiseCutoff"][f"buf{buffer_size}"], rtol=1e-5)
    found = [model.calculate_noise_cutoff(image, BAD, 4, bbox=box) for image in model]
    np.testing.assert_allclose(found, params["noiseCutoff_subbox_20_15_50_40"], rtol=1e-5)


@pytest.mark.parametrize("width", [0, 1, 2, 3])
@pytest.mark.parametrize("factor", [1.1, 2.0, 4.0])
def test_limits_of_a_step(golden, model, factor, width):
    arrays, _, _ = golden
    new = arrays["new_in"].copy()

    for subfilter, image in enumerate(new):
        model.regularize_model_iter(subfilter, image, model.bbox, factor, width)

    assert_like(new, arrays[f"regIter_f{factor}_w{width}"])


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("factor", [1.1, 2.0, 4.0])
def test_limits_of_colours(golden, model, factor, width):
    arrays, _, _ = golden
    new = arrays["new_in"].copy()

    model.regularize_model_freq(list(new), model.bbox, BAD, factor, width)

    assert_like(new, arrays[f"regFreq_f{factor}_w{width}"])


@pytest.mark.parametrize("gain", [1.0, 0.5, 0.25])
def test_steps_are_averaged(golden, model, gain):
    arrays, _, _ = golden
    new = arrays["new_in"].copy()

    model.condition_dcr_model(list(new), model.bbox, gain)

    assert_like(new, arrays[f"condition_g{gain}"])


@pytest.mark.parametrize("width", [0, 1, 2, 3])
def test_thresholds(golden, model, width):
    arrays, _, _ = golden
    image = arrays["new_in"][0].copy()
    old = arrays["model_in"][0]

    model.apply_image_thresholds(image, 2 * old + 1, old / 2 - 1, width)

    assert_like(image, arrays[f"thresholds_w{width}"])
