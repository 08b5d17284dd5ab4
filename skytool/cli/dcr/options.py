"""Options of everything that follows refraction: the band, and what counts more than headers."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from skytool.cli.options import INPUT, Number, with_options
from skytool.errors import IncompatibleError, InputError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from skytool.core.refraction.atmosphere import Variant
    from skytool.io.sources import ExposureSource
    from skytool.models.dcr.bands import Band
    from skytool.models.observation.observation import Observation
    from skytool.models.observation.pointing import PointingOptions

F = TypeVar("F", bound="Callable[..., Any]")


@dataclass(frozen=True)
class RefractionChoice:
    """The options of `refraction_options`, as given.

    Parameters
    ----------
    band : str or None
        Name of a band.
    effective_wavelength, bandwidth : float or None
        Wavelengths [nm].
    throughput : str or None
        File of the throughput of the band.
    reference_wavelength : float or None
        Wavelength [nm].
    refraction : str
        Name of the formula.
    site : str or None
        Name or coordinates of the site.
    temperature, pressure, humidity : float or None
        Weather [C, hPa, %].
    trust_parang, force, drop_incomplete : bool
        What to make of strange headers.
    """

    band: str | None
    effective_wavelength: float | None
    bandwidth: float | None
    throughput: str | None
    reference_wavelength: float | None
    refraction: Variant
    site: str | None
    temperature: float | None
    pressure: float | None
    humidity: float | None
    trust_parang: bool
    force: bool
    drop_incomplete: bool

    def pointing_options(self) -> PointingOptions:
        """Return what counts more than headers."""
        from skytool.models.observation.pointing import PointingOptions
        from skytool.models.observation.site import parse_site
        from skytool.models.observation.weather import GivenWeather

        return PointingOptions(
            site=None if self.site is None else parse_site(self.site),
            weather=GivenWeather(self.temperature, self.pressure, self.humidity),
            trust_parang=self.trust_parang,
            force=self.force,
        )

    def band_of(self, exposures: Sequence[tuple[str, Observation]]) -> Band:
        """Return the band of all exposures: the one given, or that of their headers.

        Parameters
        ----------
        exposures : sequence of (str, Observation)
            What messages call each exposure, and what its header says.

        Raises
        ------
        IncompatibleError
            If the band is not known, or not the same everywhere.
        """
        from skytool.models.dcr.bands import Band, band_named, band_of_observation, camera_of

        if self.throughput is not None:
            from skytool.io.throughput import read_throughput

            return read_throughput(self.throughput)
        if self.effective_wavelength is not None and self.bandwidth is not None:
            return Band(self.effective_wavelength, self.bandwidth)
        if self.band is not None:
            return band_named(self.band, camera=camera_of(exposures[0][1]))
        bands = [(name, band_of_observation(seen, name=name)) for name, seen in exposures]
        name, band = bands[0]
        for other_name, other in bands[1:]:
            if (other.effective_wavelength, other.bandwidth) != (
                band.effective_wavelength,
                band.bandwidth,
            ):
                raise IncompatibleError(
                    f"the bands differ: {name} has {band.name or band.source}, {other_name} has "
                    f"{other.name or other.source}.",
                    hint="Give exposures of one filter.",
                )
        return band


def _check_site(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse a site that is none."""
    if value is not None and not ctx.resilient_parsing:
        from skytool.models.observation.site import parse_site

        try:
            parse_site(value)
        except InputError as error:
            raise click.BadParameter(str(error), ctx, param) from error
    return value


def _check_band(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse a band that no camera has."""
    if value is not None and not ctx.resilient_parsing:
        from skytool.models.dcr.bands import band_named, is_letter

        try:
            if not is_letter(value):
                band_named(value)
        except IncompatibleError as error:
            raise click.BadParameter(f"{error.message} {error.hint}", ctx, param) from error
    return value


_WAVELENGTHS = (230.2, 2058.6)  # nm, those of `skytool.core.refraction.atmosphere`

_OPTIONS = (
    click.option(
        "--band",
        callback=_check_band,
        metavar="NAME",
        help="Band, as g or decam-g, for its wavelengths; by default the filter of the header.",
    ),
    click.option(
        "--effective-wavelength",
        type=click.FloatRange(min=0, min_open=True),
        help="Middle of the band, instead of --band [nm].",
    ),
    click.option(
        "--bandwidth",
        type=click.FloatRange(min=0, min_open=True),
        help="Full width of the band [nm].",
    ),
    click.option(
        "--throughput",
        type=INPUT,
        metavar="FILE[EXT]",
        help="Curve of the throughput of the band, instead of --band: a table of wavelengths and "
        "throughputs, which ends where it falls below 1 % of its highest value.",
    ),
    click.option(
        "--reference-wavelength",
        type=click.FloatRange(*_WAVELENGTHS),
        help="Wavelength of the light that the coordinates are right for: the mean of the stars "
        "that the astrometry was solved with; by default the middle of the band, or the mean under "
        "--throughput [nm].",
    ),
    click.option(
        "--refraction",
        type=click.Choice(["stone", "lsst", "filippenko"], case_sensitive=False),
        default="stone",
        help="Formula: Stone (1996), the same with the signs of the LSST pipelines, or Filippenko "
        "(1982).",
    ),
    click.option(
        "--site",
        callback=_check_site,
        metavar="NAME|LAT,LON,HEIGHT",
        help="Site of the telescope, instead of that of the header; longitude positive to the "
        "east [deg, deg, m].",
    ),
    click.option(
        "--temperature", type=Number(), help="Temperature, instead of that of the header [C]."
    ),
    click.option(
        "--pressure",
        type=click.FloatRange(400, 1100),
        help="Pressure at the telescope, instead of that of the header [hPa].",
    ),
    click.option(
        "--humidity",
        type=click.FloatRange(0, 100),
        help="Relative humidity, instead of that of the header [%].",
    ),
    click.option(
        "--trust-parang",
        is_flag=True,
        help="Take the parallactic angle of the header for the direction of the zenith, whatever "
        "else tells it; without this it counts only where nothing else does, with a warning.",
    ),
    click.option(
        "--force",
        is_flag=True,
        help="Only warn of an airmass that contradicts the direction of the telescope.",
    ),
    click.option(
        "--drop-incomplete",
        is_flag=True,
        help="Go on without exposures whose header does not say where the zenith was.",
    ),
)
_NAMES = tuple(RefractionChoice.__dataclass_fields__)
_BAND_NAMES = (
    *("band", "effective_wavelength", "bandwidth", "throughput", "reference_wavelength"),
    "refraction",
    "drop_incomplete",
)
_NOT_GIVEN: dict[str, Any] = {
    **dict.fromkeys(_BAND_NAMES),
    "refraction": "stone",
    "drop_incomplete": False,
}


def refraction_options(function: F) -> F:
    """Add the options of `RefractionChoice`, which the command gets as ``choice``."""
    return _with_choice(function, without=())


def pointing_options(function: F) -> F:
    """Add those options that say where the zenith was, for a command that knows the band."""
    return _with_choice(function, without=_BAND_NAMES)


def _with_choice(function: F, *, without: Collection[str]) -> F:
    """Add all options but some, which are then not given."""

    @functools.wraps(function)
    def with_choice(*args: Any, **kwargs: Any) -> Any:
        values = {name: kwargs.pop(name) for name in _NAMES if name not in without}
        choice = RefractionChoice(**{**_NOT_GIVEN, **values})
        _refuse_contradiction(choice)
        return function(*args, choice=choice, **kwargs)

    chosen = [option for name, option in zip(_NAMES, _OPTIONS, strict=True) if name not in without]
    return with_options(chosen)(with_choice)  # type: ignore[return-value]


def _refuse_contradiction(choice: RefractionChoice) -> None:
    """Refuse a band given twice or in half."""
    ctx = click.get_current_context(silent=True)
    given = choice.effective_wavelength is not None
    if given != (choice.bandwidth is not None):
        there, missing = ("--effective-wavelength", "--bandwidth")[:: 1 if given else -1]
        raise click.UsageError(f"{there} needs {missing}.", ctx)
    ways = {
        "--band": choice.band,
        "--effective-wavelength": choice.effective_wavelength,
        "--throughput": choice.throughput,
    }
    two = [name for name, value in ways.items() if value is not None]
    if len(two) > 1:
        raise click.UsageError(f"{two[0]} and {two[1]} both give the band.", ctx)
    middle, width = choice.effective_wavelength, choice.bandwidth
    if middle is not None and width is not None and width >= 2.0 * middle:
        raise click.UsageError(
            f"no band is {width:g} nm wide (--bandwidth) around {middle:g} nm.", ctx
        )


def sky_center(source: ExposureSource) -> tuple[float, float] | None:
    """Return the ICRS position of the middle of an image [deg], None without coordinates."""
    wcs = source.wcs()
    if wcs is None:
        return None
    from skytool.models.sky.orientation import sky_orientation

    ny, nx = source.shape
    orientation = sky_orientation(wcs, y=(ny - 1) / 2, x=(nx - 1) / 2, name=source.name)
    return orientation.ra, orientation.dec


def warn_of_missing_zenith(source: ExposureSource) -> None:
    """Warn of an exposure that is left out, as ``--drop-incomplete`` allows."""
    warnings.warn(f"{source.name} is left out: where was the zenith?", SkytoolWarning, stacklevel=2)
