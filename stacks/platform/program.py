"""What the clusters of one environment run before they serve: add-ons, monitoring and MLflow.

Run by `pulumi up -s ENVIRONMENT` in this folder, after `stacks/foundation`, from where the API servers are reached.
"""

import pulumi

from components.declared import Declared, declared
from environments.errors import SluiceError
from stacks.platform.cluster import PlatformCluster
from stacks.platform.registry import registry_in
from stacks.references import Foundation


def main() -> None:
    """Load the environment of the stack's name and make it; a wrong file is an error before anything is created."""
    try:
        found = declared(pulumi.get_stack(), images=("mlflow",))
    except SluiceError as error:
        raise pulumi.RunError(f"\n{error}") from None
    build(found, Foundation(found))


def build(found: Declared, foundation: Foundation) -> None:
    """Make each cluster's part, then MLflow in the home region; regions without a cluster need nothing here."""
    clusters = {name: PlatformCluster(found, name, foundation) for name in found.clusters}
    pulumi.export("clusters", sorted(clusters))
    if found.home is not None:
        pulumi.export("mlflow", registry_in(found, foundation, clusters[found.home]).address)
