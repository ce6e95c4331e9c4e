import asyncio
import json
import logging
import sys
from itertools import pairwise

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from v2vpose.errors import OverloadedError
from v2vpose.telemetry import JsonFormatter, Telemetry, request_context


@pytest.fixture
def telemetry():
    return Telemetry(CollectorRegistry())


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(name, labels)


def test_every_metric_of_the_architecture_is_there(telemetry):
    text = generate_latest(telemetry.registry).decode()
    found = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    names = """requests_total request_seconds stage_seconds batch_size queue_depth in_flight
        rejected_total worker_up worker_restarts_total ensemble_answered degraded_total
        ensemble_spread_mm keypoint_confidence stream_active stream_frames_dropped_total model_info
        build_info"""
    assert {name for name in found if not name.endswith("_created")} == {
        f"v2vpose_{name}" for name in names.split()
    }


def test_one_success_and_one_failure_are_counted_exactly(telemetry):
    with telemetry.request("estimate"):
        assert value(telemetry, "v2vpose_in_flight") == 1
    with pytest.raises(OverloadedError), telemetry.request("estimate"):
        raise OverloadedError
    assert value(telemetry, "v2vpose_requests_total", route="estimate", code="ok") == 1
    assert value(telemetry, "v2vpose_requests_total", route="estimate", code="overloaded") == 1
    assert value(telemetry, "v2vpose_request_seconds_count", route="estimate") == 2
    assert value(telemetry, "v2vpose_in_flight") == 0


def test_an_unknown_exception_is_internal_and_a_set_outcome_holds(telemetry):
    with pytest.raises(ZeroDivisionError), telemetry.request("estimate"):
        raise ZeroDivisionError
    with telemetry.request("estimate") as outcome:
        outcome.code = "invalid_field"
    assert value(telemetry, "v2vpose_requests_total", route="estimate", code="internal") == 1
    assert value(telemetry, "v2vpose_requests_total", route="estimate", code="invalid_field") == 1


async def test_a_cancelled_request_still_decrements(telemetry):
    inside = asyncio.Event()

    async def request() -> None:
        with telemetry.request("estimate"), telemetry.stream():
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(request())
    await inside.wait()
    assert value(telemetry, "v2vpose_stream_active") == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert value(telemetry, "v2vpose_in_flight") == 0
    assert value(telemetry, "v2vpose_stream_active") == 0
    assert value(telemetry, "v2vpose_requests_total", route="estimate", code="cancelled") == 1


def test_stages_are_counted_and_summed(telemetry):
    telemetry.stages({"decode": 0.5, "forward": 0.25})
    telemetry.stages({"decode": 0.25})
    assert value(telemetry, "v2vpose_stage_seconds_count", stage="decode") == 2
    assert value(telemetry, "v2vpose_stage_seconds_sum", stage="forward") == 0.25


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("v2vpose_stage_seconds", 0.00025, 8.192),
        ("v2vpose_batch_size", 1.0, 256.0),
    ],
)
def test_buckets_are_powers_of_two(telemetry, name, first, last):
    telemetry.stages({"forward": 0.0})
    telemetry.batch_size.observe(1)
    bounds = [
        float(sample.labels["le"])
        for metric in telemetry.registry.collect()
        for sample in metric.samples
        if sample.name == f"{name}_bucket"
    ]
    assert (bounds[0], bounds[-2]) == (first, last)
    assert all(b == 2 * a for a, b in pairwise(bounds[:-1]))


def test_two_services_fit_in_one_process(telemetry):
    other = Telemetry(CollectorRegistry())
    with telemetry.request("estimate"):
        pass
    assert value(other, "v2vpose_requests_total", route="estimate", code="ok") is None


def formatted(message: str, **extra: object) -> dict[str, object]:
    record = logging.makeLogRecord({"name": "v2vpose.x", "levelname": "INFO", "msg": message})
    vars(record).update(extra)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    return dict(json.loads(line))


def test_a_log_line_is_json_with_its_extra_fields():
    line = formatted("done", route="estimate", path=sys)
    assert line["message"] == "done"
    assert (line["level"], line["logger"], line["route"]) == ("info", "v2vpose.x", "estimate")
    assert str(line["time"]).endswith("+00:00")
    assert str(line["path"]).startswith("<module")
    assert "msg" not in line


def test_a_log_line_names_its_request_and_no_other():
    with request_context("r1", traceparent="00-ab-cd-01"):
        line = formatted("inside")
    assert (line["request_id"], line["traceparent"]) == ("r1", "00-ab-cd-01")
    assert "request_id" not in formatted("outside")


async def test_requests_side_by_side_keep_their_names():
    async def request(name: str, mine: asyncio.Event, other: asyncio.Event) -> object:
        with request_context(name):
            mine.set()
            await other.wait()
            return formatted("now")["request_id"]

    a, b = asyncio.Event(), asyncio.Event()
    assert list(await asyncio.gather(request("a", a, b), request("b", b, a))) == ["a", "b"]


def test_a_trace_is_part_of_the_line():
    try:
        int("boom")
    except ValueError:
        line = formatted("failed", exc_info=sys.exc_info())
    assert "ValueError: invalid literal" in str(line["trace"])


def test_what_orjson_cannot_write_is_logged_all_the_same():
    line = formatted("x", odd="\ud800", big=2**70)
    assert (line["message"], line["odd"], line["big"]) == ("x", "\ud800", 2**70)
