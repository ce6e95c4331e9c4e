from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from v2vpose.datasets.synthetic import SyntheticHands
from v2vpose.errors import InvalidFieldError
from v2vpose.geometry.cubic_box import CubicBox
from v2vpose.nets.ablation import Variant, build_ablation
from v2vpose.training import ablation
from v2vpose.training.ablation import AblationRecipe, Contestant, contestants, rounds, settle, watch
from v2vpose.training.ablation_frames import ablation_frames, cells_of, keypoints_of
from v2vpose.voxel import voxelize

SMALL = AblationRecipe(steps=2, round_steps=1, batch=4)
FRAMES = 16
PLANAR = (Variant.DEPTH_TO_COORDINATES, Variant.DEPTH_TO_VOXELS)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return ablation_frames(tmp_path_factory.mktemp("f"), split="train", seed=3, count=FRAMES)


@pytest.fixture
def planar_only(monkeypatch):
    """Nets that a test can afford."""
    monkeypatch.setattr(ablation, "Variant", PLANAR)


@pytest.mark.parametrize("planar", [False, True])
def test_cells_and_keypoints_undo_each_other(planar):
    rng = np.random.default_rng(0)
    point = np.array([30.0, -50.0, 600.0])
    keypoints = point + rng.uniform(-100, 100, (21, 3))
    cells = cells_of(keypoints, point, planar=planar)
    np.testing.assert_allclose(keypoints_of(cells, point, planar=planar), keypoints, atol=1e-9)
    middle = cells_of(point[None], point, planar=planar)
    np.testing.assert_allclose(middle, [[11.5, 11.5, 11.5]])


def test_a_planar_cell_is_where_the_depth_map_shows_the_point():
    """A keypoint nearer than the reference point moves outwards, as it does in the picture."""
    point = np.array([0.0, 0.0, 500.0])
    near = np.array([[50.0, 0.0, 400.0]])
    assert cells_of(near, point, planar=True)[0, 0] == 11.5 + 50 * 500 / 400 * 24 / 250
    assert cells_of(near, point, planar=False)[0, 0] == 11.5 + 50 * 24 / 250


def test_the_kept_occupancy_is_the_voxelized_frame(frames):
    frame = SyntheticHands(split="train", seed=3).right_hand_frame(5)
    box = CubicBox(frames.points_mm[5], 250.0)
    expected = voxelize(frame.depth_mm, frame.intrinsics, box, input_side=48)
    np.testing.assert_array_equal(frames.inputs(slice(5, 6), planar=False)[0, 0], expected)
    depth = frames.inputs(slice(5, 6), planar=True)[0, 0]
    assert depth.shape == (48, 48)
    assert ((depth < 1).sum()) == pytest.approx((expected.any(axis=0)).sum(), rel=0.35)


def test_frames_are_made_once(tmp_path, frames, monkeypatch):
    made = ablation_frames(tmp_path, split="train", seed=3, count=2)
    monkeypatch.setattr(SyntheticHands, "right_hand_frame", None)
    again = ablation_frames(tmp_path, split="train", seed=3, count=2)
    np.testing.assert_array_equal(again.depth, made.depth)
    np.testing.assert_array_equal(again.keypoints_mm, frames.keypoints_mm[:2])


@pytest.mark.usefixtures("planar_only")
def test_all_nets_see_the_same_frames_in_turn(tmp_path, frames):
    seen = []
    inputs = type(frames).inputs

    def watched(self, rows, *, planar):
        seen.append((rows.start, rows.stop))
        return inputs(self, rows, planar=planar)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(frames), "inputs", watched)
        done = [(c.variant, c.steps) for c in run(tmp_path, frames)]
    first, second = PLANAR
    assert done == [(first, 1), (second, 1), (first, 2), (second, 2)]
    measured = (0, 32)
    assert seen == [
        *((0, 4), (0, 4), measured) * 2,  # trained, its statistics settled, measured
        *((4, 8), (0, 8), measured) * 2,
    ]


@pytest.mark.usefixtures("planar_only")
def test_a_run_that_stopped_goes_on_to_the_same_numbers(tmp_path, frames):
    whole = {c.variant: c.log for c in run(tmp_path / "whole", frames)}
    stopped = run(tmp_path / "parts", frames)
    for _ in range(3):
        next(stopped)
    rest = [(c.variant, c.log) for c in run(tmp_path / "parts", frames)]
    assert rest == [(PLANAR[1], whole[PLANAR[1]])]


@pytest.mark.usefixtures("planar_only")
def test_a_run_of_another_recipe_is_refused(tmp_path, frames):
    next(run(tmp_path, frames))
    with pytest.raises(InvalidFieldError, match=r"of another recipe: found .*seed=1"):
        contestants(replace(SMALL, seed=2), 21, tmp_path)


def test_perfect_answers_are_no_error(frames, monkeypatch):
    """The head is bypassed: the targets themselves are decoded."""
    for variant in PLANAR:
        cells = torch.from_numpy(frames.cells(slice(0, FRAMES), planar=True))
        target = ablation._target(variant, cells)
        monkeypatch.setattr(ablation, "_forward", lambda *_, target=target: target)
        net = build_ablation(variant, 21)
        found = watch(Contestant(variant, net, torch.optim.Adam(net.parameters())), frames)
        assert found["subvoxel_mm"] < 0.6  # keypoints outside the cube stay at its edge
        assert found["argmax_mm"] == pytest.approx(0 if variant.regresses else 5, abs=0.5)


def test_a_net_is_measured_with_the_statistics_of_what_it_is(frames):
    net = build_ablation(Variant.DEPTH_TO_COORDINATES, 21)
    contestant = Contestant(Variant.DEPTH_TO_COORDINATES, net, torch.optim.Adam(net.parameters()))
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        assert norm.running_mean is not None
        norm.running_mean.add_(1000)
    settle(contestant, frames, end=FRAMES)
    assert {norm.momentum for norm in norms} == {0.1}
    last = []
    norms[-1].register_forward_hook(lambda _norm, _inputs, output: last.append(output.clone()))
    net.eval()
    with torch.no_grad():
        net(torch.from_numpy(frames.inputs(slice(0, FRAMES), planar=True)))
    torch.testing.assert_close(last[0].mean(dim=0), torch.zeros(1024), atol=0.2, rtol=0)


def run(folder, frames):
    return rounds(contestants(SMALL, 21, folder), frames, frames, SMALL, folder)
