"""The reference-point refiner against the numbers of DeepPrior++'s network."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from v2vpose.nets import Refiner

CROP_PX = 128

# Cells a side after each layer that changes it, per branch: conv, pool, conv, pool, conv.
SIDES = {
    "field_128": (124, 31, 27, 13, 11),
    "field_64": (60, 30, 26, 13, 11),
    "field_32": (28, 14, 10, 10, 8),
}


@pytest.fixture
def refiner() -> Refiner:
    torch.manual_seed(1)
    return Refiner().eval()


def random_crops(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(count, 1, CROP_PX, CROP_PX, generator=generator) * 2 - 1


def test_it_has_3_567_651_parameters(refiner: Refiner) -> None:
    assert sum(p.numel() for p in refiner.parameters()) == 3_567_651


def test_it_sees_128_pixels_and_answers_three_numbers(refiner: Refiner) -> None:
    assert refiner(random_crops(2)).shape == (2, 3)


def test_the_three_branches_give_968_968_and_512_features_2448_in_all(refiner: Refiner) -> None:
    crops = random_crops(1)
    assert refiner.field_128(crops).shape == (1, 968)
    assert refiner.field_64(crops[..., 32:96, 32:96]).shape == (1, 968)
    assert refiner.field_32(crops[..., 48:80, 48:80]).shape == (1, 512)
    first = next(m for m in refiner.head if isinstance(m, nn.Linear))
    assert (first.in_features, first.out_features) == (2448, 1024)


@pytest.mark.parametrize("branch", list(SIDES))
def test_no_layer_pads(refiner: Refiner, branch: str) -> None:
    x = random_crops(1)
    margin = (128 - int(branch.removeprefix("field_"))) // 2
    x = x[..., margin : 128 - margin, margin : 128 - margin]
    sides = []
    for layer in refiner.get_submodule(branch).children():
        x = layer(x)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            assert x.shape[1] == 8
            sides.append(x.shape[-1])
    assert tuple(sides) == SIDES[branch]


def test_a_forward_pass_costs_10_09_mmac(refiner: Refiner) -> None:
    total = 0

    def on_forward(layer: nn.Module, _: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += result.numel() * layer.in_channels * int(np.prod(layer.kernel_size))
        elif isinstance(layer, nn.Linear):
            total += layer.in_features * layer.out_features

    for module in refiner.modules():
        module.register_forward_hook(on_forward)
    refiner(random_crops(1))
    np.testing.assert_allclose(total / 1e6, 10.09, atol=0.005)


@pytest.mark.parametrize(
    ("pixel", "seen_by"),
    [
        ((20, 64), {"field_128"}),
        ((31, 64), {"field_128"}),
        ((32, 64), {"field_128", "field_64"}),
        ((95, 95), {"field_128", "field_64"}),
        ((96, 64), {"field_128"}),
        ((47, 47), {"field_128", "field_64"}),
        ((48, 48), {"field_128", "field_64", "field_32"}),
        ((79, 79), {"field_128", "field_64", "field_32"}),
        ((64, 80), {"field_128", "field_64"}),
    ],
)
def test_each_branch_sees_its_centre_crop(
    refiner: Refiner, pixel: tuple[int, int], seen_by: set[str]
) -> None:
    inputs: dict[str, Tensor] = {}
    for branch in SIDES:

        def on_forward(
            _: nn.Module, arguments: tuple[Tensor, ...], __: Tensor, branch: str = branch
        ) -> None:
            inputs[branch] = arguments[0]

        refiner.get_submodule(branch).register_forward_hook(on_forward)
    crop = torch.zeros(1, 1, 128, 128)
    crop[0, 0, pixel[0], pixel[1]] = 1
    refiner(crop)
    assert {branch for branch, seen in inputs.items() if seen.any()} == seen_by
    assert {branch: seen.shape[-1] for branch, seen in inputs.items()} == {
        "field_128": 128,
        "field_64": 64,
        "field_32": 32,
    }


def test_the_answer_is_linear_not_clipped(refiner: Refiner) -> None:
    last = refiner.head[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([-2.0, 0.0, 3.0]))
        np.testing.assert_array_equal(refiner(random_crops(1)), [[-2.0, 0.0, 3.0]])


def test_dropout_of_0_3_follows_both_hidden_layers_and_is_off_in_evaluation(
    refiner: Refiner,
) -> None:
    kinds = [type(layer).__name__ for layer in refiner.head]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert [layer.p for layer in refiner.head if isinstance(layer, nn.Dropout)] == [0.3, 0.3]
    crops = random_crops(1)
    with torch.no_grad():
        np.testing.assert_array_equal(refiner(crops), refiner(crops))


def test_initial_weights_follow_deep_prior_plus_plus(refiner: Refiner) -> None:
    for layer in refiner.modules():
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.in_channels * int(np.prod(layer.kernel_size))
            std = layer.weight.detach().numpy().std()
            np.testing.assert_allclose(std, math.sqrt(2 / fan_in), rtol=0.2)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert layer.bias is not None
            assert not layer.bias.any()
    first, second, last = (m for m in refiner.head if isinstance(m, nn.Linear))
    for hidden in (first, second):
        np.testing.assert_allclose(hidden.weight.detach().numpy().std(), 0.01, rtol=0.01)
    bound = math.sqrt(6 / (1024 + 3))
    weights = last.weight.detach().numpy()
    assert np.abs(weights).max() <= bound
    np.testing.assert_allclose(weights.std(), bound / math.sqrt(3), rtol=0.05)


def test_a_batch_equals_one_by_one_in_order(refiner: Refiner) -> None:
    crops = random_crops(3)
    with torch.inference_mode():
        together = refiner(crops).numpy()
        alone = torch.cat([refiner(crop[None]) for crop in crops]).numpy()
    np.testing.assert_allclose(together, alone, atol=1e-6)
