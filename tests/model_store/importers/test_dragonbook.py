import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from v2vpose.errors import InvalidModelError
from v2vpose.model_store import LabelConvention
from v2vpose.model_store.importers.dragonbook import read_v2v
from v2vpose.model_store.importers.known_sets import HANDS17, MSRA


class PortNet:
    """A state dict of the port's shape, and its forward pass by torch functions, axes x, y, z."""

    def __init__(self, joints=21, width=2):
        self.generator = torch.Generator().manual_seed(3)
        self.state = {}
        w = width
        self.block("front_layers.0.block", 1, w, 7)
        for i, (n, m) in enumerate([(w, 2 * w), (2 * w, 2 * w), (2 * w, 2 * w)], start=2):
            self.res(f"front_layers.{i}", n, m)
        inner = "encoder_decoder."
        self.res(inner + "encoder_res1", 2 * w, 4 * w)
        self.res(inner + "encoder_res2", 4 * w, 8 * w)
        self.res(inner + "mid_res", 8 * w, 8 * w)
        self.res(inner + "decoder_res2", 8 * w, 8 * w)
        self.up(inner + "decoder_upsample2.block", 8 * w, 4 * w)
        self.res(inner + "decoder_res1", 4 * w, 4 * w)
        self.up(inner + "decoder_upsample1.block", 4 * w, 2 * w)
        self.res(inner + "skip_res1", 2 * w, 2 * w)
        self.res(inner + "skip_res2", 4 * w, 4 * w)
        self.res("back_layers.0", 2 * w, 2 * w)
        self.block("back_layers.1.block", 2 * w, 2 * w, 1)
        self.block("back_layers.2.block", 2 * w, 2 * w, 1)
        self.conv("output_layer", (joints, 2 * w, 1, 1, 1), 2 * w, joints)

    def rand(self, *shape):
        return torch.rand(*shape, generator=self.generator)

    def conv(self, name, shape, fan_in, rows):
        self.state[f"{name}.weight"] = (self.rand(*shape) - 0.5) * 3.4 * fan_in**-0.5
        self.state[f"{name}.bias"] = self.rand(rows) - 0.5

    def norm(self, name, rows):
        for field in ("weight", "bias", "running_mean", "running_var"):
            self.state[f"{name}.{field}"] = self.rand(rows) + (0.5 if field[-3:] == "var" else 0)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def block(self, name, n, m, k):
        self.conv(f"{name}.0", (m, n, k, k, k), n * k**3, m)
        self.norm(f"{name}.1", m)

    def up(self, name, n, m):
        self.conv(f"{name}.0", (n, m, 2, 2, 2), n, m)
        self.norm(f"{name}.1", m)

    def res(self, name, n, m):
        for i, rows in ((0, n), (3, m)):
            self.conv(f"{name}.res_branch.{i}", (m, rows, 3, 3, 3), rows * 27, m)
            self.norm(f"{name}.res_branch.{i + 1}", m)
        if n != m:
            self.block(f"{name}.skip_con", n, m, 1)

    def run(self, volume_xyz):
        """(K, S, S, S) heatmaps indexed x, y, z."""
        x = torch.from_numpy(volume_xyz)[None, None]
        x = functional.max_pool3d(self.do("front_layers.0.block", x), 2)
        for i in (2, 3, 4):
            x = self.do_res(f"front_layers.{i}", x)
        inner = "encoder_decoder."
        skip1 = self.do_res(inner + "skip_res1", x)
        x = self.do_res(inner + "encoder_res1", functional.max_pool3d(x, 2))
        skip2 = self.do_res(inner + "skip_res2", x)
        x = self.do_res(inner + "encoder_res2", functional.max_pool3d(x, 2))
        x = self.do_res(inner + "decoder_res2", self.do_res(inner + "mid_res", x))
        x = self.do(inner + "decoder_upsample2.block", x, up=True) + skip2
        x = self.do_res(inner + "decoder_res1", x)
        x = self.do(inner + "decoder_upsample1.block", x, up=True) + skip1
        x = self.do_res("back_layers.0", x)
        x = self.do("back_layers.2.block", self.do("back_layers.1.block", x))
        return self.do_conv("output_layer", x)[0].numpy()

    def do_conv(self, name, x, *, up=False):
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        if up:
            return functional.conv_transpose3d(x, weight, bias, stride=2)
        return functional.conv3d(x, weight, bias, padding=weight.shape[-1] // 2)

    def do_norm(self, name, x):
        mean, variance, weight, bias = (
            self.state[f"{name}.{f}"] for f in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(x, mean, variance, weight, bias, eps=1e-5)

    def do(self, name, x, *, up=False):
        return functional.relu(self.do_norm(f"{name}.1", self.do_conv(f"{name}.0", x, up=up)))

    def do_res(self, name, x):
        y = functional.relu(
            self.do_norm(f"{name}.res_branch.1", self.do_conv(f"{name}.res_branch.0", x))
        )
        y = self.do_norm(f"{name}.res_branch.4", self.do_conv(f"{name}.res_branch.3", y))
        if f"{name}.skip_con.0.weight" in self.state:
            x = self.do_norm(f"{name}.skip_con.1", self.do_conv(f"{name}.skip_con.0", x))
        return functional.relu(x + y)


@pytest.fixture(scope="module")
def port():
    return PortNet()


def saved(tmp_path, content):
    path = tmp_path / "epoch0.pth"
    torch.save(content, path)
    return path


def heatmaps(net, volume_zyx):
    with torch.no_grad():
        return net(torch.from_numpy(np.ascontiguousarray(volume_zyx))[None, None])[0].numpy()


def volume_xyz(side=16):
    return (np.random.default_rng(5).random((side,) * 3) < 0.1).astype(np.float32)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model_state_dict": state, "optimizer_state_dict": {}, "epoch": 3},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"module.basic_model.{name}": tensor for name, tensor in state.items()},
        lambda state: {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")},
    ],
    ids=["bare", "checkpoint", "data parallel", "integral pose", "torch 0.4"],
)
def test_a_net_of_the_port_gives_what_its_own_forward_pass_gives(tmp_path, port, wrap):
    net, conventions = read_v2v(saved(tmp_path, wrap(port.state)), HANDS17, y_up=False)
    volume = volume_xyz()
    expected = port.run(volume).transpose(0, 3, 2, 1)
    assert expected.std() > 0.01
    np.testing.assert_allclose(heatmaps(net, volume.transpose(2, 1, 0)), expected, atol=1e-5)
    assert conventions.label is LabelConvention.DRAGONBOOK
    assert conventions.ray_offset == pytest.approx(1 / 475.065948)


def test_a_y_up_net_of_the_port_sees_our_grid_mirrored(tmp_path, port):
    net, _ = read_v2v(saved(tmp_path, port.state), MSRA, y_up=True)
    volume = volume_xyz()
    expected = port.run(np.ascontiguousarray(volume[:, ::-1]))[:, :, ::-1].transpose(0, 3, 2, 1)
    np.testing.assert_allclose(heatmaps(net, volume.transpose(2, 1, 0)), expected, atol=1e-5)


def test_an_xyz_net_without_the_permutation_would_be_wrong(port):
    volume = volume_xyz()
    straight = port.run(np.ascontiguousarray(volume.transpose(2, 1, 0)))
    assert np.abs(straight - port.run(volume).transpose(0, 3, 2, 1)).max() > 0.01


def test_a_whole_module_is_refused_with_the_reason(tmp_path):
    path = saved(tmp_path, nn.Conv3d(1, 1, 1))
    with pytest.raises(InvalidModelError, match=r"loading it would run its code.*state_dict\(\)"):
        read_v2v(path, MSRA, y_up=True)


class Trap:
    def __reduce__(self):
        return (open, ("trapped", "w"))


def test_a_malicious_pickle_is_refused_without_running_it(tmp_path, port, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, {**port.state, "trap": Trap()})
    with pytest.raises(InvalidModelError, match="loading it would run its code"):
        read_v2v(path, MSRA, y_up=True)
    assert not (tmp_path / "trapped").exists()


def test_the_ports_first_version_with_its_other_deconvolution_is_refused(tmp_path, port):
    name = "encoder_decoder.decoder_upsample1.block.0.weight"
    other = {**port.state, name: torch.zeros(8, 4, 3, 3, 3)}
    with pytest.raises(
        InvalidModelError, match=r"encoder_decoder\.up1\.0\.weight: expected shape \(8, 4, 2, 2, 2"
    ):
        read_v2v(saved(tmp_path, other), MSRA, y_up=True)


def test_missing_and_strange_layers_are_named(tmp_path, port):
    lacking = {n: t for n, t in port.state.items() if n != "back_layers.0.res_branch.3.bias"}
    with pytest.raises(InvalidModelError, match=r"a tensor for back\.0\.main\.3\.bias, found none"):
        read_v2v(saved(tmp_path, lacking), MSRA, y_up=True)
    with pytest.raises(InvalidModelError, match=r"the port's layers, found head\.bias"):
        read_v2v(saved(tmp_path, {**port.state, "head.bias": torch.zeros(1)}), MSRA, y_up=True)
    strange = {**port.state, "back_layers.0.res_branch.9.bias": torch.zeros(1)}
    with pytest.raises(InvalidModelError, match=r"found back\.0\.main\.9\.bias"):
        read_v2v(saved(tmp_path, strange), MSRA, y_up=True)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(40)])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "epoch0.pth"
    path.write_bytes(content)
    with pytest.raises(InvalidModelError, match=r"epoch0\.pth: expected"):
        read_v2v(path, MSRA, y_up=True)


def test_a_list_of_tensors_is_refused(tmp_path):
    with pytest.raises(InvalidModelError, match="expected a state dict"):
        read_v2v(saved(tmp_path, [torch.zeros(1)]), MSRA, y_up=True)
