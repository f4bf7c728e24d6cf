"""From a rule to a team's topic: Prometheus Operator, Prometheus and Alertmanager run for real, SNS is moto's."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from environments.names import LEDGER_METRIC
from tests.components.conftest import main_loop as main_loop
from tests.components.mocked import ACCOUNT, Made
from tests.components.test_everywhere import platform
from tests.support import alerting
from tests.support.kubernetes.control_plane import control_plane
from tests.support.servers.http_stub import http_stub
from tests.support.servers.prometheus import running_prometheus

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.xdist_group("alerting")]

REGION = "eu-central-1"
MOTO = "123456789012"
KINDS = ("PrometheusRule", "AlertmanagerConfig")
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": REGION}
DELIVERED_S = 60.0


def objects() -> list[Made]:
    """Return the rules and routes of one of prod's clusters."""
    return [made for kind in KINDS for made in platform("prod").of(kind) if REGION in made.name]


def alerts() -> list[dict[str, Any]]:
    """Return every rule of ours that alerts, with the labels that it sends."""
    groups = [group for made in objects() if made.at("kind") == KINDS[0] for group in made.at("spec.groups")]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """Return the operator's files: Alertmanager's, and those of rules."""
    with control_plane(controllers=False) as plane:
        alerting.installed(plane, objects())
        return alerting.written(plane, tmp_path_factory.mktemp("operator"))


@pytest.fixture
def config(files: tuple[str, list[str]], tmp_path: Path) -> Path:
    """Return Alertmanager's file on disk."""
    path = tmp_path / "alertmanager.yml"
    path.write_text(files[0])
    return path


def receivers(config: Path, **labels: str) -> set[str]:
    """Return who hears of an alert, as Alertmanager's own tool has it."""
    told = [f"{key}={value}" for key, value in labels.items()]
    said = alerting.amtool(config, "config", "routes", "test", f"--config.file={config}", *told)
    return {name.rpartition("/topic-")[2].partition("/")[0] for name in said.strip().split(",")}


def test_alertmanager_takes_the_file_and_prometheus_the_rules(files: tuple[str, list[str]], config: Path) -> None:
    assert "SUCCESS" in alerting.amtool(config, "check-config", str(config))
    assert {r["alert"] for r in alerts()} <= set(re.findall(r"alert: (\w+)", "\n".join(files[1])))


def test_every_alert_reaches_its_team_and_nobody_else(config: Path) -> None:
    told = {(rule["alert"], rule["labels"]["team"], rule["labels"]["severity"]) for rule in alerts()}
    assert {severity for _, _, severity in told} == {"page", "ticket"}
    assert len({team for _, team, _ in told}) >= 4
    for name, team, severity in sorted(told):
        assert receivers(config, alertname=name, team=team, severity=severity) == {team}, name


def test_what_always_fires_wakes_nobody(config: Path) -> None:
    """The chart's Watchdog fires as long as all is well; like all of the chart's alerts it has our team's label."""
    assert receivers(config, alertname="Watchdog", team="platform", severity="none") == {"null"}
    assert receivers(config, alertname="KubePodCrashLooping", team="platform", severity="warning") == {"platform"}
    assert receivers(config, alertname="SomebodyElses", severity="page") == {"null"}


@pytest.fixture(scope="module")
def sns() -> Iterator[str]:
    """Run an SNS server; yield its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Inboxes:
    """A queue behind each team's topic."""

    def __init__(self, address: str, teams: set[str]) -> None:
        topics = boto3.client("sns", endpoint_url=address, **CREDENTIALS)
        self._queues = boto3.client("sqs", endpoint_url=address, **CREDENTIALS)
        self._urls = {}
        for team in teams:
            self._urls[team] = self._queues.create_queue(QueueName=team)["QueueUrl"]
            arn = topics.create_topic(Name=team)["TopicArn"]
            topics.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:{MOTO}:{team}")

    def next(self, team: str, *, within_s: float = DELIVERED_S) -> dict[str, Any]:
        """Return the next message of a team's topic."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            for message in self._taken(team):
                found: dict[str, Any] = json.loads(message["Body"])
                return found
        raise AssertionError(f"{team} heard of nothing in {within_s:.0f} s")

    def are_empty(self, but: str) -> bool:
        """Return whether nobody else has heard of anything."""
        return not any(self._taken(team) for team in self._urls if team != but)

    def _taken(self, team: str) -> list[dict[str, Any]]:
        url = self._urls[team]
        found = self._queues.receive_message(QueueUrl=url, WaitTimeSeconds=1, MaxNumberOfMessages=1)
        messages: list[dict[str, Any]] = found.get("Messages", [])
        for message in messages:
            self._queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return messages


def hurried(text: str) -> str:
    """Return a file with its waits shortened: the order of things is tried here, not the time between them."""
    text = re.sub(r"^([-\s]*(?:group_wait|group_interval|interval): )\S+$", r"\g<1>1s", text, flags=re.MULTILINE)
    return re.sub(rf"arn:aws:sns:[\w-]+:{ACCOUNT}:", f"arn:aws:sns:{REGION}:{MOTO}:", text)


def test_a_broken_ledger_wakes_the_platform_team_and_its_mending_is_told(
    files: tuple[str, list[str]], sns: str, tmp_path: Path
) -> None:
    inboxes = Inboxes(sns, {rule["labels"]["team"] for rule in alerts()})
    ledger = [f"{LEDGER_METRIC} 0\n"]
    environment = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL_SNS": sns}
    for number, rules in enumerate(files[1]):
        (tmp_path / f"rules-{number}.yaml").write_text(hurried(rules))
    with (
        http_stub(lambda asked: (200, ledger[0].encode())) as controller,
        alerting.running_alertmanager(tmp_path, hurried(files[0]), environment) as alertmanager,
        running_prometheus(tmp_path, controller.removeprefix("http://"), more=_told(tmp_path, alertmanager)),
    ):
        broken = inboxes.next("platform")
        while "LedgerBroken" not in broken["Subject"]:
            broken = inboxes.next("platform")  # no controller ticks in this test, which is told too
        assert broken["Subject"] == "page: LedgerBroken"
        assert "sluice ledger verify" in broken["Message"]
        ledger[0] = f"{LEDGER_METRIC} 1\n"
        mended = inboxes.next("platform")
        while "LedgerBroken" not in mended["Subject"] or "Resolved" not in mended["Message"]:
            mended = inboxes.next("platform")
        assert inboxes.are_empty(but="platform")


def _told(folder: Path, alertmanager: str) -> str:
    """Return what Prometheus is told beside its targets: the rules, and where alerts go."""
    target = alertmanager.removeprefix("http://")
    where = {"alertmanagers": [{"static_configs": [{"targets": [target]}]}]}
    return f"rule_files: {json.dumps([str(folder / 'rules-*.yaml')])}\nalerting: {json.dumps(where)}\n"
