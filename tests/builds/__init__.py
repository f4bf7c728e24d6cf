"""The real programs that tests run: which ones, how each is built from published Go modules, and where it then lies."""
