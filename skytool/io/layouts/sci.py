"""Files whose image is called SCI: HST, JWST, Dark Energy Survey, Gemini, Las Cumbres, drizzled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from skytool.io.layouts.contents import shape_of
from skytool.io.layouts.recipe import (
    MaskPlan,
    PlaneRef,
    Recipe,
    VariancePlan,
    plane_ref,
    same_shape,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from skytool.io.layouts.contents import Contents, HduInfo

_IMAGES = ("SCI", "IMAGE")
_VARIANCES = (
    ("VAR", "variance"),
    ("VARIANCE", "variance"),
    ("ERR", "error"),
    ("ERROR", "error"),
    ("IVAR", "weight"),
    ("WGT", "weight"),
    ("WHT", "weight"),
)
_PARTS = ("VAR_POISSON", "VAR_RNOISE", "VAR_FLAT")
_MASKS = ("MASK", "MSK", "DQ", "BPM")


class Family(NamedTuple):
    """Which planes belong to a layout, and what its masks mean."""

    name: str
    planes: tuple[str, ...]
    dq_map: Callable[[Contents], str]


def _telescope(contents: Contents) -> str:
    return str(contents.primary.get("TELESCOP", "")).strip().upper()


def _hubble_map(contents: Contents) -> str:
    """Return the map of the camera; those of other instruments are not known."""
    camera = str(contents.primary.get("INSTRUME", "")).strip().upper()
    detector = str(contents.primary.get("DETECTOR", "")).strip().upper()
    if camera == "ACS" or (camera == "WFC3" and detector == "UVIS"):
        return "hst"
    return "hst-wfc3-ir" if camera == "WFC3" else ""


def _named_map(name: str) -> Callable[[Contents], str]:
    return lambda _contents: name


JWST = Family("jwst", ("SCI", "ERR"), _named_map("jwst"))
HST = Family("hst", ("SCI", "ERR", "DQ"), _hubble_map)
DES = Family("des", ("SCI", "MSK", "WGT"), _named_map("des"))
BANZAI = Family("banzai", ("SCI", "ERR", "BPM"), _named_map("banzai"))
DRAGONS = Family("dragons", ("SCI", "VAR", "DQ"), _named_map("dragons"))
PLANES = Family("sci-var-mask", ("SCI", "VAR", "MASK"), _named_map(""))
GENERIC = Family("sci", (), _named_map(""))


def matches(family: Family) -> Callable[[Contents], bool]:
    """Return the test for a family: its planes are there, and the telescope agrees."""

    def test(contents: Contents) -> bool:
        telescope = _telescope(contents)
        if family in {JWST, HST} and telescope != family.name.upper():
            return False
        if family == DRAGONS and telescope and not telescope.startswith("GEMINI"):
            return False
        wanted = all(contents.named(plane) is not None for plane in family.planes)
        return wanted and bool(contents.named(*_IMAGES))

    return test


def recipes(family: Family) -> Callable[[Contents], list[Recipe] | None]:
    """Return what reads the exposures of a family: one of every image extension."""

    def make(contents: Contents) -> list[Recipe] | None:
        dq_map = family.dq_map(contents)
        wanted = filter(contents.is_wanted, _images(contents))
        found = [_recipe(contents, image, family.name) for image in wanted]
        return [
            replace(recipe, mask=replace(recipe.mask, dq_map=dq_map)) for recipe in found
        ] or None

    return make


def is_drizzled(contents: Contents) -> bool:
    """Return True for drizzled images: SCI and WHT."""
    return contents.named("SCI") is not None and contents.named("WHT") is not None


def drizzled_recipes(contents: Contents) -> list[Recipe] | None:
    """Return the exposures of a drizzled file.

    Errors or variances are used where there are any: weights need not be inverse variances, those
    of the Hubble pipeline are exposure times.
    """
    wanted = filter(contents.is_wanted, _images(contents))
    found = [_recipe(contents, image, "drizzled") for image in wanted]
    kind = str(contents.primary.get("RESWHT", contents.primary.get("WHT_TYPE", ""))).strip().upper()
    return [
        replace(recipe, variance=replace(recipe.variance, checked=True, source=kind))
        if recipe.variance.kind == "weight"
        else recipe
        for recipe in found
    ] or None


def _images(contents: Contents) -> list[HduInfo]:
    """Return the extensions called SCI, or IMAGE where there are none."""
    named = next((found for role in _IMAGES if (found := contents.all_named(role))), [])
    return [hdu for hdu in named if hdu.plane_shape is not None]


def _recipe(contents: Contents, image: HduInfo, layout: str) -> Recipe:
    """Return the recipe of one image extension with the planes of its version."""
    shape = shape_of(image)
    called = f"{contents.file_name}[{image.label}]"
    alone = len(_images(contents)) == 1

    def find(role: str) -> HduInfo | None:
        return contents.named(role, version=None if alone else image.version)

    def plane(hdu: HduInfo) -> PlaneRef:
        return same_shape(contents, hdu, shape, called)

    variance = VariancePlan()
    for role, kind in _VARIANCES:
        hdu = find(role)
        if hdu is not None:
            variance = VariancePlan(kind, (plane(hdu),))
            break
    parts = [hdu for role in _PARTS if (hdu := find(role)) is not None]
    if parts and variance.kind in {"estimate", "weight"}:
        variance = VariancePlan("variance", tuple(plane(hdu) for hdu in parts))
    mask = next((hdu for role in _MASKS if (hdu := find(role)) is not None), None)
    return Recipe(
        layout,
        plane_ref(contents, image),
        shape,
        variance=variance,
        mask=MaskPlan(None if mask is None else plane(mask)),
        psf=psf_refs(contents),
        parent_wcs="X0" in image.header and "Y0" in image.header,
    )


def psf_refs(contents: Contents) -> tuple[PlaneRef, ...]:
    """Return the HDUs that hold a PSF: its images, then the table that goes with them."""
    found = [contents.named(role) for role in ("PSF", "PSFIMAGE")][:2]
    images = [hdu for hdu in found if hdu is not None][:1]
    tables = [contents.named(role) for role in ("PSFCOEFF", "PSFGRID", "PSFPOS")]
    if not images:
        return ()
    return tuple(plane_ref(contents, hdu) for hdu in (*images, *tables) if hdu is not None)
