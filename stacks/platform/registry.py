"""MLflow in the home region's cluster."""

from __future__ import annotations

import pulumi

from components.declared import Declared
from components.model_registry import ModelRegistry, ModelRegistryArgs
from components.pages import PAGES
from environments.names import MLFLOW_NAME, fit, secret_name
from stacks.platform.cluster import PlatformCluster
from stacks.references import Foundation


def registry_in(found: Declared, foundation: Foundation, home: PlatformCluster) -> ModelRegistry:
    """Make MLflow, after the store that fetches the address of its database."""
    block = found.infrastructure
    if block.images.mlflow is None or found.home is None:
        raise AssertionError("checked before: a home region has an image for MLflow")
    pages = [page.host(block.domain) for page in PAGES if page.name == MLFLOW_NAME] if block.domain else []
    args = ModelRegistryArgs(
        image=block.images.mlflow,
        replicas=min(block.controllers, 2),
        bucket=foundation.of(found.home, "bucket"),
        store_secret=secret_name(found.environment, MLFLOW_NAME, "url"),
        password_version=block.database.password_version,
        hosts=pages if block.single_sign_on else (),
        owned=found.owned,
    )
    needs = pulumi.ResourceOptions(depends_on=[home.addons.store])
    options = pulumi.ResourceOptions.merge(home.options, needs)
    return ModelRegistry(fit(f"sluice-{found.environment}-mlflow", 50), args, options)
