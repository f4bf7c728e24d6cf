"""The ports: what the reconciler needs of the world, as small async protocols. Reading and writing are different types.

Imports the core and `environments`. Adapters implement these; `reconciler.engine.loop` and the commands call them.
Every verb may be called again: a repeat with the same arguments succeeds and changes nothing more.
Every writer verb takes `fence`, the token of the caller's lease. A writer refuses a token lower than one it has
seen for the same endpoint (`LEASE-002`), so that an owner that slept through its lease cannot act when it wakes.
"""

from reconciler.ports.evidence import (
    Gate,
    GateContext,
    GateEvidence,
    GateProgress,
    LiveCounts,
    MetricSource,
    Sample,
    untold,
)
from reconciler.ports.references import DrawnRelease, Files, Pointers, Registry, ReleaseSplit, Resolved
from reconciler.ports.serving import (
    CAPABILITIES,
    REJECTIONS,
    Changes,
    Cohort,
    CountsByStart,
    CountsTraffic,
    InProgress,
    KeepsReplicas,
    LoadsAdapters,
    Mirrors,
    PlatformReader,
    PlatformWriter,
    Runtime,
    ServerOptions,
    SlotAddress,
    SlotCounts,
    TellsChanges,
    capabilities,
    finished,
    read_all,
)
from reconciler.ports.store import Entry, Lease, NewEntry, Store, StoredRollout, Verification, entry_of

__all__ = [
    "CAPABILITIES",
    "REJECTIONS",
    "Changes",
    "Cohort",
    "CountsByStart",
    "CountsTraffic",
    "DrawnRelease",
    "Entry",
    "Files",
    "Gate",
    "GateContext",
    "GateEvidence",
    "GateProgress",
    "InProgress",
    "KeepsReplicas",
    "Lease",
    "LiveCounts",
    "LoadsAdapters",
    "MetricSource",
    "Mirrors",
    "NewEntry",
    "PlatformReader",
    "PlatformWriter",
    "Pointers",
    "Registry",
    "ReleaseSplit",
    "Resolved",
    "Runtime",
    "Sample",
    "ServerOptions",
    "SlotAddress",
    "SlotCounts",
    "Store",
    "StoredRollout",
    "TellsChanges",
    "Verification",
    "capabilities",
    "entry_of",
    "finished",
    "read_all",
    "untold",
]
