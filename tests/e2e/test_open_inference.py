"""The real service, asked by the unmodified tritonclient of PyPI."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import UNITS, Running
from tests.frames import CAMERA
from v2vpose.values import DepthFrame

pytestmark = pytest.mark.timeout(400)
CALLS = Path(__file__).with_name("tritonclient_calls.py")


def test_tritonclient_gets_the_estimators_answer_every_way(
    service: Running,
    tmp_path: Path,
) -> None:
    depth = UNITS // 4
    np.save(tmp_path / "depth.npy", depth)
    camera = [CAMERA.fx_px, CAMERA.fy_px, CAMERA.cx_px, CAMERA.cy_px]
    http = service.url.removeprefix("http://")
    ran = subprocess.run(
        [sys.executable, CALLS, tmp_path / "depth.npy", http, service.grpc_address,
         json.dumps(camera)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    answers = json.loads(ran.stdout)
    expected = service.estimator.estimate(DepthFrame(depth.astype(np.float32), CAMERA))
    assert len(answers) == 7
    for way, answer in answers.items():
        np.testing.assert_allclose(
            answer["keypoints_mm"], expected.keypoints_mm, atol=0.01, err_msg=way
        )
        np.testing.assert_allclose(answer["confidence"], expected.confidence, atol=1e-4)
    assert [answer["id"] for answer in answers.values()] == [
        "sync", "sync", "json", "aio", "sync", "aio", "stream",
    ]  # fmt: skip
    assert "no model 'foot'" in answers["http"]["error"]
    assert "no model 'foot'" in answers["grpc"]["error"]
