import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.conftest import Balls, ball_frame
from v2vpose.errors import InvalidFieldError
from v2vpose.training.fit import Frames, fit
from v2vpose.training.journal import CURVE_FILE, LOG_FILE
from v2vpose.training.machine import Machine
from v2vpose.training.recipe import Recipe
from v2vpose.training.trainees import Trainees
from v2vpose.training.watch import Held, Watched, held_out

BALLS = Balls()
CLOCKS = {"seconds", "waited_share"}


class KilledError(Exception):
    """Stands for a signal."""


def held(recipe: Recipe) -> Held:
    return held_out((ball_frame(10_000 + i) for i in range(8)), recipe)


def run_fit(
    recipe: Recipe, run: Path, frames: Frames = BALLS, *, kill_at: int | None = None
) -> tuple[Trainees, list[int], list[dict[str, str]]]:
    epochs = []

    def keep(epoch: int, _: Trainees, watched: Watched) -> None:
        if epoch == kill_at:
            raise KilledError
        assert watched.keypoints_mm.shape == (8, 3, 3)
        epochs.append(epoch)

    trainees, _ = fit(
        frames, held(recipe), recipe, run, machine=Machine(bf16=False, loaders=0),
        warm=lambda _: None, on_epoch=keep,
    )  # fmt: skip
    with (run / LOG_FILE).open() as file:
        return trainees, epochs, list(csv.DictReader(file))


def assert_same_nets(one: Trainees, other: Trainees) -> None:
    for name, trainee in one.named().items():
        state = other.named()[name].net.state_dict()
        for key, tensor in trainee.net.state_dict().items():
            torch.testing.assert_close(tensor, state[key], rtol=0, atol=0, msg=f"{name} {key}")


def untimed(log: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in log]


def test_losses_fall_and_every_epoch_is_handed_over(tiny, tmp_path):
    _, epochs, log = run_fit(tiny, tmp_path, Balls(256))
    assert epochs == [1, 2]
    assert [float(row["epoch"]) for row in log] == [i / 4 for i in range(1, 9)]
    assert [int(row["step"]) for row in log] == [8 * i for i in range(1, 9)]
    for loss in ("v2v_loss", "refiner_loss", "detector_loss"):
        assert float(log[-1][loss]) < 0.9 * float(log[0][loss])
    assert (tmp_path / CURVE_FILE).stat().st_size > 10_000


def test_a_run_that_stopped_goes_on_as_if_it_had_not(tiny, tmp_path):
    whole, _, log = run_fit(tiny, tmp_path / "whole")
    with pytest.raises(KilledError):
        run_fit(tiny, tmp_path / "part", kill_at=1)
    resumed, epochs, resumed_log = run_fit(tiny, tmp_path / "part")
    assert epochs == [1, 2]  # the epoch whose checkpoint was not written is finished again
    assert_same_nets(whole, resumed)
    assert untimed(log) == untimed(resumed_log)


def test_a_run_that_is_done_is_left_alone(tiny, tmp_path):
    done, _, log = run_fit(tiny, tmp_path)
    again, epochs, same_log = run_fit(tiny, tmp_path)
    assert epochs == []
    assert_same_nets(done, again)
    assert log == same_log


def test_a_pass_whose_last_block_and_batch_are_not_full_is_one_pass(tiny, tmp_path):
    _, epochs, log = run_fit(tiny, tmp_path, Balls(21))
    assert epochs == [1, 2]
    assert int(log[-1]["step"]) == 2 * 3


def test_frames_that_cannot_be_read_are_in_the_log(tiny, tmp_path):
    _, _, log = run_fit(tiny, tmp_path, Balls(broken=(5, 200)))
    assert [int(row["unreadable"]) for row in log] == [1, 1, 1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"width": 4}, "expected width 4 .* found 2"), ({"seed": 2}, "expected seed 2 .* found 1")],
)
def test_another_recipe_does_not_go_on_with_a_run(tiny, tmp_path, change, message):
    with pytest.raises(KilledError):
        run_fit(tiny, tmp_path, kill_at=1)
    with pytest.raises(InvalidFieldError, match=message):
        run_fit(replace(tiny, **change), tmp_path)


def test_another_set_does_not_go_on_with_a_run(tiny, tmp_path):
    with pytest.raises(KilledError):
        run_fit(tiny, tmp_path, kill_at=1)
    with pytest.raises(InvalidFieldError, match=r"expected data cubes .* found balls"):
        run_fit(tiny, tmp_path, Balls(origin="cubes"))
