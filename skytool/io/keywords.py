"""Header keywords of the files skytool writes and reads.

The table lives with the models, which write cards and cannot import this package.
"""

from skytool.models.keywords import (
    COMMENTS,
    common_cards,
    is_wcs_keyword,
    merged_headers,
    observation_cards,
    set_card,
    valid_cards,
)

__all__ = [
    "COMMENTS",
    "common_cards",
    "is_wcs_keyword",
    "merged_headers",
    "observation_cards",
    "set_card",
    "valid_cards",
]
