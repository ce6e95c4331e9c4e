"""What is measured and logged: Prometheus metrics in one object, and JSON log lines."""

from v2vpose.telemetry.logs import JsonFormatter, request_context
from v2vpose.telemetry.metrics import Outcome, Telemetry

__all__ = ["JsonFormatter", "Outcome", "Telemetry", "request_context"]
