"""An OpenFeature provider over a flag document on disk, for applications on the same machine as a region.

Imports the OpenFeature SDK and flagd's evaluator (`pip install 'sluice[prompts]'`), and nothing of the reconciler: an
application may copy this file. Elsewhere, flagd itself serves the same document to any language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType
from openfeature.provider import AbstractProvider, Metadata


class FlagFileProvider(AbstractProvider):
    """Evaluates the flags in `file`, and reads it again when it was replaced.

    While the file is missing or cannot be read, what was read last stays in force; before that, callers get defaults.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._core = FlagdCore()
        self._seen: tuple[int, int, int] | None = None

    def get_metadata(self) -> Metadata:
        """Return the provider's name."""
        return Metadata(name="sluice-flag-file")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Return a boolean flag's value for this user."""
        return self._current().resolve_boolean_value(flag_key, default_value, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Return a string flag's value for this user, such as a prompt."""
        return self._current().resolve_string_value(flag_key, default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Return an integer flag's value for this user."""
        return self._current().resolve_integer_value(flag_key, default_value, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Return a float flag's value for this user."""
        return self._current().resolve_float_value(flag_key, default_value, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Return an object flag's value for this user."""
        return self._current().resolve_object_value(flag_key, default_value, evaluation_context)

    def _current(self) -> FlagdCore:
        try:
            stat = self._file.stat()
            stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if stamp != self._seen:
                self._core.set_flags(self._file.read_text("utf-8"))
                self._seen = stamp
        except (OSError, ValueError):
            return self._core
        return self._core
