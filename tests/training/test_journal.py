import sys

import cv2
import pytest

from v2vpose.training.journal import BOARD, CURVE_FILE, LOG_FILE, Journal

ROWS = [
    {"step": step, "epoch": step / 8, "v2v_loss": 9 / step, "refiner_loss": 1 / step,
     "argmax_mm": 50 - step, "subvoxel_mm": 40 - step, "refined_mm": 20.0}
    for step in (2.0, 4.0, 6.0)
]  # fmt: skip


def board_of(run):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator(str(run / BOARD))
    accumulator.Reload()
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)]
            for tag in accumulator.Tags()["scalars"]}  # fmt: skip


def test_rows_go_to_the_log_the_curve_and_tensorboard(tmp_path):
    journal = Journal(tmp_path, [])
    for count in (1, 2):
        journal.write(ROWS[:count])
    journal.close()
    assert (tmp_path / LOG_FILE).read_text().splitlines() == [
        "step,epoch,v2v_loss,refiner_loss,argmax_mm,subvoxel_mm,refined_mm",
        "2,0.25,4.5,0.5,48,38,20",
        "4,0.5,2.25,0.25,46,36,20",
    ]
    curve = cv2.imread(str(tmp_path / CURVE_FILE))
    assert curve is not None
    assert curve.shape[0] > 300
    assert board_of(tmp_path)["argmax_mm"] == [(2, 48), (4, 46)]


def test_a_resumed_run_takes_back_what_it_will_write_again(tmp_path):
    journal = Journal(tmp_path, [])
    for count in (1, 2, 3):
        journal.write(ROWS[:count])
    journal.close()
    resumed = Journal(tmp_path, ROWS[:1])  # the state was saved before the other rows
    assert len((tmp_path / LOG_FILE).read_text().splitlines()) == 2
    resumed.write(ROWS[:2])
    resumed.close()
    assert board_of(tmp_path)["v2v_loss"] == [(2, 4.5), (4, 2.25)]


def test_without_tensorboard_the_rest_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    journal = Journal(tmp_path, [])
    journal.write(ROWS)
    journal.close()
    assert not (tmp_path / BOARD).exists()
    assert (tmp_path / LOG_FILE).exists()
