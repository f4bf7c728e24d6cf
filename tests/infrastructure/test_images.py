"""Where every image comes from: ours out of the repositories that a stack makes, the charts' from registries named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from components.charts import CHARTS
from components.declared import declared
from components.model_store import Images, ImagesArgs
from environments.names import image_repository
from tests.builds.catalog import MODULES, PROMETHEUS_VERSION, ROOT
from tests.charts import pinned, render, samples, source
from tests.components.conftest import main_loop as main_loop
from tests.components.mocked import ACCOUNT, OWNED, make
from tests.components.test_everywhere import ENVIRONMENTS, everything
from tests.infrastructure.stack_rig import IMAGES

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("charts")]

ADOPT = ROOT / "docs" / "adopt.md"
OURS = tuple(re.findall(r'"(\w+)"', next(re.finditer(r"^OURS = .*$", (IMAGES / "program.py").read_text(), re.M))[0]))
# What controllers start, whose image no pod of a chart names. Source: values of kube-prometheus-stack 88.5.3, and the
# defaults of Envoy Gateway 1.9.0 (`api/v1alpha1/shared_types.go`) and cert-manager (`--acme-http01-solver-image`).
STARTED = (
    "quay.io/prometheus/prometheus:v3.14.0-distroless",
    "quay.io/prometheus/alertmanager:v0.34.0",
    "quay.io/prometheus-operator/prometheus-config-reloader:v0.93.1",
    "docker.io/envoyproxy/envoy:distroless-v1.39.0",
    "docker.io/envoyproxy/ratelimit:17b1956c",
)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return every image that charts bring, and the chart."""
    folder, found = tmp_path_factory.mktemp("charts"), dict.fromkeys(STARTED, "a controller")
    for chart in CHARTS:
        images = pinned.facts(chart.name)["images"] if chart.name in pinned.NAMES else _rendered(chart.name, folder)
        found |= dict.fromkeys(images, chart.name)
    return found


def _rendered(name: str, folder: Path) -> list[str]:
    chart, namespace = source.prepared(name, folder), next(c.namespace for c in CHARTS if c.name == name)
    told = [samples.values(name, facts) for facts in samples.SAMPLES]
    return [image for values in told for image in render.images(render.rendered(chart, name, namespace, values))]


def host(image: str) -> str:
    """Return the registry of an image."""
    return image.partition("/")[0]


def test_every_registry_of_a_chart_is_named_where_people_open_their_firewall(foreign: dict[str, str]) -> None:
    """Hold docs/adopt.md to the charts, both ways: a host that is missing there, and one that nobody needs."""
    lines = ADOPT.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Only our own four images"))
    named = set(re.findall(r"`([a-z0-9.-]+\.[a-z0-9.-]+)`", lines[start] + lines[start + 1]))
    assert named == {host(image) for image in foreign}
    assert "four images" in lines[start]
    assert len(OURS) == 4


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_our_pods_run_images_of_the_repositories_that_the_images_stack_makes(environment: str) -> None:
    spec = declared(environment, environ={}, start=Path(__file__).parent)
    named = {image for image in spec.infrastructure.images.model_dump(exclude={"vllm_version"}).values() if image}
    repositories = {image_repository(environment, name) for name in OURS}
    assert {image.partition("/")[2].partition("@")[0] for image in named} <= repositories
    assert len({host(image) for image in named}) == 1
    pods = [m for m in everything(environment) if m.type == "kubernetes:apps/v1:Deployment"]
    run = {c["image"] for pod in pods for c in pod.at("spec.template.spec.containers")}
    assert run
    assert run <= named


def test_alerts_are_fired_on_the_versions_that_clusters_run() -> None:
    module = (MODULES / "prometheus" / "go.mod").read_text()
    _, minor, patch = PROMETHEUS_VERSION.split(".")
    assert f"quay.io/prometheus/prometheus:v{PROMETHEUS_VERSION}-distroless" in STARTED
    assert f"github.com/prometheus/prometheus v0.3{int(minor):02}.{patch}\n" in module
    assert f"github.com/prometheus/alertmanager {STARTED[1].rpartition(':')[2]}\n" in module
    operator = (MODULES / "prometheus_operator" / "go.mod").read_text()
    assert f"prometheus-operator {pinned.facts('monitoring')['application']}\n" in operator


def test_no_repository_is_made_that_nobody_uses() -> None:
    """Take together what the stacks' own pods and the endpoints of all environments run."""
    used = {"controller", "mlflow"}
    for file in sorted((ROOT / "environments").glob("*.yaml")):
        used |= {endpoint["runtime"] for endpoint in yaml.safe_load(file.read_text())["endpoints"].values()}
    assert set(OURS) == used
    args = ImagesArgs(OURS, ACCOUNT, ["us-east-1"], deletion_protection=True, owned=OWNED)
    made = make(lambda: Images("images", args))
    assert {m.inputs["name"] for m in made.of("Repository")} == {image_repository("prod", name) for name in OURS}
