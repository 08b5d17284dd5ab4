"""Simulated skies with known truth, independent of the package under test.

`simulate_exposure` draws a `Catalogue` through a `SimulatedPsf` on a detector and returns planes
together with their `Truth`; `to_exposure` hands the result to the package. Seeds decide everything.
"""

from tests.simulate.catalogue import Catalogue, random_stars, sources
from tests.simulate.coordinates import jacobian, tan_wcs, wcs_cards
from tests.simulate.detector import sky_pattern
from tests.simulate.exposure import PLANES, Camera, SimulatedExposure, Truth, simulate_exposure
from tests.simulate.observing import Band, Observation, Site, Weather, mjd_at_hour_angle
from tests.simulate.psf import Profile, SimulatedPsf

__all__ = [
    "PLANES",
    "Band",
    "Camera",
    "Catalogue",
    "Observation",
    "Profile",
    "SimulatedExposure",
    "SimulatedPsf",
    "Site",
    "Truth",
    "Weather",
    "jacobian",
    "mjd_at_hour_angle",
    "random_stars",
    "simulate_exposure",
    "sky_pattern",
    "sources",
    "tan_wcs",
    "wcs_cards",
]
