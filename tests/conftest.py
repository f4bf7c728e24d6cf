"""What holds for every test: no example is judged by how long it took, because these machines are noisy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("noisy", deadline=None)
settings.load_profile("noisy")
