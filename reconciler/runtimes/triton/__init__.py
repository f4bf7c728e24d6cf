"""The runtime `triton`: one model repository and one server a slot."""
