import json

import numpy as np
import pytest
from astropy.io import fits

from tests.cli.differencing import run


def found_sources(science, template, folder, *args):
    """Subtract real exposures by defaults; return the sources and the numbers."""
    names = "-o", folder / "d.fits", "--sources", folder / "c.fits"
    printed = run(science, template, *names, *args, "--json").stdout
    table = fits.getdata(folder / "c.fits", "SOURCES")
    return table[~table["SKY"]], json.loads(printed.splitlines()[0])["metrics"]


def nearest(sources, y, x):
    """The source next to a place, and how far it is."""
    distance = np.hypot(sources["Y"] - y, sources["X"] - x)
    return sources[distance.argmin()], distance.min()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skytool.errors.SkytoolWarning")
def test_the_transient_and_the_moving_star_of_resampled_stamps_are_found(shared, tmp_path):
    folder = shared / "data" / "decam-epochs"

    sources, metrics = found_sources(
        folder / "epoch2018_a.fits", folder / "epoch2016_a.fits", tmp_path
    )

    transient, distance = nearest(sources, 127.6, 128.7)
    assert distance < 1.0
    assert transient["FLUX"] / transient["FLUXERR"] > 10
    assert not transient["NEGATIVE"]
    _, distance = nearest(sources, 180, 57)
    assert distance < 3.0
    assert len(sources) < 8
    # 6e4 pixels of sky tell a scatter to half a per cent, a score to a few
    assert metrics["difference_sky_std"] == pytest.approx(1.0, abs=0.03)
    assert metrics["score_sky_std"] == pytest.approx(1.0, abs=0.08)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skytool.errors.SkytoolWarning")
def test_the_variable_star_of_a_crowded_field_is_found(shared, tmp_path):
    folder = shared / "data" / "bulge"

    sources, metrics = found_sources(
        folder / "frame_0091.fits",
        folder / "frame_0020.fits",
        tmp_path,
        "--align",
        "--saturate",
        "65300",
    )

    significance = sources["FLUX"] / sources["FLUXERR"]
    variable, distance = nearest(sources, 218, 267)
    assert distance < 1.5
    assert variable["FLUX"] / variable["FLUXERR"] == significance.max()
    assert np.partition(significance, -2)[-2] < 0.6 * significance.max()
    assert len(sources) < 60
    assert 0.5 < metrics["science_factor"] < 3.0
    assert metrics["difference_sky_std"] == pytest.approx(1.0, abs=0.03)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skytool.errors.SkytoolWarning")
def test_the_track_of_a_cosmic_ray_is_flagged_and_the_transient_beside_it_found(shared, tmp_path):
    folder = shared / "data" / "decam-epochs"

    sources, metrics = found_sources(
        folder / "epoch2018_c.fits", folder / "epoch2016_c.fits", tmp_path
    )

    transient, distance = nearest(sources, 127.6, 128.7)
    assert distance < 1.0
    assert transient["FLUX"] / transient["FLUXERR"] > 10
    _, distance = nearest(sources, 180, 57)
    assert distance < 3.0
    assert metrics["cosmic_ray_count"] >= 1
    with fits.open(tmp_path / "d.fits") as hdus:
        ray = hdus["MASK"].data >> hdus["MASK"].header["MP_CR"] & 1 == 1
    # it runs from column 10 to 30 and from row 153 to 160
    assert ray[152:162, 9:32].sum() > 40
    assert ray.sum() < 300
    _, distance = nearest(sources, 156, 21)
    assert distance > 15


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skytool.errors.SkytoolWarning")
def test_empty_sky_of_a_large_detector_has_the_peaks_of_gaussian_noise(shared, tmp_path):
    folder = shared / "data" / "infrared-chip"

    _, metrics = found_sources(
        folder / "visit_1.fits", folder / "visit_3.fits", tmp_path, "--align", "--check"
    )

    assert metrics["n_searched_pixels"] > 3e6
    for level in ("3_5", "4"):
        expected = metrics[f"check_peaks_expected_{level}"]
        for sign in ("positive", "negative"):
            assert expected / 1.5 < metrics[f"check_peaks_{sign}_{level}"] < 1.5 * expected
    assert metrics["score_sky_std"] == pytest.approx(1.0, abs=0.03)
    assert abs(metrics["check_flux_bias"]) < 0.003
    error = metrics["check_pull_std_error"]
    assert metrics["check_pull_std"] == pytest.approx(1.0, abs=4 * error)
