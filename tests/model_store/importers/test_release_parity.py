"""An imported net at work against the release's own way, done slowly: its world, its volume, its
module tree, its decoding. The two must name the same point."""

import numpy as np
import pytest
import torch

from tests import reference
from tests.frames import sphere_frame
from tests.model_store.importers.t7_files import ReleaseNet, t7_bytes
from v2vpose.localise import target_crop
from v2vpose.member import load_member
from v2vpose.model_store import ModelStore
from v2vpose.model_store.importers import import_weights, known_set
from v2vpose.values import Decode

CENTER_MM = np.array([14.2, -23.7, 391.3])


def release_answer(net, frame, known, *, shift_px):
    """(K, 3) y-down mm as the release would have them; y_s is its sign of y."""
    y_s = -1 if known.y_up else 1
    camera = (known.intrinsics.fx_px, y_s * known.intrinsics.fy_px, 160.0, 120.0)
    ref = (CENTER_MM[0], y_s * CENTER_MM[1], CENTER_MM[2])
    volume = np.zeros((88, 88, 88), np.float32)
    for v, u in np.argwhere(frame.depth_mm):
        point = reference.reproject(u + shift_px, v + shift_px, float(frame.depth_mm[v, u]), camera)
        x, y, z = reference.release_voxel(point, ref, known.side_mm)
        if 0 <= x < 88 and 0 <= y < 88 and 0 <= z < 88:
            volume[z, y, x] = 1
    points = []
    for heatmap in net.run(volume, torch.float):
        z, y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
        found = reference.release_decode((int(x), int(y), int(z)), ref, known.side_mm)
        points.append((found[0], y_s * found[1], found[2]))
    return np.array(points)


@pytest.mark.parametrize(
    ("name", "joints", "shift_px"), [("icvl", 16, 0), ("msra", 21, -1)], ids=["y down", "y up"]
)
def test_an_imported_net_answers_as_the_release_would(tmp_path, name, joints, shift_px):
    known = known_set(name)
    net = ReleaseNet(joints=joints, seed=5, half=True)
    path = tmp_path / "model.net"
    path.write_bytes(t7_bytes(net.root))
    import_weights("t7", [path], tmp_path / "store" / name / "1", dataset=name)
    member = load_member(ModelStore(tmp_path / "store").open(name), 1, backend="torch")
    frame = sphere_frame((31, -52, 400), radius_mm=45, intrinsics=known.intrinsics)
    crop = target_crop(frame, CENTER_MM, side_mm=known.side_mm, reach_mm=known.side_mm)
    found_mm = member.estimate([crop], Decode.ARGMAX).answers[0].keypoints_mm
    expected_mm = release_answer(net, frame, known, shift_px=shift_px)
    assert np.ptp(expected_mm, axis=0).min() > 20
    np.testing.assert_allclose(found_mm, expected_mm, atol=1e-6)
