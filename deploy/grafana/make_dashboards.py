"""Write the dashboards that Grafana is provisioned with: python deploy/grafana/make_dashboards.py.

With --check nothing is written; exit 1 if a file is not what this would write.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueTextMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableOption,
    VariableRefresh,
)

HERE: Final = Path(__file__).parent / "dashboards"
SOURCE: Final = DataSourceRef(type_val="prometheus", uid="prometheus")
COLUMNS: Final = 24
ROUTES: Final = 'route=~"estimate|rpc_estimate|rpc_stream_frame"'
MINE: Final = 'instance=~"$instance"'
RATE: Final = "$__rate_interval"


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and what its series are called."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Graph:
    """A panel over time; unit is Grafana's name of it."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    description: str = ""


def rate(metric: str, by: str, where: str = "") -> str:
    """Return a metric's rate, summed by labels."""
    matchers = ", ".join(filter(None, (MINE, where)))
    return f"sum by ({by}) (rate({metric}{{{matchers}}}[{RATE}]))"


def quantiles(metric: str, *, by: str = "", where: str = "") -> tuple[Query, ...]:
    """Return p50, p95 and p99 of a histogram, by a label."""
    labels = f"le, {by}" if by else "le"
    name = f"{{{{{by}}}}} " if by else ""
    return tuple(
        Query(
            f"histogram_quantile(0.{q}, {rate(f'{metric}_bucket', labels, where)})", f"{name}p{q}"
        )
        for q in (50, 95, 99)
    )


def mean(metric: str, legend: str) -> Query:
    """Return the mean of what a histogram observed."""
    return Query(
        f"{rate(f'{metric}_sum', 'instance')} / {rate(f'{metric}_count', 'instance')}", legend
    )


def share(part: str, whole: str, legend: str) -> Query:
    """Return one rate as a share of another."""
    return Query(f"{part} / {whole}", legend)


def gauge(metric: str, by: str, legend: str) -> Query:
    """Return a gauge, summed by labels."""
    return Query(f"sum by ({by}) ({metric}{{{MINE}}})", legend)


SERVICE: Final[dict[str, tuple[Graph, ...]]] = {
    "Traffic": (
        Graph(
            "Requests by route",
            "reqps",
            (Query(rate("v2vpose_requests_total", "route"), "{{route}}"),),
        ),
        Graph(
            "Requests by outcome",
            "reqps",
            (Query(rate("v2vpose_requests_total", "code"), "{{code}}"),),
            "ok, an error's code, cancelled (the caller left), or internal (a bug of ours).",
        ),
        Graph(
            "Refused or given up, by reason",
            "reqps",
            (Query(rate("v2vpose_rejected_total", "reason"), "{{reason}}"),),
        ),
    ),
    "Latency": (
        Graph(
            "Latency by route",
            "s",
            quantiles("v2vpose_request_seconds", by="route", where=ROUTES),
            "The objective: p99 below 0.5 s.",
        ),
        Graph(
            "Mean time by stage",
            "s",
            (
                Query(
                    f"{rate('v2vpose_stage_seconds_sum', 'stage')}"
                    f" / {rate('v2vpose_stage_seconds_count', 'stage')}",
                    "{{stage}}",
                ),
            ),
        ),
        Graph("Latency by stage", "s", quantiles("v2vpose_stage_seconds", by="stage")),
    ),
    "Queue": (
        Graph(
            "Waiting, by model",
            "short",
            (gauge("v2vpose_queue_depth", "model", "{{model}}"),),
            "Requests accepted that no worker has yet.",
        ),
        Graph("In flight", "short", (gauge("v2vpose_in_flight", "instance", "{{instance}}"),)),
        Graph(
            "Batch size",
            "short",
            (
                mean("v2vpose_batch_size", "mean of {{instance}}"),
                *quantiles("v2vpose_batch_size")[1:2],
            ),
        ),
    ),
    "Streams": (
        Graph(
            "Open streams",
            "short",
            (gauge("v2vpose_stream_active", "instance", "{{instance}}"),),
        ),
        Graph(
            "Frames answered and skipped",
            "reqps",
            (
                Query(
                    rate("v2vpose_requests_total", "instance", 'route="rpc_stream_frame"'),
                    "answered",
                ),
                Query(rate("v2vpose_stream_frames_dropped_total", "instance"), "skipped"),
            ),
            "Skipped: replaced by a newer frame before anything was spent on it.",
        ),
    ),
}

ENSEMBLE: Final[dict[str, tuple[Graph, ...]]] = {
    "Workers": (
        Graph(
            "Warm replicas by member",
            "short",
            (
                gauge(
                    "v2vpose_worker_up",
                    "model, epoch, device",
                    "{{model}} epoch {{epoch}} on {{device}}",
                ),
            ),
        ),
        Graph(
            "Worker restarts",
            "short",
            (
                Query(
                    f"sum by (instance) (increase(v2vpose_worker_restarts_total{{{MINE}}}[15m]))",
                    "{{instance}}, last 15 minutes",
                ),
            ),
        ),
    ),
    "Ensemble": (
        Graph(
            "Members that answered",
            "short",
            (
                Query(
                    f"{rate('v2vpose_ensemble_answered_sum', 'model')}"
                    f" / {rate('v2vpose_ensemble_answered_count', 'model')}",
                    "{{model}}",
                ),
            ),
        ),
        Graph(
            "Degraded answers",
            "percentunit",
            (
                share(
                    rate("v2vpose_degraded_total", "instance"),
                    rate("v2vpose_ensemble_answered_count", "instance"),
                    "{{instance}}",
                ),
            ),
            "Answers with fewer members than were asked.",
        ),
    ),
    "Drift": (
        Graph(
            "Keypoint confidence",
            "percentunit",
            (
                mean("v2vpose_keypoint_confidence", "mean of {{instance}}"),
                *quantiles("v2vpose_keypoint_confidence")[:1],
            ),
            "Height of the heatmap peaks. It falls when camera, distance or subject change.",
        ),
        Graph(
            "Ensemble spread",
            "lengthmm",
            (
                mean("v2vpose_ensemble_spread_mm", "mean of {{instance}}"),
                *quantiles("v2vpose_ensemble_spread_mm")[1:2],
            ),
            "How far apart the members are: it rises with the error, without ground truth.",
        ),
    ),
}

NOW: Final[tuple[Graph, ...]] = (
    Graph("Instances up", "short", (Query(f'sum(up{{job="v2vpose", {MINE}}})', ""),)),
    Graph(
        "Members warm",
        "percentunit",
        (Query(f"avg(v2vpose_worker_up{{{MINE}}} > bool 0)", ""),),
    ),
    Graph(
        "Models",
        "string",
        (
            Query(
                f"max by (model, version) (v2vpose_model_info{{{MINE}}})", "{{model}} {{version}}"
            ),
        ),
    ),
    Graph(
        "Build",
        "string",
        (Query(f"max by (version) (v2vpose_build_info{{{MINE}}})", "{{version}}"),),
    ),
    Graph("Alerts firing", "short", (Query('sum(ALERTS{alertstate="firing"}) or vector(0)', ""),)),
)


def targets(graph: Graph, *, instant: bool = False) -> list[prometheus.Dataquery]:
    """Return a panel's queries."""
    built = []
    for letter, query in zip("ABCDEFGH", graph.queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expr).legend_format(query.legend)
        built.append((target.instant() if instant else target.range()).datasource(SOURCE))
    return built


def drawn(graph: Graph, *, width: int) -> timeseries.Panel:
    """Return a panel over time."""
    return (
        timeseries.Panel()
        .title(graph.title)
        .description(graph.description)
        .datasource(SOURCE)
        .unit(graph.unit)
        .min(0)
        .span(width)
        .height(8)
        .fill_opacity(8)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .targets(targets(graph))
    )


def number(graph: Graph, *, width: int) -> stat.Panel:
    """Return a panel of the values now; for facts, of their names."""
    panel = stat.Panel().title(graph.title).datasource(SOURCE).span(width).height(4)
    is_fact = graph.unit == "string"
    panel = panel.text_mode(BigValueTextMode.NAME) if is_fact else panel.unit(graph.unit)
    return panel.targets(targets(graph, instant=True))


def board(
    uid: str, title: str, rows: dict[str, tuple[Graph, ...]], now: tuple[Graph, ...]
) -> dashboard.Dashboard:
    """Return a dashboard: the values now, then the rows."""
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .tags(["v2vpose"])
        .time("now-1h", "now")
        .refresh("10s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(
            dashboard.QueryVariable("instance")
            .query("label_values(v2vpose_build_info, instance)")
            .datasource(SOURCE)
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(include_all=True)
            .all_value(".*")
            .multi(multi=True)
            .current(VariableOption(selected=True, text="All", value="$__all"))
        )
        .link(
            dashboard.DashboardLink("V2V-PoseNet")
            .type("dashboards")
            .tags(["v2vpose"])
            .keep_time(keep_time=True)
            .include_vars(include_vars=True)
        )
    )
    for graph in now:
        built = built.with_panel(number(graph, width=COLUMNS // len(now)))
    for name, graphs in rows.items():
        built = built.with_row(dashboard.Row(name))
        for graph in graphs:
            built = built.with_panel(drawn(graph, width=COLUMNS // len(graphs)))
    return built


def texts() -> dict[str, str]:
    """Return the content of every file, by name."""
    boards = {
        "service.json": board("v2vpose-service", "V2V-PoseNet: service", SERVICE, NOW),
        "ensemble.json": board("v2vpose-ensemble", "V2V-PoseNet: ensemble", ENSEMBLE, ()),
    }
    return {
        name: json.dumps(built.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        for name, built in boards.items()
    }


def main() -> None:
    """Write the files, or compare them."""
    check = sys.argv[1:] == ["--check"]
    for name, text in texts().items():
        path = HERE / name
        if not check:
            path.write_text(text, "utf-8")
        elif not path.is_file() or path.read_text("utf-8") != text:
            sys.exit(f"{path} is not what {Path(__file__).name} writes; run it")


if __name__ == "__main__":
    main()
