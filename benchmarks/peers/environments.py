"""A virtual environment for each peer, outside the repository, made once."""

import hashlib
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

COMMON: Final = ("numba", "opencv-python-headless", "openvino", "orjson")


def cache() -> Path:
    """Return the folder of the peers' environments and of what is exported for them."""
    given = os.environ.get("PEERS_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "v2vpose" / "peers"


def python_of(name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of a peer's environment; make the environment if it is not there."""
    wanted = [*requirements, *COMMON]
    constraints = [f"openvino=={importlib.metadata.version('openvino')}"]
    stamp = hashlib.sha256(" ".join([*wanted, *constraints, sys.version]).encode()).hexdigest()
    directory = cache() / name
    python, mark = directory / "bin" / "python", directory / "made-of"
    if not (mark.exists() and mark.read_text("utf-8") == stamp):
        print(f"installing {name} into {directory}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        pins = directory / "constraints.txt"
        pins.write_text("\n".join(constraints), "utf-8")
        install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*install, "-c", pins, *wanted], check=True)
        mark.write_text(stamp, "utf-8")
    return python
