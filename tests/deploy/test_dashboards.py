"""The dashboards are what the code writes, and ask for metrics that exist."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from v2vpose.telemetry import Telemetry

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))


@dataclass(frozen=True, slots=True)
class Shown:
    """A PromQL expression of a panel, with Grafana's variables filled in."""

    dashboard: str
    panel: str
    expression: str


def everything_shown() -> list[Shown]:
    return [
        Shown(
            path.stem,
            panel["title"],
            target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*"),
        )
        for path in DASHBOARDS
        for panel in json.loads(path.read_text("utf-8"))["panels"]
        for target in panel.get("targets", [])
    ]


def every_expression() -> list[str]:
    return [shown.expression for shown in everything_shown()]


def metric_names() -> set[str]:
    """Names of every sample the service can expose."""
    names = set()
    for family in Telemetry(CollectorRegistry()).registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        names |= {family.name + suffix for suffix in suffixes.get(family.type, ("",))}
    return names


def used_metrics(text: str) -> set[str]:
    return set(re.findall(r"\bv2vpose_[a-z_]+", text))


def test_the_files_are_what_the_code_writes():
    pytest.importorskip("grafana_foundation_sdk", reason="pip install -r deploy/requirements.txt")
    subprocess.run([sys.executable, DEPLOY / "grafana/make_dashboards.py", "--check"], check=True)


def test_the_dashboards_survive_grafanas_own_types():
    models = pytest.importorskip(
        "grafana_foundation_sdk.models.dashboard", reason="pip install -r deploy/requirements.txt"
    )
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder").JSONEncoder
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins")
    plugins.register_default_plugins()
    for path in DASHBOARDS:
        content = json.loads(path.read_text("utf-8"))
        there_and_back = json.dumps(models.Dashboard.from_json(content), cls=encoder)
        assert json.loads(there_and_back) == content


@pytest.mark.parametrize("expression", every_expression())
def test_every_panel_asks_in_promql(expression: str):
    parser = pytest.importorskip("promql_parser", reason="pip install -r deploy/requirements.txt")
    parser.parse(expression)


def test_dashboards_and_alerts_ask_only_for_metrics_that_exist():
    rules = (DEPLOY / "prometheus/rules.yml").read_text("utf-8")
    assert used_metrics(rules) <= metric_names()
    assert set().union(*map(used_metrics, every_expression())) <= metric_names()


def test_every_metric_is_on_a_dashboard():
    drawn = set().union(*map(used_metrics, every_expression()))
    missing = {
        family.name
        for family in Telemetry(CollectorRegistry()).registry.collect()
        if not any(name.startswith(family.name) for name in drawn)
    }
    assert missing == set()


def test_panels_do_not_overlap():
    for path in DASHBOARDS:
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, f"{path.name}: {panel['title']}"
            assert place["x"] + place["w"] <= 24
            taken |= cells
