import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import IncompatibleError, InputError
from skytool.models.observation.observation import observation_from_header
from skytool.models.psf.statistics import PsfStatistics
from skytool.models.records.detector_table import DetectorTable, plain_name
from skytool.models.records.external_calibration import photometry_of, wcs_cards_of


def table(tract=None, **columns):
    arrays = {name: np.array(values) for name, values in columns.items()}
    return DetectorTable.from_columns(arrays, name="t.fits", tract=tract)


def seen(**cards):
    return observation_from_header(fits.Header(cards))


@pytest.mark.parametrize("name", ["nPsfStar", "N_PSF_STAR", "n_psf_star", "npsfstar"])
def test_spellings_of_a_column_are_one(name):
    assert plain_name(name) == "npsfstar"
    assert table(visit=[1], **{name: [7]}).number(0, "n_psf_star") == 7


@pytest.mark.parametrize(
    ("visits", "detectors"),
    [
        ([12, 12], [3, 4]),
        (["0012", "12"], ["03", "4"]),
        ([12.0, 12.0], [3.0, 4.0]),
        (["12", "12"], ["S3", "N4"]),
    ],
)
def test_rows_are_found_however_numbers_are_written(visits, detectors):
    rows = table(VISIT=visits, CCDNUM=detectors)
    named = {"DETPOS": "N4"} if "N4" in detectors else {}

    assert rows.row("", seen(VISIT=12, DETECTOR=4, **named)) == 1
    assert rows.row("", seen(VISIT=13, DETECTOR=4)) is None
    assert rows.row("", seen(VISIT=12, DETECTOR=5)) is None


def test_a_visit_may_be_that_of_the_run():
    assert table(visit=["mon-g"], zp=[25.0]).row("mon-g", seen(DETECTOR=5)) == 0


def test_the_detector_goes_before_the_number_of_a_record():
    """As in the table CCDS, whose ID is not that of a detector."""
    rows = table(ID=[7001, 7002], VISIT=[7, 7], CCD=[1, 2])

    assert rows.row("", seen(VISIT=7, DETECTOR=2)) == 1
    assert table(id=[1, 2], visit=[7, 7]).row("", seen(VISIT=7, DETECTOR=2)) == 1


def test_two_rows_of_one_detector_are_refused_unless_of_two_tracts():
    columns = {"visit": [7, 7], "detector": [1, 1]}
    with pytest.raises(InputError, match=r"two rows, 1 and 2, for visit 7, detector 1\."):
        table(**columns)
    rows = table(tract=4, **columns, tract_=[3, 4])
    assert rows.row("", seen(VISIT=7, DETECTOR=1)) == 1
    with pytest.raises(IncompatibleError, match="no row of tract 5"):
        table(tract=5, **columns, tract_=[3, 4])


def test_missing_values_are_nan_and_texts_no_numbers():
    rows = table(visit=[1], note=["bad"])
    assert np.isnan(rows.number(0, "zp"))
    with pytest.raises(InputError, match="row 1 has bad where a number is wanted"):
        rows.number(0, "note")


def test_a_field_is_a_surface_of_mean_one_times_the_scale():
    rows = table(visit=[1], calibration=[3.0], field=[[2.0, 0.4, 0.0, 0.0]])
    calibration = photometry_of(rows, 0, (20, 30))

    u = (2 * np.arange(30) + 1) / 30 - 1
    relative = calibration.relative_scale((20, 30))
    np.testing.assert_allclose(relative, np.broadcast_to(1 + 0.2 * u, (20, 30)), rtol=1e-6)
    assert calibration.scale == 3.0


def test_keywords_with_a_value_of_zero_are_kept():
    columns = {"CTYPE1": ["RA---TAN"], "CRVAL1": [0.0], "PV1_1": [np.nan], "ZP": [25.0]}
    header = fits.Header.fromstring(wcs_cards_of(table(visit=[1], **columns), 0))

    assert header["CRVAL1"] == 0.0
    assert set(header) == {"CTYPE1", "CRVAL1"}


def test_statistics_are_filled_from_elsewhere():
    rows = table(visit=[1], psfSigma=[2.0], psfStarDeltaE1Median=[0.3], psfStarDeltaE2Median=[0.4])
    known = PsfStatistics.from_row(rows, 0, pixel_scale=lambda: 0.25)

    assert known.fwhm == pytest.approx(2.3548 * 2 * 0.25, rel=1e-4)
    assert known.ellip_residual == pytest.approx(0.5)
    both = known.filled(PsfStatistics(fwhm=9.0, n_psf_star=8))
    assert (both.fwhm, both.n_psf_star) == (known.fwhm, 8)
