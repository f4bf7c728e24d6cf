"""Texts that people and tools see, kept equal to committed ones."""
