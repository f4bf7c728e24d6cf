"""The declared state of an LLM platform: environment files, their types, references and names.

Imports nothing of this repository. Stacks, components, policies and the reconciler all read it.
"""
