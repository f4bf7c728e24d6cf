"""The local platform: supervised server processes as slots, and one Envoy for each region."""

from reconciler.platforms.local.down import Down, down
from reconciler.platforms.local.platform import LocalPlatform

__all__ = ["Down", "LocalPlatform", "down"]
