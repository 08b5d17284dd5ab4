"""File names with the stem, the visit or the detector of an exposure in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skytool.io.sources import ExposureSource
    from skytool.stages.warp import Member


def named_after(pattern: str, member: Member[ExposureSource]) -> str:
    """Return a name in which ``{stem}``, ``{visit}`` and ``{detector}`` are those of an exposure."""
    seen = member.observation
    parts = {
        "{stem}": member.candidate.spec.stem,
        "{visit}": seen.visit,
        "{detector}": seen.detector_name if seen.detector is None else str(seen.detector),
    }
    return re.sub(r"\{(stem|visit|detector)\}", lambda match: parts[match[0]], pattern)
