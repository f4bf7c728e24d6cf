"""What a team may send: requests and tokens a minute, and how long the gateway waits for its servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.client_auth import routes
from environments.infrastructure import GatewaySpec, TeamSpec

TOKENS = ("sluice", "total_tokens")
# Reads what an answer says of itself: the last `"usage"` of a stream, or the one of a whole answer. Bodies pass as they
# come; only the end of the last two pieces is kept. An answer without usage counts nothing: vLLM says it in every
# stream when it is started with `--enable-force-include-usage`.
COUNT_TOKENS = """\
function envoy_on_response(handle)
  local kept, total = "", nil
  for piece in handle:bodyChunks() do
    local size = piece:length()
    if size > 0 then
      kept = string.sub(kept .. piece:getBytes(0, size), -8192)
      for number in string.gmatch(kept, '"total_tokens"%s*:%s*(%d+)') do total = tonumber(number) end
    end
  end
  if total ~= nil then handle:streamInfo():dynamicMetadata():set("sluice", "total_tokens", total) end
end
"""


def backend_settings(endpoints: Sequence[str], spec: GatewaySpec, limits: TeamSpec) -> dict[str, Any]:
    """Return a team's policy over its routes: no time limit for a request, a rate, and no retries.

    A retry would hide a failing challenger from the judge. With `shared_limits` all proxies count together, and the
    team's rate holds however many run; without, each counts alone and gets an equal part of what the most of them may
    let through, so that the team's rate is never exceeded.
    """
    settings: dict[str, Any] = {
        "targetRefs": routes(endpoints),
        "timeout": {
            "tcp": {"connectTimeout": "5s"},
            "http": {"requestTimeout": "0s", "streamIdleTimeout": f"{spec.idle_stream_s}s"},
        },
        "circuitBreaker": {"maxConnections": 16384, "maxPendingRequests": 16384, "maxParallelRequests": 16384},
    }
    rate = _shared(limits) if spec.shared_limits else _alone(spec, limits)
    return settings | ({"rateLimit": rate} if rate else {})


def counts_tokens(spec: GatewaySpec, limits: TeamSpec) -> bool:
    """Return whether a team's answers are read for their tokens: only a shared store can hold a quota."""
    return spec.shared_limits and limits.tokens_per_minute is not None


def _shared(limits: TeamSpec) -> dict[str, Any] | None:
    rules: list[dict[str, Any]] = []
    if limits.requests_per_minute is not None:
        rules.append({"limit": {"requests": limits.requests_per_minute, "unit": "Minute"}})
    if limits.tokens_per_minute is not None:
        namespace, key = TOKENS
        spent = {"from": "Metadata", "metadata": {"namespace": namespace, "key": key}}
        # A request is let in while tokens are left and costs nothing itself; its answer is paid when it is known.
        cost = {"request": {"from": "Number", "number": 0}, "response": spent}
        rules.append({"limit": {"requests": limits.tokens_per_minute, "unit": "Minute"}, "cost": cost})
    return {"type": "Global", "global": {"rules": rules}} if rules else None


def _alone(spec: GatewaySpec, limits: TeamSpec) -> dict[str, Any] | None:
    if limits.requests_per_minute is None:
        return None
    share = max(1, limits.requests_per_minute // max(spec.proxies, spec.proxies_max))
    return {"type": "Local", "local": {"rules": [{"limit": {"requests": share, "unit": "Minute"}}]}}


def token_counter(endpoints: Sequence[str]) -> dict[str, Any]:
    """Return the EnvoyExtensionPolicy that reads the tokens of a team's answers."""
    return {"targetRefs": routes(endpoints), "lua": [{"type": "Inline", "inline": COUNT_TOKENS}]}
