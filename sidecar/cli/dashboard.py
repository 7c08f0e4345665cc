"""sidecar dashboard: what Grafana shows of the metrics."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sidecar.observe.dashboard import service_dashboard
from sidecar.observe.fleet import fleet_dashboard


def command(
    *,
    fleet: Annotated[
        bool, typer.Option("--fleet", help="Of all services together.")
    ] = False,
) -> None:
    """Print a dashboard as JSON, which Grafana imports.

    Example: sidecar dashboard > dashboard.json
    """
    dashboard = fleet_dashboard() if fleet else service_dashboard()
    sys.stdout.write(dashboard.as_json())
