import os
from pathlib import Path

import numpy as np
import pytest

from v2vpose.errors import PayloadTooLargeError
from v2vpose.serving.engines.shared_crops import CropsView, SharedCrops, crop_in, depth_of
from v2vpose.values import Intrinsics, TargetCrop


def crop(rows: int, cols: int, seed: int = 0) -> TargetCrop:
    rng = np.random.default_rng(seed)
    return TargetCrop(
        rng.random((rows, cols), dtype=np.float32),
        Intrinsics(*rng.uniform(1, 500, 4)),
        rng.uniform(-100, 500, 3),
        side_mm=float(rng.uniform(100, 300)),
    )


@pytest.fixture
def shared():
    crops = SharedCrops(regions=2, region_px=1 << 16)
    yield crops
    crops.close()


def view_of(shared: SharedCrops) -> CropsView:
    return CropsView(os.dup(shared.fd))


def test_a_worker_sees_the_crops_as_they_were_written(shared):
    view = view_of(shared)
    crops = [crop(3, 5, seed=1), crop(120, 77, seed=2), crop(1, 1, seed=3)]
    region, refs = shared.write(crops)
    for ref, expected in zip(refs, crops, strict=True):
        found = view.crop(ref)
        np.testing.assert_array_equal(found.depth_mm, expected.depth_mm)
        np.testing.assert_array_equal(found.reference_point_mm, expected.reference_point_mm)
        assert (found.intrinsics, found.side_mm) == (expected.intrinsics, expected.side_mm)
        assert found.depth_mm.flags.aligned
    shared.release(region)


def test_two_batches_do_not_touch_each_other(shared):
    view = view_of(shared)
    one, two = crop(256, 256, seed=1), crop(256, 256, seed=2)
    (ref_one,), (ref_two,) = shared.write([one])[1], shared.write([two])[1]
    np.testing.assert_array_equal(view.crop(ref_one).depth_mm, one.depth_mm)
    np.testing.assert_array_equal(view.crop(ref_two).depth_mm, two.depth_mm)


def test_regions_are_given_back_and_used_again(shared):
    held = [shared.write([crop(2, 2)]), shared.write([crop(2, 2)])]
    assert shared.write([crop(2, 2)]) is None
    shared.release(held[0][0])
    assert shared.write([crop(2, 2)])[0] == held[0][0]


def test_more_than_a_region_holds_is_refused_and_costs_no_region(shared):
    with pytest.raises(PayloadTooLargeError):
        shared.write([crop(256, 256), crop(1, 1)])
    assert shared.write([crop(1, 1)]) is not None
    assert shared.write([crop(1, 1)]) is not None


def test_only_what_was_written_costs_memory_and_a_large_batch_gives_it_back():
    shared = SharedCrops(regions=4, region_px=1 << 30)
    written = shared.write([crop(4000, 4000)])
    assert written is not None
    assert 60e6 < os.fstat(shared.fd).st_blocks * 512 < 70e6
    shared.release(written[0])
    assert os.fstat(shared.fd).st_blocks * 512 < 20e6
    shared.close()


def test_the_segment_has_no_name_that_could_be_left_behind(shared):
    assert Path(f"/proc/self/fd/{shared.fd}").readlink().name.startswith("memfd:v2vpose-crops")
    assert not list(Path("/dev/shm").glob("*v2vpose*"))  # noqa: S108


def test_closing_gives_the_descriptor_back():
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    SharedCrops(regions=1, region_px=16).close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_crops_travel_whole_without_shared_memory():
    crops = [crop(3, 5), crop(40, 30, seed=1)]
    transposed = crop(4, 6, seed=2).depth_mm.T
    camera, point_mm = crops[0].intrinsics, crops[0].reference_point_mm
    crops.append(TargetCrop(transposed, camera, point_mm, 250.0, wants_slices=True))
    depth, refs = depth_of(crops)
    for sent, ref in zip(crops, refs, strict=True):
        found = crop_in(depth, ref)
        np.testing.assert_array_equal(found.depth_mm, sent.depth_mm)
        np.testing.assert_array_equal(found.reference_point_mm, sent.reference_point_mm)
        assert found.intrinsics == sent.intrinsics
        assert (found.side_mm, found.wants_slices) == (sent.side_mm, sent.wants_slices)
