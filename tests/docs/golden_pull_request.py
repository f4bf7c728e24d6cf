"""A pull request from change to apply, played in memory by the real planner, approvals and loop: what its page shows.

The same bytes each time: time is virtual, the key is made of a seed, and ids are written anew.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from environments.prices import packaged
from reconciler.core.attest.approvals import Subject, rule_of
from reconciler.core.attest.dsse import bundle_to_text, envelopes_among
from reconciler.core.attest.heads import Heads
from reconciler.core.events import STATE
from reconciler.core.plan.plan import Plan, Scope
from reconciler.operations import approve
from reconciler.operations.anchor import Checked
from reconciler.operations.report import story
from reconciler.output.plan_markdown import Reviewed, plan_markdown
from reconciler.output.report_html import report_html
from reconciler.ports import Entry
from reconciler.signing.check import verify
from reconciler.signing.key_file import KeyFile
from tests.support.builders.declared import Declared
from tests.support.fakes.loop_world import LoopWorld
from tests.support.fakes.virtual_time import VirtualTimeLoop

BEGAN = datetime(2026, 11, 30, 9, 0, tzinfo=UTC).timestamp()
POOL = {"gpu": "L4", "instance": "g6.2xlarge", "gpus_per_node": 1, "vram_gib": 24, "nodes": {"min": 1, "max": 4}}
REGIONS = ("us-east-1", "us-west-2")


@dataclass(frozen=True)
class Played:
    """What people see of it: the change as a diff, the comment, the signed line, the ledger, and the report."""

    diff: str
    comment: str
    people: tuple[str, ...]
    signed: str
    ledger: tuple[str, ...]
    report: str


@cache
def played() -> Played:
    """Play it; a second or two."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, {"LOGNAME": "runner"}),
        asyncio.Runner(loop_factory=VirtualTimeLoop) as runner,
    ):
        return runner.run(_play(Path(folder)))


async def _play(home: Path) -> Played:
    bench = LoopWorld(home, regions=REGIONS, requests_a_second=20, began=BEGAN)
    bench.arms = {"chat-7": (0.001, 0.05), "chat-8": (0.001, 0.048)}
    declared = Declared(bench, blocks=_blocks(home), prices=packaged())
    for model in bench.arms:
        declared.registry.holds[f"file:models/{model}"] = hashlib.sha256(model.encode()).hexdigest()
    _serve(declared, "chat-7", max_num_seqs=32)
    before = _file(declared)
    await _applied(declared, await declared.plan())
    _serve(declared, "chat-8", max_num_seqs=64)
    plan = await declared.plan()
    spec = declared.planner().loaded.spec
    signed = await _signed(home, declared, plan)
    given = await approve.granted(
        bench.store, plan, rule_of(spec.approvals), envelopes_among(signed), ["cy-gh"], now=bench.now, verify=verify
    )
    assert given is not None
    await approve.record(bench.store, plan, given, now=lambda: bench.now)
    await _applied(declared, plan)
    told = await story(
        bench.store, plan.environment, None, Checked(await bench.store.verify(plan.environment), Heads((), ()))
    )
    assert told.approval is not None
    entries = (told.approval, *_in_order(told.entries))
    told = replace(told, entries=entries[1:])
    lines = dict.fromkeys(f"{e.at[11:19]}  {e.address:19}  {e.summary}" for e in entries)
    return Played(
        _diff(before, _file(declared)),
        plan_markdown(Reviewed(plan, spec)),
        given.people,
        signed,
        tuple(_steady(line, told.rollout.id) for line in lines if not re.search(r"  (start|warm|alias) ", line)),
        _steady(report_html(told), told.rollout.id),
    )


def _in_order(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries; those of what was live at the end, which are written at one time, sorted by region."""
    ends = iter(sorted(e.address for e in entries if e.kind == STATE))
    return tuple(replace(e, address=next(ends)) if e.kind == STATE else e for e in entries)


def _blocks(home: Path) -> dict[str, Any]:
    key = Ed25519PrivateKey.from_private_bytes(b"a seed that is no secret at all.")
    (home / "ann.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    region = {"platform": "local", "serve_command": ["vllm", "serve"], "gpu_pools": {"l4": POOL}}
    return {
        "owner": "ml-platform",
        "regions": {name: {**region, "gateway_port": 18080 + n} for n, name in enumerate(REGIONS)},
        "approvals": {"needed": 1, "keys": [{"name": "ann", "accounts": ["ann-gh"], "public_key": public}]},
    }


def _serve(declared: Declared, model: str, *, max_num_seqs: int) -> None:
    judge: dict[str, Any] = {
        "noise": 0.01,
        "warmup_s": 20,
        "tick_s": 10,
        "protect": [{"metric": "error_rate", "ratio": 3}],
    }
    judge["protect"] += [{"metric": "ttft", "ratio": 1.2}]
    declared.serve(
        "chat",
        model,
        team="support",
        pool="l4",
        gpus_per_replica=1,
        slo={"ttft_p95_ms": 800, "error_rate": 0.01},
        release={"model": f"file:models/{model}", "engine": {"max_model_len": 8192, "max_num_seqs": max_num_seqs}},
        rollout={"steps_pct": [10, 50], "step_min_s": 60, "step_max_s": 1800, "bake_s": 300, "judge": judge},
    )


async def _applied(declared: Declared, plan: Plan) -> None:
    done = await declared.apply(plan, Scope())
    assert all(outcome.good for outcome in done.values()), done


async def _signed(home: Path, declared: Declared, plan: Plan) -> str:
    """Return the line that `sluice approve` writes beside the plan."""
    rule = rule_of(declared.planner().loaded.spec.approvals)
    subject, signer = Subject(plan.environment, plan.digest, ("cy-gh",)), KeyFile(home / "ann.pem")
    envelopes, _ = await approve.approve(subject, rule, (), signer, now=declared.bench.now, verify=verify)
    return bundle_to_text(envelopes)


def _file(declared: Declared) -> list[str]:
    """Return the endpoints of the environment file, as it is declared now."""
    return yaml.safe_dump({"endpoints": declared.endpoints}, sort_keys=False).splitlines()


def _diff(before: list[str], after: list[str]) -> str:
    lines = list(difflib.unified_diff(before, after, "environments/test.yaml", "environments/test.yaml", lineterm=""))
    return "\n".join(line for line in lines if not line.startswith("@@"))


def _steady(text: str, rollout: str) -> str:
    """Return the text without what no two runs share: a rollout's suffix, a process, the hash of an entry with both."""
    text = text.replace(rollout, rollout.rpartition("-")[0] + "-0a1b")
    text = re.sub(r"runner@[\w./-]+", "runner", text)
    return re.sub(r"(The last entry of this rollout is \d+, <code>)[0-9a-f]{64}", rf"\g<1>{'5f' * 32}", text)


def pull_request_page() -> str:
    """Return docs/golden-pull-request.md."""
    found = played()
    statement = json.dumps(json.loads(envelopes_among(found.signed)[0].payload), indent=1)
    ledger = "\n".join(found.ledger)
    return f"""<!-- Generated by `make reference` from tests/docs/golden_pull_request.py; do not edit. -->
# A pull request, from change to apply

What people see of one change, played by the real planner, judge, approvals and ledger over a world in memory.

## 1. The change
`cy` opens a pull request: another model, and more sequences at a time.
```diff
{found.diff}
```

## 2. The comment
`plan.yml` writes the plan into the pull request, and anew at each push.

![The comment as it is seen in a pull request](assets/pull-request.png)

What the job wrote:
````markdown
{found.comment.rstrip()}
````

## 3. The approval
{" and ".join(found.people)} reads it, takes the job's `plan.json`, signs its digest, and puts the signed line into a
comment. cy could not: nobody approves their own change.
```sh
gh run download --name plan-test
sluice approve plan.json --key ann.pem
gh pr comment 7 --body-file plan.json.approvals
```
The line is a DSSE envelope; this is what the signature stands under:
```json
{statement}
```

## 4. The apply
After the merge `apply.yml` makes the plan again from the merged file against what is live, takes the signed lines out
of the comments, and carries it out if it still is that plan:
```sh
sluice plan test -o plan.json
sluice approve plan.json --from signed.txt
sluice apply plan.json --approve "$DIGEST"
```
The ledger afterwards (`sluice history test`; without starts and warm-ups):
```text
{ledger}
```

## 5. The report
`sluice report test -o report.html` is what the job keeps: a page that needs nothing from anywhere.

![The report of the rollout](assets/report.png)

How keys are made, and what to do when they are lost: [approvals](how-to/approvals.md).
"""
