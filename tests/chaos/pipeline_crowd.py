"""Clients of a pipeline in this process; for engines that no service of its own is worth."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from tests.serving.conftest import Bench
from tests.serving.fakes import SLEEP
from tests.serving.test_pipeline import at, frame
from v2vpose.errors import OverloadedError, UnavailableError


@dataclass
class Crowd:
    """Clients that ask one request after another, and check every answer."""

    bench: Bench
    deadline_s: float | None = None
    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def client(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not self.stop.is_set():
            self.sent += 1
            self.outcomes[await self.request(float(rng.uniform(-100, 100)))] += 1

    async def request(self, x_mm: float) -> str:
        until_s = None if self.deadline_s is None else time.monotonic() + self.deadline_s
        try:
            estimate = await self.bench.pipeline.estimate(
                frame(SLEEP, 0.002), at(x_mm), deadline_s=until_s
            )
        except (UnavailableError, OverloadedError) as error:
            await asyncio.sleep(0.01)  # as a client that was told to come again
            return error.code
        pose = estimate.pose
        expected_mm = x_mm + np.mean(pose.answered)
        np.testing.assert_allclose(pose.keypoints_mm[:, 0], expected_mm, atol=1e-9)
        return "degraded" if pose.degraded else "whole"
