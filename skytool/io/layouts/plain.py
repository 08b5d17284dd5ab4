"""Images without planes beside them: one alone, or those of several detectors or bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytool.io.layouts.contents import shape_of
from skytool.io.layouts.recipe import Recipe, VariancePlan, plane_ref
from skytool.io.layouts.sci import psf_refs

if TYPE_CHECKING:
    from skytool.io.layouts.contents import Contents, HduInfo


def is_bare(contents: Contents) -> bool:
    """Return True for a file with one image and nothing that could be a plane of it."""
    return len(contents.candidates) == 1 and _others_are_psfs(contents)


def is_several(contents: Contents) -> bool:
    """Return True for a file with several images and nothing that could be a plane of them."""
    return len(contents.candidates) > 1 and _others_are_psfs(contents)


def recipes(contents: Contents) -> list[Recipe] | None:
    """Return an exposure of every image."""
    several = "bare" if len(contents.candidates) == 1 else "images"
    return [bare_recipe(contents, hdu, several) for hdu in contents.candidates] or None


def bare_recipe(contents: Contents, image: HduInfo, layout: str = "bare") -> Recipe:
    """Return the exposure of one image.

    Its variance is the inverse of the card INVAR where there is one, else it is estimated.
    """
    variance = VariancePlan()
    inverse = image.header.get("INVAR")
    if isinstance(inverse, (int, float)) and 0 < inverse < float("inf"):
        variance = VariancePlan("constant", value=1.0 / inverse, source=f"1 / INVAR, {inverse:g}")
    return Recipe(
        layout,
        plane_ref(contents, image),
        shape_of(image),
        variance=variance,
        psf=psf_refs(contents),
    )


def _others_are_psfs(contents: Contents) -> bool:
    others = [hdu for hdu in contents.planes if hdu not in contents.candidates]
    return all(hdu.name in {"PSF", "PSFIMAGE"} for hdu in others)
