"""The way of an alert as a cluster has it: Prometheus Operator writes the files, Alertmanager and Prometheus read them.

The chart's own objects are the two that it makes for them, with our values in `spec`.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import subprocess
import time
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from environments.names import MONITORING_NAMESPACE
from tests.builds.catalog import built
from tests.charts import samples
from tests.components.mocked import Made
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.lifeline import dies_with_parent, missing
from tests.support.promtool import program

_API = "monitoring.coreos.com/v1"
_NAME = "kube-prometheus"
_START_S = 60.0
_LISTENING = re.compile(r'msg="?Listening on\b.* address=(127\.0\.0\.1:\d+)')
# What the chart's values hold beside ours: nobody is told what no route takes. Source: kube-prometheus-stack 88.5.3,
# `alertmanager.config`.
_BASE = {
    "global": {"resolve_timeout": "5m"},
    "inhibit_rules": [
        {
            "source_matchers": ["severity = critical"],
            "target_matchers": ["severity =~ warning|info"],
            "equal": ["namespace", "alertname"],
        },
        {"target_matchers": ["alertname = InfoInhibitor"]},
    ],
    "route": {
        "receiver": "null",
        "group_by": ["namespace"],
        "routes": [{"receiver": "null", "matchers": ['alertname = "Watchdog"']}],
    },
    "receivers": [{"name": "null"}],
}


def installed(plane: ControlPlane, objects: Sequence[Made]) -> None:
    """Apply rules and routes of a stack, and what the chart makes around them."""
    plane.apply_crds("prometheus-operator")
    told = samples.values("monitoring", samples.FULL)
    prometheus, alertmanager = told["prometheus"]["prometheusSpec"], told["alertmanager"]["alertmanagerSpec"]
    selects: Body = {"ruleSelector": {}, "ruleNamespaceSelector": {}}
    config = {"alertmanager.yaml": b64encode(yaml.safe_dump(_BASE).encode()).decode()}
    kept = {"replicas", "alertmanagerConfigMatcherStrategy", "externalLabels", "retention"}
    ours = [{**m.inputs, "metadata": {**m.inputs["metadata"], "namespace": MONITORING_NAMESPACE}} for m in objects]
    for body in (
        _object("v1", "Namespace", MONITORING_NAMESPACE, namespace=""),
        _object("v1", "Secret", f"alertmanager-{_NAME}", data=config),
        _object(_API, "Prometheus", _NAME, spec={k: v for k, v in prometheus.items() if k in kept} | selects),
        _object(
            _API,
            "Alertmanager",
            _NAME,
            spec={k: v for k, v in alertmanager.items() if k in kept} | {"alertmanagerConfigSelector": {}},
        ),
        *ours,
    ):
        plane.api.apply(body)


def _object(api: str, kind: str, name: str, *, namespace: str = MONITORING_NAMESPACE, **fields: Any) -> Body:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **fields}


def written(plane: ControlPlane, folder: Path) -> tuple[str, list[str]]:
    """Let Prometheus Operator act, and return what it writes: Alertmanager's file, and the files of rules."""
    operator = built() / "bin" / "prometheus-operator"
    if not operator.exists():
        missing("Prometheus Operator is not built", "run `python -m tests.builds.build prometheus_operator`")
    log = folder / "operator.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [operator, "-web.listen-address=127.0.0.1:0"],
            env={**os.environ, "KUBECONFIG": str(plane.kubeconfig)},
            stdout=out,
            stderr=out,
            preexec_fn=dies_with_parent(),
        )
    secret, rules = f"alertmanager-{_NAME}-generated", f"prometheus-{_NAME}-rulefiles-0"
    with process:
        try:
            plane.wait_for(
                "the operator's files",
                lambda: (
                    process.poll() is None
                    and plane.api.get("v1", "Secret", secret, MONITORING_NAMESPACE) is not None
                    and plane.api.get("v1", "ConfigMap", rules, MONITORING_NAMESPACE) is not None
                ),
            )
        except TimeoutError as late:
            raise RuntimeError(log.read_text(errors="replace")[-3000:]) from late
        finally:
            process.kill()
    config = plane.api.get("v1", "Secret", secret, MONITORING_NAMESPACE) or {}
    files = plane.api.get("v1", "ConfigMap", rules, MONITORING_NAMESPACE) or {}
    return gzip.decompress(b64decode(config["data"]["alertmanager.yaml.gz"])).decode(), list(files["data"].values())


def amtool(config: Path, *arguments: str) -> str:
    """Return what Alertmanager's own tool says of a file."""
    command = [str(program("amtool")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{config.read_text()}\n{done.stdout}{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def running_alertmanager(folder: Path, config: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Run an Alertmanager until the block ends; yields its address."""
    (folder / "alertmanager.yml").write_text(config)
    command = [str(program("alertmanager")), f"--config.file={folder / 'alertmanager.yml'}"]
    command += [f"--storage.path={folder / 'data'}", "--web.listen-address=127.0.0.1:0", "--cluster.listen-address="]
    log = folder / "alertmanager.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, **environment}, preexec_fn=dies_with_parent()
        )
    with process:
        try:
            yield _address(process, log)
        finally:
            process.kill()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := _LISTENING.search(log.read_text(errors="replace")):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{found[1]}/-/ready", timeout=5):
                return f"http://{found[1]}"
        time.sleep(0.05)
    raise RuntimeError(f"Alertmanager did not start:\n{log.read_text(errors='replace')[-2000:]}")
