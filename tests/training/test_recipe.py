import pytest
import torch

from v2vpose.training.machine import Machine
from v2vpose.training.recipe import COMPACT, PAPER, RECIPES, RELEASE
from v2vpose.training.samples import Block
from v2vpose.training.trainees import V2VTrainee


def test_the_papers_numbers_are_the_defaults():
    assert (PAPER.input_side, PAPER.width, PAPER.heatmap_side) == (88, 16, 44)
    assert (PAPER.optimiser, PAPER.learning_rate, PAPER.batch) == ("rmsprop", 2.5e-4, 8)
    assert (PAPER.epochs, PAPER.rotation_deg, PAPER.scale) == (10, 40, (0.8, 1.2))
    assert (PAPER.translation_vox, PAPER.loss, PAPER.decay_from) == (8, "sum", 1)
    assert (PAPER.refiner, PAPER.refiner_batch, PAPER.refiner_learning_rate) == (
        "deepprior", 64, 5e-4,
    )  # fmt: skip
    assert PAPER.refiner_views * PAPER.epochs == 100


def test_the_release_differs_in_translation_loss_and_first_scales():
    assert (RELEASE.translation_vox, RELEASE.loss, RELEASE.norm_scale) == (4, "mean", "uniform")
    trainee = V2VTrainee(RELEASE, 3, Machine())
    (group,) = trainee.optimiser.param_groups
    assert (group["alpha"], group["eps"], group["momentum"]) == (0.99, 1e-8, 0)
    scales = trainee.net.front[0][1].weight  # type: ignore[index]  # a Sequential
    assert 0 <= scales.min() < scales.max() <= 1
    ones = V2VTrainee(PAPER, 3, Machine()).net.front[0][1].weight  # type: ignore[index]
    assert (ones == 1).all()


def test_the_two_losses_are_sum_and_mean_of_the_same_error():
    block = Block(
        torch.zeros(2, 1, 16, 16, 16, dtype=torch.uint8),
        torch.full((2, 3, 3), 3.0),
        torch.zeros(0),
        torch.zeros(0),
        None,
    )
    losses = []
    for loss in ("sum", "mean"):
        recipe = type(PAPER)(input_side=16, width=2, loss=loss)
        torch.manual_seed(0)
        losses.append(V2VTrainee(recipe, 3, Machine(bf16=False)).learn(block, 0))
    assert losses[0] == pytest.approx(losses[1] * 3 * 8**3, rel=1e-4)  # of K 8^3 cells


def test_the_recipes_have_names():
    assert RECIPES == {"paper": PAPER, "release": RELEASE, "compact": COMPACT}
