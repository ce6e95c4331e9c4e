import itertools
import pickle

import numpy as np
import pytest

from tests.datasets.writers import blank, write_nyu_labels, write_nyu_png
from v2vpose.datasets.disk import check_dataset, open_dataset
from v2vpose.datasets.frames import Shuffled, spread
from v2vpose.errors import InvalidFieldError
from v2vpose.training.recipe import Recipe
from v2vpose.training.samples import make_block


@pytest.fixture
def frames(tmp_path):
    xyz = np.random.default_rng(0).uniform((-60, -60, 440), (60, 60, 560), (3, 5, 36, 3))
    write_nyu_labels(tmp_path / "train", xyz)
    for number in range(1, 6):
        depth = blank(640, 480, {(u, v): 500 for u in range(280, 360) for v in range(200, 280)})
        write_nyu_png(tmp_path / "train" / f"depth_1_{number:07d}.png", depth)
    return open_dataset("nyu", tmp_path, "train")


@pytest.mark.parametrize("call", [check_dataset, lambda n, r: open_dataset(n, r, "train")])
def test_unknown_names_and_directories_are_refused(call, tmp_path):
    with pytest.raises(InvalidFieldError, match="dataset must be one of icvl, nyu, msra, hands17"):
        call("coco", tmp_path)
    with pytest.raises(InvalidFieldError, match="root must be a directory"):
        call("nyu", tmp_path / "nowhere")


def test_a_shuffled_set_shows_every_frame_once_a_pass_in_new_orders(frames):
    endless = Shuffled(frames, seed=4)
    passes = [[endless.frame(5 * turn + i).name for i in range(5)] for turn in range(4)]
    assert all(sorted(names) == [f.name for f in frames] for names in passes)
    assert all(a != b for a, b in itertools.combinations(passes, 2))
    assert [Shuffled(frames, seed=4).frame(7).name] == [passes[1][2]]
    assert Shuffled(frames, seed=5).frame(0).keypoints_mm.shape == (14, 3)


def test_frames_of_a_set_train_a_net(frames):
    recipe = Recipe(input_side=16, width=2)
    endless = Shuffled(frames, seed=1)
    block = make_block(
        [endless.frame(i) for i in range(8)], recipe, np.random.default_rng(0).spawn(8)
    )
    assert block.occupancy.shape == (8, 1, 16, 16, 16)
    assert block.keypoints_cell.shape == (8, 14, 3)
    assert block.occupancy.sum() > 100


def test_a_limit_takes_frames_from_everywhere_in_the_set(frames):
    few = Shuffled(frames, seed=1, limit=2)
    assert len(few) == 2
    names = {few.frame(place).name for place in range(10)}
    assert names == {"depth_1_0000001.png", "depth_1_0000003.png"}
    np.testing.assert_array_equal(spread(7, 9), range(7))


@pytest.mark.usefixtures("frames")
def test_a_set_without_usable_frames_is_refused_with_the_reasons(tmp_path):
    for path in (tmp_path / "train").glob("*.png"):
        path.unlink()
    with pytest.raises(InvalidFieldError, match=r"found none; left out: .*depth file missing.: 5"):
        Shuffled(open_dataset("nyu", tmp_path, "train"), seed=1)


def test_every_worker_draws_the_same_order(frames):
    copy = pickle.loads(pickle.dumps(Shuffled(frames, seed=2)))  # noqa: S301  # our own bytes
    mine = Shuffled(frames, seed=2)
    assert [copy.frame(p).name for p in range(10)] == [mine.frame(p).name for p in range(10)]
