"""A cluster's alerts and dashboards as objects: rules, ConfigMaps for Grafana, routes to the teams' topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap

from components.children import children_of
from components.dashboards import dashboard_json, endpoint_figures, platform_figures
from components.objects import custom, meta
from components.rules import Watched, endpoint_groups, platform_group
from components.tags import Owned
from environments.infrastructure import AlarmsSpec

DASHBOARD_LABEL = "grafana_dashboard"


@dataclass(frozen=True)
class MonitoringArgs:
    """The endpoints of a cluster, the thresholds of everything else, and each team's topic."""

    region: str
    watched: Sequence[Watched]
    alarms: AlarmsSpec
    topics: Mapping[str, pulumi.Input[str]]
    namespace: pulumi.Input[str]
    owned: Owned


class Monitoring(pulumi.ComponentResource):
    """Alerts for every endpoint, for GPUs, rollouts and the ledger, and a dashboard for each.

    Costs what Prometheus needs to evaluate some dozen rules twice a minute. Protects by: an alert for every promise
    in the spec, sent to the team that owns the endpoint, and the same expressions behind alert and figure.
    """

    def __init__(self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:monitoring:Monitoring", name, None, opts)
        self._name, self._args = name, args
        self._own = children_of(self, opts)
        self._rules("platform", args.owned, [platform_group(args.owned.environment, args.alarms)])
        self._dashboard("platform", args.owned, f"{args.owned.environment}: GPUs and rollouts", platform_figures())
        for watched in args.watched:
            endpoint, owned = watched.figures.endpoint, args.owned.by(watched.team)
            self._rules(endpoint, owned, endpoint_groups(watched))
            self._dashboard(endpoint, owned, f"{args.owned.environment}: {endpoint}", endpoint_figures(watched))
        for team, topic in sorted(args.topics.items()):
            self._route(team, topic)
        self.register_outputs({"endpoints": [watched.figures.endpoint for watched in args.watched]})

    def _rules(self, what: str, owned: Owned, groups: Sequence[Mapping[str, Any]]) -> None:
        custom(
            f"{self._name}-{what}-rules",
            "monitoring.coreos.com/v1",
            "PrometheusRule",
            metadata=meta(f"sluice-{what}", owned, namespace=self._args.namespace),
            spec={"groups": groups},
            opts=self._own,
        )

    def _dashboard(self, what: str, owned: Owned, title: str, rows: Sequence[tuple[str, Sequence[Any]]]) -> None:
        uid = f"sluice-{owned.environment}-{what}"[:40]
        text = dashboard_json(uid, title, rows, tags=[owned.environment, owned.team])
        metadata = meta(f"dashboard-{what}", owned, namespace=self._args.namespace, labels={DASHBOARD_LABEL: "1"})
        ConfigMap(f"{self._name}-{what}-dashboard", metadata=metadata, data={f"{uid}.json": text}, opts=self._own)

    def _route(self, team: str, topic: pulumi.Input[str]) -> None:
        """Send a team's alerts to its topic; `page` and `ticket` are told apart by the subject."""
        receiver = {
            "name": "topic",
            "snsConfigs": [
                {
                    "topicARN": topic,
                    "sigv4": {"region": self._args.region},
                    "subject": "{{ .CommonLabels.severity }}: {{ .CommonLabels.alertname }}",
                    "sendResolved": True,
                }
            ],
        }
        route = {
            "receiver": "topic",
            "groupBy": ["alertname", "endpoint"],
            "groupWait": "30s",
            "groupInterval": "5m",
            "repeatInterval": "4h",
            # The chart's alerts carry our team's label too; its Watchdog, severity `none`, fires while all is well.
            "matchers": [
                {"name": "team", "value": team, "matchType": "="},
                {"name": "severity", "value": "none", "matchType": "!="},
            ],
        }
        custom(
            f"{self._name}-{team}-route",
            "monitoring.coreos.com/v1alpha1",
            "AlertmanagerConfig",
            metadata=meta(f"topic-{team}", self._args.owned.by(team), namespace=self._args.namespace),
            spec={"route": route, "receivers": [receiver]},
            opts=self._own,
        )
