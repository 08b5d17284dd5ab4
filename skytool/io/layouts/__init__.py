"""Layouts of FITS exposures, ours and those of other pipelines, told by what is in the file."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from skytool.errors import InputError
from skytool.io.layouts import ccddata, lsst, plain, sci, siblings
from skytool.io.layouts.contents import shape_of
from skytool.io.layouts.recipe import Recipe, plane_ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from skytool.io.layouts.contents import Contents


class Layout(NamedTuple):
    """One layout: how it is told, how it is read, and what it consists of."""

    name: str
    holds: str
    matches: Callable[[Contents], bool]
    recipes: Callable[[Contents], list[Recipe] | None]


def _is_native(contents: Contents) -> bool:
    return "SKYFMT" in contents.primary


def _native_recipes(contents: Contents) -> list[Recipe] | None:
    """Return the exposure of a file of skytool."""
    image = contents.named("IMAGE")
    if image is None or image.plane_shape is None:
        return None
    return [Recipe("skytool", plane_ref(contents, image), shape_of(image), native=True)]


def _family(family: sci.Family, holds: str) -> Layout:
    return Layout(family.name, holds, sci.matches(family), sci.recipes(family))


LAYOUTS: tuple[Layout, ...] = (
    Layout("skytool", "IMAGE, MASK, VARIANCE and SKYFMT", _is_native, _native_recipes),
    Layout(
        "lsst-images",
        "IMAGE, MASK, VARIANCE and JSON",
        lsst.is_images,
        lsst.images_recipes,
    ),
    Layout("lsst", "IMAGE, MASK with MP_ cards, VARIANCE", lsst.is_afw, lsst.afw_recipes),
    Layout("drizzled", "SCI and WHT", sci.is_drizzled, sci.drizzled_recipes),
    _family(sci.JWST, "SCI, ERR and DQ of TELESCOP JWST"),
    _family(sci.HST, "SCI, ERR and DQ of TELESCOP HST"),
    _family(sci.DES, "SCI, MSK and WGT"),
    _family(sci.BANZAI, "SCI, ERR and BPM"),
    _family(sci.DRAGONS, "SCI, VAR and DQ"),
    _family(sci.PLANES, "SCI, VAR and MASK"),
    _family(sci.GENERIC, "SCI or IMAGE, and ERR, VARIANCE, WHT, DQ or MASK"),
    Layout("decam", "NAME_ooi_*, with _oow_ and _ood_", siblings.is_decam, siblings.decam_recipes),
    Layout(
        "legacy",
        "NAME-image-BAND, with -invvar-BAND and -maskbits",
        siblings.is_legacy,
        siblings.legacy_recipes,
    ),
    Layout(
        "panstarrs",
        "NAME, with .wt and .mask",
        siblings.is_panstarrs,
        siblings.panstarrs_recipes,
    ),
    Layout("ztf", "NAME_sciimg, with _mskimg", siblings.is_ztf, siblings.ztf_recipes),
    Layout("swarp", "NAME, with .weight", siblings.is_swarp, siblings.swarp_recipes),
    Layout(
        "drizzled-pair",
        "NAME_sci or NAME_drz, with _wht",
        siblings.is_drizzled_pair,
        siblings.drizzled_pair_recipes,
    ),
    Layout("ccddata", "an image in the primary, MASK or UNCERT", ccddata.matches, ccddata.recipes),
    Layout("bare", "one image", plain.is_bare, plain.recipes),
    Layout("images", "several images, each an exposure", plain.is_several, plain.recipes),
)
"""Every layout, in the order in which they are tried."""


def layout_names() -> tuple[str, ...]:
    """Return the names that ``--layout`` takes."""
    return tuple(layout.name for layout in LAYOUTS)


def recognise(contents: Contents, layout: str | None = None) -> list[Recipe]:
    """Return how the exposures of a file are read.

    Parameters
    ----------
    contents : Contents
        What the HDUs are.
    layout : str, optional
        Name of the layout to take; the first that matches if left out.

    Returns
    -------
    list of Recipe
        Empty if no layout matches.

    Raises
    ------
    InputError
        If the layout asked for does not exist or does not fit, or a file of a layout that is told
        lacks what it needs.
    IncompatibleError
        If planes differ in shape.
    """
    if layout is not None:
        return _forced(contents, layout)
    for known in LAYOUTS:
        if known.matches(contents):
            return known.recipes(contents) or []
    return []


def not_recognised(contents: Contents) -> InputError:
    """Return the error for a file of no layout: what it holds and what would have been taken."""
    taken = "; ".join(known.holds for known in LAYOUTS)
    return InputError(
        f"{contents.file_name} has no layout that is known: it holds {contents.describe()}.",
        hint=f"Known are: {taken}. Choose one image by {contents.file_name}[EXT].",
    )


def _forced(contents: Contents, layout: str) -> list[Recipe]:
    known = named_layout(layout)
    recipes = known.recipes(contents)
    if recipes:
        return recipes
    raise InputError(
        f"{contents.file_name} cannot be read with the layout {known.name}, which has "
        f"{known.holds}: it holds {contents.describe()}."
    )


def named_layout(layout: str) -> Layout:
    """Return the layout of a name.

    Raises
    ------
    InputError
        If there is none.
    """
    for known in LAYOUTS:
        if known.name == layout.lower():
            return known
    close = get_close_matches(layout.lower(), layout_names(), 1)
    raise InputError(
        f"there is no layout {layout!r}.{f' Did you mean {close[0]}?' if close else ''}",
        hint=f"Known are {', '.join(layout_names())}.",
    )
