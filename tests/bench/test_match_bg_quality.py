"""How near matched backgrounds come to the truth, and to what a mesh of medians reaches."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from skytool.core.windows import Window
from skytool.io.sources import find_sources
from skytool.stages.match_bg import Match, MatchConfig, Piece, reference_for
from tests.cli.warping import sky_cards
from tests.simulate import SimulatedPsf, random_stars, simulate_exposure, tan_wcs
from tests.simulate.files import to_exposure
from tests.stages.matching import random_coefficients, surface

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1200)]

SHAPE = (512, 540)
SCALE = 0.25


def match(science, reference, config=None):
    """Return what is added to an exposure."""
    config = config or MatchConfig()
    window = Window.whole(science.shape)
    target = reference_for(
        "reference", [Piece("reference", window, lambda: reference)], config, single=True
    )
    one = Match(
        "science", [Piece("science", window, lambda: science)], target, science.shape, config
    )
    ((result, _),) = one.matched(one.fit())
    return result.layer.model.evaluate(science.shape).astype(np.float64)


def error_over_noise(added, truth, pair):
    seen = np.isfinite(pair[0].image) & np.isfinite(pair[1].image)
    noise = np.sqrt(np.median((pair[0].variance + pair[1].variance)[seen]))
    return (added - truth)[seen].std() / noise


def flagged(exposure):
    return exposure.mask.any_of(("NO_DATA", "DETECTED", "SAT", "BAD", "CR"))


@pytest.fixture(scope="module")
def scene():
    """Exposures of one crowded field with different seeing and backgrounds of order 3."""
    rng = np.random.default_rng(11)
    wcs = tan_wcs(ra=150.0, dec=2.0, pixel_scale=SCALE, reference=(255.5, 269.5))
    stars = random_stars(
        300, ra=150.0, dec=2.0, width=SCALE * 560, flux=(200.0, 2e5), exponent=-0.8, seed=3
    )
    exposures, skies = [], []
    for k in range(3):
        sky = surface(random_coefficients(rng, 3, 12.0), SHAPE)
        seen = simulate_exposure(
            stars,
            wcs,
            SHAPE,
            SimulatedPsf(fwhm=3.5 + 0.6 * k),
            seed=20 + k,
            sky=800.0,
            background=sky,
            flag_sources=True,
        )
        exposures.append(to_exposure(seen, name=f"exposure {k}"))
        skies.append(sky)
    return exposures, skies


def test_a_crowded_field_is_matched_far_better_than_by_a_mesh(scene, capsys):
    background = pytest.importorskip("photutils.background")
    exposures, skies = scene
    errors = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        pair = exposures[i], exposures[j]
        truth = skies[i] - skies[j]
        ours = error_over_noise(match(pair[1], pair[0]), truth, pair)
        bad = flagged(pair[0]) | flagged(pair[1])
        mesh = background.Background2D(
            np.where(bad, 0, pair[0].image - pair[1].image),
            64,
            mask=bad,
            filter_size=1,
            bkg_estimator=background.MeanBackground(),
        ).background
        errors.append((ours, error_over_noise(mesh, truth, pair)))
    with capsys.disabled():
        for ours, theirs in errors:
            sys.stdout.write(f"\nerror over noise: {ours:.4f}, mesh {theirs:.4f}")

    # the floor is the root of ten factors over the good pixels, 0.007
    assert max(ours for ours, _ in errors) < 0.012
    assert all(ours < 0.5 * theirs for ours, theirs in errors)


def read_scene(name, n=None):
    """Return exposures drawn by another program, and the coefficients of their skies."""
    folder = Path(os.environ.get("SKYTOOL_SCENES", "scenes")) / name
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} of scenes; SKYTOOL_SCENES names where they are")
    coefficients = fits.getdata(folder / "truth.fits", "EXPOSURES")["coef"]
    paths = sorted(folder.glob("exp*.fits"))[:n]
    return [find_sources(str(path))[0].read() for path in paths], coefficients


@pytest.mark.parametrize("name", ["background_1k_s1", "background_1k_s2", "background"])
def test_scenes_drawn_by_another_program(name, capsys):
    exposures, coefficients = read_scene(name)
    limit = 0.012 if name.startswith("background_1k") else 0.006
    many = itertools.combinations(range(len(exposures)), 2)
    pairs = many if "1k" in name else [(0, k) for k in range(1, len(exposures))]
    errors = []
    for i, j in pairs:
        pair = exposures[i], exposures[j]
        truth = true_surface(coefficients[i] - coefficients[j], pair[0].shape)
        errors.append(error_over_noise(match(pair[1], pair[0]), truth, pair))
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: median {np.median(errors):.4f}, largest {max(errors):.4f}")

    assert max(errors) < limit


def true_surface(coefficients, shape):
    """Return the surface of the scenes' table: Chebyshev in x and y, the middles of corners at 1."""
    x, y = np.linspace(-1, 1, shape[1]), np.linspace(-1, 1, shape[0])
    return np.polynomial.chebyshev.chebgrid2d(x, y, coefficients).T


def photutils_offset(pair, size):
    from photutils.background import Background2D, MeanBackground

    bad = flagged(pair[0]) | flagged(pair[1]) | ~np.isfinite(pair[0].image - pair[1].image)
    difference = np.where(bad, 0, pair[0].image - pair[1].image)
    mesh = Background2D(difference, size, mask=bad, filter_size=1, bkg_estimator=MeanBackground())
    return mesh.background


def swarp_offset(pair, size):
    backgrounds = []
    for exposure in pair:
        bad = flagged(exposure) | ~np.isfinite(exposure.image)
        image = np.where(bad, 0, exposure.image).astype(np.float32)
        sky = sky_cards(image.shape)
        fits.PrimaryHDU(image, sky).writeto("in.fits", overwrite=True)
        weight = fits.PrimaryHDU((~bad).astype(np.float32), sky)
        weight.writeto("in.weight.fits", overwrite=True)
        header = fits.Header({"NAXIS": 2, "NAXIS1": image.shape[1], "NAXIS2": image.shape[0]})
        header.update(sky)
        header.totextfile("coadd.head", endcard=True, overwrite=True)
        settings = {
            "WEIGHT_TYPE": "MAP_WEIGHT",
            "RESAMPLING_TYPE": "NEAREST",
            "COMBINE_TYPE": "AVERAGE",
            "SUBTRACT_BACK": "Y",
            "BACK_SIZE": str(size),
            "NTHREADS": "1",
            "WRITE_XML": "N",
            "VERBOSE_TYPE": "QUIET",
        }
        options = [text for key, value in settings.items() for text in (f"-{key}", value)]
        command = ["SWarp", "in.fits", "-c", "/dev/null", *options]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        left = fits.getdata("coadd.fits")
        backgrounds.append(np.where(fits.getdata("coadd.weight.fits") > 0, image - left, np.nan))
    return backgrounds[0] - backgrounds[1]


def montage_offset(pair, _):
    bad = flagged(pair[0]) | flagged(pair[1])
    difference = np.where(bad, np.nan, pair[0].image - pair[1].image).astype(np.float32)
    fits.PrimaryHDU(difference, sky_cards(difference.shape)).writeto("d.fits", overwrite=True)
    done = subprocess.run(["mFitplane", "d.fits"], check=True, capture_output=True, text=True)
    plane = {k: float(v) for k, v in re.findall(r"\b(\w+)=([-+0-9.eE]+)", done.stdout)}
    y, x = np.indices(difference.shape) + 1.0
    tilt = plane["a"] * (x - plane["crpix1"]) + plane["b"] * (y - plane["crpix2"])
    return tilt + plane["c"]


def reproject_offset(pair, _):
    from reproject.mosaicking.background import (
        determine_offset_matrix,
        solve_corrections_sgd,
    )
    from reproject.mosaicking.subset_array import ReprojectedArraySubset

    arrays = []
    for exposure in pair:
        bad = flagged(exposure)
        image, bounds = np.where(bad, np.nan, exposure.image), [(0, n) for n in bad.shape]
        arrays.append(ReprojectedArraySubset(image, (~bad).astype(float), bounds))
    corrections = solve_corrections_sgd(determine_offset_matrix(arrays))
    return np.full(pair[0].shape, corrections[1] - corrections[0])


PROGRAMS = {
    "photutils": (photutils_offset, (64, 128)),
    "SWarp": (swarp_offset, (64, 128)),
    "mFitplane": (montage_offset, (0,)),
    "reproject": (reproject_offset, (0,)),
}


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyDeprecationWarning")
@pytest.mark.parametrize("name", ["background_1k_s1", "background_1k_s2"])
def test_errors_are_less_than_half_of_those_of_other_programs(name, tmp_path, monkeypatch, capsys):
    exposures, coefficients = read_scene(name, 3)
    monkeypatch.chdir(tmp_path)
    errors = {}
    for i, j in itertools.combinations(range(3), 2):
        pair = exposures[i], exposures[j]
        truth = true_surface(coefficients[i] - coefficients[j], pair[0].shape)
        ours = error_over_noise(match(pair[1], pair[0]), truth, pair)
        errors.setdefault("skytool", []).append(ours)
        for program, (offset, sizes) in PROGRAMS.items():
            if program in ("SWarp", "mFitplane") and shutil.which(program) is None:
                continue
            for size in sizes:
                seen = np.isfinite(found := offset(pair, size))
                found = np.where(seen, found, truth)
                errors.setdefault(f"{program} {size}", []).append(
                    error_over_noise(found, truth, pair)
                )
    with capsys.disabled():
        for program, values in errors.items():
            sys.stdout.write(f"\n{name}: {program}: {np.round(values, 4)}")
    ours = errors.pop("skytool")
    assert len(errors) > 1
    for one, theirs in zip(ours, zip(*errors.values(), strict=True), strict=True):
        assert one < 0.5 * min(theirs)
