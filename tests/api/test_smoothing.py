import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.fakes import KEYPOINTS_MM, pose
from tests.frames import sphere_frame
from v2vpose.api.smoothing import MAX_GAP_S, OneEuroFilter, PoseSmoother, Smoothing
from v2vpose.errors import InvalidFieldError
from v2vpose.values import Handedness, Pose

FRAME = sphere_frame((0.0, 0.0, 400.0))
FOUND = pose(FRAME)
STEP_NS = 33_333_333
RIGHT = np.array([1.0, 0.0, 0.0])

place_mm = st.floats(-2000, 2000)
gap_s = st.floats(0.001, MAX_GAP_S)
amounts = st.builds(Smoothing, st.floats(0.01, 30), st.floats(0, 1))


def moved(by_mm: float) -> Pose:
    return replace(FOUND, keypoints_mm=KEYPOINTS_MM + by_mm * RIGHT)


def by_the_paper(
    values: list[float], gaps_s: list[float], min_cutoff_hz: float, beta: float
) -> list[float]:
    """The filter of one number, as the paper's appendix has it."""

    def alpha(cutoff_hz: float, te_s: float) -> float:
        return 1 / (1 + (1 / (2 * math.pi * cutoff_hz)) / te_s)

    answers, last, speed = [values[0]], values[0], 0.0
    for value, te_s in zip(values[1:], gaps_s, strict=True):
        speed += alpha(1.0, te_s) * ((value - last) / te_s - speed)
        last += alpha(min_cutoff_hz + beta * abs(speed), te_s) * (value - last)
        answers.append(last)
    return answers


@given(st.lists(st.tuples(place_mm, gap_s), min_size=1, max_size=20), amounts)
def test_on_a_line_along_an_axis_it_is_the_papers(
    track: list[tuple[float, float]], amount: Smoothing
) -> None:
    values, gaps = [x for x, _ in track], [t for _, t in track]
    smooth = OneEuroFilter(amount)
    found = [
        smooth.smoothed(np.array([[7.0, x, -3.0]]), after_s=t)
        for x, t in zip(values, [math.nan, *gaps[1:]], strict=True)
    ]
    expected = by_the_paper(values, gaps[1:], amount.min_cutoff_hz, amount.cutoff_per_speed)
    np.testing.assert_allclose([p[0, 1] for p in found], expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal([p[0, [0, 2]] for p in found], [[7.0, -3.0]] * len(found))


@given(st.lists(gap_s, min_size=1, max_size=20), amounts)
def test_what_stands_still_stays(gaps_s: list[float], amount: Smoothing) -> None:
    smooth = OneEuroFilter(amount)
    for after_s in gaps_s:
        np.testing.assert_array_equal(smooth.smoothed(KEYPOINTS_MM, after_s=after_s), KEYPOINTS_MM)


@given(st.floats(1, 500), amounts)
def test_a_step_is_followed_from_below_and_reached(height_mm: float, amount: Smoothing) -> None:
    smooth = OneEuroFilter(amount)
    smooth.smoothed(np.zeros((1, 3)), after_s=1 / 30)
    steps = [smooth.smoothed(np.array([[height_mm, 0, 0]]), after_s=1 / 30) for _ in range(3000)]
    x_mm = np.array([step[0, 0] for step in steps])
    assert (np.diff(x_mm) >= 0).all()
    assert x_mm[0] < height_mm
    assert height_mm * (1 + 1e-9) >= x_mm[-1] > 0.99 * height_mm


def test_the_faster_a_joint_the_less_it_lags() -> None:
    lags_s = []
    for speed_mm_per_s in (20.0, 200.0, 2000.0):
        smooth = OneEuroFilter(Smoothing(1.0, 0.02))
        for i in range(60):
            x_mm = speed_mm_per_s * i / 30
            found_mm = smooth.smoothed(np.array([[x_mm, 0.0, 0.0]]), after_s=1 / 30)[0, 0]
        lags_s.append((x_mm - found_mm) / speed_mm_per_s)
    assert lags_s[0] > 2 * lags_s[1] > 4 * lags_s[2] > 0


@given(st.integers(0, 10**6))
def test_it_does_not_matter_how_the_camera_is_turned(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    straight, turned = OneEuroFilter(Smoothing()), OneEuroFilter(Smoothing())
    for points_mm in rng.normal(0, 50, (5, 4, 3)):
        expected = straight.smoothed(points_mm, after_s=0.03) @ turn.T
        np.testing.assert_allclose(
            turned.smoothed(points_mm @ turn.T, after_s=0.03), expected, atol=1e-9
        )


def test_a_pose_is_projected_where_its_keypoints_are_now() -> None:
    smoother = PoseSmoother(Smoothing())
    smoother.smoothed(FOUND, FRAME, STEP_NS)
    second = smoother.smoothed(moved(1000.0), FRAME, 2 * STEP_NS)
    x_mm = second.keypoints_mm[:, 0]
    assert ((KEYPOINTS_MM[:, 0] < x_mm) & (x_mm < KEYPOINTS_MM[:, 0] + 1000)).all()
    camera = FRAME.intrinsics
    np.testing.assert_allclose(
        second.uv_px[:, 0], x_mm * camera.fx_px / KEYPOINTS_MM[:, 2] + camera.cx_px
    )
    assert not second.in_view.any()  # at 1 m to the right of its middle
    np.testing.assert_array_equal(second.confidence, FOUND.confidence)
    np.testing.assert_array_equal(second.members[1].keypoints_mm, FOUND.members[1].keypoints_mm)


@pytest.mark.parametrize(
    ("then", "at_ns"),
    [
        (moved(9.0), STEP_NS + int(1.01 * MAX_GAP_S * 1e9)),
        (moved(9.0), STEP_NS),
        (moved(9.0), STEP_NS - 1),
        (replace(moved(9.0), handedness=(Handedness.LEFT, 0.9)), 2 * STEP_NS),
        (replace(moved(9.0), refined_point_mm=FOUND.refined_point_mm + 126.0), 2 * STEP_NS),
    ],
    ids=["a gap", "the same time", "time runs back", "the other hand", "another place"],
)
def test_it_begins_anew_after(then: Pose, at_ns: int) -> None:
    smoother = PoseSmoother(Smoothing())
    smoother.smoothed(FOUND, FRAME, STEP_NS)
    np.testing.assert_array_equal(
        smoother.smoothed(then, FRAME, at_ns).keypoints_mm, then.keypoints_mm
    )


def test_it_begins_anew_when_the_target_was_lost() -> None:
    smoother = PoseSmoother(Smoothing())
    smoother.smoothed(FOUND, FRAME, STEP_NS)
    smoother.reset()
    found = smoother.smoothed(moved(9.0), FRAME, 2 * STEP_NS)
    np.testing.assert_array_equal(found.keypoints_mm, KEYPOINTS_MM + 9.0 * RIGHT)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.0, 0.1), "min_cutoff_hz must be > 0, got 0.0"),
        ((math.inf, 0.1), "min_cutoff_hz must be > 0, got inf"),
        ((1.0, -0.1), "cutoff_per_speed must be >= 0, got -0.1"),
        ((1.0, math.nan), "cutoff_per_speed must be >= 0, got nan"),
    ],
)
def test_values_out_of_range_are_refused(values: tuple[float, float], text: str) -> None:
    with pytest.raises(InvalidFieldError, match=text):
        Smoothing(*values)
