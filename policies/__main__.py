"""The CrossGuard pack: `pulumi preview --policy-pack ../../policies` starts this file in a process of its own.

Levels come from the environment file of the stack's name; without a stack (`pulumi policy publish`) they are prod's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Serve the pack until the engine ends it."""
    root = str(Path(__file__).resolve().parent.parent)
    if root not in sys.path:  # the engine runs this file by its path, with or without the package installed
        sys.path.insert(0, root)
    from pulumi_policy import PolicyPack

    from environments.errors import SluiceError
    from policies.pack import context_of, pack_policies

    try:
        context = context_of(os.environ.get("PULUMI_STACK", "prod"))
    except SluiceError as error:
        sys.exit(str(error))
    PolicyPack(name="sluice", policies=pack_policies(context))


if __name__ == "__main__":
    main()
