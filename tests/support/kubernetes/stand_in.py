"""What acts on a cluster again and again in the place of a controller that is not there."""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self

from tests.support.kubernetes.api import Api, ApiError
from tests.support.kubernetes.control_plane import ControlPlane

_LOOK_S = 0.1


class StandIn(ABC):
    """Takes its turn ten times a second, with a client of its own; what goes wrong is raised when its work is over.

    Refusals in `passing` are none: an object went, or moved, between a look and a write.
    """

    passing: tuple[int, ...] = (404, 409)

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._api, self._namespace = Api(plane.cluster), namespace
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.problem: Exception | None = None

    @abstractmethod
    def turn(self) -> None:
        """Look at the cluster, and do what the controller would."""

    @contextlib.contextmanager
    def at_work(self) -> Iterator[Self]:
        """Act while the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()
            self._api.close()
        if self.problem:
            raise self.problem

    def _run(self) -> None:
        while not self._over.wait(_LOOK_S):
            try:
                self.turn()
            except ApiError as error:
                if error.code not in self.passing:
                    self.problem = error
                    return
            except Exception as error:  # noqa: BLE001 - the test is told, at the end
                self.problem = error
                return
