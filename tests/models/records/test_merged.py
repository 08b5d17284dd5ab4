import io

import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import InputError
from skytool.models.records.merged import WarpRecords, numbered_apart
from skytool.models.records.warp import (
    CcdRecord,
    VisitRecord,
    read_ccd_records,
    read_visit_records,
    records_table,
    with_unique_ids,
)


def ccd(number, visit, detector=0, **values):
    return CcdRecord(
        **{
            "id": number,
            "visit": visit,
            "ccd": detector,
            "file": "raw.fits",
            "extname": "SCI",
            "filter_name": "r",
            "goodpix": 5000,
            "weight": 1.0,
            "scale": 2.5,
            "zero_point": 27.0,
            "sky_added": 0.0,
            "sky_subtracted": 1.25,
            "area": 0.9,
            "filled": 0.01,
            "corners_ra": (1.0, 2.0, 3.0, 4.0),
            "corners_dec": (-1.0, -2.0, -3.0, -4.0),
            "exposure_time": 30.0,
            "mjd": 60000.5,
            "airmass": 1.1,
            "bbox": (10, 20, 300, 400),
            "wcs_header": "CTYPE1  = 'RA---TAN'".ljust(80),
            **values,
        }
    )


def visit(number, name, weight=1.0):
    return VisitRecord(number, name, "r", 5000, weight, (0, 0, 30, 40), 30.0, 60000.5, 1.1)


def warp(number, name, *ids):
    return WarpRecords((visit(number, name),), tuple(ccd(i, number, i % 1000) for i in ids), {})


def test_records_of_different_visits_keep_their_numbers():
    warps = [warp(101, "101", 101001, 101002), warp(102, "102", 102001)]

    apart = numbered_apart(warps)

    assert [w.visits for w in apart] == [w.visits for w in warps]
    assert [w.ccds for w in apart] == [w.ccds for w in warps]
    assert apart[0].numbers == {101001: 101001, 101002: 101002}


def test_another_visit_of_the_same_number_gets_the_next_free_one():
    warps = [warp(0, "a.fits", 0, 1), warp(1, "b.fits", 1000), warp(0, "c.fits", 0, 7)]

    apart = numbered_apart(warps)

    assert [w.visits[0].id for w in apart] == [0, 1, 2]
    assert [entry.id for w in apart for entry in w.ccds] == [0, 1, 1000, 2000, 2007]
    assert [entry.visit for w in apart for entry in w.ccds] == [0, 0, 1, 2, 2]
    assert apart[2].numbers == {0: 2000, 7: 2007}


def test_two_warps_of_one_visit_share_its_number():
    apart = numbered_apart([warp(5, "5", 5001), warp(5, "5", 5002), warp(5, "5", 5001)])

    assert [w.visits[0].id for w in apart] == [5, 5, 5]
    assert [w.ccds[0].id for w in apart] == [5001, 5002, 5003]
    assert apart[2].numbers == {5001: 5003}


def test_detectors_of_one_number_in_a_visit_get_free_ones():
    records = with_unique_ids([ccd(7000, 7), ccd(7000, 7), ccd(7001, 7), ccd(7000, 7)])

    assert [entry.id for entry in records] == [7000, 7001, 7002, 7003]


def test_a_weight_goes_to_all_records_of_a_warp():
    weighted = warp(101, "101", 101001, 101002).weighted(0.25)

    assert weighted.visits[0].weight == 0.25
    assert [entry.weight for entry in weighted.ccds] == [0.25, 0.25]


def test_the_visits_of_a_coadd_share_its_weight():
    records = WarpRecords(
        (visit(1, "1", 3.0), visit(2, "2", 1.0)), (ccd(1000, 1), ccd(2000, 2)), {}
    )

    weighted = records.weighted(8.0)

    assert [entry.weight for entry in weighted.visits] == [6.0, 2.0]
    assert [entry.weight for entry in weighted.ccds] == [6.0, 2.0]


def stored(*hdus):
    whole = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(whole)
    return fits.open(io.BytesIO(whole.getvalue()))


def test_records_come_back_from_a_file():
    ccds = [ccd(101001, 101, 1), ccd(101002, 101, 2, wcs_header="", fwhm_in=3.5)]
    visits = [visit(101, "visit 101"), visit(102, "")]

    with stored(records_table(ccds, "CCDS"), records_table(visits, "VISITS")) as hdus:
        found = read_ccd_records(hdus["CCDS"]), read_visit_records(hdus["VISITS"])

    assert found[1] == visits
    for old, new in zip(ccds, found[0], strict=True):
        for name, value in vars(old).items():
            if name == "wcs_header":
                assert getattr(new, name) == value.rstrip()
            else:
                np.testing.assert_equal(getattr(new, name), value)


def test_columns_that_older_programs_did_not_write_have_their_default():
    table = records_table([ccd(101001, 101)], "CCDS")
    columns = [column for column in table.columns if column.name != "FWHMIN"]
    older = fits.BinTableHDU.from_columns(columns, name="CCDS")

    assert np.isnan(read_ccd_records(older)[0].fwhm_in)


def test_a_missing_column_is_named():
    table = records_table([ccd(101001, 101)], "CCDS")
    columns = [column for column in table.columns if column.name != "WEIGHT"]
    damaged = fits.BinTableHDU.from_columns(columns, name="CCDS")

    with pytest.raises(InputError, match=r"w\.fits: the table CCDS is damaged: .*WEIGHT"):
        read_ccd_records(damaged, name="w.fits")
