"""Adapters that sign: key files and AWS KMS; and the check of signatures."""
