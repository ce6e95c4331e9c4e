"""What tests of every engine need: ask it, look at its processes."""

from pathlib import Path

from tests.serving.fakes import Replies
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.ports import Ask, Batch, Engine, MemberState
from v2vpose.values import Decode, TargetCrop

ALL = frozenset({1, 2, 3})
IMPATIENT = Patience(late_s=0.1, late_factor=0, hung_s=0.3, hung_factor=0)
UP = dict.fromkeys(ALL, MemberState.UP)


def asked(engine: Engine, *crops: TargetCrop, epochs: frozenset[int] = ALL) -> Replies:
    replies = Replies()
    asks = tuple(Ask(crop, tuple(sorted(epochs))) for crop in crops)
    engine.submit(Batch(asks, Decode.ARGMAX), 0, epochs, replies)
    return replies


def pids(engine: Engine) -> list[int]:
    return [worker.pid for worker in engine.workers() if worker.pid is not None]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
