"""What the engines are, as data: a Go module each, what is built from it and which of its files tests read.

Imports only the standard library. Read by `tests.builds.build` and by whatever starts an engine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent
ROOT = MODULES.parents[1]
KUBERNETES_VERSION = "v1.36.3"
PULUMI_VERSION = "v3.259.0"
PROMETHEUS_VERSION = "3.14.0"


@dataclass(frozen=True)
class Files:
    """Files to copy out of a downloaded Go module, because tests run where no module cache is.

    With `tree` the pattern names a folder, and all of it is copied.
    """

    module: str
    pattern: str
    into: str
    tree: bool = False


@dataclass(frozen=True)
class Supplied:
    """A file that a module's release makes and its published source lacks, though the program embeds it."""

    module: str
    path: str
    text: str


@dataclass(frozen=True)
class Engine:
    """One Go module under this folder, the programs built from it and the files taken out of its dependencies.

    `binaries` maps a program's file name to its package; `tags` are Go's build tags.
    """

    name: str
    binaries: tuple[tuple[str, str], ...] = ()
    ldflags: str = "-s -w"
    files: tuple[Files, ...] = ()
    tags: str = ""
    supplied: tuple[Supplied, ...] = ()

    @property
    def folder(self) -> Path:
        """Return the folder of its go.mod and go.sum."""
        return MODULES / self.name


_STAGES = "sigs.k8s.io/kwok"
_KARPENTER = "github.com/aws/karpenter-provider-aws"
_SECRETS = "github.com/external-secrets/external-secrets"
_ALERTMANAGER = "github.com/prometheus/alertmanager"
# A module, the folder of a chart in it, and what components.charts calls it.
_CHARTS = (
    (_KARPENTER, "charts/karpenter", "karpenter"),
    (_KARPENTER, "charts/karpenter-crd", "karpenter-crd"),
    (_SECRETS, "deploy/charts/external-secrets", "external-secrets"),
    ("github.com/cert-manager/cert-manager", "deploy/charts/cert-manager", "cert-manager"),
    ("github.com/envoyproxy/gateway", "charts/gateway-helm", "envoy-gateway"),
    ("sigs.k8s.io/external-dns", "charts/external-dns", "external-dns"),
)


def _chart(module: str, path: str, name: str) -> Files:
    return Files(module, path, f"share/charts/{name}", tree=True)


ENGINES = (
    Engine(
        "pulumi",
        (("pulumi", "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"),),
        f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={PULUMI_VERSION}",
        (Files("github.com/pulumi/pulumi/sdk/v3", "python/cmd/pulumi-language-python-exec", "share/pulumi"),),
    ),
    Engine(
        "crds",
        files=(
            Files("sigs.k8s.io/gateway-api", "config/crd/standard/gateway.*.yaml", "share/crds/gateway-api"),
            Files("github.com/cert-manager/cert-manager", "deploy/crds/*.yaml", "share/crds/cert-manager"),
            Files("github.com/kedacore/keda/v2", "config/crd/bases/*.yaml", "share/crds/keda"),
            Files(
                "github.com/prometheus-operator/prometheus-operator",
                "example/prometheus-operator-crd/*.yaml",
                "share/crds/prometheus-operator",
            ),
            Files(
                "github.com/envoyproxy/gateway",
                "charts/gateway-helm/charts/crds/crds/generated/*.yaml",
                "share/crds/envoy-gateway",
            ),
        ),
    ),
    Engine("helm", (("helm", "helm.sh/helm/v3/cmd/helm"),)),
    # Charts that are published inside Go modules; those that are not are pinned by their values (tests/charts).
    Engine(
        "charts",
        files=(
            *(_chart(module, path, name) for module, path, name in _CHARTS),
            Files(_KARPENTER, "pkg/apis/crds/karpenter*.yaml", "share/crds/karpenter"),
            Files(_SECRETS, "config/crds/bases/external-secrets.io_*secret*.yaml", "share/crds/external-secrets"),
        ),
    ),
    Engine("etcd", (("etcd", "go.etcd.io/etcd/server/v3"),)),
    Engine(
        "kwok",
        (("kwok", "sigs.k8s.io/kwok/cmd/kwok"),),
        files=(
            Files(_STAGES, "kustomize/stage/node/fast/node-initialize.yaml", "share/kwok"),
            Files(_STAGES, "kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml", "share/kwok"),
            Files(_STAGES, "kustomize/stage/pod/fast/pod-*.yaml", "share/kwok"),
        ),
    ),
    Engine(
        "kubernetes",
        tuple(
            (name, f"k8s.io/kubernetes/cmd/{name}")
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        ),
        f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}"
        " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36",
    ),
    # The versions that the pinned kube-prometheus-stack runs. Without the clouds' service discoveries, which no test
    # uses: they are two thirds of the build.
    Engine(
        "prometheus",
        (
            *((name, f"github.com/prometheus/prometheus/cmd/{name}") for name in ("prometheus", "promtool")),
            *((name, f"{_ALERTMANAGER}/cmd/{name}") for name in ("alertmanager", "amtool")),
        ),
        f"-s -w -X github.com/prometheus/common/version.Version={PROMETHEUS_VERSION}",
        tags="remove_all_sd",
        supplied=(Supplied(_ALERTMANAGER, "ui/app/dist/index.html", "This build has no pages.\n"),),
    ),
    # Turns our rules and routes into the files that Prometheus and Alertmanager read.
    Engine(
        "prometheus_operator",
        (("prometheus-operator", "github.com/prometheus-operator/prometheus-operator/cmd/operator"),),
    ),
    # Translates our gateway's objects into what Envoy is told, so that traffic needs no cluster.
    Engine("egctl", (("egctl", "github.com/envoyproxy/gateway/cmd/egctl"),)),
    # Reads workflows as GitHub does: events, permissions, expressions, and what each action takes.
    Engine("actionlint", (("actionlint", "github.com/rhysd/actionlint/cmd/actionlint"),)),
    # Runs our gateway as a cluster does, for traffic that is real.
    Engine("envoy_gateway", (("envoy-gateway", "github.com/envoyproxy/gateway/cmd/envoy-gateway"),)),
)


def built() -> Path:
    """Return the folder of everything that is built: `bin/`, `share/` and `stamp/`.

    `SLUICE_ENGINES` names another one, so that several checkouts can share a build.
    """
    return Path(os.environ.get("SLUICE_ENGINES") or ROOT / ".cache" / "engines")


def engine(name: str) -> Engine:
    """Return the engine of that name.

    Raises:
        KeyError: there is none; the message names those there are.
    """
    for candidate in ENGINES:
        if candidate.name == name:
            return candidate
    raise KeyError(f'no engine "{name}"; known: {", ".join(e.name for e in ENGINES)}')
