"""Ray engines of fakes; nothing of Ray is imported before one is made."""

from collections.abc import Sequence

from tests.serving.fakes import load_fake
from v2vpose.serving.engines.supervisor import BackOff
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.ports import Engine, LoadMember
from v2vpose.serving.self_test import SelfTest, synthetic_crop


def ray_engine_of(
    address: str,
    name: str,
    epochs: Sequence[int] = (1, 2, 3),
    *,
    load: LoadMember = load_fake,
    patience: Patience = Patience(),  # noqa: B008  # frozen
    max_batch_size: int = 4,
    replicas: int = 1,
    cpus: float = 1.0,
    actors: int | None = None,
) -> Engine:
    from v2vpose.serving.engines.ray_cluster import Share
    from v2vpose.serving.engines.ray_engine import RayEngine

    return RayEngine(
        address=address,
        name=name,
        epochs=epochs,
        replicas=replicas,
        load=load,
        self_test=SelfTest(synthetic_crop(250.0)),
        max_batch_size=max_batch_size,
        share=Share(cpus=cpus),
        actors=actors,
        patience=patience,
        back_off=BackOff(first_s=0.05, most_s=0.5),
    )
