"""What one environment stands on: networks, clusters, databases, buckets, roles and budgets. All of it is AWS's.

Run by `pulumi up -s ENVIRONMENT` in this folder; it needs no way to a cluster's API server.
"""

import pulumi

from components.declared import Declared, declared
from environments.errors import SluiceError
from stacks.foundation.base import Base
from stacks.foundation.home import home_in
from stacks.foundation.joined import joined
from stacks.foundation.region import Region


def main() -> None:
    """Load the environment of the stack's name and make it; a wrong file is an error before anything is created."""
    try:
        found = declared(pulumi.get_stack())
    except SluiceError as error:
        raise pulumi.RunError(f"\n{error}") from None
    build(found)


def build(found: Declared) -> None:
    """Make what has no region, then each region, then the ways between them, then what the home region alone has."""
    base = Base(found)
    regions = {name: Region(base, name) for name in found.regions}
    zone = joined(base, regions)
    home = home_in(base, regions, zone) if found.home is not None else {}
    for name, value in home.items():
        pulumi.export(name, value)
    pulumi.export("account", base.account)
    pulumi.export("regions", {name: region.outputs() for name, region in regions.items()})
