"""Fourier transforms of real planes."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest
import scipy.fft

import skytool.core.fft as transforms
from skytool.core.fft import irfft, irfft2, next_fast_len, rfft, rfft2, transform_columns


@pytest.fixture(params=["compiled", "public"])
def _either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "public":
        monkeypatch.setattr(transforms, "_compiled", None)
    else:
        assert transforms._compiled is not None


@pytest.mark.usefixtures("_either")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transforms_are_those_of_scipy_in_the_precision_of_their_values(dtype: type) -> None:
    plane = np.random.default_rng(4).normal(size=(20, 33)).astype(dtype)
    np.testing.assert_array_equal(rfft(plane, n=40), scipy.fft.rfft(plane, n=40, axis=1))
    found, expected = rfft2(plane, s=(24, 36)), scipy.fft.rfft2(plane, s=(24, 36))
    assert found.dtype == np.result_type(dtype, np.complex64)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(irfft2(found, s=(24, 36)), scipy.fft.irfft2(found, s=(24, 36)))
    np.testing.assert_array_equal(irfft(found, n=36), scipy.fft.irfft(found, n=36, axis=1))
    for inverse, other in ((False, scipy.fft.fft), (True, scipy.fft.ifft)):
        np.testing.assert_array_equal(
            transform_columns(found.copy(), inverse=inverse), other(found, axis=0)
        )


@pytest.mark.usefixtures("_either")
def test_planes_come_back_from_their_transforms_and_flags_count_as_one() -> None:
    flags = np.random.default_rng(5).random((3, 18, 25)) > 0.7
    back = irfft2(rfft2(flags, s=(20, 27)), s=(20, 27))
    np.testing.assert_allclose(back[:, :18, :25], flags, atol=1e-14)
    np.testing.assert_allclose(back[:, 18:], 0.0, atol=1e-14)


@pytest.mark.usefixtures("_either")
@pytest.mark.parametrize("length", [1, 7, 121, 257, 1031])
def test_fast_lengths_are_those_of_scipy(length: int) -> None:
    assert next_fast_len(length) == scipy.fft.next_fast_len(length, real=True)


def test_without_the_compiled_module_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, transforms._MODULE)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert transforms._load() is None


def test_scipy_can_be_used_after_its_transforms_were_loaded_alone() -> None:
    code = (
        "import sys, numpy as np, skytool.core.fft as own; "
        "assert 'scipy.fft' not in sys.modules and own._compiled is not None; "
        "import scipy.fft; "
        "assert np.array_equal(scipy.fft.rfft2(np.eye(6)), own.rfft2(np.eye(6)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
