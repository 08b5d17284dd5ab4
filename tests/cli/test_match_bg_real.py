"""Real exposures, warped and matched with nothing but inputs and outputs, get one sky."""

import itertools
import json
import sys

import numpy as np
import pytest
from astropy.io import fits

from tests.cli.warping import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning"),
    pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning"),
    pytest.mark.filterwarnings("ignore::skytool.errors.SkytoolWarning"),
]

FIELDS = {
    "a nebula over two scans": ("infrared-tiles/*.fits.gz", "", 64),
    "two filters and two depths": ("decam-stamps/*ooi*.fits", "", 32),
    "two nights": ("rgb-airmass/frame_*01.fits.gz", "[G]", 32),
}


def block_medians(difference, size):
    """Medians of square blocks of which half have a value; a median does not see the stars."""
    ny, nx = (length // size * size for length in difference.shape)
    blocks = difference[:ny, :nx].reshape(ny // size, size, nx // size, size).swapaxes(1, 2)
    blocks = blocks.reshape(ny // size, nx // size, -1)
    full = np.isfinite(blocks).mean(axis=2) > 0.5
    return np.nanmedian(blocks[full], axis=1)


@pytest.mark.parametrize("field", FIELDS)
def test_all_overlaps_agree_after_the_match(shared, tmp_path, field, capsys):
    pattern, extension, size = FIELDS[field]
    files = [f"{path}{extension}" for path in sorted((shared / "data").glob(pattern))]
    assert len(files) > 1
    result = run("warp", *files, "--auto", "-d", tmp_path / "warps", "-q")
    assert result.exit_code == 0, result.stderr
    warps = sorted((tmp_path / "warps").iterdir())

    table = tmp_path / "qa.jsonl"
    result = run("match-bg", *warps, "-d", tmp_path / "matched", "--report", table, "-q")

    assert result.exit_code == 0, result.stderr
    rows = [json.loads(line)["metrics"] for line in table.read_text().splitlines()]
    assert sum(row["is_reference"] for row in rows) == 1
    assert all(row["offset_left"] < 0.1 for row in rows)
    names = [path.name for path in warps]
    read = {
        (folder, name): fits.getdata(tmp_path / folder / name, "IMAGE").astype(np.float64)
        for folder in ("warps", "matched")
        for name in names
    }
    lines = []
    for one, other in itertools.combinations(names, 2):
        before, after = (
            block_medians(read[folder, one] - read[folder, other], size)
            for folder in ("warps", "matched")
        )
        if len(before):
            lines.append((one, other, float(np.sqrt(np.mean(before**2))), abs(after.mean())))
    with capsys.disabled():
        for one, other, before, after in lines:
            sys.stdout.write(f"\n{one} - {other}: {before:.4g} before, {after:.4g} after")
    assert lines
    assert all(after < 0.1 * before for *_, before, after in lines)
