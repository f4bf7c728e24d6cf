"""The CrossGuard pack: `pulumi preview --policy-pack ../../policies` starts this file in a process of its own.

Levels come from the environment file of the stack's name.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Serve the pack until the engine ends it."""
    root = str(Path(__file__).resolve().parent.parent)
    if root not in sys.path:  # the engine runs this file by its path, with or without the package installed
        sys.path.insert(0, root)
    from environments.errors import SluiceError
    from policies.serve import serve

    try:
        serve()
    except SluiceError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
