"""A tiny set in NYU's layout whose hands are balls, and nothing to generate."""

from pathlib import Path

import numpy as np

from tests.datasets.writers import write_nyu_labels, write_nyu_png
from tests.frames import sphere_frame
from v2vpose.model_store.importers.known_sets import NYU


def write_balls(root: Path, *, train: int = 24, test: int = 4) -> Path:
    for split, count, seed in (("train", train, 1), ("test", test, 2)):
        rng = np.random.default_rng(seed)
        xyz = np.zeros((3, count, 36, 3))
        for index in range(count):
            x, y, z = (float(c) for c in rng.uniform((-60, -40, 600), (60, 40, 800)))
            frame = sphere_frame((x, y, z), radius_mm=50, hw=(480, 640), intrinsics=NYU.intrinsics)
            write_nyu_png(root / split / f"depth_1_{index + 1:07d}.png", np.rint(frame.depth_mm))
            around = rng.uniform(-50, 50, size=(36, 3))
            xyz[0, index] = (np.array([x, y, z]) + around) * (1, -1, 1)
        write_nyu_labels(root / split, xyz)
    return root
