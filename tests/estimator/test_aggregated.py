"""The compiled pass against the same figures out of NumPy, member by member."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2vpose.estimator.aggregated import aggregated
from v2vpose.geometry.camera import pixel_from_camera
from v2vpose.values import Aggregate, Intrinsics, MemberAnswer

CAMERA = Intrinsics(240.0, 250.0, 16.0, 12.0)
HW = (24, 32)


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 10), st.integers(1, 21), st.sampled_from(Aggregate)
)
def test_it_is_what_numpy_says(seed, members, keypoints, aggregate):
    rng = np.random.default_rng(seed)
    each_mm = rng.normal((0, 0, 50), 60, (members, keypoints, 3))  # some behind the camera
    confidence, refined_mm = rng.random((members, keypoints)), rng.normal(0, 100, (members, 3))
    found = aggregated(
        [MemberAnswer(*said, 1) for said in zip(each_mm, confidence, refined_mm, strict=True)],
        CAMERA,
        HW,
        aggregate,
    )
    mean_mm = each_mm.mean(axis=0)
    is_median = aggregate is Aggregate.MEDIAN
    keypoints_mm = np.median(each_mm, axis=0) if is_median else mean_mm
    uv_px = pixel_from_camera(keypoints_mm, CAMERA)
    apart_mm = np.linalg.norm(each_mm - mean_mm, axis=-1)  # (M, K)
    np.testing.assert_allclose(found.keypoints_mm, keypoints_mm, atol=1e-9)
    np.testing.assert_allclose(found.uv_px, uv_px, atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(found.confidence, confidence.mean(axis=0))
    np.testing.assert_allclose(found.spread_mm, np.sqrt((apart_mm**2).mean(axis=0)), atol=1e-9)
    np.testing.assert_allclose(found.refined_point_mm, refined_mm.mean(axis=0), atol=1e-9)


@pytest.mark.parametrize(
    ("u_px", "is_inside"), [(-0.6, False), (-0.4, True), (31.4, True), (31.6, False)]
)
def test_the_depth_map_ends_half_a_pixel_beyond_its_last_pixels_centre(u_px, is_inside):
    x_mm = (u_px - CAMERA.cx_px) * 500 / CAMERA.fx_px
    answer = MemberAnswer(np.array([[x_mm, 0.0, 500.0]]), np.ones(1), np.zeros(3), 1)
    assert aggregated([answer], CAMERA, HW, Aggregate.MEAN).in_view.tolist() == [is_inside]


def test_what_is_behind_the_camera_is_not_in_view():
    answer = MemberAnswer(np.array([[0.0, 0.0, -500.0]]), np.ones(1), np.zeros(3), 1)
    found = aggregated([answer], CAMERA, HW, Aggregate.MEAN)
    assert np.isnan(found.uv_px).all()
    assert not found.in_view.any()
