"""What serves the endpoints of one environment: gateways, slots, alarms and controllers, on the platform's clusters.

Run by `pulumi up -s ENVIRONMENT` in this folder, after `stacks/platform`, from where the API servers are reached.
"""

import pulumi

from components.declared import Declared, declared
from environments.errors import SluiceError
from stacks.references import Foundation
from stacks.serving.clusters import ClusterRegion, controllers
from stacks.serving.variants import sagemaker_region


def main() -> None:
    """Load the environment of the stack's name and make it; a wrong file is an error before anything is created."""
    try:
        found = declared(pulumi.get_stack(), images=("controller", "runtimes"))
    except SluiceError as error:
        raise pulumi.RunError(f"\n{error}") from None
    build(found, Foundation(found))


def build(found: Declared, foundation: Foundation) -> None:
    """Make each region's part, then the controllers in the home region."""
    clusters = {name: ClusterRegion(found, name, foundation) for name in found.clusters}
    for name in found.regions:
        if name not in clusters:
            pulumi.export(f"sagemaker-{name}", sagemaker_region(found, name, foundation))
    if found.home is not None:
        controllers(found, clusters[found.home], foundation)
    pulumi.export("gateways", {name: cluster.gateway_name for name, cluster in clusters.items()})
    pulumi.export("namespaces", {name: sorted(cluster.namespaces) for name, cluster in clusters.items()})
