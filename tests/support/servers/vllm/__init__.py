"""The parts of the vLLM double: HTTP, faults, answers, metrics, server. Standard library only."""
