"""Fixtures of commands that are called in this process."""

from tests.support.reviewed import project, projects

__all__ = ["project", "projects"]
