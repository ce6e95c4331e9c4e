"""Checkpoints of the port, imported and served, against the port's own way, done slowly: pixels
counted from 1, volume and heatmaps indexed x, y, z, the middle of a cell decoded, two epochs
averaged in millimetres."""

import numpy as np
import torch

from tests.frames import sphere_frame
from tests.model_store.importers.test_dragonbook import PortNet
from v2vpose.estimator import Estimator, Options
from v2vpose.model_store import ModelStore
from v2vpose.model_store.importers import import_weights, known_set
from v2vpose.values import Handedness, Hint

KNOWN = known_set("hands17")
CENTRE_MM = np.array([14.2, -23.7, 391.3])


def port_net(seed):
    """A net whose weights survive the store's half precision."""
    net = PortNet()
    net.generator.manual_seed(seed)
    for name, tensor in net.state.items():
        if tensor.is_floating_point():
            drawn = tensor * (0.5 + torch.rand(tensor.shape, generator=net.generator))
            net.state[name] = drawn if name.endswith("running_var") else drawn.half().float()
    return net


def port_answer_mm(net, frame):
    """(21, 3) millimetres as the port would have them."""
    camera, side_mm = KNOWN.intrinsics, KNOWN.side_mm
    volume = np.zeros((88, 88, 88), np.float32)
    for v, u in np.argwhere(frame.depth_mm):
        z = float(frame.depth_mm[v, u])
        x = (u + 1 - camera.cx_px) * z / camera.fx_px
        y = (v + 1 - camera.cy_px) * z / camera.fy_px
        i, j, k = np.floor((np.array([x, y, z]) - CENTRE_MM) / (side_mm / 2) * 44 + 44).astype(int)
        if 0 <= i < 88 and 0 <= j < 88 and 0 <= k < 88:
            volume[i, j, k] = 1
    points = []
    for heatmap in net.run(volume):
        cell = np.array(np.unravel_index(heatmap.argmax(), heatmap.shape))
        points.append(((cell + 0.5) * 2 / 88 - 0.5) * side_mm + CENTRE_MM)
    return np.array(points)


def test_epochs_of_the_port_are_served_as_one_ensemble(tmp_path):
    nets = [port_net(seed) for seed in (1, 2)]
    files = []
    for number, net in enumerate(nets):
        files.append(tmp_path / f"epoch{number}.pth")
        torch.save({"model_state_dict": net.state, "epoch": number}, files[-1])
    import_weights("dragonbook", files, tmp_path / "store" / "hands17" / "1", dataset="hands17")
    version = ModelStore(tmp_path / "store").open("hands17")
    assert version.manifest.epoch_numbers == (1, 2)
    frame = sphere_frame((31, -52, 400), radius_mm=45, hw=(480, 640), intrinsics=KNOWN.intrinsics)
    x, y, z = CENTRE_MM.tolist()
    told = Options(hint=Hint(reference_point_mm=(x, y, z)), handedness=Handedness.RIGHT)
    pose = Estimator.load(version, backend="torch").estimate(frame, told)
    each_mm = [port_answer_mm(net, frame) for net in nets]
    assert np.linalg.norm(each_mm[0] - each_mm[1], axis=1).mean() > 5  # two different nets
    for epoch, expected_mm in zip((1, 2), each_mm, strict=True):
        found_mm = pose.members[epoch].keypoints_mm
        np.testing.assert_allclose(found_mm, expected_mm, atol=1e-6)
    np.testing.assert_allclose(pose.keypoints_mm, np.mean(each_mm, axis=0), atol=1e-6)
    assert pose.handedness == (Handedness.RIGHT, 1.0)
