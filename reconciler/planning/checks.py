"""What can be said of an environment's releases and gates from its files alone, everything that is wrong at once.

`plan` asks it for what is to move, `sluice policy check` for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from environments.errors import Problem, SluiceError
from environments.load import Loaded
from environments.spec import EndpointSpec
from reconciler.core.canonical import Json
from reconciler.core.model.finding import Finding
from reconciler.ports import Gate, Runtime

NOTHING_DEMANDED = "GATE-005"


@dataclass(frozen=True)
class Checks:
    """Asks the runtimes and gates that this build has; what it lacks is `BUILD-001`'s matter."""

    loaded: Loaded
    runtimes: Mapping[str, Runtime]
    gates: Mapping[str, Callable[[], Gate]]

    def engine_problems(self, names: Iterable[str]) -> list[Problem]:
        """Return what is wrong with the engine arguments of these endpoints, each at the line of its argument."""
        found = []
        for name in names:
            endpoint = self.loaded.spec.endpoints[name]
            runtime = self.runtimes.get(endpoint.runtime)
            if runtime is not None:
                raised = _raised(partial(runtime.check, endpoint.release.engine))
                found += [replace(problem, where=self._line(name, problem.where)) for problem in raised]
        return found

    def gate_problems(self, names: Iterable[str]) -> list[Problem]:
        """Return what is wrong with the files that the gates of these endpoints name."""
        return [
            problem
            for name in names
            for _, gate, settings in self._asked(name)
            for problem in _raised(partial(gate.check, settings, self.loaded.root))
        ]

    def gate_digests(self, names: Iterable[str]) -> dict[str, str]:
        """Return `ENDPOINT/GATE` → digest over the content of the files that decide there."""
        return {
            f"{name}/{kind}": gate.digest(settings, self.loaded.root)
            for name in sorted(names)
            for kind, gate, settings in self._asked(name)
        }

    def first_rollouts(self, addresses: Mapping[str, str]) -> list[Finding]:
        """Warn of gates that would have nothing to say of a first deployment; `addresses` gives each endpoint's."""
        return [
            Finding(NOTHING_DEMANDED, "warn", address, remark)
            for name, address in sorted(addresses.items())
            for _, gate, settings in self._asked(name)
            for remark in gate.remarks_without_champion(settings, self.loaded.root)
        ]

    def _asked(self, name: str) -> Iterator[tuple[str, Gate, Json]]:
        endpoint = self.loaded.spec.endpoints[name]
        asked = endpoint.rollout.gates.model_dump(exclude_none=True)
        for kind in sorted(asked.keys() & self.gates.keys()):
            yield kind, self.gates[kind](), asked[kind] | {"slo": _slo(endpoint)}

    def _line(self, name: str, where: str) -> str:
        """Return the line of an engine argument, which a runtime calls `engine.NAME`."""
        return self.loaded.lines.where(("endpoints", name, "release", *where.split(".", 1)))


def _slo(endpoint: EndpointSpec) -> Json:
    return endpoint.slo.model_dump(exclude_none=True)


def _raised(check: Callable[[], None]) -> list[Problem]:
    try:
        check()
    except SluiceError as error:
        return list(error.problems)
    return []
