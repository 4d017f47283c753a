"""The live window, with a display that is made up, and without one."""

import cv2
import numpy as np
import pytest

from tfsasm.errors import InputError
from tfsasm.video import window
from tfsasm.video.window import Window, WindowClosed, check_display


@pytest.fixture
def screen(monkeypatch):
    """What is shown; `screen.keys` are pressed one by one, `screen.open` says if it is there."""

    class Screen:
        shown, keys, open, destroyed = [], [], True, False

    Screen.shown, Screen.keys = [], []
    monkeypatch.setattr(cv2, "imshow", lambda title, image: Screen.shown.append(image.shape))
    monkeypatch.setattr(cv2, "waitKey", lambda _: Screen.keys.pop(0) if Screen.keys else -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: float(Screen.open))
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: setattr(Screen, "destroyed", True))
    return Screen


def test_images_are_shown_and_large_ones_made_smaller(screen):
    with Window("a") as live:
        live.show(np.zeros((40, 60, 3), np.uint8))
        live.show(np.zeros((2560, 1440, 3), np.uint8))
    assert screen.shown == [(40, 60, 3), (1280, 720, 3)]
    assert screen.destroyed


@pytest.mark.parametrize("key", [ord("q"), 27])
def test_a_key_ends_it(screen, key):
    screen.keys += [-1, key]
    with Window("a") as live:
        live.show(np.zeros((4, 4, 3), np.uint8))
        with pytest.raises(WindowClosed):
            live.show(np.zeros((4, 4, 3), np.uint8))


def test_closing_ends_it(screen):
    with Window("a") as live:
        live.show(np.zeros((4, 4, 3), np.uint8))
        screen.open = False
        with pytest.raises(WindowClosed):
            live.show(np.zeros((4, 4, 3), np.uint8))


def test_without_a_display_it_is_said(monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="--show needs a display"):
        check_display()
    monkeypatch.setattr(window, "TRY", "pass")
    check_display()
