"""Every pinned chart: told only what it knows, rendered by Helm, and let in by the API server where our labels stand.

Charts out of Go modules are rendered here. For those that no registry here has, facts were recorded with exactly the
values that clusters tell them; other values make the record stale, and a test says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.addons import VALUES
from components.charts import CHARTS, Chart
from environments.names import STORAGE_CLASS
from tests.charts import pinned, render, samples, source
from tests.support.kubernetes.api import ApiError, Body
from tests.support.kubernetes.control_plane import ControlPlane, control_plane

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.xdist_group("charts")]

BY_NAME = {chart.name: chart for chart in CHARTS}
OURS = sorted(BY_NAME.keys() - set(pinned.NAMES))
rendered_chart = pytest.mark.parametrize("name", OURS)
recorded_chart = pytest.mark.parametrize("name", pinned.NAMES)
STRICTNESS = {level: i for i, level in enumerate(reversed(render.LEVELS))}


def levels(chart: Chart) -> dict[str, str]:
    """Return the Pod Security level of each namespace that a chart puts pods into."""
    return {chart.namespace: chart.level, **dict(chart.beside)}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """Return an API server with namespaces as the components label them, and no CRDs."""
    with control_plane(controllers=False) as running:
        for namespace, level in {k: v for chart in CHARTS for k, v in levels(chart).items()}.items():
            labels = {"pod-security.kubernetes.io/enforce": level}
            metadata: Body = {"name": namespace, "labels": labels}
            running.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        yield running


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for copies of charts."""
    return tmp_path_factory.mktemp("charts")


def objects(charts: Path, name: str, sample: int = 0) -> list[Body]:
    """Return the objects of a chart that is rendered here."""
    told = samples.values(name, samples.SAMPLES[sample])
    return render.rendered(source.prepared(name, charts), name, BY_NAME[name].namespace, told)


def test_every_chart_is_rendered_or_recorded() -> None:
    assert set(pinned.NAMES) <= BY_NAME.keys()
    assert {name for name in OURS if source.folder(name) is None} == set()
    assert set(VALUES) == set(BY_NAME)


@rendered_chart
def test_the_chart_is_the_pinned_version(name: str, charts: Path) -> None:
    declared = yaml.safe_load((source.prepared(name, charts) / "Chart.yaml").read_text())
    versions = {str(declared.get(key, "")).removeprefix("v") for key in ("version", "appVersion")}
    # Sources of some charts carry no version; it is filled in when they are released, from the module's own.
    if versions <= {"", "0.1.0", "0.0.0", "0.0.0-latest", "latest"}:
        pytest.skip("the version of this chart is set when it is released")
    assert BY_NAME[name].version.removeprefix("v") in versions


@recorded_chart
def test_the_record_is_of_the_pinned_version_and_of_todays_values(name: str) -> None:
    facts = pinned.facts(name)
    assert facts["version"].removeprefix("v") == BY_NAME[name].version.removeprefix("v")
    assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}:.+", facts["source"])
    assert facts["told"] == samples.digest(name), "the values changed: run tests.charts.record again"


@rendered_chart
def test_a_chart_knows_every_value_that_it_is_told(name: str, charts: Path) -> None:
    known = source.paths(source.defaults(source.prepared(name, charts)))
    for facts in (*samples.SAMPLES, samples.COPIED):
        assert source.unknown(samples.values(name, facts), known, free=source.FREE.get(name, ())) == []


@recorded_chart
def test_a_recorded_chart_knows_every_value_that_it_is_told(name: str) -> None:
    known = pinned.facts(name)["values"]
    for facts in (*samples.SAMPLES, samples.COPIED):
        assert source.unknown(samples.values(name, facts), known, free=source.FREE.get(name, ())) == []


@pytest.mark.parametrize(
    ("name", "wrong", "path"),
    [
        ("keda", {"operator": {"replicaCont": 2}}, "operator.replicaCont"),
        (
            "monitoring",
            {"prometheus": {"prometheusSpec": {"storageSpek": {}}}},
            "prometheus.prometheusSpec.storageSpek",
        ),
        ("monitoring", {"graphana": {}}, "graphana"),
    ],
)
def test_a_value_that_a_chart_does_not_know_is_found(name: str, wrong: dict[str, Any], path: str) -> None:
    assert source.unknown(wrong, pinned.facts(name)["values"]) == [path]


@rendered_chart
def test_its_pods_are_let_into_their_namespace(name: str, charts: Path, plane: ControlPlane) -> None:
    for sample in range(len(samples.SAMPLES)):
        for pod, template in render.pods(objects(charts, name, sample), BY_NAME[name].namespace):
            namespace = pod.partition("/")[0]
            assert namespace in levels(BY_NAME[name]), f"{pod} runs where no namespace is made"
            assert render.refusal(plane, template, namespace) is None, pod


@recorded_chart
def test_recorded_pods_are_let_into_their_namespace(name: str) -> None:
    there = levels(BY_NAME[name])
    for pod, level in pinned.facts(name)["pods"].items():
        namespace = pod.partition("/")[0]
        assert namespace in there, f"{pod} runs where no namespace is made"
        assert STRICTNESS[there[namespace]] <= STRICTNESS[level], f"{pod} needs {level}"


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_images_are_named_by_version_and_registry(name: str, charts: Path) -> None:
    found = pinned.facts(name)["images"] if name in pinned.NAMES else render.images(objects(charts, name))
    for image in found:
        host, _, rest = image.partition("/")
        assert "." in host, image
        assert "@sha256:" in rest or re.search(r":v?\d", rest), image
        assert "latest" not in rest


def test_charts_find_what_they_need_in_the_order_in_which_they_are_installed(charts: Path) -> None:
    """Start with nothing, install one chart after the other: the API server takes each with what is there by then."""
    with control_plane(controllers=False) as plane:
        for chart in CHARTS:
            for kind in source.USES.get(chart.name, ()):
                assert _served(plane, kind), f"{chart.name} comes before the CRD of {kind}"
            if chart.name in OURS:
                _installed(plane, chart, objects(charts, chart.name))
            if sets := source.BRINGS.get(chart.name):
                plane.apply_crds(*sets)


def _served(plane: ControlPlane, kind: str) -> bool:
    api, _, name = kind.rpartition("/")
    try:
        plane.api.get(api, name, "none", "default")
    except (ApiError, LookupError):
        return False
    return True


def _installed(plane: ControlPlane, chart: Chart, bodies: list[Body]) -> None:
    """Let the API server judge every object of a chart, as an installation would send it."""
    labels = {"pod-security.kubernetes.io/enforce": chart.level}
    metadata = {"name": chart.namespace, "labels": labels}
    plane.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    for body in bodies:
        if body["kind"] == "CustomResourceDefinition":
            continue  # those come from the same source, and are applied whole below
        namespaced = {**body, "metadata": {"namespace": chart.namespace, **body["metadata"]}}
        plane.api.apply(namespaced, dry_run=True)


def test_claims_of_disks_name_a_class_because_eks_has_no_default_one() -> None:
    claims = list(_claims(samples.values("monitoring", samples.FULL)))
    assert len(claims) == 2
    assert {claim["storageClassName"] for claim in claims} == {STORAGE_CLASS}


def _claims(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "accessModes" in value:
            yield value
        for inner in value.values():
            yield from _claims(inner)


def test_samples_of_gpus_keep_the_labels_of_the_pods_that_hold_them() -> None:
    assert samples.values("dcgm-exporter", samples.FULL)["serviceMonitor"]["honorLabels"] is True


def test_alerts_of_charts_go_to_a_team_and_none_is_about_what_eks_hides() -> None:
    told = samples.values("monitoring", samples.FULL)
    assert told["defaultRules"]["additionalRuleLabels"] == {"environment": "prod", "team": "platform"}
    assert told["kubeEtcd"] == told["kubeScheduler"] == told["kubeControllerManager"] == {"enabled": False}


def test_nobody_signs_in_to_grafana_with_a_password_from_its_chart() -> None:
    for facts in samples.SAMPLES:
        assert samples.values("monitoring", facts)["grafana"]["admin"]["existingSecret"]


def test_one_prometheus_answers_so_that_no_two_readings_come_from_two_counters() -> None:
    assert samples.values("monitoring", samples.FULL)["prometheus"]["prometheusSpec"]["replicas"] == 1
