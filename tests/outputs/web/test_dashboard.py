"""What ships for Grafana and Prometheus names metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families
from visitors import Run, until

from picam_infer.outputs.web.metrics import Metrics
from picam_infer.runtime.reports import CollectionReport, OutletReport, WebReport
from picam_infer.runtime.state import Histogram

CONFIG = Path(__file__).parents[3] / "config"


def existing() -> set[str]:
    run = Run()
    until(lambda: run.state.stats.inferences.total)
    run.state.stats.latency["openvino:CPU"] = Histogram()
    outlet = OutletReport("b", "mqtt", True, "", "", sent=1, failed=0, dropped=0, queued=0)
    run.state.reports.events.serve(lambda: (outlet,))
    collection = CollectionReport("f", "change", pictures=1, bytes=2, failures=0, reason="")
    run.state.reports.collection.serve(lambda: collection)
    page = WebReport(True, "127.0.0.1:8080", "", {"raw": 1})
    run.state.reports.web.serve(lambda: page)
    body, _ = Metrics(run.state).page("")
    run.close()
    samples = {sample.name for family in text_string_to_metric_families(body.decode()) for sample in family.samples}
    return samples | {"picam_temperature_celsius", "picam_power"}  # where there are such sensors


def test_the_dashboard_and_the_rules_use_metrics_that_exist() -> None:
    dashboard = json.loads((CONFIG / "grafana-dashboard.json").read_text())
    text = json.dumps(dashboard) + (CONFIG / "prometheus.yml").read_text()
    names = set(re.findall(r"\bpicam_\w+", text))
    assert len(names) > 15 and names <= existing(), names - existing()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_scrape_config_is_valid() -> None:
    plain = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
    assert plain["scrape_configs"][0]["static_configs"][0]["targets"] == ["127.0.0.1:8080"]
