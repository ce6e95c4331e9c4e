import csv
from dataclasses import replace

import pytest
import torch

from tests.training.conftest import ball_frame
from v2vpose.training.fit import LOG_FILE, fit, held_out
from v2vpose.training.recipe import Recipe


def run_fit(recipe, run):
    epochs = []
    trainees = fit(
        ball_frame,
        held_out(lambda i: ball_frame(i + 10_000), recipe, count=8),
        recipe,
        run,
        num_keypoints=3,
        on_epoch=lambda epoch, _: epochs.append(epoch),
        loaders=0,
    )
    with (run / LOG_FILE).open() as file:
        return trainees, epochs, list(csv.DictReader(file))


def test_losses_fall_and_every_epoch_is_handed_over(tiny, tmp_path):
    _, epochs, log = run_fit(replace(tiny, steps_per_epoch=32), tmp_path)
    assert epochs == [1, 2]
    for loss in ("v2v_loss", "refiner_loss", "detector_loss"):
        assert float(log[-1][loss]) < 0.9 * float(log[0][loss])


def test_a_run_that_stopped_goes_on_as_if_it_had_not(tiny, tmp_path):
    whole, _, _ = run_fit(tiny, tmp_path / "whole")

    def die(*_):
        raise KeyboardInterrupt

    held = held_out(ball_frame, tiny, count=4)
    with pytest.raises(KeyboardInterrupt):
        fit(ball_frame, held, tiny, tmp_path / "part", num_keypoints=3, on_epoch=die, loaders=0)
    resumed, epochs, _ = run_fit(tiny, tmp_path / "part")
    assert epochs == [1, 2]  # the epoch whose checkpoint was not written is finished again
    for name, trainee in whole.named().items():
        other = resumed.named()[name].net.state_dict()
        for key, tensor in trainee.net.state_dict().items():
            torch.testing.assert_close(tensor, other[key], rtol=0, atol=0, msg=f"{name} {key}")


def test_the_papers_numbers_are_the_defaults():
    recipe = Recipe()
    assert (recipe.input_side, recipe.width, recipe.heatmap_side) == (88, 16, 44)
    assert (recipe.optimiser, recipe.learning_rate, recipe.batch) == ("rmsprop", 2.5e-4, 8)
    assert (recipe.epochs, recipe.rotation_deg, recipe.scale) == (10, 40, (0.8, 1.2))
    assert recipe.translation_vox == 8
