"""A detector that needs no network, light to load in another process."""

import numpy as np

from tfsasm.detection.proposals import Proposals

WIDTH, HEIGHT = 64, 48


def pictures(count, seed):
    """Frames whose top left pixel tells which they are."""
    images = [np.zeros((HEIGHT, WIDTH, 3), np.uint8) for _ in range(count)]
    for number, image in enumerate(images, start=1):
        image[0, 0] = (seed, number, 0)
    return images


class Finder:
    """Two boxes a frame that depend on the frame alone; every fifth frame has none."""

    def __init__(self, stop_at=None, error=KeyboardInterrupt):
        self.seen, self.stop_at, self.error = [], stop_at, error

    def __call__(self, frame):
        seed, number = map(int, frame.image[0, 0, :2])
        if self.stop_at == (seed, number):
            raise self.error
        self.seen.append((seed, number))
        if number % 5 == 0:
            return Proposals.empty()
        boxes = np.array([[seed, number, 10.25, 20], [1, 2, 30, 4.5]])
        return Proposals.from_ltwh(boxes, [0.5, number / 100], WIDTH, HEIGHT)

    def report(self):
        return ["a word of the detector"]
