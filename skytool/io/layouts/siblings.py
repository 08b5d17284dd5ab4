"""Images whose weights and flags lie in other files beside them, told by their names."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from skytool.errors import InputError, SkytoolWarning
from skytool.io.filespec import FileSpec
from skytool.io.layouts.contents import read_contents, shape_of
from skytool.io.layouts.recipe import (
    MaskPlan,
    Recipe,
    VariancePlan,
    plane_ref,
    same_shape,
)

if TYPE_CHECKING:
    from pathlib import Path

    from skytool.io.layouts.contents import Contents, HduInfo
    from skytool.io.layouts.recipe import PlaneRef

_DECAM = re.compile(r"(?P<head>.*_o[opsk])i(?P<tail>_.*)")
_LEGACY = re.compile(r"(?P<head>.+)-image-(?P<band>[A-Za-z0-9]+)")
_DRIZZLED = re.compile(r"(?P<head>.+)_(sci|drz|drc)")
_ZTF = re.compile(r"(?P<head>.*)_sciimg")
_PANSTARRS_STACK = re.compile(r"rings\.v\d+\.skycell\..*\.stk\.")
_SUFFIXES = ("", ".fits", ".fits.fz", ".fits.gz", ".fit")


def beside(contents: Contents, stem: str) -> Path | None:
    """Return the file beside the image with another stem, in whatever compression."""
    spec = contents.spec
    if spec.is_standard_stream:
        return None
    for suffix in (spec.suffix, *_SUFFIXES[1:]):
        path = spec.path.with_name(stem + suffix)
        if path.is_file():
            return path
    return None


def is_decam(contents: Contents) -> bool:
    """Return True for the image of a trio ``_ooi_``, ``_oow_``, ``_ood_``."""
    return _DECAM.fullmatch(contents.spec.stem) is not None and bool(contents.candidates)


def decam_recipes(contents: Contents) -> list[Recipe] | None:
    """Return the exposures of the community pipeline, one of every detector."""
    match = _DECAM.fullmatch(contents.spec.stem)
    if match is None:
        return None
    weight, flags = (
        _optional(contents, f"{match['head']}{letter}{match['tail']}", what)
        for letter, what in (("w", "weights"), ("d", "data quality"))
    )
    found = []
    for image in filter(contents.is_wanted, contents.candidates):
        weights = _plane(contents, image, weight, "weights", by_name=True)
        quality = _plane(contents, image, flags, "data quality", by_name=True)
        found.append(
            Recipe(
                "decam",
                plane_ref(contents, image),
                shape_of(image),
                variance=_weight_plan(weights, dithered=True),
                mask=_decam_mask(contents, image, quality),
            )
        )
    return found


def is_legacy(contents: Contents) -> bool:
    """Return True for a coadd of the Legacy Surveys."""
    match = _LEGACY.fullmatch(contents.spec.stem)
    return (
        match is not None
        and beside(contents, f"{match['head']}-invvar-{match['band']}") is not None
    )


def legacy_recipes(contents: Contents) -> list[Recipe] | None:
    """Return the exposure of a coadd ``-image-g``, with ``-invvar-g`` and ``-maskbits``."""
    match = _LEGACY.fullmatch(contents.spec.stem)
    if match is None or not contents.candidates:
        return None
    band = match["band"]
    weight = _optional(contents, f"{match['head']}-invvar-{band}", "weights")
    flags = _optional(contents, f"{match['head']}-maskbits", "data quality")
    image = contents.candidates[0]
    quality = _plane(contents, image, flags, "data quality", preferred="MASKBITS")
    return [
        Recipe(
            "legacy",
            plane_ref(contents, image),
            shape_of(image),
            variance=_weight_plan(_plane(contents, image, weight, "weights")),
            mask=MaskPlan(quality, dq_map="legacy", band=band),
            cards={"MAGZERO": 22.5},
            unit="nmgy",
        )
    ]


def is_panstarrs(contents: Contents) -> bool:
    """Return True for a stack or warp of Pan-STARRS 1."""
    return (
        len(contents.candidates) == 1 and beside(contents, f"{contents.spec.stem}.wt") is not None
    )


def panstarrs_recipes(contents: Contents) -> list[Recipe] | None:
    """Return the exposure of a stack or warp, with ``.wt`` (its variance) and ``.mask``.

    Stacks are scaled by a hyperbolic sine and to a zero point of 25 per second, warps are neither;
    their dates are atomic time, which their headers do not say (Pan-STARRS archive documentation).

    Raises
    ------
    InputError
        If the cards of the scaling are not there.
    """
    if len(contents.candidates) != 1:
        return None
    image, stem = contents.candidates[0], contents.spec.stem
    scaled = [key in image.header for key in ("BSOFTEN", "BOFFSET")]
    if any(scaled) != all(scaled) or (_PANSTARRS_STACK.match(stem) and not all(scaled)):
        raise InputError(
            f"{contents.file_name} lacks the cards BSOFTEN and BOFFSET, without which the pixels "
            "of a Pan-STARRS stack have no scale.",
            hint="If they are linear already, give --layout bare and --variance FILE.",
        )
    variance = _optional(contents, f"{stem}.wt", "variance")
    flags = _optional(contents, f"{stem}.mask", "data quality")
    plane = _plane(contents, image, variance, "variance")
    exposure_time = image.header.get("EXPTIME", contents.primary.get("EXPTIME"))
    cards: dict[str, float | str] = {"TIMESYS": "TAI"}
    if ".stk." in stem and isinstance(exposure_time, (int, float)) and exposure_time > 0:
        cards["MAGZERO"] = 25.0 + 2.5 * math.log10(exposure_time)
    return [
        Recipe(
            "panstarrs",
            plane_ref(contents, image),
            shape_of(image),
            variance=VariancePlan() if plane is None else VariancePlan("variance", (plane,)),
            mask=MaskPlan(_plane(contents, image, flags, "data quality"), dq_map="panstarrs"),
            asinh=all(scaled),
            cards=cards,
        )
    ]


def is_ztf(contents: Contents) -> bool:
    """Return True for a science image of the Zwicky Transient Facility."""
    match = _ZTF.fullmatch(contents.spec.stem)
    return match is not None and beside(contents, f"{match['head']}_mskimg") is not None


def ztf_recipes(contents: Contents) -> list[Recipe] | None:
    """Return the exposure of ``_sciimg`` with ``_mskimg``; its variance has to be estimated."""
    match = _ZTF.fullmatch(contents.spec.stem)
    if match is None or not contents.candidates:
        return None
    image = contents.candidates[0]
    flags = _optional(contents, f"{match['head']}_mskimg", "data quality")
    quality = _plane(contents, image, flags, "data quality")
    return [
        Recipe(
            "ztf",
            plane_ref(contents, image),
            shape_of(image),
            mask=MaskPlan(quality, dq_map="ztf"),
        )
    ]


def is_swarp(contents: Contents) -> bool:
    """Return True for an image with a companion ``.weight``."""
    weight = beside(contents, f"{contents.spec.stem}.weight")
    return len(contents.candidates) == 1 and weight is not None


def swarp_recipes(contents: Contents) -> list[Recipe] | None:
    """Return the exposure of an image and its weight map, as SWarp writes them."""
    if len(contents.candidates) != 1:
        return None
    image = contents.candidates[0]
    weight = _optional(contents, f"{contents.spec.stem}.weight", "weights")
    return [
        Recipe(
            "swarp",
            plane_ref(contents, image),
            shape_of(image),
            variance=_weight_plan(_plane(contents, image, weight, "weights"), compared=True),
        )
    ]


def is_drizzled_pair(contents: Contents) -> bool:
    """Return True for a drizzled image and its weights in two files."""
    match = _DRIZZLED.fullmatch(contents.spec.stem)
    return (
        match is not None
        and len(contents.candidates) == 1
        and beside(contents, f"{match['head']}_wht") is not None
    )


def drizzled_pair_recipes(contents: Contents) -> list[Recipe] | None:
    """Return the exposure of ``_sci`` or ``_drz`` with ``_wht``."""
    match = _DRIZZLED.fullmatch(contents.spec.stem)
    if match is None or len(contents.candidates) != 1:
        return None
    image = contents.candidates[0]
    weight = _optional(contents, f"{match['head']}_wht", "weights")
    plan = _weight_plan(_plane(contents, image, weight, "weights"))
    return [
        Recipe(
            "drizzled-pair",
            plane_ref(contents, image),
            shape_of(image),
            variance=replace(plan, checked=True),
        )
    ]


def sibling_plane(
    contents: Contents, image: HduInfo, sibling: Contents, *, by_name: bool = False
) -> HduInfo | None:
    """Return the HDU of another file that goes with an image.

    That is the one the user named, else the one of the same name, else the only image there, for
    the only image here. With ``by_name`` two that have different names do not go together.
    """
    if sibling.spec.extension is not None:
        return sibling.chosen(sibling.spec.extension)
    for hdu in sibling.planes:
        if image.name and (hdu.name, hdu.version) == (image.name, image.version):
            return hdu
    if len(contents.candidates) > 1 or len(sibling.planes) != 1:
        return None
    only = sibling.planes[0]
    return None if by_name and image.name and only.name else only


def _optional(contents: Contents, stem: str, what: str) -> Contents | None:
    """Read the headers of a sibling; without one a warning says so."""
    path = beside(contents, stem)
    if path is None:
        warnings.warn(
            f"{contents.file_name}: no file {stem}.fits with the {what} is beside it.",
            SkytoolWarning,
            stacklevel=2,
        )
        return None
    return read_contents(FileSpec(path))


def _plane(
    contents: Contents,
    image: HduInfo,
    sibling: Contents | None,
    what: str,
    *,
    preferred: str = "",
    by_name: bool = False,
) -> PlaneRef | None:
    """Return the plane of a sibling that goes with an image; without one a warning says so."""
    if sibling is None:
        return None
    hdu = sibling.named(preferred) if preferred else None
    hdu = hdu or sibling_plane(contents, image, sibling, by_name=by_name)
    called = f"{contents.file_name}[{image.label}]"
    if hdu is None:
        warnings.warn(
            f"{called}: {sibling.file_name} has no {what} for it.", SkytoolWarning, stacklevel=2
        )
        return None
    return same_shape(sibling, hdu, shape_of(image), called)


def _weight_plan(
    plane: PlaneRef | None, *, dithered: bool = False, compared: bool = False
) -> VariancePlan:
    if plane is None:
        return VariancePlan()
    return VariancePlan("weight", (plane,), dithered=dithered, compared=compared)


def _decam_mask(contents: Contents, image: HduInfo, quality: PlaneRef | None) -> MaskPlan:
    """Return what the data-quality values are: codes since version 3.5, bits before."""
    version = str(image.header.get("PLVER", contents.primary.get("PLVER", ""))).strip()
    match = re.match(r"[Vv]?(\d+)(?:\.(\d+))?", version)
    if quality is None or match is None:
        return MaskPlan(
            quality,
            unclear=f"PLVER = {version!r} does not say whether the data-quality values are codes "
            "or bits: give --dq-map decam-codes or --dq-map decam-bits",
        )
    codes = (int(match[1]), int(match[2] or 0)) >= (3, 5)
    return MaskPlan(quality, dq_map="decam-codes" if codes else "decam-bits")
