import numpy as np
import pytest

from skytool.core.dcr.basis import BandBasis, band_nodes
from skytool.core.dcr.predict import predict_spectral
from skytool.core.dcr.region import LsqRule, solve_region, weighted_mean
from skytool.core.dcr.region_records import RegionExposure
from tests.stages.chromatic import AIRMASSES, Sky, stamp

pytestmark = pytest.mark.bench

NOISE = 5.0
SHAPE = (220, 220)
ANGLES = np.radians([-40.0, 25.0, 60.0])


def edges_cut(image, width=12):
    return image[width:-width, width:-width]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("masked", [0.0, 0.06])
def test_unseen_exposures_are_predicted_much_better_than_by_the_mean(seed, masked):
    rng = np.random.default_rng(seed)
    sky = Sky.random(rng, SHAPE, 70)
    nodes = band_nodes(3)
    exposures = []
    for airmass, angle in zip(AIRMASSES, np.radians(rng.uniform(-75, 75, 12)), strict=True):
        usable = rng.random(SHAPE) >= masked
        image = sky.exposure(airmass, angle) + rng.normal(scale=NOISE, size=SHAPE)
        dy, dx = sky.shifts(nodes, airmass, angle)
        exposures.append(
            RegionExposure(
                image=np.where(usable, image, 1e5).astype("f4"),
                variance=np.full(SHAPE, NOISE**2, np.float32),
                usable=usable,
                weight=NOISE**-2,
                dy=dy,
                dx=dx,
                psf=stamp(sky.fwhm),
            )
        )
    weights = [np.where(e.usable, np.float32(e.weight), np.float32(0)) for e in exposures]
    mean = weighted_mean([e.image for e in exposures], weights)

    solution = solve_region(
        exposures,
        mean,
        BandBasis.polynomials(3, 3),
        LsqRule(),
        core=(slice(None), slice(None)),
    )

    for airmass, wanted in ((1.3, 8.0), (1.6, 10.0), (2.0, 15.0)):
        squares = np.zeros(2)
        for angle in ANGLES:
            truth = sky.exposure(airmass, angle)
            inside = edges_cut(truth) > 4 * NOISE
            found = predict_spectral(
                list(solution.subfilters), *sky.shifts(nodes, airmass, angle), smooth=True
            )
            for kind, image in enumerate((mean, found)):
                squares[kind] += np.square(edges_cut(image - truth)[inside]).mean()
        assert np.sqrt(squares[0] / squares[1]) > wanted
