"""The platform of one environment: for each region a network, a cluster and its pools, and what they share.

Run by `pulumi up -s ENVIRONMENT` in this folder.
"""

import sys
from pathlib import Path

import pulumi

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from components.declared import Declared, declared
from environments.errors import SluiceError
from stacks.platform.region import Region
from stacks.platform.shared import Shared, regions_joined


def main() -> None:
    """Load the environment of the stack's name and make it; a wrong file is an error before anything is created."""
    try:
        found = declared(pulumi.get_stack())
    except SluiceError as error:
        raise pulumi.RunError(f"\n{error}") from None
    build(found)


def build(found: Declared) -> None:
    """Make what the regions share, then each region, then the ways between them."""
    shared = Shared(found)
    regions = {name: Region(found, name, shared) for name in found.regions}
    regions_joined(found, regions)
    if found.home is not None:
        registry, store = shared.state_in(regions[found.home])
        pulumi.export("mlflow", registry.address)
        pulumi.export("store_url", store.url)
        pulumi.export("controller_role_arn", shared.controller_role_arn)
        pulumi.export("images", shared.image_urls())
    pulumi.export("account", shared.account)
    pulumi.export("regions", {name: region.outputs() for name, region in regions.items()})


main()
