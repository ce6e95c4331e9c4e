"""The README's commands, run as they are written, on the bundled model."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.partition("  #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("source ")
]
SERVICE = "http://localhost:8000"
LONG = {"make test", "make train-hand"}  # this very run; hours
SERVED = {command for command in COMMANDS if SERVICE in command}
START_LIMIT_S = 200.0


def run(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"source .venv/bin/activate && {command}"], check=False,
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _no_traces() -> Iterator[None]:
    """Take the pictures away that the commands leave, unless they were there before."""
    pictures = [ROOT / name for name in ("demo.png", "out.png")]
    there = {picture for picture in pictures if picture.exists()}
    yield
    for picture in set(pictures) - there:
        picture.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def _served() -> Iterator[None]:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8000)) == 0:
            pytest.skip("port 8000, the README's, is taken")
    process = subprocess.Popen(["make", "serve"], cwd=ROOT, start_new_session=True)
    try:
        end_s = time.monotonic() + START_LIMIT_S
        while time.monotonic() < end_s and process.poll() is None:
            try:
                if httpx.get(f"{SERVICE}/readyz").is_success:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def test_the_readme_names_both_commands_of_a_fresh_machine():
    assert {"make demo", "make test", "make serve"} <= set(COMMANDS)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c not in LONG | SERVED | {"make serve"}]
)
def test_a_command_of_the_readme_works_as_written(command: str):
    short = re.sub(r"--frames \d+", "--frames 3", command)
    done = run(short)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
    if command == "make demo":
        assert "index_tip" in done.stdout
        assert (ROOT / "demo.png").stat().st_size > 20_000


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("_served")
@pytest.mark.parametrize("command", sorted(SERVED))
def test_a_request_of_the_readme_is_answered_as_written(command: str):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = run(command)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert len(answer["keypoints"]) == 21
    assert answer["ensemble"]["degraded"] is False


@pytest.mark.parametrize("target", sorted(LONG))
def test_a_long_command_of_the_readme_is_a_target_that_make_knows(target: str):
    done = run(f"{target} --dry-run")
    assert done.returncode == 0, done.stderr


def test_every_file_that_the_readme_links_to_is_there():
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
