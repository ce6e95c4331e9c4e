import importlib.util
import time

import pytest
import torch

from v2vpose.backends import NetShape, choice, chosen_backend

TINY = NetShape(num_keypoints=2, width=2, input_side=16)
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="extra `cpu` is not installed"
)


@pytest.mark.parametrize("wish", ["openvino-f32", "openvino-bf16", "torch", "cuda"])
def test_a_wish_is_a_command(wish):
    assert chosen_backend(TINY, wish, threads=1, is_apart=True) == wish


@needs_openvino
def test_openvinos_precisions_are_tried_here_or_in_a_process_of_their_own():
    assert not torch.cuda.is_available()
    for wish in (None, "openvino"):
        for is_apart in (True, False):
            found = chosen_backend(TINY, wish, threads=1, is_apart=is_apart)
            assert found in {"openvino-f32", "openvino-bf16"}


@needs_openvino
@pytest.mark.parametrize(
    ("bf16_s", "faster"),
    [(0.5, "openvino-bf16"), (0.95, "openvino-f32"), (2.0, "openvino-f32")],
)
def test_the_faster_precision_is_taken_and_float32_if_it_hardly_matters(
    monkeypatch, bf16_s, faster
):
    """On a clock that runs as each precision says; the first runs are slow, one is disturbed."""
    now_s, runs = 0.0, {"f32": 0, "bf16": 0}

    class Fake:
        def __init__(self, *_nets, precision, **_more):
            self._precision = precision

        def peaks(self, _):
            nonlocal now_s
            runs[self._precision] += 1
            is_disturbed = runs[self._precision] in {1, 3}
            now_s += (1.0 if self._precision == "f32" else bf16_s) * (9 if is_disturbed else 1)

    from v2vpose.backends import openvino_backend

    monkeypatch.setattr(openvino_backend, "OpenVINOBackend", Fake)
    monkeypatch.setattr(time, "perf_counter", lambda: now_s)
    assert choice.faster_openvino.__wrapped__(TINY, 1) == faster
