"""High dynamic range for detectors, which are trained on pictures of the usual range.

As numbers, pictures of HDR video (phones, broadcasts) look grey and dim. Here they become what an
ordinary screen would show: light of reference white (203 cd/m2, ITU-R BT.2408) is white, what is
brighter is compressed, and the colours of BT.2020 become those of BT.709.
"""

from functools import cache

import cv2
import numpy as np

PQ, HLG = 16, 18
"""Transfer characteristics of SMPTE ST 2084 and ARIB STD-B67, as FFmpeg numbers them."""

_WHITE = 203.0  # cd/m2, of PQ

_HLG_WHITE = 0.265  # of HLG's scene light, the signal of 75 %

_KNEE = 0.8  # of white; brighter light is compressed

_STEPS = 4095  # of linear light, before it becomes 8 bits again

_TO_BT709 = np.array([  # from BT.2020, ITU-R BT.2087; rows and columns are blue, green, red
    [1.1187, -0.1006, -0.0182], [-0.0083, 1.1329, -0.1246], [-0.0728, -0.5876, 1.6605],
], dtype=np.float32)  # fmt: skip


def tone_mapped(pixels: np.ndarray, transfer: int) -> np.ndarray:
    """A picture of the usual range of one (uint8 BGR `[H, W, 3]`) whose transfer is PQ or HLG."""
    light = cv2.LUT(pixels, _light(transfer))
    light = cv2.transform(light, _TO_BT709 * _STEPS)
    return _encoded()[np.clip(light, 0, _STEPS).astype(np.uint16)]


@cache
def _light(transfer: int) -> np.ndarray:
    """Light for each of the 256 values, 1 being white, with highlights compressed."""
    signal = np.arange(256) / 255
    if transfer == PQ:
        m1, m2 = 2610 / 16384, 2523 / 32
        c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
        power = signal ** (1 / m2)
        light = 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) / _WHITE
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
        light = scene / _HLG_WHITE
    above = 1 - np.exp(-np.maximum(light - _KNEE, 0) / (1 - _KNEE))
    return np.where(light < _KNEE, light, _KNEE + (1 - _KNEE) * above).astype(np.float32)


@cache
def _encoded() -> np.ndarray:
    """Of each step of light the value on a screen of gamma 2.2."""
    return (255 * (np.arange(_STEPS + 1) / _STEPS) ** (1 / 2.2)).round().astype(np.uint8)
