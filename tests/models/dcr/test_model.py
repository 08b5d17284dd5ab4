import numpy as np
import pytest
from astropy.io import fits

from skytool.core.refraction.atmosphere import Conditions
from skytool.core.windows import Window
from skytool.errors import IncompatibleError, InputError
from skytool.models.dcr.hdus import (
    model_cards,
    model_from_exposures,
    model_from_hdus,
    model_hdus,
    subfilter_exposures,
)
from skytool.models.dcr.model import DcrModel
from skytool.models.exposure import Exposure, Origin
from skytool.models.exposure_hdus import primary_header
from skytool.models.mask import Mask
from skytool.models.observation.pointing import Pointing
from skytool.models.photometry import PhotometricCalibration
from skytool.models.sky.geometry import TargetGrid

SHAPE = (40, 52)
ORIGIN = Origin(7, 300)


def pointing(*, elevation=40.0, angle=30.0):
    """Return the pointing of an exposure of the field with the zenith in some direction."""
    from skytool.core.refraction.horizon import zenith_from

    zenith = zenith_from(ra=150.0, dec=-30.0, elevation=elevation, position_angle=angle)
    air = Conditions(
        latitude=-30.2, height=2663.0, temperature=10.0, pressure=73892.0, humidity=40.0
    )
    return Pointing(zenith, apparent=True, conditions=air, ra=150.0, dec=-30.0)


@pytest.fixture
def coadd(rng):
    grid = TargetGrid.from_center(150.0, -30.0, 0.2, SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = 500 * np.exp(-((y - 19) ** 2 + (x - 27) ** 2) / 6) + rng.normal(size=SHAPE)
    mask = Mask.empty(SHAPE)
    mask.array[3, 40] |= mask.bitmask(["SAT"])
    return Exposure(
        image.astype("f4"),
        mask,
        rng.uniform(1, 2, SHAPE).astype("f4"),
        wcs=grid.wcs,
        unit="nJy",
        calibration=PhotometricCalibration.from_zero_point(31.4),
        origin=ORIGIN,
    )


@pytest.fixture
def model(coadd, rng):
    model = DcrModel.from_image(
        coadd, 3, effective_wavelength=478.5, bandwidth=147.0, filter_name="g"
    )
    for number, factor in enumerate((0.6, 1.0, 1.4)):
        model[number] *= np.float32(factor)
    return model


def stored(model):
    primary = primary_header(
        model.full_band(), kind="DCRCOADD", stage="dcr-assemble", cards=model_cards(model)
    )
    return fits.HDUList([fits.PrimaryHDU(header=primary), *model_hdus(model)])


def test_coadd_is_divided_equally(coadd):
    before = coadd.image.copy()

    model = DcrModel.from_image(coadd, 4)

    np.testing.assert_allclose(np.sum(list(model), axis=0), coadd.image, rtol=1e-6)
    np.testing.assert_allclose(model.variance * 4, coadd.variance, rtol=1e-6)
    model[0][:] = 0
    np.testing.assert_array_equal(coadd.image, before)
    assert model[1].any()


def test_masked_nan_becomes_zero_and_unmasked_nan_is_refused(coadd):
    coadd.image[3, 40] = np.nan
    assert DcrModel.from_image(coadd, 2)[0][3, 40] == 0

    coadd.image[5, 5] = np.nan
    with pytest.raises(ValueError, match="NaN and not masked"):
        DcrModel.from_image(coadd, 2)


def test_model_without_subfilters_is_refused(coadd):
    with pytest.raises(ValueError, match="one subfilter or more"):
        DcrModel.from_image(coadd, 0)


def test_subfilters_are_indexed_by_wavelength(model):
    assert len(model) == model.dcr_num_subfilters == 3
    assert model[-1] is model[2]
    assert model[-3] is model[0]
    for wrong in (3, -4):
        with pytest.raises(IndexError, match="3 subfilters"):
            model[wrong]


def test_image_of_another_shape_is_not_taken(model):
    with pytest.raises(ValueError, match="does not fit"):
        model[1] = np.zeros((3, 4), np.float32)


def test_reference_is_the_mean_not_the_sum(model, coadd):
    box = Window(y=12, x=310, shape=(9, 11))

    np.testing.assert_allclose(model.get_reference_image(), coadd.image / 3, atol=1e-4)
    np.testing.assert_array_equal(
        model.get_reference_image(box), model.get_reference_image()[5:14, 10:21]
    )


def test_box_outside_of_the_model_is_refused(model):
    with pytest.raises(IncompatibleError, match="no pixel in the box"):
        model.get_reference_image(Window(y=0, x=0, shape=(3, 3)))


def test_part_of_a_model_is_assigned_at_its_place(model, coadd):
    part = DcrModel.from_image(
        Exposure(
            np.full((8, 9), 30, np.float32), Mask.empty((8, 9)), np.ones((8, 9), np.float32),
            origin=Origin(10, 320),
        ),
        3,
    )  # fmt: skip
    before = model[1].copy()

    model.assign(part)

    assert (model[1][3:11, 20:29] == 10).all()
    before[3:11, 20:29] = 10
    np.testing.assert_array_equal(model[1], before)


def test_model_with_other_subfilters_is_not_assigned(model, coadd):
    with pytest.raises(ValueError, match="2 subfilters do not fit"):
        model.assign(DcrModel.from_image(coadd, 2))


@pytest.mark.parametrize("order", [3, None])
def test_template_in_the_zenith_is_the_sum(model, order):
    template = model.build_matched_template(visit_info=pointing(elevation=90.0), order=order)

    np.testing.assert_allclose(template, np.sum(list(model), axis=0), atol=2e-3)


@pytest.mark.parametrize("order", [3, None])
@pytest.mark.parametrize("elevation", [70.0, 30.0])
def test_template_keeps_the_flux(model, order, elevation):
    for image in model:
        image[np.hypot(*np.mgrid[-19:21, -27:25]) > 12] = 0

    template = model.build_matched_template(visit_info=pointing(elevation=elevation), order=order)

    assert template.sum() == pytest.approx(np.sum(list(model)), rel=3e-5)


def test_blue_light_is_nearer_to_the_zenith(model):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]

    shifts = model.shifts_for(pointing(angle=0.0))  # zenith in the north, at the top

    assert shifts.mean_dy[0] > 0 > shifts.mean_dy[2]
    assert abs(shifts.mean_dy[0]) > abs(shifts.mean_dy[2])
    np.testing.assert_allclose(shifts.mean_dx, 0, atol=1e-4)
    template = model.build_matched_template(shifts=shifts)
    total = np.sum(list(model), axis=0)
    star = np.hypot(y - 19, x - 27) < 8
    moved = (template * y)[star].sum() / template[star].sum()
    assert moved < (total * y)[star].sum() / total[star].sum()  # this star is red


def test_amplified_differences_of_equal_subfilters_are_none(coadd):
    model = DcrModel.from_image(coadd, 3)
    shifts = np.array([[[0.5, 0.2], [0.3, 0.1]], [[0.1, 0], [-0.1, 0]], [[-0.3, 0.1], [-0.5, 0]]])

    plain = model.build_matched_template(shifts=shifts)
    amplified = model.build_matched_template(shifts=shifts, amplify_model=3.0)

    np.testing.assert_allclose(plain, amplified, atol=1e-3)


def test_template_of_a_part_is_that_part_of_the_template(model):
    box = Window(y=20, x=315, shape=(14, 20))
    shifts = model.shifts_for(pointing())

    whole = model.build_matched_template(shifts=shifts)
    part = model.build_matched_template(shifts=shifts, bbox=box)

    np.testing.assert_allclose(part, whole[13:27, 15:35], atol=1e-3)


def test_template_needs_refraction_and_wavelengths(model, coadd):
    with pytest.raises(ValueError, match="visit_info"):
        model.build_matched_template()
    with pytest.raises(ValueError, match="not shifts alone"):
        model.build_matched_template(shifts=np.zeros((3, 2, 2)), order=None)
    with pytest.raises(ValueError, match="no effective wavelength"):
        DcrModel.from_image(coadd, 3).build_matched_template(visit_info=pointing())


def test_matched_exposure_can_be_made_again_and_again(model):
    first = model.build_matched_exposure(visit_info=pointing())
    second = model.build_matched_exposure(visit_info=pointing())

    np.testing.assert_array_equal(first.variance, second.variance)
    np.testing.assert_allclose(np.median(first.variance), np.median(model.variance) * 3, rtol=0.05)
    assert first.unit == "nJy"


def test_mask_of_a_matched_exposure_is_that_of_all_subfilters(model):
    shifts = np.array([[[2.0, 0], [2.0, 0]], [[0, 0], [0, 0]], [[-1.0, 0], [-1.0, 0]]])

    exposure = model.build_matched_exposure(shifts=shifts)

    saturated = np.argwhere(exposure.mask.any_of(["SAT"]))
    assert sorted(map(tuple, saturated)) == [(2, 40), (3, 40), (5, 40)]


def test_matched_exposure_needs_a_calibration(model):
    model.calibration = None

    with pytest.raises(RuntimeError, match="photometric calibration"):
        model.build_matched_exposure(visit_info=pointing())


def test_stored_model_makes_the_same_template(model):
    model.subfilter_variances = [model.variance * factor for factor in (1, 2, 3)]
    before = model.build_matched_template(visit_info=pointing())

    read = model_from_hdus(stored(model), name="model.fits")

    np.testing.assert_array_equal(read.build_matched_template(visit_info=pointing()), before)
    assert (read.filter, read.spectrum, read.bbox) == ("g", "steps", model.bbox)
    np.testing.assert_array_equal(read.subfilter_variances[2], model.variance * 3)


def test_model_is_read_from_files_of_its_subfilters(model):
    parts = subfilter_exposures(model)

    read = model_from_exposures(parts[::-1], name="parts")

    for image, expected in zip(read, model, strict=True):
        np.testing.assert_array_equal(image, expected)
    assert read.bandwidth == 147.0


def test_missing_subfilter_is_an_error_unless_allowed(model):
    parts = subfilter_exposures(model)[1:]

    with pytest.raises(InputError, match="2 subfilters were found and 3 are expected"):
        model_from_exposures(parts, name="parts")
    read = model_from_exposures(parts, name="parts", allow_missing=True)
    assert not read[0].any()


@pytest.mark.parametrize(
    ("card", "value", "message"),
    [
        ("DCRNUM", None, "holds no DCR model"),
        ("DCRNUM", 4, "3 subfilters were found and 4"),
        ("DCRLAMBD", "blue", "which band"),
        ("DCRSPEC", "wavy", "DCRSPEC is 'wavy'"),
        ("REFRACT", "none", "REFRACT is 'none'"),
    ],
)
def test_damaged_model_is_refused(model, card, value, message):
    hdus = stored(model)
    if value is None:
        del hdus[0].header[card]
    else:
        hdus[0].header[card] = value

    with pytest.raises(InputError, match=message):
        model_from_hdus(hdus, name="model.fits")


def test_parts_of_different_models_are_refused(model):
    parts = subfilter_exposures(model)
    parts[1].header["EFFWAVE"] = 620.0

    with pytest.raises(IncompatibleError, match="EFFWAVE"):
        model_from_exposures(parts, name="parts")
