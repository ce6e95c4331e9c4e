import math

import numpy as np
import pytest

from tests.training.conftest import ball_frame
from v2vpose.training.recipe import Recipe
from v2vpose.training.refining import View, centre_of_mass, refiner_views, turned
from v2vpose.training.samples import bbox_midpoint
from v2vpose.training.trainees import deepprior_factor
from v2vpose.values import DepthFrame

DEEPPRIOR = Recipe(refiner_views=300)


def frame_and_target() -> tuple[DepthFrame, np.ndarray]:
    ball = ball_frame(2)
    return DepthFrame(ball.depth_mm, ball.intrinsics), bbox_midpoint(ball.keypoints_mm)


def test_the_centre_of_mass_of_a_balls_front_lies_two_thirds_of_its_radius_before_it():
    frame, _ = frame_and_target()
    ball = ball_frame(2).keypoints_mm
    centre_mm = (ball[1] + ball[2]) / 2
    mass_mm = centre_of_mass(frame, centre_mm, side_mm=300)
    # seen in parallel: the mean of sqrt(r^2 - rho^2) over the disc is 2/3 r
    np.testing.assert_allclose(mass_mm, centre_mm - (0, 0, 2 / 3 * 50), atol=4)


def test_an_empty_cube_has_its_own_centre():
    frame, target_mm = frame_and_target()
    far_mm = target_mm + np.array([0, 0, 2000.0])
    np.testing.assert_array_equal(centre_of_mass(frame, far_mm, side_mm=300), far_mm)


def test_a_turn_moves_readings_and_the_way_to_the_target_alike():
    crop = np.ones((128, 128), np.float32)
    crop[64 - 2 : 64 + 2, 64 + 30 : 64 + 34] = -0.5  # right of the middle
    view = turned(View(crop, np.array([0.5, 0.0, 0.2])), math.pi / 2)
    rows, cols = np.nonzero(view.crop < 0)
    assert 93 <= rows.mean() - 0.5 <= 97  # below it now
    assert abs(cols.mean() - 63.5) < 1.5
    np.testing.assert_allclose(view.offset, [0, 0.5, 0.2], atol=1e-12)
    assert view.crop[0, 0] == 1


def test_deeppriors_views_are_a_third_each_offset_turned_and_plain():
    frame, target_mm = frame_and_target()
    mass_mm = centre_of_mass(frame, target_mm, side_mm=DEEPPRIOR.refiner_side_mm)
    views = refiner_views(frame, target_mm, DEEPPRIOR, np.random.default_rng(1))
    from_mass = (target_mm - mass_mm) / 150
    offsets = np.array([view.offset for view in views])
    plain = np.isclose(offsets, 0, atol=1e-9).all(axis=1)
    plain |= np.isclose(offsets, from_mass).all(axis=1)
    turned_about_mass = ~plain & np.isclose(offsets[:, 2], from_mass[2])
    # half of the turned ones are turned about the target, whose offset a turn leaves at 0
    assert 0.4 < plain.mean() < 0.6
    assert 0.1 < turned_about_mass.mean() < 0.25
    offset_mm = offsets[~plain & ~turned_about_mass] * 150
    distance = np.minimum(
        np.linalg.norm(offset_mm, axis=1), np.linalg.norm(offset_mm - from_mass * 150, axis=1)
    )
    assert 6 < distance.mean() < 10  # 5 mm an axis: 8.0 on average in space


@pytest.mark.parametrize(
    ("progress", "factor"),
    [(0, 0.1), (0.019, 0.1), (0.02, 1 / 3), (0.03, math.exp(-0.12)), (0.999, math.exp(-3.96))],
)
def test_the_refiners_rate_is_deeppriors(progress, factor):
    assert deepprior_factor(progress) == pytest.approx(factor)
