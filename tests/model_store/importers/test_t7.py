import re

import numpy as np
import pytest
import torch

from tests.model_store.importers.t7_files import Module, ReleaseNet, t7_bytes
from v2vpose.errors import InvalidModelError
from v2vpose.model_store import LabelConvention
from v2vpose.model_store.importers.known_sets import ICVL, MSRA, NYU
from v2vpose.model_store.importers.t7 import read_v2v


def saved(tmp_path, root):
    path = tmp_path / "model.net"
    path.write_bytes(t7_bytes(root))
    return path


def occupancy(seed=1, side=16):
    return (np.random.default_rng(seed).random((side,) * 3) < 0.1).astype(np.float32)


def heatmaps(net, volume):
    with torch.no_grad():
        return net(torch.from_numpy(np.ascontiguousarray(volume))[None, None])[0].numpy()


@pytest.mark.parametrize("old_norm", [False, True])
def test_a_net_of_the_release_gives_what_walking_its_module_tree_gives(tmp_path, old_norm):
    release = ReleaseNet(joints=16, old_norm=old_norm)
    net, conventions = read_v2v(saved(tmp_path, release.root), ICVL, y_up=False)
    volume = occupancy()
    expected = release.run(volume)
    assert expected.std() > 0.01
    np.testing.assert_allclose(heatmaps(net, volume), expected, atol=1e-5)
    assert conventions.label is LabelConvention.RELEASE
    assert conventions.ray_offset == 0
    assert not net.training


def test_a_net_of_the_papers_width_has_the_papers_parameters(tmp_path):
    release = ReleaseNet(joints=21, width=16)
    net, _ = read_v2v(saved(tmp_path, release.root), MSRA, y_up=True)
    assert sum(p.numel() for p in net.parameters()) == 3_410_453


def test_a_y_up_net_sees_our_grid_mirrored_and_answers_mirrored(tmp_path):
    release = ReleaseNet(joints=14)
    net, conventions = read_v2v(saved(tmp_path, release.root), NYU, y_up=True)
    volume = occupancy()  # z, y, x, y down
    expected = release.run(np.ascontiguousarray(volume[:, ::-1]))[:, :, ::-1]
    np.testing.assert_allclose(heatmaps(net, volume), expected, atol=1e-5)
    assert np.abs(expected - release.run(volume)).max() > 0.01
    assert conventions.label is LabelConvention.RELEASE_Y_UP


def test_nets_trained_on_msra_saw_readings_one_pixel_left_and_up(tmp_path):
    release = ReleaseNet(joints=21)
    _, conventions = read_v2v(saved(tmp_path, release.root), MSRA, y_up=True)
    assert conventions.ray_offset == pytest.approx(-1 / 241.42)


def test_another_module_tree_is_refused_with_the_place(tmp_path):
    release = ReleaseNet(joints=3)
    release.root.fields["modules"][5].fields["modules"].pop()
    with pytest.raises(InvalidModelError, match=r"model\.net: .*found no module 5\.4"):
        read_v2v(saved(tmp_path, release.root), ICVL, y_up=False)


def test_a_wrong_shape_is_refused_with_both(tmp_path):
    release = ReleaseNet(joints=3)
    other = ReleaseNet(joints=3, width=3).root.fields["modules"]
    release.root.fields["modules"][3] = other[3]
    with pytest.raises(InvalidModelError, match=re.escape("front.3.main.0.weight: expected shape")):
        read_v2v(saved(tmp_path, release.root), ICVL, y_up=False)


def test_a_module_without_weights_is_refused(tmp_path):
    release = ReleaseNet(joints=3)
    release.root.fields["modules"][6] = Module("nn.Identity")
    with pytest.raises(InvalidModelError, match=r"module 6 \(nn.Identity\): expected a tensor we"):
        read_v2v(saved(tmp_path, release.root), ICVL, y_up=False)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    release = ReleaseNet(joints=3)
    release.root.fields["modules"][6].fields["bias"].storage[-1] = np.nan
    with pytest.raises(InvalidModelError, match=r"output\.bias: expected finite weights"):
        read_v2v(saved(tmp_path, release.root), ICVL, y_up=False)


def test_what_is_no_torch7_file_is_refused_with_the_files_name(tmp_path):
    path = tmp_path / "model.net"
    path.write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(InvalidModelError, match=r"model\.net: byte 4: expected a type tag"):
        read_v2v(path, ICVL, y_up=False)
