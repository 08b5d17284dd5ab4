"""The rows of ``skytool dcr-shifts``."""

from __future__ import annotations

import logging
import math
import warnings
from typing import TYPE_CHECKING, Any

from skytool.cli.dcr.options import sky_center, warn_of_missing_zenith
from skytool.cli.report import Reporter
from skytool.cli.skymap.options import wcs_of
from skytool.errors import IncompatibleError, SkytoolError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astropy.wcs import WCS

    from skytool.cli.dcr.options import RefractionChoice
    from skytool.cli.options import RunOptions, SkyPosition
    from skytool.io.sources import ExposureSource, ReadOptions
    from skytool.models.dcr.bands import Subfilters
    from skytool.models.dcr.refraction_shifts import SubfilterShifts
    from skytool.models.observation.observation import Observation
    from skytool.models.observation.pointing import Pointing

STAGE = "dcr-shifts"
_COLUMNS = (
    *("subfilter", "wavelength_min", "wavelength_max", "dy", "dx", "shift"),
    *("position_angle", "airmass"),
)
_log = logging.getLogger(__name__)


def report_shifts(
    inputs: Sequence[str],
    *,
    num_subfilters: int,
    position: SkyPosition | None,
    choice: RefractionChoice,
    reading: ReadOptions,
    run: RunOptions,
) -> None:
    """Print the shifts of the subfilters in every exposure.

    Raises
    ------
    SkytoolError
        If a file cannot be read, the band is not known, or exposures do not say where the zenith
        was; one message names them all.
    """
    from skytool.io.fits import check_outputs
    from skytool.io.sources import find_sources
    from skytool.models.observation.observation import observation_from_header

    with Reporter(STAGE, _COLUMNS, run=run) as report:
        if run.report is not None:
            check_outputs([run.report], inputs, overwrite=run.overwrite)
        sources = [source for name in inputs for source in find_sources(name, reading)]
        seen = [(source, observation_from_header(source.header)) for source in sources]
        parts = [_subfilters(*exposure, choice, num_subfilters) for exposure in seen]
        pointings = _pointings(seen, choice, report)
        for place, (source, pointing) in enumerate(zip(sources, pointings, strict=True)):
            if pointing is None:
                continue
            try:
                _report_exposure(source, pointing, parts[place], position, choice, report)
            except SkytoolError as error:
                report.failure(source.name, error, index=place)
                if not run.keep_going:
                    raise


def _subfilters(
    source: ExposureSource, observation: Observation, choice: RefractionChoice, number: int
) -> Subfilters:
    """Return the parts of the band of an exposure."""
    band = choice.band_of([(source.name, observation)])
    low, high = band.limits
    _log.info("%s: %s from %g to %g nm, %s", source.name, band.name, low, high, band.source)
    return band.subfilters(number)


def _pointings(
    seen: Sequence[tuple[ExposureSource, Observation]], choice: RefractionChoice, report: Reporter
) -> list[Pointing | None]:
    """Return where the zenith was for each exposure, None for those that are left out.

    With ``--keep-going`` those that cannot be used are reported as failures.
    """
    from skytool.models.observation.pointing import resolve_pointings

    options = choice.pointing_options()
    exposures = [(source.name, observation, sky_center(source)) for source, observation in seen]
    if not report.run.keep_going or choice.drop_incomplete:
        found = resolve_pointings(exposures, options, drop_incomplete=choice.drop_incomplete)
        for (source, _), pointing in zip(seen, found, strict=True):
            if pointing is None:
                warn_of_missing_zenith(source)
        return found
    found = []
    for place, exposure in enumerate(exposures):
        try:
            found += resolve_pointings([exposure], options)
        except IncompatibleError as error:
            report.failure(exposure[0], error, index=place)
            found.append(None)
    return found


def _report_exposure(
    source: ExposureSource,
    pointing: Pointing,
    subfilters: Subfilters,
    position: SkyPosition | None,
    choice: RefractionChoice,
    report: Reporter,
) -> None:
    """Print the rows of one exposure."""
    from skytool.models.dcr.refraction_shifts import subfilter_shifts

    for note in pointing.notes:
        warnings.warn(f"{source.name}: {note}.", SkytoolWarning, stacklevel=2)
    unknown = [name for name, source_ in pointing.sources.items() if source_ == "default"]
    if unknown:
        _log.info("%s: standard air, for the header has no %s", source.name, ", ".join(unknown))
    wcs = wcs_of(source)
    y, x = _place(source, wcs, position)
    shifts = subfilter_shifts(
        pointing,
        wcs,
        subfilters,
        y=y,
        x=x,
        reference_wavelength=choice.reference_wavelength,
        variant=choice.refraction,
        name=source.name,
    )
    exposure = {**_exposure_metrics(pointing, subfilters, shifts), "y": y, "x": x}
    for row in _rows(subfilters, shifts):
        report.row(source.name, {**row, **exposure}, warnings=pointing.notes)


def _place(source: ExposureSource, wcs: WCS, position: SkyPosition | None) -> tuple[float, float]:
    """Return the pixel at which shifts are wanted."""
    if position is None:
        ny, nx = source.shape
        return (ny - 1) / 2, (nx - 1) / 2
    from skytool.models.sky.geometry import TargetGrid
    from skytool.models.sky.pixelmap import source_positions

    pixel = TargetGrid.from_center(position.ra, position.dec, 1.0, (1, 1))
    x, y = source_positions(pixel.wcs, wcs, source_shape=source.shape)(0.0, 0.0)
    if not math.isfinite(float(x + y)):
        raise IncompatibleError(f"{source.name} does not reach {position}.")
    return float(y), float(x)


def _rows(subfilters: Subfilters, shifts: SubfilterShifts) -> Iterator[dict[str, Any]]:
    """Yield what differs between subfilters."""
    for number, (low, high) in enumerate(subfilters.limits):
        yield {
            "subfilter": number,
            "wavelength_min": low,
            "wavelength_max": high,
            "dy": shifts.mean_dy[number],
            "dx": shifts.mean_dx[number],
            "shift": shifts.mean_amplitude[number],
            "dy_split": shifts.dy[number],
            "dx_split": shifts.dx[number],
            "shift_split": shifts.amplitude[number],
        }


def _exposure_metrics(
    pointing: Pointing, subfilters: Subfilters, shifts: SubfilterShifts
) -> dict[str, Any]:
    """Return what is the same for all subfilters of an exposure."""
    from skytool.core.refraction.horizon import airmass_at

    local, air, band = shifts.local, pointing.conditions, subfilters.band
    return {
        "position_angle": local.position_angle,
        "elevation": local.elevation,
        "airmass": airmass_at(local.elevation),
        "refraction": local.variant,
        "reference_wavelength": local.reference_wavelength,
        "band": band.name,
        "effective_wavelength": band.effective_wavelength,
        "bandwidth": band.bandwidth,
        "band_source": band.source,
        "temperature": air.temperature,
        "pressure": air.pressure / 100.0,
        "humidity": air.humidity,
        "latitude": air.latitude,
        "height": air.height,
        "sources": pointing.sources,
    }
