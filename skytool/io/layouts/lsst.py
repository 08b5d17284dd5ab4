"""LSST: files of afw (calexp, warp, coadd) and of lsst.images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytool.io.layouts.recipe import MaskPlan, Recipe, VariancePlan, plane_ref, same_shape

if TYPE_CHECKING:
    from skytool.io.layouts.contents import Contents

IMAGES_PLANES = {
    "SATURATED": "SAT",
    "INTERPOLATED": "INTRP",
    "COSMIC_RAY": "CR",
    "DETECTION_EDGE": "EDGE",
}
"""Planes of lsst.images that have another name here."""

_ARCHIVE_NOTE = (
    "its LSST archive extensions are not read: the WCS is that of the header, an approximation; PSF "
    "and photometric calibration, unless the header has it, have to be given or measured"
)


def is_images(contents: Contents) -> bool:
    """Return True for a file of lsst.images."""
    marked = "JSONADDR" in contents.primary or contents.named("JSON") is not None
    return marked and contents.named("IMAGE") is not None


def is_afw(contents: Contents) -> bool:
    """Return True for a file of afw."""
    image, mask, variance = (contents.named(role) for role in ("IMAGE", "MASK", "VARIANCE"))
    if image is None or mask is None or variance is None:
        return False
    return any(key.startswith(("MP_", "MSKN")) for key in mask.header)


def images_recipes(contents: Contents) -> list[Recipe] | None:
    """Return the exposure of a file of lsst.images."""
    return _recipes(contents, "lsst-images", IMAGES_PLANES)


def afw_recipes(contents: Contents) -> list[Recipe] | None:
    """Return the exposure of a file of afw."""
    return _recipes(contents, "lsst", {})


def _recipes(contents: Contents, layout: str, renames: dict[str, str]) -> list[Recipe] | None:
    image = contents.named("IMAGE")
    if image is None or image.plane_shape is None:
        return None
    shape, called = image.plane_shape, f"{contents.file_name}[{image.label}]"
    variance = contents.named("VARIANCE")
    plan = VariancePlan()
    if variance is not None:
        plan = VariancePlan("variance", (same_shape(contents, variance, shape, called),))
    mask = contents.named("MASK")
    has_archive = contents.named("ARCHIVE_INDEX", "JSON") is not None
    return [
        Recipe(
            layout,
            plane_ref(contents, image),
            shape,
            variance=plan,
            mask=MaskPlan(
                None if mask is None else same_shape(contents, mask, shape, called),
                renames=renames,
            ),
            notes=(_ARCHIVE_NOTE,) if has_archive else (),
        )
    ]
