import re
from pathlib import Path
from typing import Any

import pytest

from v2vpose import app
from v2vpose.errors import InvalidFieldError
from v2vpose.settings import Settings, found_store

ROOT = Path(__file__).parents[1]

CHANGES: dict[str, tuple[str, Any]] = {
    "host": ("0.0.0.0", "0.0.0.0"),  # noqa: S104
    "http_port": ("8080", 8080),
    "grpc_port": ("0", 0),
    "model_store": ("/models", Path("/models")),
    "models": ("hand, body@2", ("hand", "body@2")),
    "backend": ("openvino-f32", "openvino-f32"),
    "replicas": ("2", 2),
    "engine": ("ray", "ray"),
    "ray_address": ("10.0.0.1:6379", "10.0.0.1:6379"),
    "ray_actors": ("4", 4),
    "ray_cpus": ("0.5", 0.5),
    "ray_gpus": ("0.1", 0.1),
    "quorum": ("3", 3),
    "max_batch_size": ("8", 8),
    "max_queue_delay_ms": ("2.5", 2.5),
    "max_queue_size": ("7", 7),
    "locate_threads": ("3", 3),
    "api_key": ("secret", "secret"),
    "admin_key": ("boss", "boss"),
    "max_body_bytes": ("1000", 1000),
    "max_inflight_bytes": ("2000", 2000),
    "max_pixels": ("1000", 1000),
    "request_timeout_s": ("2.5", 2.5),
    "decode_threads": ("4", 4),
    "max_decode_queue_size": ("5", 5),
    "tracking_min_confidence": ("0.5", 0.5),
    "drain_delay_s": ("0", 0.0),
    "drain_grace_s": ("1", 1.0),
    "log_level": ("debug", "debug"),
    "log_format": ("json", "json"),
    "otlp_endpoint": ("http://localhost:4318", "http://localhost:4318"),
}


def test_every_setting_is_covered_here() -> None:
    assert set(CHANGES) == set(Settings.model_fields)


@pytest.mark.parametrize("name", CHANGES)
def test_the_environment_changes_each_setting(name: str) -> None:
    text, expected = CHANGES[name]
    found = getattr(Settings.read({f"V2VPOSE_{name.upper()}": text}), name)
    assert getattr(found, "get_secret_value", lambda: found)() == expected
    assert found != getattr(Settings.read({}), name)


def test_every_setting_is_read_by_the_composition_root() -> None:
    source = Path(app.__file__).read_text()
    used = set(re.findall(r"settings\.(\w+)", source))
    through_methods = {"model_store", "backend"}
    assert set(Settings.model_fields) - through_methods <= used
    assert {"store_path", "wished_backend"} <= used
    assert "store_path" in used


def test_what_the_command_line_gives_wins() -> None:
    settings = Settings.read(
        {"V2VPOSE_HTTP_PORT": "1", "V2VPOSE_HOST": "a"}, http_port=2, host=None
    )
    assert (settings.http_port, settings.host) == (2, "a")


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"V2VPOSE_HTTP_PROT": "1"}, "unknown environment variable V2VPOSE_HTTP_PROT (known: V2V"),
        ({"V2VPOSE_HTTP_PORT": "many"}, "V2VPOSE_HTTP_PORT: Input should be a valid integer"),
        ({"V2VPOSE_HTTP_PORT": "65536"}, "less than or equal to 65535, got '65536'"),
        ({"V2VPOSE_REQUEST_TIMEOUT_S": "0"}, "V2VPOSE_REQUEST_TIMEOUT_S: Input should be greater"),
        ({"V2VPOSE_MAX_PIXELS": "99999999"}, "less than or equal to 16777216"),
        ({"V2VPOSE_LOG_LEVEL": "loud"}, "V2VPOSE_LOG_LEVEL: Input should be 'debug', 'info'"),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidFieldError, match=re.escape(text)):
        Settings.read(environ)


def test_what_kubernetes_writes_for_a_service_of_our_name_is_no_setting() -> None:
    links = {
        "V2VPOSE_PORT": "tcp://10.0.0.1:8000",
        "V2VPOSE_SERVICE_HOST": "10.0.0.1",
        "V2VPOSE_SERVICE_PORT": "8000",
        "V2VPOSE_SERVICE_PORT_GRPC": "50051",
        "V2VPOSE_PORT_8000_TCP_ADDR": "10.0.0.1",
    }
    assert Settings.read(links) == Settings.read({})


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(Settings.read({"V2VPOSE_API_KEY": "secret"}))


def test_the_nearest_store_above_is_found(tmp_path: Path) -> None:
    version = tmp_path / "model_store/hand/1"
    version.mkdir(parents=True)
    (version / "manifest.json").touch()
    below = tmp_path / "a/b"
    below.mkdir(parents=True)
    assert found_store(None, below) == tmp_path / "model_store"
    assert found_store(below, tmp_path) == below


def test_a_store_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFieldError, match=r"nowhere: expected a directory, found none"):
        found_store(tmp_path / "nowhere", tmp_path)
