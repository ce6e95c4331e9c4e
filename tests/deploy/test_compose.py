"""What the deploy files say agrees with the service, and with each other."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from v2vpose import __version__
from v2vpose.settings import PREFIX, Settings

yaml = pytest.importorskip("yaml", reason="pip install -r deploy/requirements.txt")

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
RUNBOOK = (ROOT / "docs/runbook.md").read_text("utf-8")
LOCKS = ROOT / "deploy/image"


def rules() -> list[dict[str, Any]]:
    content = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text("utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def alerts_with_tests() -> set[str]:
    content = yaml.safe_load((ROOT / "deploy/prometheus/rules_test.yml").read_text("utf-8"))
    tests = [each for test in content["tests"] for each in test.get("alert_rule_test", [])]
    return {test["alertname"] for test in tests if test.get("exp_alerts")}


def pins(*names: str) -> dict[str, str]:
    """What lock files pin."""
    text = "\n".join((LOCKS / name).read_text("utf-8") for name in names)
    return dict(re.findall(r"^([\w.-]+)==([\w.+!-]+)", text, re.MULTILINE))


def service_environment() -> dict[str, str]:
    """The service's environment in the container; keys are passed on from outside."""
    of_image = dict(re.findall(rf"({PREFIX}\w+)=(\S+)", DOCKERFILE))
    of_compose = dict(
        entry.split("=") for entry in COMPOSE["services"]["v2vpose"]["environment"] if "=" in entry
    )
    return {**of_image, **of_compose}


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def test_the_services_settings_are_known_and_valid():
    Settings.read(service_environment())
    passed_on = [e for e in COMPOSE["services"]["v2vpose"]["environment"] if "=" not in e]
    assert {name.removeprefix(PREFIX).lower() for name in passed_on} <= set(Settings.model_fields)


def test_ports_are_the_services():
    settings = Settings.read(service_environment())
    inside = {port.rsplit(":", 1)[1] for port in COMPOSE["services"]["v2vpose"]["ports"]}
    assert inside == {str(settings.http_port), str(settings.grpc_port)}
    assert f"EXPOSE {settings.http_port} {settings.grpc_port}" in DOCKERFILE


def test_the_image_has_the_packages_version():
    assert f"ARG VERSION={__version__}" in DOCKERFILE


def test_docker_waits_longer_than_the_drain_takes():
    settings = Settings.read(service_environment())
    drain_s = settings.drain_delay_s + settings.drain_grace_s
    for name in ("v2vpose", "proxy"):
        assert seconds(COMPOSE["services"][name]["stop_grace_period"]) >= drain_s + 5


def test_every_service_is_restricted_and_every_image_is_pinned():
    for name, service in COMPOSE["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        if "build" not in service:
            assert re.search(r":v?\d+\.\d+", service["image"]), name


def test_the_locks_were_made_after_what_is_declared_changed():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*declared["dependencies"], *declared["optional-dependencies"]["cpu"]]
    wanted += (ROOT / "deploy/loadtest/requirements.txt").read_text("utf-8").split()
    made_from = (LOCKS / "declared.txt").read_text("utf-8").splitlines()
    assert sorted(made_from) == sorted(wanted), "run `make lock`"


def test_the_locks_pin_what_is_tested_with():
    locked = pins("torch.txt", "requirements.lock", "cpu.lock", "loadtest.lock")
    tested = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    )
    both = locked.keys() & tested.keys()
    assert {n: locked[n] for n in both} == {n: tested[n] for n in both}, "run `make lock`"


def test_the_locks_pin_every_library_once():
    names = ("torch.txt", "requirements.lock", "cpu.lock", "loadtest.lock")
    found = [name for lock in names for name in pins(lock)]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("lock", ["requirements.lock", "cpu.lock", "loadtest.lock"])
def test_every_pin_has_hashes(lock: str):
    text = (LOCKS / lock).read_text("utf-8")
    entries = re.split(r"\n(?=\w)", text)
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_is_tested_and_has_its_paragraph(rule: dict[str, Any]):
    assert rule["alert"] in alerts_with_tests()
    assert rule["labels"]["severity"] in {"page", "ticket"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "docs/runbook.md"
    assert anchor == rule["alert"].lower()
    paragraph = re.search(
        rf"^### {rule['alert']}\n\n(.+?)(?=\n#|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL
    )
    assert paragraph
    assert len(paragraph[1].split()) >= 30


def test_the_alerts_pass_their_tests():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        [promtool, "test", "rules", ROOT / "deploy/prometheus/rules_test.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_gpu_file_asks_for_gpus_and_a_cuda_image():
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed")
    files = ("-f", "docker-compose.yml", "-f", "deploy/compose.gpu.yml")
    done = subprocess.run(
        [compose, *files, "config", "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PIP_FIND_LINKS": ""},
    )
    service = json.loads(done.stdout)["services"]["v2vpose"]
    assert service["build"]["args"]["DEVICE"] == "cuda"
    assert service["environment"]["V2VPOSE_BACKEND"] == "cuda"
    assert service["deploy"]["resources"]["reservations"]["devices"] == [
        {"capabilities": ["gpu"], "driver": "nvidia", "count": -1}
    ]
