import sys
import time
import tracemalloc

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from skytool.core.resampling.pixel_map import PixelMap
from skytool.core.resampling.resample import resample
from tests.core.resampled import EDGE, NO_DATA

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

SOURCE = (2048, 2048)
TARGET = (3072, 3072)


def to_source(x, y):
    """Rotation by 20 degrees and a distortion of three pixels at the corner."""
    x, y = x - 1535.2, y - 1535.9
    x, y = 0.9397 * x - 0.342 * y, 0.342 * x + 0.9397 * y
    stretch = 1 + 0.003 * (x**2 + y**2) / 1024**2
    return x * stretch + 1023.5, y * stretch + 1023.5


@pytest.fixture(scope="module")
def planes():
    rng = np.random.default_rng(5)
    image = rng.normal(100, 5, SOURCE).astype(np.float32)
    variance = np.full(SOURCE, 25, dtype=np.float32)
    mask = np.where(rng.random(SOURCE) < 0.001, 8, 0).astype(np.int32)
    mask[:8] = mask[-8:] = mask[:, :8] = mask[:, -8:] = EDGE
    return image, variance, mask


def least_cpu(function, repeats=5):
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize(
    ("kernel", "share"),
    [("lanczos3", 0.6), ("lanczos5", 1.1), ("spline3", 1.0), ("bilinear", 0.5)],
)
def test_all_planes_take_less_than_splines_of_image_and_variance(planes, kernel, share, capsys):
    def ours():
        pixel_map = PixelMap(to_source, TARGET, source_shape=SOURCE)
        return resample(*planes, pixel_map, no_data=NO_DATA, kernel=kernel, grow=EDGE)

    x, y = np.meshgrid(np.arange(0.0, TARGET[1]), np.arange(0.0, TARGET[0]))
    u, v = to_source(x, y)
    seen = (u > 2) & (u < SOURCE[1] - 3) & (v > 2) & (v < SOURCE[0] - 3)
    positions = np.stack([v[seen], u[seen]])
    cpu = least_cpu(ours)
    spline = least_cpu(lambda: map_coordinates(planes[0], positions, order=3), repeats=2)

    with capsys.disabled():
        rate = seen.sum() / cpu / 1e6
        sys.stdout.write(f"\n{kernel}: {cpu:.3f} s, {rate:.0f} Mpixel/s; spline {spline:.3f} s\n")
    assert cpu < share * 2 * spline


def test_positions_take_a_small_part_of_the_time(planes, capsys):
    pixel_map = PixelMap(to_source, TARGET, source_shape=SOURCE)
    y, x = np.arange(0.0, 32), np.arange(0.0, TARGET[1])

    cpu = least_cpu(lambda: PixelMap(to_source, TARGET, source_shape=SOURCE))
    strip = least_cpu(lambda: pixel_map.positions(y + 1500, x))
    whole = least_cpu(lambda: resample(*planes, pixel_map, no_data=NO_DATA, grow=EDGE), repeats=3)

    with capsys.disabled():
        sys.stdout.write(f"\nmap {cpu:.4f} s, positions {strip * 96:.3f} s of {whole:.3f} s\n")
    assert cpu + 96 * strip < 0.4 * whole


@pytest.mark.parametrize(("kernel", "extra_planes"), [("lanczos3", 0.5), ("spline3", 2.0)])
def test_working_memory_is_a_few_strips(planes, kernel, extra_planes):
    pixel_map = PixelMap(to_source, TARGET, source_shape=SOURCE)
    resample(*planes, pixel_map, no_data=NO_DATA, kernel=kernel)

    tracemalloc.start()
    try:
        result = resample(*planes, pixel_map, no_data=NO_DATA, kernel=kernel)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    outputs = result.image.nbytes + result.variance.nbytes + result.mask.nbytes
    assert peak < outputs + extra_planes * planes[0].nbytes
