import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_stubs_are_those_of_the_proto(tmp_path: Path) -> None:
    subprocess.run(
        [ROOT / "tools/generate_stubs.sh", tmp_path],
        check=True,
        env={**os.environ, "PYTHON": sys.executable},
    )
    fresh = {p.name: p.read_bytes() for p in (tmp_path / "v2vpose/api/pb").iterdir()}
    kept = {
        p.name: p.read_bytes()
        for p in (ROOT / "service/v2vpose/api/pb").iterdir()
        if p.suffix in {".py", ".pyi"}
    }
    assert kept == fresh, "run tools/generate_stubs.sh"
