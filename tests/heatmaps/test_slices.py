import numpy as np

from v2vpose.heatmaps import mirrored_slices, slices_through


def test_each_slice_goes_through_the_peak():
    heatmaps = np.zeros((1, 2, 6, 6, 6), np.float32)
    heatmaps[0, 1, 1, 2, 3] = 2.0  # clipped
    heatmaps[0, 1, 1, 2, 5] = 0.5
    heatmaps[0, 1, 4, 2, 3] = 0.2
    heatmaps[0, 1, 0, 0, 0] = -1.0
    slices = slices_through(heatmaps, np.array([[[0, 0, 0], [1, 2, 3]]]))
    assert slices.shape == (1, 2, 3, 6, 6)
    assert slices.dtype == np.uint8
    yx, zx, zy = slices[0, 1]
    assert (yx[2, 3], yx[2, 5]) == (255, 128)
    assert (zx[1, 3], zx[1, 5], zx[4, 3]) == (255, 128, 51)
    assert (zy[1, 2], zy[4, 2]) == (255, 51)
    assert not slices[0, 0].any()


def test_in_a_mirror_x_runs_the_other_way():
    volume = np.random.default_rng(0).random((1, 5, 5, 5))
    at, in_mirror = np.array([[1, 2, 0]]), np.array([[1, 2, 4]])
    np.testing.assert_array_equal(
        mirrored_slices(slices_through(volume, at)), slices_through(volume[..., ::-1], in_mirror)
    )
