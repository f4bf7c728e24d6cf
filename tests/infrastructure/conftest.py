"""Engines that several tests share; each is started once, when a test first asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.components.conftest import main_loop  # noqa: F401 - pytest finds it here: components are made here, too
from tests.support.kubernetes.control_plane import ControlPlane, control_plane
from tests.support.pulumi_engine.harness import PulumiHarness, pulumi_harness


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """Return a running control plane with controllers, scheduler and fake kubelets, and no CRDs."""
    with control_plane() as running:
        yield running


@pytest.fixture(scope="module")
def pulumi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulumiHarness]:
    """Return a Pulumi installation with an AWS account and no cluster."""
    with pulumi_harness(tmp_path_factory.mktemp("pulumi")) as harness:
        yield harness


@pytest.fixture(scope="module")
def pulumi_on_kubernetes(tmp_path_factory: pytest.TempPathFactory, plane: ControlPlane) -> Iterator[PulumiHarness]:
    """Return a Pulumi installation whose every cluster is the control plane."""
    with pulumi_harness(tmp_path_factory.mktemp("pulumi"), {"": plane.cluster}) as harness:
        yield harness
