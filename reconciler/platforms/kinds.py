"""Which kind of platform serves a declared region: its type in `environments.spec` names it."""

from __future__ import annotations

from environments.here import thing
from environments.kinds import code_of
from environments.spec import RegionSpec
from reconciler.ports.kinds import PlatformKind


def platform_kind(region: RegionSpec) -> PlatformKind | None:
    """Return the kind of a region's platform, None where this build has no adapter for it; imports it now."""
    code = code_of(type(region).model_fields["platform"])
    if code is None:
        return None
    kind: PlatformKind = thing(code.at)
    return kind
