"""What the wire asks of the engine; `serving.pipeline.Pipeline` is one, tests bring small fakes."""

from collections.abc import Sequence
from typing import Protocol

from v2vpose.estimator import Options
from v2vpose.model_store import Manifest
from v2vpose.serving.pipeline import Estimate
from v2vpose.serving.ports import ModelHealth, Priority
from v2vpose.values import DepthFrame


class PosePipeline(Protocol):
    """The part of the pipeline that REST and gRPC share; its promises are `Pipeline`'s."""

    @property
    def ready(self) -> bool:
        """Whether every model has its quorum of warm workers, and no drain has begun."""
        ...

    async def estimate(
        self,
        frame: DepthFrame,
        options: Options,
        *,
        model: str | None = None,
        version: str | None = None,
        deadline_s: float | None = None,
        priority: Priority = Priority.NORMAL,
    ) -> Estimate:
        """Estimate the pose of the best target in the frame."""
        ...

    def models(self) -> Sequence[Manifest]:
        """Return the manifests of the versions being served; the default model first."""
        ...

    def manifest(self, model: str | None = None, version: str | None = None) -> Manifest:
        """Return a manifest of a version being served."""
        ...

    def health(self) -> Sequence[ModelHealth]:
        """Return the state of every model and its workers, the default model first."""
        ...

    async def reload(self, model: str, version: str | None = None) -> Manifest:
        """Warm a version up beside the one being served, and move the traffic to it."""
        ...
