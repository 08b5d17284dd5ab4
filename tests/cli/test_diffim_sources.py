import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from tests.cli.differencing import run, written
from tests.stages.pairs import SIGMA_SCIENCE, drawn, pair

SHAPE = (260, 300)
# S/N of about 20: 100 times 1 over the noise of two images, sqrt(2.4), and of a star, sqrt(4 pi) 2.4
FLUX = 300.0


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A pair with transients, and where they are."""
    folder = tmp_path_factory.mktemp("pair")
    rng = np.random.default_rng(11)
    science, template, _ = pair(rng, shape=SHAPE, count=30, fluxes=(3.3, 4.3))
    y, x = (at.ravel() for at in np.meshgrid([40.3, 130.6, 210.2], [50.4, 150.1, 250.7]))
    flux = FLUX * np.where(np.arange(y.size) % 3 == 0, -1.0, 1.0)
    image = science.image + drawn(SHAPE, y, x, flux, SIGMA_SCIENCE).astype(np.float32)
    names = [
        written(each, folder / name)
        for each, name in (
            (science.with_values(image=image), "science.fits"),
            (template, "template.fits"),
        )
    ]
    return names, y, x, flux


@pytest.fixture(scope="module")
def made(files, tmp_path_factory):
    """Products of sources, and the rows of the report."""
    folder = tmp_path_factory.mktemp("made")
    names, *_ = files
    arguments = [*names, "-o", folder / "d.fits"]
    for option, name in (("score", "s.fits"), ("sources", "c.fits"), ("regions", "r.reg")):
        arguments += [f"--{option}", folder / name]
    result = run(*arguments, "--check", "--check-sources", 60, "--sky-sources", 20, "--json")
    return folder, [json.loads(line) for line in result.stdout.splitlines()]


def test_every_transient_is_in_the_catalogue(made, files):
    folder, _ = made
    _, y, x, flux = files
    with fits.open(folder / "c.fits") as hdus:
        table = hdus["SOURCES"].data
        found = table[~table["SKY"]]
        distance = np.hypot(found["Y"][:, None] - y, found["X"][:, None] - x)
        nearest = distance.argmin(axis=0)

        assert distance.min(axis=0).max() < 1.0
        np.testing.assert_array_equal(found["NEGATIVE"][nearest], flux < 0)
        pull = (found["FLUX"][nearest] - flux) / found["FLUXERR"][nearest]
        assert np.abs(pull).max() < 4.5
        assert np.isfinite(found["RA"]).all()
        assert np.isfinite(found["SCIFLUX"]).all()
        assert np.isfinite(found["TPLFLUX"]).all()
        assert np.count_nonzero(table["SKY"]) == 20


def test_score_is_image_over_root_of_variance(made):
    folder, _ = made
    with fits.open(folder / "s.fits") as hdus:
        snr = hdus["SNR"].data
        expected = hdus["IMAGE"].data / np.sqrt(hdus["VARIANCE"].data)
        assert hdus["SNR"].header["CRVAL1"] == hdus["IMAGE"].header["CRVAL1"]
        factor = hdus[0].header["score_flux_factor"]
        score = hdus["IMAGE"].data

    known = np.isfinite(snr)
    np.testing.assert_allclose(snr[known], expected[known], rtol=1e-6)
    low, high = np.percentile(snr[known], [25, 75])
    # some 1000 independent places
    assert (high - low) / 1.349 == pytest.approx(1.0, abs=0.12)
    with fits.open(folder / "c.fits") as hdus:
        found = hdus["SOURCES"].data
        found = found[~found["SKY"]][:3]
    # the pixel is off the place by half a pixel at most, which costs 1 - exp(-d^2 / 4 sigma^2)
    flux = score[found["PEAKY"], found["PEAKX"]] / factor
    np.testing.assert_allclose(flux, found["FLUX"], rtol=0.06)


def test_detections_are_flagged_and_listed_in_the_difference(made):
    folder, _ = made
    with fits.open(folder / "d.fits") as hdus:
        mask, header = hdus["MASK"].data, hdus["MASK"].header
        found = hdus["SOURCES"].data
        for sign, plane in ((False, "MP_DETECTED"), (True, "MP_DETECTED_NEGATIVE")):
            of = found[(found["NEGATIVE"] == sign) & ~found["SKY"]]
            at = mask[of["PEAKY"], of["PEAKX"]]
            assert ((at >> header[plane]) & 1 == 1).all()


def test_report_has_metrics_and_the_check(made):
    _, rows = made
    metrics = rows[0]["metrics"]

    assert metrics["n_sources"] >= 9
    assert metrics["n_sky_sources"] == 20
    assert abs(metrics["check_flux_bias"]) < 0.01
    error = metrics["check_pull_std_error"]
    assert metrics["check_pull_std"] == pytest.approx(1.0, abs=4 * error + 0.03)
    assert metrics["check_found_10_to_20"] == 1.0
    assert all(np.isfinite(value) for value in metrics.values() if isinstance(value, float))


def test_regions_name_every_source(made):
    folder, _ = made
    lines = (folder / "r.reg").read_text().splitlines()
    with fits.open(folder / "c.fits") as hdus:
        assert sum(line.startswith("circle(") for line in lines) == len(hdus["SOURCES"].data)
    assert "icrs" in lines


def test_catalogue_can_be_text(files, made, tmp_path):
    folder, _ = made
    names, *_ = files
    run(*names, "-o", tmp_path / "d.fits", "--sources", tmp_path / "c.ecsv", "--sky-sources", 20)
    text = Table.read(tmp_path / "c.ecsv", format="ascii.ecsv")
    with fits.open(folder / "c.fits") as hdus:
        binary = hdus["SOURCES"].data
        assert text.colnames == binary.names
        for name in text.colnames:
            np.testing.assert_array_equal(np.asarray(text[name]), binary[name])


def test_preconvolved_score_finds_the_same(files, tmp_path):
    names, y, x, flux = files
    catalogue = tmp_path / "c.fits"
    run(*names, "-o", tmp_path / "d.fits", "--preconvolve", "--sources", catalogue)
    with fits.open(catalogue) as hdus:
        found = hdus["SOURCES"].data
        header = hdus[0].header
    inside = (y > 45) & (y < SHAPE[0] - 45) & (x > 45) & (x < SHAPE[1] - 45)
    distance = np.hypot(found["Y"][:, None] - y[inside], found["X"][:, None] - x[inside])

    assert inside.sum() >= 3
    assert distance.min(axis=0).max() < 1.0
    np.testing.assert_array_equal(found["NEGATIVE"][distance.argmin(axis=0)], flux[inside] < 0)
    assert header["score_sky_std"] == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--source-bad-planes", "BADD"], 4, "Did you mean BAD"),
        (["--threshold-value", "0"], 2, "threshold-value"),
        (["--threshold-value", "900", "--raise-on-no-dia-sources"], 5, "no source above 900"),
    ],
)
def test_impossible_requests_are_refused(files, tmp_path, options, status, message):
    names, *_ = files
    output = ["-o", tmp_path / "d.fits", "--sources", tmp_path / "c.fits"]

    assert message in run(*names, *output, *options, status=status).stderr
    assert not (tmp_path / "c.fits").exists()


def test_existing_catalogue_is_kept_unless_asked(files, tmp_path):
    names, *_ = files
    (tmp_path / "c.fits").write_text("mine")
    arguments = [*names, "-o", tmp_path / "d.fits", "--sources", tmp_path / "c.fits"]

    assert "--overwrite" in run(*arguments, status=3).stderr
    assert (tmp_path / "c.fits").read_text() == "mine"
    assert not (tmp_path / "d.fits").exists()
