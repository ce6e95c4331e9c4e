import pytest
import torch
from torch import nn

from v2vpose.nets.ablation import Variant, build_ablation, parameters
from v2vpose.nets.v2v import build_v2v

PAPER_MILLIONS = {
    Variant.DEPTH_TO_COORDINATES: 21.1,
    Variant.DEPTH_TO_VOXELS: 4.6,
    Variant.VOXELS_TO_COORDINATES: 457.5,
    Variant.VOXELS_TO_VOXELS: 3.4,
}


@pytest.mark.parametrize("variant", Variant)
def test_the_parameters_are_the_papers_within_one_percent(variant):
    with torch.device("meta"):
        net = build_ablation(variant, 21)
    assert parameters(net) / 1e6 == pytest.approx(PAPER_MILLIONS[variant], rel=0.01)


@pytest.mark.parametrize("variant", Variant)
def test_each_row_reads_and_gives_what_the_table_says(variant):
    with torch.device("meta"):
        net = build_ablation(variant, 21)
        found = net(torch.zeros((2, 1) + (48,) * (2 if variant.planar else 3)))
    assert found.shape == ((2, 21, 3) if variant.regresses else (2, 21, 24, 24, 24))


def test_a_planar_net_has_the_two_dimensional_twin_of_every_layer():
    with torch.device("meta"):
        planar = build_ablation(Variant.DEPTH_TO_COORDINATES, 21).trunk
        solid = build_ablation(Variant.VOXELS_TO_COORDINATES, 21).trunk
    names = [[type(m).__name__ for m in trunk.modules()] for trunk in (planar, solid)]
    twins = {"Conv3d": "Conv2d", "BatchNorm3d": "BatchNorm2d", "ConvTranspose3d": "ConvTranspose2d"}
    twins["VolumetricDownsamplingBlock"] = "MaxPool2d"
    assert names[0] == [twins.get(name, name) for name in names[1]]
    weights = [m.weight for m in planar.modules() if isinstance(m, nn.Conv2d)]
    assert weights[0].shape == (16, 1, 7, 7)
    assert len(weights) + 2 == 31 - 1  # with two deconvolutions, all but the output convolution


def test_voxels_to_voxels_is_the_v2v_net():
    torch.manual_seed(0)
    net = build_ablation(Variant.VOXELS_TO_VOXELS, 4).eval()
    same = build_v2v(4).eval()
    trunk = {k: v for k, v in same.state_dict().items() if not k.startswith("output")}
    net.trunk.load_state_dict(trunk)
    net.head.load_state_dict(same.output.state_dict())
    x = torch.rand(1, 1, 48, 48, 48)
    with torch.inference_mode():
        torch.testing.assert_close(net(x), same(x))


def test_every_convolution_starts_as_the_papers():
    net = build_ablation(Variant.DEPTH_TO_VOXELS, 4)
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    for layer in convolutions:
        assert layer.weight.std() < 0.0015
        assert layer.bias is not None
        assert not layer.bias.any()
