from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from tests.serving.fakes import FakeBatch, FakeMember
from v2vpose.errors import InvalidModelError
from v2vpose.geometry.cubic_box import CubicBox
from v2vpose.serving.self_test import (
    SelfTest,
    load_self_test,
    synthetic_crop,
    warm_up,
    write_self_test,
)
from v2vpose.values import Decode, TargetCrop
from v2vpose.voxel import voxelize

SELF_TEST = SelfTest(synthetic_crop(250.0))


@dataclass
class OddMember:
    """Answers like a `FakeMember`, until its `turn`-th call, which is off by `error_mm`."""

    turn: int
    error_mm: float
    sizes: list[int] = field(default_factory=list)

    def estimate(self, crops: Sequence[TargetCrop], decode: Decode) -> FakeBatch:
        self.sizes.append(len(crops))
        batch = FakeMember(epoch=1).estimate(crops, decode)
        if len(self.sizes) != self.turn:
            return batch
        return FakeBatch(
            tuple(replace(a, keypoints_mm=a.keypoints_mm + self.error_mm) for a in batch.answers)
        )


def test_every_batch_size_is_warmed_up():
    member = OddMember(turn=0, error_mm=0)
    warm_up(member, 1, SELF_TEST, max_batch_size=4)
    assert set(member.sizes) == {1, 2, 3, 4}


def test_a_member_that_changes_its_mind_fails():
    with pytest.raises(InvalidModelError, match=r"epoch 1: .*found 1\.73 mm"):
        warm_up(OddMember(turn=4, error_mm=1.0), 1, SELF_TEST, max_batch_size=3)


def test_a_member_that_says_nan_fails():
    with pytest.raises(InvalidModelError, match="not finite"):
        warm_up(OddMember(turn=2, error_mm=np.nan), 1, SELF_TEST, max_batch_size=3)


def test_the_record_of_the_model_version_is_what_counts(tmp_path):
    said = FakeMember(epoch=1).estimate([SELF_TEST.crop], Decode.ARGMAX).answers[0].keypoints_mm
    record = replace(SELF_TEST, decode=Decode.ARGMAX, keypoints_mm={1: said, 7: said + 1})
    write_self_test(tmp_path, record)
    loaded = load_self_test(tmp_path, side_mm=1.0)
    assert loaded.decode is Decode.ARGMAX
    np.testing.assert_array_equal(loaded.crop.depth_mm, SELF_TEST.crop.depth_mm)
    assert loaded.crop.intrinsics == SELF_TEST.crop.intrinsics
    assert loaded.crop.side_mm == 250.0
    warm_up(FakeMember(epoch=1), 1, loaded, max_batch_size=1)
    with pytest.raises(InvalidModelError, match="epoch 7"):
        warm_up(FakeMember(epoch=1), 7, loaded, max_batch_size=1)


def test_keypoints_of_another_shape_fail():
    record = replace(SELF_TEST, keypoints_mm={1: np.zeros((3, 3))})
    with pytest.raises(InvalidModelError, match=r"expected keypoints of shape \(3, 3\)"):
        warm_up(FakeMember(epoch=1), 1, record, max_batch_size=1)


def test_a_record_that_cannot_be_read_breaks_the_model(tmp_path):
    (tmp_path / "selftest.npz").write_bytes(b"not a zip")
    with pytest.raises(InvalidModelError, match=r"selftest\.npz"):
        load_self_test(tmp_path, side_mm=250.0)


def test_without_a_record_the_crop_is_a_bump_in_the_cube(tmp_path):
    crop = load_self_test(tmp_path, side_mm=250.0).crop
    box = CubicBox(crop.reference_point_mm, crop.side_mm)
    occupied = voxelize(crop.depth_mm, crop.intrinsics, box, input_side=88).sum()
    assert 500 < occupied < 10_000
