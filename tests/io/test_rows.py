import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import InputError
from skytool.io import rows as module
from skytool.io.options import ReadOptions
from skytool.io.rows import exposure_rows, rows_of
from skytool.io.sources import find_sources, read_exposure
from tests.cli.warping import run, sky_cards, write_exposure

SHAPE = (37, 29)


def written(path, rng, **values):
    image = rng.normal(100, 5, SHAPE).astype(np.float32)
    image[4, 7] = np.nan
    return write_exposure(
        path,
        image,
        sky=sky_cards(SHAPE),
        variance=rng.uniform(1, 3, SHAPE).astype(np.float32),
        mask={"SAT": np.s_[10:12, 3], "NO_DATA": np.s_[4, 7]},
        **values,
    )


@pytest.fixture
def plain(tmp_path, rng):
    return written(tmp_path / "a.fits", rng)


def squeezed(path):
    packed = path + ".gz"
    Path(packed).write_bytes(gzip.compress(Path(path).read_bytes()))
    return packed


def tiled(path):
    packed = path.replace(".fits", "_tiled.fits")
    assert run("convert", path, "-o", packed, "--compress", "gzip").exit_code == 0
    return packed


def foreign(path):
    """Return the same pixels in the layout of SCI, VAR and MASK."""
    other = path.replace(".fits", "_sci.fits")
    with fits.open(path) as hdus:
        for old, new in (("IMAGE", "SCI"), ("VARIANCE", "VAR")):
            hdus[old].header["EXTNAME"] = new
        for key in ("SKYFMT", "SKYTYPE"):
            del hdus[0].header[key]
        hdus.writeto(other)
    return other


@pytest.mark.parametrize("kind", [str, squeezed, tiled, foreign], ids=lambda kind: kind.__name__)
def test_rows_are_those_of_the_whole_exposure(plain, kind):
    path = kind(plain)
    (source,) = find_sources(path)
    whole = read_exposure(path)

    with exposure_rows([source]) as rows:
        for start, stop in ((0, 5), (3, 4), (20, 37)):
            part = rows(0, start, stop)
            value = np.isfinite(whole.image[start:stop])
            np.testing.assert_array_equal(part.image[value], whole.image[start:stop][value])
            np.testing.assert_array_equal(part.variance[value], whole.variance[start:stop][value])
            for plane in ("SAT", "NO_DATA"):
                np.testing.assert_array_equal(
                    part.mask.any_of([plane]), whole.mask.any_of([plane])[start:stop]
                )
            for array in (part.image, part.variance, part.mask.array):
                assert array.dtype.isnative


def test_rows_in_memory_are_those_of_the_exposure(plain):
    whole = read_exposure(plain)

    part = rows_of(whole, 8, 13)

    np.testing.assert_array_equal(part.image, whole.image[8:13])
    np.testing.assert_array_equal(part.mask.array, whole.mask.array[8:13])
    np.testing.assert_array_equal(part.variance, whole.variance[8:13])


def test_what_the_user_gives_in_place_of_a_plane_counts(plain):
    (source,) = find_sources(plain, ReadOptions(saturate=95.0))

    with exposure_rows([source]) as rows:
        part = rows(0, 15, 30)

    bright = part.image >= 95
    assert bright.any()
    np.testing.assert_array_equal(part.mask.any_of(["SAT"]), bright)


def test_more_files_than_are_kept_open_are_read(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(module, "_KEPT_OPEN", 2)
    paths = [written(tmp_path / f"{k}.fits", rng) for k in range(4)]
    sources = [source for path in paths for source in find_sources(path)]

    with exposure_rows(sources) as rows:
        parts = [rows(k, 12, 15) for k in (0, 1, 2, 3, 2, 0)]

    for k, part in zip((0, 1, 2, 3, 2, 0), parts, strict=True):
        np.testing.assert_array_equal(part.image, read_exposure(paths[k]).image[12:15])


def test_a_file_that_is_cut_while_it_is_used_is_refused(plain):
    (source,) = find_sources(plain)
    content = Path(plain).read_bytes()
    Path(plain).write_bytes(content[: len(content) // 2])

    with exposure_rows([source]) as rows, pytest.raises(InputError, match=r"a\.fits is truncated"):
        rows(0, 0, 5)
