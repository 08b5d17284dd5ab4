"""Exposures in files: found by headers, read when they are needed."""

from __future__ import annotations

import hashlib
import logging
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from skytool.errors import IncompatibleError, InputError, SkytoolWarning
from skytool.io.dqmap import DqMap, is_dq_map_file
from skytool.io.filespec import FileSpec
from skytool.io.layouts import not_recognised, recognise
from skytool.io.layouts.contents import read_contents, shape_of
from skytool.io.layouts.plain import bare_recipe
from skytool.io.layouts.recipe import MaskPlan, VariancePlan, same_shape
from skytool.io.layouts.siblings import sibling_plane
from skytool.io.options import ReadOptions
from skytool.io.skywcs import (
    in_array_pixels,
    needs_tables,
    origin_of,
    read_wcs,
    with_cards,
    with_valid_cards,
)

if TYPE_CHECKING:
    import os

    from astropy.io import fits
    from astropy.wcs import WCS

    from skytool.io.filespec import Extension
    from skytool.io.layouts.contents import Contents, HduInfo, Shape
    from skytool.io.layouts.recipe import PlaneRef, Recipe
    from skytool.models.exposure import Exposure, Origin
    from skytool.models.records.external_calibration import ExternalCalibration

__all__ = ["ExposureSource", "ReadOptions", "find_sources", "read_exposure"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ExposureSource:
    """An exposure in a file, of which only the headers have been read.

    It can be pickled: a worker process reads the pixels itself.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    extension : str, int, or tuple of str and int
        The image in it.
    options : ReadOptions
        How to read it.
    recipe : Recipe
        Which HDUs of which files it is made of.
    header : `~astropy.io.fits.Header`
        Cards of the image and, where it does not have them, of the primary.
    name : str
        What messages call it, as ``raw7.fits[N4]``.
    external : ExternalCalibration, optional
        What takes the place of the calibration in the header.
    """

    path: Path
    extension: Extension
    options: ReadOptions
    recipe: Recipe
    header: fits.Header = field(repr=False)
    name: str
    external: ExternalCalibration | None = None

    @property
    def layout(self) -> str:
        """Name of the layout."""
        return self.recipe.layout

    @property
    def shape(self) -> Shape:
        """Shape ``(ny, nx)``."""
        return self.recipe.shape

    @property
    def origin(self) -> Origin:
        """Place of the first pixel in its parent frame."""
        return origin_of(self.header)

    @property
    def spec(self) -> FileSpec:
        """The file and the extension of the image."""
        return FileSpec(self.path, self.extension)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that reading takes, the image's first."""
        files = [plane.path for plane in self.recipe.planes]
        dq_map = self.options.dq_map
        if dq_map is not None and self.recipe.mask.plane is not None and is_dq_map_file(dq_map):
            files.append(Path(dq_map))
        return tuple(dict.fromkeys(files))

    def wcs(self) -> WCS | None:
        """Return the celestial coordinates of the array's pixels; None if there are none.

        Raises
        ------
        IncompatibleError
            If the header describes coordinates that cannot be.
        """
        header = self.header
        if self.external is not None and self.external.wcs_cards:
            return read_wcs(with_cards(self.external.wcs_cards, self.shape), name=self.name)
        if self.recipe.parent_wcs:
            header = in_array_pixels(header, self.origin)
        if not needs_tables(header):
            return read_wcs(header, name=self.name)
        from skytool.io.fits import opened

        with opened(FileSpec(self.path)) as tables:
            return read_wcs(header, name=self.name, hdus=tables)

    def read(self, *, needs_variance: bool = True) -> Exposure:
        """Read the pixels.

        Parameters
        ----------
        needs_variance : bool
            Refuse an image whose noise is nowhere known, because it brings no variance and does not
            scatter. Otherwise it is read with infinite variance, for looking at it.

        Raises
        ------
        InputError
            If a file cannot be read or a plane is damaged.
        IncompatibleError
            If planes do not fit together, or something asked for is missing.
        """
        from skytool.io.assembly import assemble

        exposure = assemble(self, needs_variance=needs_variance)
        if self.external is None:
            return exposure
        photometry = self.external.photometry or exposure.calibration
        return exposure.with_values(wcs=self.wcs(), calibration=photometry)

    def datasum(self) -> str:
        """Return the DATASUM of the image's HDU, from its bytes, whatever its header says."""
        from skytool.io.assembly import datasums

        return datasums([self.recipe.image])[0]

    def digest(self) -> str:
        """Return a text that changes whenever what is read changes: pixels of any plane, or cards.

        Other than `datasum` it tells that a weight, a mask, the coordinates or the zero point are
        not what they were. Of a file of skytool every extension counts.
        """
        from skytool.io.assembly import datasums

        sums = datasums(self.recipe.planes, every=self.recipe.native)
        planes = {plane.path for plane in self.recipe.planes}
        others = [file.read_bytes() for file in self.files if file not in planes]
        external = "" if self.external is None else self.external.key()
        cards = f"{self.header.tostring(padding=False)}{external}".encode()
        return hashlib.sha256(b"\n".join([*map(str.encode, sums), *others, cards])).hexdigest()


def find_sources(
    argument: str | os.PathLike[str] | FileSpec, options: ReadOptions | None = None
) -> list[ExposureSource]:
    """Find the exposures that a command-line argument names, by headers alone.

    Parameters
    ----------
    argument : str, path-like or FileSpec
        ``FILE``, ``FILE[EXT]`` or ``-``.
    options : ReadOptions, optional
        How to read it.

    Returns
    -------
    list of ExposureSource
        One of every detector in the file; one if an extension is named.

    Raises
    ------
    InputError
        If the file cannot be read or its layout is not known.
    IncompatibleError
        If planes differ in shape, or a variance is required and there is none.
    """
    options = options or ReadOptions()
    spec = FileSpec.parse(argument)
    if spec.extension is None and options.hdu is not None:
        spec = FileSpec.parse(f"{spec.path}[{options.hdu}]")
    if options.dq_map is not None:
        DqMap.load(options.dq_map)  # a mistake in it shows before anything is computed
    contents = replace(read_contents(FileSpec(spec.path), verify=options.verify), spec=spec)
    recipes = _chosen(contents, spec, options)
    labelled = spec.extension is not None or len(recipes) > 1
    sources = [_source(contents, recipe, options, labelled=labelled) for recipe in recipes]
    _announce(sources)
    return sources


def read_exposure(
    argument: str | os.PathLike[str] | FileSpec, options: ReadOptions | None = None
) -> Exposure:
    """Read the one exposure that a command-line argument names.

    Raises
    ------
    InputError
        As `find_sources`.
    IncompatibleError
        If there are several; the message lists them.
    """
    sources = find_sources(argument, options)
    if len(sources) > 1:
        raise IncompatibleError(
            f"{FileSpec.parse(argument).file_name} holds {len(sources)} exposures, where one is "
            "wanted.",
            hint=f"Choose one of {', '.join(source.name for source in sources)}.",
        )
    return sources[0].read()


def _source(
    contents: Contents, recipe: Recipe, options: ReadOptions, *, labelled: bool
) -> ExposureSource:
    """Return the source of one exposure, with what the user said in its recipe."""
    hdu = contents.hdus[recipe.image.number]
    name = recipe.image.name if labelled else contents.file_name
    if recipe.native:
        from skytool.models.exposure_hdus import check_format

        check_format(contents.primary, name=name)
    if 0 in recipe.shape:
        raise InputError(f"{name} has an image of {hdu.size_text} pixels.")
    recipe = _with_options(recipe, contents, hdu, options, name)
    estimated = recipe.variance.kind == "estimate" and not recipe.native
    asked_for = options.noise_from_sky or options.gain is not None
    if options.require_variance and estimated and not asked_for:
        raise IncompatibleError(
            f"{name} brings no variance.",
            hint="Give --variance, --weight or --error, or leave out --require-variance.",
        )
    _warn_of_unused(recipe, options, name)
    header = _merged(contents.primary, hdu, recipe)
    return ExposureSource(contents.path, _extension(hdu), options, recipe, header, name)


def _chosen(contents: Contents, spec: FileSpec, options: ReadOptions) -> list[Recipe]:
    """Return the recipes of a file, or of the extension that is named."""
    recipes = recognise(contents, options.layout)
    if spec.extension is None:
        if not recipes:
            raise not_recognised(contents)
        return recipes
    hdu = contents.chosen(spec.extension)
    for recipe in recipes:
        if recipe.image.number == hdu.index:
            return [recipe]
    if hdu.plane_shape is None:
        raise InputError(f"{spec.name} is no image: {hdu.describe()}.")
    return [bare_recipe(contents, hdu)]


def _with_options(
    recipe: Recipe, contents: Contents, hdu: HduInfo, options: ReadOptions, name: str
) -> Recipe:
    """Return a recipe with what the user said in place of what was found."""
    for option, kind in (("variance", "variance"), ("weight", "weight"), ("error", "error")):
        given = getattr(options, option)
        if given is not None:
            plane = _given_plane(given, contents, hdu, option, name)
            plan = VariancePlan(kind, (plane,), compared=kind == "weight")
            recipe = replace(recipe, variance=plan)
    if options.noise_from_sky or options.gain is not None:
        recipe = replace(recipe, variance=VariancePlan())
    if options.mask is not None:
        plane = _given_plane(options.mask, contents, hdu, "mask", name)
        recipe = replace(recipe, mask=MaskPlan(plane, band=recipe.mask.band))
    elif recipe.mask.plane is not None and recipe.mask.unclear and options.dq_map is None:
        raise InputError(f"{recipe.mask.plane.name}: {recipe.mask.unclear}.")
    if options.psf is not None:
        recipe = replace(recipe, psf=_given_psf(options.psf, contents))
    return recipe


def _warn_of_unused(recipe: Recipe, options: ReadOptions, name: str) -> None:
    """Warn of options that change nothing, for this is hardly what the user expects."""
    kind = recipe.variance.kind
    replaced = kind == "estimate" and (not recipe.native or options.gain is not None)
    unused = {
        "dq_map": recipe.mask.plane is None,
        "weight_is": kind != "weight",
        "read_noise": not replaced or options.noise_from_sky,
        "sky": not replaced or options.noise_from_sky,
    }
    for option, without_use in unused.items():
        if without_use and getattr(options, option) is not None:
            warnings.warn(
                f"{name}: --{option.replace('_', '-')} has no use: {_WITHOUT_USE[option]}.",
                SkytoolWarning,
                stacklevel=4,
            )


_WITHOUT_USE = {
    "dq_map": "there is no data-quality plane",
    "weight_is": "the variance does not come from weights",
    "read_noise": "the variance does not come from gain and read noise",
    "sky": "the variance does not come from gain and read noise",
}


def _given_contents(given: str, contents: Contents) -> Contents:
    """Return what is in a file that an option names, or in the input where it names none."""
    inside = FileSpec.parse(f"{contents.path}{given}" if given.startswith("[") else given)
    read = read_contents(FileSpec(inside.path))
    return replace(read, spec=inside)


def _given_plane(
    given: str, contents: Contents, image: HduInfo, option: str, name: str
) -> PlaneRef:
    """Return the plane that an option names for an image."""
    other = _given_contents(given, contents)
    hdu = sibling_plane(contents, image, other)
    if hdu is None:
        raise InputError(
            f"--{option} {given}: no extension goes with {name}: it holds {other.describe()}.",
            hint=f"Write --{option} '{other.file_name}[EXT]'.",
        )
    return same_shape(other, hdu, shape_of(image), name)


def _given_psf(given: str, contents: Contents) -> tuple[PlaneRef, ...]:
    """Return the HDUs of the PSF that an option names."""
    from skytool.io.layouts.recipe import plane_ref
    from skytool.io.layouts.sci import psf_refs

    other = _given_contents(given, contents)
    if other.spec.extension is not None:
        return (plane_ref(other, other.chosen(other.spec.extension)),)
    found = psf_refs(other) or tuple(
        plane_ref(other, hdu)
        for hdu in other.hdus
        if (hdu.is_image and hdu.axes) or "PSF_SAMP" in hdu.header
    )
    if not found:
        raise InputError(f"the PSF file {given} has no image: it holds {other.describe()}.")
    return found


def _extension(hdu: HduInfo) -> Extension:
    """Return how an HDU is named in a `FileSpec`."""
    if not hdu.name:
        return hdu.index
    return hdu.name if hdu.version == 1 else (hdu.name, hdu.version)


def _merged(primary: fits.Header, hdu: HduInfo, recipe: Recipe) -> fits.Header:
    """Return the cards of an image and those it inherits from the primary.

    Cards that the layout implies are added where they are missing. Coordinates are those of one
    HDU only: cards of two would mix.
    """
    from skytool.models.keywords import is_wcs_keyword, merged_headers

    header = hdu.header
    if hdu.index and header.get("INHERIT", True) is not False:
        if "CTYPE1" in header:
            inherited = primary.copy()
            for key in [key for key in inherited if is_wcs_keyword(key)]:
                inherited.remove(key, ignore_missing=True, remove_all=True)
            primary = inherited
        header = merged_headers(primary, header)
    for key, value in recipe.cards.items():
        header.setdefault(key, value)
    return with_valid_cards(header)


def _announce(sources: list[ExposureSource]) -> None:
    """Log which layout was found and which other files belong to it, and warn of what is lost."""
    first = sources[0]
    others = dict.fromkeys(plane.path.name for s in sources for plane in s.recipe.siblings)
    several = f", {len(sources)} exposures" if len(sources) > 1 else ""
    taken = f", with {', '.join(others)}" if others else ""
    _log.info("%s: layout %s%s%s", first.spec.file_name, first.layout, several, taken)
    for note in dict.fromkeys(note for source in sources for note in source.recipe.notes):
        warnings.warn(f"{first.spec.file_name}: {note}.", SkytoolWarning, stacklevel=3)
