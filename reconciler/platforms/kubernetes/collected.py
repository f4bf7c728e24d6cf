"""What proxies and servers count, out of a Prometheus that scrapes them: raw counters of each, never rates.

The sums are made here, by pod: a rate over arms loses what a pod counted before it ended, and guesses where a counter
began again. A proxy that Prometheus has not scraped is told as such, for half a sum is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from environments.errors import SluiceError
from environments.names import PROXY_NAMESPACE, route_name
from reconciler.kubernetes import KubeReader
from reconciler.platforms.kubernetes.proxies import ready_proxies
from reconciler.platforms.kubernetes.reach import Reach
from reconciler.platforms.kubernetes.traffic import Counted, Place, Told, address_of, of_statistic
from reconciler.ports import Collected, CountsFromSamples, Scraped, SlotCounts

REMEMBERED_S = 600.0
"""How long a pod that is not scraped any more is still told of, with its age."""
LAST_S = 120.0
"""How far back the last value of a counter is looked for: what a pod counted before it ended is not lost."""
_STATISTIC = "envoy_cluster_endpoint_rq_"
_PROXY_LIVES = "envoy_server_uptime"


class CollectedStats:
    """`Stats` of Envoy Gateway's proxies as Prometheus scraped them; the labels are those of a PodMonitor."""

    def __init__(self, client: KubeReader, collected: Collected) -> None:
        self._client, self._collected = client, collected

    async def read(self, namespace: str, endpoint: str) -> Told:
        """Return the counters of an endpoint's route of every proxy that serves, and the oldest one's age.

        Raises:
            SluiceError: `PLAT-001` (retryable) there is no proxy; `KUBE-017` (retryable) one was never scraped;
                `METRIC-001` (retryable), `METRIC-002` Prometheus gives no answer.
        """
        proxies = [str(pod["metadata"]["name"]) for pod in await ready_proxies(self._client, namespace, endpoint)]
        where = {"namespace": PROXY_NAMESPACE, "pod": one_of(proxies)}
        ages = _by_pod(await self._collected.ages(selector(_PROXY_LIVES, where), REMEMBERED_S))
        if lacking := sorted(set(proxies) - set(ages)):
            raise never_scraped(self._collected.address, PROXY_NAMESPACE, lacking)
        route = f"httproute/{namespace}/{re.escape(route_name(endpoint))}/rule/.*"
        ours = where | {"envoy_cluster_name": route}
        # In flight first: read after a scrape between the two, it would hold requests that had not begun yet.
        in_flight = await self._collected.now(selector(f"{_STATISTIC}active", ours))
        counters = await self._collected.last(selector(f"{_STATISTIC}(success|error|total)", ours), LAST_S)
        oldest = max(proxies, key=lambda pod: ages[pod])
        look = look_at(self._collected.address, PROXY_NAMESPACE, oldest)
        return Told(_readings((*counters, *in_flight)), ages[oldest], look)


class CollectedServers:
    """What the servers of endpoints count, as Prometheus scraped their pods."""

    def __init__(self, collected: Collected, reach: Reach) -> None:
        self._collected, self._reach = collected, reach

    async def read(
        self, namespace: str, endpoint: str, pods: Sequence[str], runtime: CountsFromSamples
    ) -> dict[str, SlotCounts] | None:
        """Return the counters of each pod that was scraped within `REMEMBERED_S`, with their age.

        None where Prometheus is out of reach from here: then each server is asked itself.

        Raises:
            SluiceError: `METRIC-001` (retryable), `METRIC-002` Prometheus gives no answer.
        """
        if not await self._reach.reached():
            return None
        if not pods:
            return {}
        where = {"namespace": namespace, "pod": one_of(pods)}
        ages = _by_pod(await self._collected.ages(selector(runtime.heartbeat, where), REMEMBERED_S))
        samples: dict[str, list[Scraped]] = {}
        for each in await self._collected.last(selector(runtime.metrics, where), LAST_S):
            samples.setdefault(each.labels["pod"], []).append(each)
        told = {}
        for pod, age_s in ages.items():
            found = self._counts(f"{namespace}/{pod}", endpoint, samples.get(pod, []), runtime)
            told[pod] = replace(found, age_s=age_s, look_at=look_at(self._collected.address, namespace, pod))
        return told

    def _counts(self, pod: str, endpoint: str, samples: Sequence[Scraped], runtime: CountsFromSamples) -> SlotCounts:
        """Return a pod's counts; one whose last scrape is too long ago for values has none."""
        try:
            return runtime.counts_from(samples, model=endpoint, where=f"{self._collected.address}: pod {pod}")
        except SluiceError as error:
            if not error.retryable:
                raise
            return SlotCounts(0, 0, None)


def selector(names: str, labels: Mapping[str, str]) -> str:
    """Return a PromQL selector of metrics whose names and labels match regular expressions, each as a whole."""
    wanted = {"__name__": names, **labels}
    return "{" + ",".join(f'{label}=~"{_quoted(pattern)}"' for label, pattern in wanted.items()) + "}"


def one_of(words: Sequence[str]) -> str:
    """Return the regular expression for one of these names of Kubernetes objects."""
    return "|".join(re.escape(word).replace(r"\-", "-") for word in sorted(words))


def look_at(address: str, namespace: str, pod: str) -> str:
    """Return where to look when a pod's counts grow old."""
    return f'`up{{namespace="{namespace}",pod="{pod}"}}` of the Prometheus at {address}'


def never_scraped(address: str, namespace: str, pods: Sequence[str]) -> SluiceError:
    """Return the error that says that Prometheus does not know pods that count."""
    return SluiceError(
        "KUBE-017",
        where=f"{namespace}/{pods[0]}",
        what=f"the Prometheus at {address} has no samples of {', '.join(pods)}",
        why=f"nothing scraped there for {REMEMBERED_S:g} s has `namespace` and `pod` as labels and these names",
        do="look at its targets: is there a PodMonitor for these pods, and does it take it? A pod that has just started"
        " is scraped within the interval",
        retryable=True,
    )


def _readings(samples: Sequence[Scraped]) -> dict[Place, Counted]:
    found: dict[Place, Counted] = {}
    for each in samples:
        place = Place(each.labels["pod"], address_of(each.labels))
        found[place] = found.get(place, Counted()) + of_statistic(each.name.removeprefix(_STATISTIC), each.value)
    return found


def _by_pod(ages: Sequence[Scraped]) -> dict[str, float]:
    """Return how old each pod's newest sample is, whatever other labels it has."""
    found: dict[str, float] = {}
    for each in ages:
        pod = each.labels["pod"]
        found[pod] = min(each.value, found.get(pod, each.value))
    return found


def _quoted(pattern: str) -> str:
    return pattern.replace("\\", "\\\\").replace('"', '\\"')
