"""The V2V network against the layer table of the paper's code, row by row."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from v2vpose.nets import V2VNet, build_v2v

CONVOLUTIONS = (nn.Conv3d, nn.ConvTranspose3d)
Convolution = nn.Conv3d | nn.ConvTranspose3d


@dataclass(frozen=True)
class Row:
    """One row of the table: channels out, cells a side, parameters of convolutions, MMAC."""

    path: str
    channels: int
    side: int
    parameters: int
    mega_macs: float


TABLE = (
    Row("front.0", 16, 88, 5_504, 3739.9),
    Row("front.1", 16, 44, 0, 0),
    Row("front.2", 32, 44, 42_080, 3576.4),
    Row("front.3", 32, 44, 55_360, 4710.3),
    Row("front.4", 32, 44, 55_360, 4710.3),
    Row("encoder_decoder.skip1", 32, 44, 55_360, 4710.3),
    Row("encoder_decoder.down1", 32, 22, 0, 0),
    Row("encoder_decoder.encode1", 64, 22, 168_128, 1788.2),
    Row("encoder_decoder.skip2", 64, 22, 221_312, 2355.2),
    Row("encoder_decoder.down2", 64, 11, 0, 0),
    Row("encoder_decoder.encode2", 128, 11, 672_128, 894.1),
    Row("encoder_decoder.middle", 128, 11, 884_992, 1177.6),
    Row("encoder_decoder.decode2", 128, 11, 884_992, 1177.6),
    Row("encoder_decoder.up2", 64, 22, 65_600, 87.2),
    Row("encoder_decoder.decode1", 64, 22, 221_312, 2355.2),
    Row("encoder_decoder.up1", 32, 44, 16_416, 174.5),
    Row("back.0", 32, 44, 55_360, 4710.3),
    Row("back.1", 32, 44, 1_056, 87.2),
    Row("back.2", 32, 44, 1_056, 87.2),
    Row("output", 21, 44, 33 * 21, 57.2),
)


def convolutions(module: nn.Module) -> Iterator[Convolution]:
    return (m for m in module.modules() if isinstance(m, CONVOLUTIONS))


def macs(layer: Convolution, batch: Tensor, result: Tensor) -> int:
    """Multiply-accumulates of one call; a deconvolution spreads each input, so it counts those."""
    taps = int(np.prod(layer.kernel_size))
    if isinstance(layer, nn.ConvTranspose3d):
        return batch.numel() * layer.out_channels * taps
    return result.numel() * layer.in_channels * taps


@dataclass
class Count:
    """What hooks saw during one forward pass at 88^3; `meta` tensors have shapes, no numbers."""

    shapes: dict[str, tuple[int, ...]]
    macs: dict[nn.Module, int]
    outputs: dict[nn.Module, Tensor]


@pytest.fixture(scope="module")
def paper_net() -> V2VNet:
    with torch.device("meta"):
        return build_v2v(21)


@pytest.fixture(scope="module")
def count(paper_net: V2VNet) -> Iterator[Count]:
    seen = Count({}, {}, {})
    handles = []
    for name, module in paper_net.named_modules():

        def on_forward(
            module: nn.Module, arguments: tuple[Tensor, ...], result: Tensor, name: str = name
        ) -> None:
            seen.shapes[name] = tuple(result.shape)
            if isinstance(module, CONVOLUTIONS):
                seen.macs[module] = macs(module, arguments[0], result)
                seen.outputs[module] = result

        handles.append(module.register_forward_hook(on_forward))
    paper_net(torch.zeros(1, 1, 88, 88, 88, device="meta"))
    yield seen
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.path)
def test_each_block_has_its_row_of_the_table(paper_net: V2VNet, count: Count, row: Row) -> None:
    block = paper_net.get_submodule(row.path)
    assert count.shapes[row.path] == (1, row.channels, row.side, row.side, row.side)
    assert sum(p.numel() for c in convolutions(block) for p in c.parameters()) == row.parameters
    block_macs = sum(count.macs[layer] for layer in convolutions(block))
    np.testing.assert_allclose(block_macs / 1e6, row.mega_macs, atol=0.05)


def test_the_table_names_every_convolution(paper_net: V2VNet) -> None:
    named = [c for row in TABLE for c in convolutions(paper_net.get_submodule(row.path))]
    assert len(named) == len(set(named)) == 31
    assert set(named) == set(convolutions(paper_net))


def test_a_forward_pass_costs_36_40_gmac_with_their_share_at_each_resolution(count: Count) -> None:
    np.testing.assert_allclose(sum(count.macs.values()) / 1e9, 36.40, atol=0.005)
    for side, giga_macs in ((88, 3.74), (44, 22.82), (22, 6.59), (11, 3.25)):
        here = sum(count.macs[m] for m, result in count.outputs.items() if result.shape[-1] == side)
        np.testing.assert_allclose(here / 1e9, giga_macs, atol=0.01, err_msg=f"at {side}")


def test_convolutions_write_57_5_million_numbers_a_frame(count: Count) -> None:
    total = sum(result.numel() for result in count.outputs.values())
    np.testing.assert_allclose(total / 1e6, 57.5, atol=0.05)


@pytest.mark.parametrize(
    ("num_keypoints", "expected"),
    [(14, 3_410_222), (15, 3_410_255), (16, 3_410_288), (21, 3_410_453)],
)
def test_the_paper_s_network_has_3_409_760_parameters_and_33_a_keypoint(
    num_keypoints: int, expected: int
) -> None:
    with torch.device("meta"):
        net = build_v2v(num_keypoints)
    assert sum(p.numel() for p in net.parameters()) == expected == 3_409_760 + 33 * num_keypoints


def test_running_statistics_are_3_744_numbers(paper_net: V2VNet) -> None:
    statistics = [b for name, b in paper_net.named_buffers() if "running" in name]
    assert sum(b.numel() for b in statistics) == 3_744


def test_every_convolution_has_a_bias_and_all_but_the_output_are_normalised(
    paper_net: V2VNet,
) -> None:
    layers = list(convolutions(paper_net))
    norms = [m for m in paper_net.modules() if isinstance(m, nn.BatchNorm3d)]
    assert all(layer.bias is not None for layer in layers)
    assert len(norms) == len(layers) - 1
    assert {(norm.eps, norm.momentum, norm.affine) for norm in norms} == {(1e-5, 0.1, True)}


@pytest.mark.parametrize("side", [8, 48, 64, 88, 96])
@pytest.mark.parametrize("width", [8, 16])
def test_any_side_that_is_a_multiple_of_8_gives_heatmaps_of_half_that_side(
    side: int, width: int
) -> None:
    with torch.device("meta"):
        net = build_v2v(21, width=width)
        heatmaps = net(torch.zeros(2, 1, side, side, side))
    assert heatmaps.shape == (2, 21, side // 2, side // 2, side // 2)


@pytest.mark.parametrize("side", [10, 12, 14, 20, 36])
def test_an_even_side_that_is_no_multiple_of_8_is_refused_by_the_skip_connections(
    side: int,
) -> None:
    net = build_v2v(1, width=1).eval()
    with pytest.raises(RuntimeError, match=r"size of tensor .* must match"):
        net(torch.zeros(1, 1, side, side, side))


def test_one_voxel_more_than_a_multiple_of_8_is_dropped_by_the_pooling() -> None:
    # Why a manifest must refuse such a side: the net itself cannot see that a plane got lost.
    net = randomised(build_v2v(2, width=2))
    occupancy = torch.rand(1, 1, 17, 17, 17, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        assert net(occupancy).shape == (1, 2, 8, 8, 8)


def test_half_the_width_is_the_compact_variant_of_0_86_million_parameters() -> None:
    with torch.device("meta"):
        net = build_v2v(21, width=8)
    np.testing.assert_allclose(sum(p.numel() for p in net.parameters()) / 1e6, 0.86, atol=0.005)


def test_initial_weights_are_normal_with_standard_deviation_0_001_and_biases_0() -> None:
    torch.manual_seed(1)
    net = build_v2v(21)
    for layer in convolutions(net):
        weights = layer.weight.detach().numpy()
        expected_error = 0.001 / np.sqrt(2 * weights.size)  # of an estimated standard deviation
        np.testing.assert_allclose(weights.std(), 0.001, atol=5 * expected_error)
        np.testing.assert_allclose(weights.mean(), 0, atol=5 * 0.001 / np.sqrt(weights.size))
        assert layer.bias is not None
        assert not layer.bias.any()
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm3d)):
        assert (norm.weight == 1).all()
        assert not norm.bias.any()


def randomised(net: V2VNet) -> V2VNet:
    """Give every parameter and statistic a number of its own, large enough to matter."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for layer in convolutions(net):
            fan_in = layer.weight[0].numel()
            layer.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            assert layer.bias is not None
            layer.bias.normal_(0, 0.1, generator=generator)
        for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm3d)):
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.bias.normal_(0, 0.1, generator=generator)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_(0, 0.1, generator=generator)
            norm.running_var.uniform_(0.5, 1.5, generator=generator)
    return net.eval()


class ByTheTable:
    """The forward pass again, from the table's text and a flat list of weights in its order."""

    def __init__(self, net: V2VNet) -> None:
        self.weights = {key: value.double() for key, value in net.state_dict().items()}

    def conv(self, x: Tensor, path: str, *, padding: int) -> Tensor:
        return functional.conv3d(
            x, self.weights[f"{path}.weight"], self.weights[f"{path}.bias"], padding=padding
        )

    def norm(self, x: Tensor, path: str) -> Tensor:
        mean, variance, gain, shift = (
            self.weights[f"{path}.{name}"].view(1, -1, 1, 1, 1)
            for name in ("running_mean", "running_var", "weight", "bias")
        )
        normalised: Tensor = (x - mean) / torch.sqrt(variance + 1e-5) * gain + shift
        return normalised

    def basic(self, x: Tensor, path: str, *, kernel: int) -> Tensor:
        x = self.conv(x, f"{path}.0", padding=(kernel - 1) // 2)
        return self.norm(x, f"{path}.1").clamp(min=0)

    def residual(self, x: Tensor, path: str) -> Tensor:
        main = self.norm(self.conv(x, f"{path}.main.0", padding=1), f"{path}.main.1").clamp(min=0)
        main = self.norm(self.conv(main, f"{path}.main.3", padding=1), f"{path}.main.4")
        if f"{path}.skip.0.weight" in self.weights:
            x = self.norm(self.conv(x, f"{path}.skip.0", padding=0), f"{path}.skip.1")
        return (main + x).clamp(min=0)

    def up(self, x: Tensor, path: str) -> Tensor:
        x = functional.conv_transpose3d(
            x, self.weights[f"{path}.0.weight"], self.weights[f"{path}.0.bias"], stride=2
        )
        return self.norm(x, f"{path}.1").clamp(min=0)

    @staticmethod
    def pool(x: Tensor) -> Tensor:
        batch, channels, side = x.shape[:3]
        blocks = x.view(batch, channels, *(side // 2, 2) * 3)
        highest: Tensor = blocks.amax(dim=(3, 5, 7))
        return highest

    def __call__(self, occupancy: Tensor) -> Tensor:
        x = self.pool(self.basic(occupancy.double(), "front.0", kernel=7))
        for row in ("front.2", "front.3", "front.4"):
            x = self.residual(x, row)
        skip1 = self.residual(x, "encoder_decoder.skip1")
        half = self.residual(self.pool(x), "encoder_decoder.encode1")
        skip2 = self.residual(half, "encoder_decoder.skip2")
        x = self.pool(half)
        for row in ("encode2", "middle", "decode2"):
            x = self.residual(x, f"encoder_decoder.{row}")
        x = self.up(x, "encoder_decoder.up2") + skip2
        x = self.residual(x, "encoder_decoder.decode1")
        x = self.up(x, "encoder_decoder.up1") + skip1
        x = self.residual(x, "back.0")
        x = self.basic(self.basic(x, "back.1", kernel=1), "back.2", kernel=1)
        return self.conv(x, "output", padding=0)


def test_a_forward_pass_equals_the_table_written_out() -> None:
    net = randomised(build_v2v(5, width=4))
    occupancy = (
        torch.rand(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(3)) < 0.1
    ).float()
    with torch.inference_mode():
        heatmaps = net(occupancy)
        expected = ByTheTable(net)(occupancy)
    assert expected.std() > 0.1, "numbers too small to tell anything"
    assert (expected < 0).any(), "the output is linear, so some must be negative"
    np.testing.assert_allclose(heatmaps.numpy(), expected.numpy(), rtol=0, atol=1e-4)


def test_a_batch_equals_one_by_one_in_order() -> None:
    net = randomised(build_v2v(3, width=4))
    batch = torch.rand(3, 1, 16, 16, 16, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        together = net(batch)
        alone = torch.cat([net(one[None]) for one in batch])
    np.testing.assert_allclose(together.numpy(), alone.numpy(), rtol=0, atol=1e-4)
