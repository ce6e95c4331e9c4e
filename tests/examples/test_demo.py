"""`make demo`'s script, as it is run, on a small store."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.stores import write_tiny_store

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(400)


def demo(store: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "examples/demo.py"],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "service"),
            "V2VPOSE_MODEL_STORE": str(store),
            "V2VPOSE_BACKEND": "torch",
        },
    )


def test_the_demo_prints_the_joints_and_saves_the_picture(tmp_path: Path) -> None:
    store = tmp_path / "store"
    write_tiny_store(store, epochs=1)
    done = demo(store, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for text in ("starting the service", "POST /v1/estimate", "stopping the service", "k4"):
        assert text in done.stdout
    image = cv2.imread(str(tmp_path / "demo.png"))
    assert image is not None
    assert image.shape == (879, 1680, 3)
    assert not (tmp_path / "demo.log").exists()


def test_the_demo_fails_loudly_without_models(tmp_path: Path) -> None:
    done = demo(tmp_path, tmp_path)
    assert done.returncode == 1
    assert "no models in" in done.stdout
