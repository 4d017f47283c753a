"""The Kalman filter, and the motion persistence of a video."""

import numpy as np
import pytest

from helpers.people import walk
from tfsasm.boxes import xyxy_to_cxcywh
from tfsasm.tracking.appearance import motion
from tfsasm.tracking.appearance.motion import (
    Displacements,
    KalmanConfig,
    MeasurementNoise,
    Persistence,
    PersistenceConfig,
    with_persistence,
)

KALMAN = KalmanConfig()
CONFIG = PersistenceConfig(frames=5, min_pairs=4)


# Kalman filter


def filtered(xyxy, missing=()):
    """The filter after all boxes of one track, but those of the `missing` frames."""
    boxes = xyxy_to_cxcywh(np.asarray(xyxy))
    state = motion.begin(boxes[:1], KALMAN)
    for frame, box in enumerate(boxes[1:, None], start=1):
        state = motion.predict(state, KALMAN)
        if frame not in missing:
            state = motion.update(state, box, np.ones(1), KALMAN)
    return state


def test_a_steady_walk_is_predicted():
    boxes = walk((100, 200), (5, -2), 31)
    predicted = motion.predict(filtered(boxes[:30]), KALMAN)
    np.testing.assert_allclose(predicted.xyxy[0], boxes[30], atol=0.5)


def test_frames_without_detection_leave_the_velocity_and_open_the_filter_for_the_next_box():
    boxes = walk((100, 200), (5, 0), 20)
    with_gaps = filtered(boxes, missing=(8, 11, 14, 17))
    np.testing.assert_allclose(with_gaps.velocity, filtered(boxes).velocity, atol=0.5)
    moved = np.concatenate([boxes, boxes[-1:] + 40])
    lost, seen = filtered(moved, missing=range(10, 20)), filtered(moved)
    target = xyxy_to_cxcywh(moved[-1:])[0, 0]
    assert abs(lost.box[0, 0] - target) < 0.5 * abs(seen.box[0, 0] - target)


def noise(factor=1.0, correlation=0.0):
    """What was learned of detections and of the filter."""
    pairs = Persistence(count=100, products=correlation, squares=1.0)
    return MeasurementNoise(pairs, float(np.log(factor)))


NONE = noise()


def reported(score, learned=NONE, smoothing=2.0, box=(100, 50, 140, 150), size=None):
    """The box that is reported, the detection, and the filter, which expected it 20 pixels further
    left."""
    at, expected = np.array([box], float), np.array([box], float) - [20, 0, 20, 0]
    config = KalmanConfig(smoothing=smoothing)
    state = motion.predict(motion.begin(xyxy_to_cxcywh(expected), config), config)
    state = motion.update(state, xyxy_to_cxcywh(at), np.array([score]), config, learned.factor)
    boxes = motion.smoothed(state, at, np.array([score]), config, learned, 0.5, size)
    return boxes[0], at[0], state.xyxy[0]


def test_a_sure_detection_is_reported_as_it_is():
    box, detected, filtered = reported(1.0)
    np.testing.assert_array_equal(box, detected)
    assert (filtered[[0, 2]] < detected[[0, 2]]).all()


def test_a_detection_counts_the_less_the_lower_its_score_and_the_noisier_detections_are():
    sure, unsure = reported(0.9)[0][0], reported(0.5)[0][0]
    jittering = reported(0.9, noise(3.0))[0][0]
    assert 100 > sure > max(unsure, jittering)
    for score, factor in ((0.5, 1.0), (0.9, 3.0)):  # noise moves the filter, too
        box, detected, filtered = reported(score, noise(factor))
        share = (score / factor) ** 2
        np.testing.assert_allclose(box, share * detected + (1 - share) * filtered)


def test_a_filter_that_lags_counts_less():
    assert 100 > reported(0.5, noise(correlation=0.8))[0][0] > reported(0.5)[0][0]
    box, detected, _ = reported(0.5, noise(correlation=1.0))
    np.testing.assert_array_equal(box, detected)


def test_until_errors_are_known_the_filter_counts_half():
    box, _, _ = reported(0.5, MeasurementNoise())
    np.testing.assert_allclose(box, reported(0.5, noise(correlation=0.5))[0])


def test_without_smoothing_detections_are_reported_as_they_are():
    box, detected, _ = reported(0.3, noise(3.0), smoothing=0.0)
    np.testing.assert_array_equal(box, detected)


@pytest.mark.parametrize(("box", "left"), [((0, 50, 40, 150), 0.0), ((-9, 50, 40, 150), -9.0)])
def test_a_box_leaves_the_image_only_where_its_detection_does(box, left):
    assert reported(0.5, box=box)[0][0] < left
    assert reported(0.5, box=box, size=(640, 360))[0][0] == left


def stride(persistence, score=0.6, rate=0.05, smoothing=3.0, now=1, learned=NONE):
    """Width that is reported of a box that was 40 pixels wide for long and is 60 wide `now`."""
    config = KalmanConfig(size_rate=rate, smoothing=smoothing)
    state, sure = motion.begin(np.array([[100.0, 100, 40, 100]]), config), np.array([score])
    for width in (*[40] * 20, *[60] * now):
        box = np.array([[100.0, 100, width, 100]])
        state = motion.update(motion.predict(state, config), box, sure, config)
    corners = np.array([[70.0, 50, 130, 150]])
    x1, _, x2, _ = motion.smoothed(state, corners, sure, config, learned, persistence)[0]
    assert (x1 + x2) / 2 == pytest.approx(100)
    return x2 - x1


def test_of_people_who_walk_the_mean_size_is_reported():
    assert 41 < stride(1.0) < stride(0.75) < stride(0.5) == stride(0.0, rate=1.0) < 60


def test_a_size_counts_the_more_the_better_its_score():
    assert stride(1.0, score=0.3) < stride(1.0, score=0.6) < stride(1.0, score=0.9)
    assert stride(1.0, score=1.0) == stride(1.0, smoothing=0.0) == 60


def test_the_mean_size_follows_and_counts_by_the_square_of_what_the_score_leaves():
    lags = noise(correlation=1.0)  # so the detection stands where the filter would
    mean = 40 * (60 / 40) ** 0.05
    unsure = 1 - 0.6**3
    assert stride(1.0, learned=lags) == pytest.approx(60 * (mean / 60) ** (unsure**2))
    assert 59 < stride(1.0, now=100) < 60


def test_filters_do_not_mix_tracks():
    a, b = walk((100, 200), (5, 0), 2), walk((300, 90), (-1, 4), 2)
    first, second = (xyxy_to_cxcywh(np.stack([a[frame], b[frame]])) for frame in range(2))
    both = motion.predict(motion.begin(first, KALMAN), KALMAN)
    both = motion.update(both, second, np.ones(2), KALMAN)
    for row, boxes in enumerate((a, b)):
        for name, column in vars(filtered(boxes)).items():
            np.testing.assert_allclose(getattr(both, name)[row], column[0], err_msg=name)


def test_a_moved_camera_moves_the_tracks():
    state = motion.begin(np.array([[10.0, 20, 4, 8]]), KALMAN)
    zoomed = motion.compensate(state, np.array([[2.0, 0, 5], [0, 2, -1]]))
    np.testing.assert_allclose(zoomed.box, [[25, 39, 8, 16]])
    np.testing.assert_allclose(zoomed.position_variance, 4 * state.position_variance)
    np.testing.assert_allclose(np.exp(zoomed.log_size), [[8, 16]])


def test_where_motion_persists_velocities_may_change_more():
    config = KalmanConfig(velocity=0.01, persistence_noise=1.5)
    assert with_persistence(config, 0.0) == config
    assert with_persistence(config, 0.4).velocity == pytest.approx(0.016)


# How noisy detections are


def test_an_error_of_prediction_is_in_sizes_of_the_box_and_has_an_end():
    state = motion.begin(np.array([[100.0, 50, 20, 40]] * 2), KALMAN)
    seen = np.array([[102.0, 46, 20, 40], [160, 50, 20, 40]])
    np.testing.assert_allclose(motion.errors(state, seen), [[0.1, -0.1], [0.3, 0]])


def test_a_noisier_detection_moves_a_track_less():
    state = motion.predict(motion.begin(np.array([[100.0, 50, 20, 40]]), KALMAN), KALMAN)
    seen = np.array([[110.0, 50, 20, 40]])
    usual, noisier = (
        motion.update(state, seen, np.ones(1), KALMAN, times).box[0, 0] for times in (1, 4)
    )
    assert 100 < noisier < usual - 1
    assert usual < 110


def test_no_score_is_surer_than_one():
    state = motion.predict(motion.begin(np.array([[100.0, 50, 20, 40]]), KALMAN), KALMAN)
    seen = np.array([[110.0, 50, 20, 40]])
    sure, above = (
        motion.update(state, seen, np.array([score]), KALMAN).box[0, 0] for score in (1, 80)
    )
    assert above == sure


def noise_of(centres):
    """What is learned of noise from boxes of 20 x 40 pixels at `centres` `[T, N, 2]`."""
    sizes = np.broadcast_to([20.0, 40.0], centres.shape)
    boxes, noise = np.concatenate([centres, sizes], axis=2), motion.MeasurementNoise()
    state, before = motion.begin(boxes[0], KALMAN), np.full(boxes.shape[1:], np.nan)[:, :2]
    for seen in boxes[1:]:
        state = motion.predict(state, KALMAN)
        error = motion.errors(state, seen)
        noise, before = noise.updated(before, error, KALMAN), error
        state = motion.update(state, seen, np.ones(len(seen)), KALMAN, noise.factor)
    return noise


def test_jittered_boxes_are_taken_as_noisier_and_people_who_turn_are_not():
    """Both are off the prediction by as much; the errors of the one repeat, of the other do not."""
    turning = 300 + 60 * np.sin(np.arange(150)[:, None] / 8 + np.arange(6))
    dice = np.random.default_rng(0)
    assert noise_of(np.stack([turning, turning], axis=2)).factor == 1
    assert noise_of(300 + dice.normal(size=(150, 6, 2)) * [2, 4]).factor > 1.5


def test_tracks_without_a_box_say_nothing_of_noise():
    before, now = np.full((90, 2), np.nan), np.ones((90, 2))
    assert motion.MeasurementNoise().updated(before, now, KALMAN) == motion.MeasurementNoise()


# Motion persistence


def learned(centres, frames=60, missing=(), config=CONFIG):
    """Persistence of tracks of 100 x 100 pixels whose centres are `centres(frame)` `[N, 2]`."""
    displacements, persistence = motion.begin_displacements(centres(0)), Persistence()
    last = centres(0)
    for frame in range(1, frames):
        present = np.full(len(last), frame not in missing)
        last = np.where(present[:, None], centres(frame), last)
        xyxy = np.hstack([last - 50, last + 50])
        displacements, persistence = motion.advance(
            displacements, xyxy, present, persistence, config
        )
    return persistence


def pedestrians(frame):
    return np.array([[3.0 * frame, 50], [400 - 2.0 * frame, 80]])


def dancer(frame):
    """Back and forth in ten frames: the displacement over five is undone in the next five."""
    return np.array([[100 + 20 * np.sin(frame * np.pi / 5 + 0.4), 50.0]])


def test_the_motion_of_pedestrians_persists():
    assert learned(pedestrians).share(CONFIG.min_pairs) == pytest.approx(1)


def test_the_motion_of_dancers_does_not():
    persistence = learned(dancer)
    assert persistence.products == pytest.approx(-persistence.squares)
    assert persistence.share(CONFIG.min_pairs) == 0


def test_displacements_count_by_their_lengths():
    """A step of 1 is repeated, a step of 2 undone: (1 - 4) / (1 + 4), and no less than 0."""
    pairs = np.array([[1.0, 0], [0, 2]]), np.array([[1.0, 0], [0, -1]])
    persistence = Persistence().updated(*pairs, 100)
    assert (persistence.products, persistence.squares) == (-1, 5)
    assert Persistence().updated(*pairs[::-1], 100).share(2) == 0
    slower = Persistence().updated(pairs[0], pairs[0] * 0.4, 100)
    assert slower.share(2) == pytest.approx(0.4)


def test_motion_is_assumed_to_persist_until_enough_is_known():
    assert learned(dancer, frames=20).share(CONFIG.min_pairs) == 1


def test_people_who_stand_still_teach_nothing():
    assert learned(lambda frame: np.array([[10.0, 10]])).share(CONFIG.min_pairs) == 1


def test_missed_frames_do_not_keep_motion_from_being_learned():
    """A detector that misses every third frame: dancers are known for what they are all the same,
    and so are pedestrians, whose displacements then take five frames or six."""
    missed = range(2, 120, 3)
    assert learned(dancer, frames=120, missing=missed).share(CONFIG.min_pairs) < 0.1
    assert learned(pedestrians, frames=120, missing=missed).share(CONFIG.min_pairs) > 0.99


def test_what_lies_in_a_long_gap_teaches_nothing():
    """Seen for two frames of twelve only: displacements take twice their five frames or more."""
    missing = [frame for frame in range(1, 100) if frame % 12 > 1]
    assert learned(pedestrians, frames=100, missing=missing).count == 0


def test_old_displacements_fade():
    ones = np.ones((100, 2))
    persistence = Persistence().updated(ones, ones, max_pairs=50)
    for _ in range(10):
        persistence = persistence.updated(ones[:50], -ones[:50], max_pairs=50)
    assert persistence.share(1) == 0


def test_displacements_move_with_the_camera():
    """It zooms in and turns by a right angle; displacements are in lengths of the box, which zoom
    too."""
    before = Displacements(np.array([[10.0, 20]]), np.array([[0.5, 0]]), np.array([3]))
    after = motion.compensate_displacements(before, np.array([[0.0, -2, 5], [2, 0, -1]]))
    np.testing.assert_allclose(after.start, [[-35, 19]])
    np.testing.assert_allclose(after.previous, [[0, 0.5]])


@pytest.mark.parametrize("height", [1e-160, 1.0, 5.0])
def test_a_flat_box_does_not_outweigh_all_others(height):
    """Ten dancers, and one pedestrian of whom the image border leaves a strip."""
    half = np.array([[20, 50.0]] * 10 + [[10, height / 2]])

    def boxes(frame):
        dancers = np.repeat(dancer(frame), 10, axis=0)
        centres = np.vstack([dancers, [[3.0 * frame, 0]]])
        return np.hstack([centres - half, centres + half])

    displacements = motion.begin_displacements(xyxy_to_cxcywh(boxes(0))[:, :2])
    present, persistence = np.ones(11, dtype=bool), Persistence()
    for frame in range(1, 60):
        displacements, persistence = motion.advance(
            displacements, boxes(frame), present, persistence, CONFIG
        )
    assert persistence.share(CONFIG.min_pairs) < 0.5
