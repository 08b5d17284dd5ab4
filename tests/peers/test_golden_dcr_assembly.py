"""Whole solutions by steps against LSST golden data, with LSST's settings."""

import json
import math

import numpy as np
import pytest
from astropy.io import fits

from skytool.core.dcr.iterate import (
    IterativeRule,
    SteppedExposure,
    model_weights,
    solve_by_steps,
)
from skytool.core.refraction.atmosphere import Conditions, differential_refraction
from skytool.errors import SkytoolWarning

BAD, DETECTED = 1 | 2 | 256, 32
AIR = Conditions(
    latitude=-30.244639, height=2663.0, temperature=20.0, pressure=73892.0, humidity=40.0
)
PIXEL_SCALE = 0.2
# Hundreds of sums in single precision, of images of up to 700.
TOLERANCE = {"rtol": 0, "atol": 1e-6}


def shifts_of(visit, config):
    """Return shifts of subfilters, and of their halves as LSST uses them."""
    middle, width, number = (
        config["effectiveWavelength"],
        config["bandwidth"],
        config["dcrNumSubfilters"],
    )
    edges = np.linspace(middle - width / 2, middle + width / 2, number + 1)
    ends = differential_refraction(edges, middle, visit["alt"], AIR, "lsst") / PIXEL_SCALE
    angle = math.radians(visit["imageParAngle"])
    direction = np.array([math.cos(angle), math.sin(angle)])
    means = ((ends[:-1] + ends[1:]) / 2)[:, None] * direction
    halves = np.stack([0.75 * ends[:-1] + 0.25 * ends[1:], 0.25 * ends[:-1] + 0.75 * ends[1:]], 1)
    pairs = halves[..., None] * direction
    for pair in pairs:  # LSST means over the axes of each shift, not over the two shifts
        if np.abs(pair[0] - pair[1]).max() < config["splitThreshold"]:
            pair[:] = pair.mean(axis=1)
    return means, pairs


@pytest.mark.parametrize(
    "case", [pytest.param("assemble_default", marks=pytest.mark.slow), "assemble_order3_2sub"]
)
@pytest.mark.filterwarnings("ignore::skytool.errors.SkytoolWarning")
def test_assembly(shared, case):
    folder = shared / "golden" / "07-dcr" / case
    run = json.loads((folder / "run.json").read_text())
    config = run["config"]
    exposures = []
    for number, visit in enumerate(run["visits"]):
        means, pairs = shifts_of(visit, config)
        np.testing.assert_allclose(means, run["shifts_yx"][number], rtol=0, atol=1e-8)
        with fits.open(folder / f"warp_{number:02d}.fits.gz") as hdus:
            flags = hdus["MASK"].data
            usable = (flags & BAD) == 0
            image = np.where(usable, hdus["SCI"].data, 0.0).astype("f4")
        exposures.append(
            SteppedExposure(
                image=image, usable=usable, sources=(flags & DETECTED) != 0, pairs=pairs,
                means=means,
            )
        )  # fmt: skip
    with fits.open(folder / "template.fits.gz") as hdus:
        template, flags = hdus["SCI"].data.astype("f4"), hdus["MASK"].data.astype("i4")
    rule = IterativeRule(
        image_interp_order=config["imageInterpOrder"],
        split_threshold=config["splitThreshold"],
        accelerate_model=config["accelerateModel"],
        regularize_model_frequency=config["regularizeModelFrequency"],
        keep_best=False,
        keep_negative=False,
    )
    freedom = model_weights((flags & DETECTED) != 0, config["modelWeightsWidth"])

    solution = solve_by_steps(
        exposures,
        template,
        (flags & (BAD | DETECTED)) == 0,
        freedom,
        config["dcrNumSubfilters"],
        rule,
    )

    history = [metric for _, metric, whole in run["history"]["convergence"] if not whole]
    np.testing.assert_allclose(solution.metrics, history, rtol=1e-5)
    np.testing.assert_allclose(solution.gains, run["history"]["gain"], rtol=1e-3)
    with np.load(folder / "result.npz") as expected:
        wanted = expected["dcrCoadds"]
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(np.stack(solution.images) / scale, wanted / scale, **TOLERANCE)


def test_solution_that_is_cut_short_warns(rng):
    image = rng.normal(size=(30, 40)).astype("f4")
    image[10:14, 20:25] += 50
    sources = image > 20
    pairs = np.array([[[0.4, 0.1], [0.3, 0.1]], [[-0.3, -0.1], [-0.4, -0.1]]])
    exposures = [
        SteppedExposure(
            image=image, usable=np.ones(image.shape, bool), sources=sources, pairs=sign * pairs,
            means=sign * pairs.mean(axis=1),
        )
        for sign in (1, 1, -1)
    ]  # fmt: skip
    rule = IterativeRule(
        max_num_iter=1,
        min_num_iter=0,
        convergence_threshold=1e-9,
        accelerate_model=1.0,
        regularize_model_frequency=0.0,
    )

    with pytest.warns(SkytoolWarning, match="not converged"):
        solve_by_steps(exposures, image, ~sources, model_weights(sources, 2.0), 2, rule)
