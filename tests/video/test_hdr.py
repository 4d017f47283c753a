"""Pictures of high dynamic range look as those of the usual range."""

from __future__ import annotations

import av
import numpy as np
import pytest

from tfsasm.video.decoder import to_bgr
from tfsasm.video.hdr import HLG, PQ, tone_mapped

BT709_TO_2020 = np.array([  # red, green, blue; ITU-R BT.2087
    [0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956],
])  # fmt: skip


def pq(light):
    """SMPTE ST 2084, white being 203 cd/m2."""
    power = (np.clip(light * 203 / 10_000, 0, 1)) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def hlg(light):
    """ARIB STD-B67, white being three quarters of the signal."""
    scene = np.clip(light * 0.265, 0, 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


CURVES = [pytest.param(pq, PQ, id="PQ"), pytest.param(hlg, HLG, id="HLG")]


def filmed(bgr, curve):
    """A picture (uint8 BGR) as HDR video has it."""
    light = (bgr[..., ::-1] / 255.0) ** 2.2 @ BT709_TO_2020.T
    return np.ascontiguousarray((255 * curve(light)).round().astype(np.uint8)[..., ::-1])


@pytest.mark.parametrize(("curve", "transfer"), CURVES)
def test_colours_come_back(curve, transfer):
    shades = np.random.default_rng(0).integers(20, 215, (40, 40, 3), dtype=np.uint8)
    grey = filmed(shades, curve)
    back = tone_mapped(grey, transfer).astype(int)
    assert np.abs(back - shades).mean() < 4
    assert np.abs(grey.astype(int) - shades).mean() > 20, "as numbers it is another picture"


@pytest.mark.parametrize(("curve", "transfer"), CURVES)
def test_brighter_than_white_is_compressed_and_never_wraps(curve, transfer):
    light = np.linspace(0, 3.7, 200)[None, :, None].repeat(3, axis=2)
    signal = (255 * curve(light)).round().astype(np.uint8)
    shown = tone_mapped(signal, transfer)[0, :, 0].astype(int)
    assert (np.diff(shown) >= 0).all()
    assert (shown[0], shown[-1]) == (0, 255)
    assert 225 < shown[54] < 255, "white"


def test_the_decoder_goes_by_what_the_frame_says():
    picture = np.full((16, 16, 3), 148, np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
    assert (to_bgr(frame) == 148).all()
    frame.color_trc = PQ
    assert (to_bgr(frame) == tone_mapped(picture, PQ)).all()
    assert to_bgr(frame).mean() > 200
