import numpy as np
from scipy.ndimage import fourier_shift

from skytool.core.dcr.basis import band_nodes
from skytool.core.dcr.predict import predict_spectral


def test_throughput_goes_with_a_smooth_spectrum(rng):
    n = 3
    nodes = band_nodes(n)
    throughput = rng.uniform(0.1, 1.0, nodes.size) * np.cos(1.4 * nodes) ** 2
    throughput /= throughput.sum()
    y, x = np.indices((40, 46))
    star = 900.0 * np.exp(-0.5 * ((y - 19.3) ** 2 + (x - 22.8) ** 2) / 2.1**2)
    dy, dx = 1.1 * nodes, -0.4 * nodes
    images = [star * part for part in throughput.reshape(n, -1).sum(axis=1)]
    plane = np.fft.fft2(star)
    expected = sum(
        weight * np.fft.ifft2(fourier_shift(plane, (a, b))).real
        for weight, a, b in zip(throughput, dy, dx, strict=True)
    )

    given = predict_spectral(images, dy, dx, smooth=True, throughput=throughput)
    even = predict_spectral(images, dy, dx, smooth=True)

    np.testing.assert_allclose(given, expected, atol=0.02)  # 2e-5 of the peak
    assert np.abs(even - expected).max() > 0.1
