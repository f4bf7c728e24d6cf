"""What looks like a secret, and how it is kept out of messages. Pure; whoever prints an address calls `redact`."""

from __future__ import annotations

import re

HIDDEN = "***"
_URL_PASSWORD = re.compile(
    r"(?P<keep>[A-Za-z][A-Za-z0-9+.\-]*://(?:\$\{env:\w+\}|[^/\s:@'\"$]*):)"
    r"(?P<secret>(?!\d{1,5}/)[^@\s'\"]+)(?=@)"
)
_QUERY_PASSWORD = re.compile(
    r"(?P<keep>[?&](?:password|passwd|sslpassword|token|secret|api_?key)=)(?P<secret>[^&\s'\"]+)", re.I
)
_ENV_REFERENCE = re.compile(r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}")
_TOKENS = (
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a Hugging Face token", re.compile(r"\bhf_[A-Za-z0-9]{16,}")),
    ("an API key", re.compile(r"\bsk-[A-Za-z0-9_\-]{16,}")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{16,}")),
    ("a Slack token", re.compile(r"\bxox[abeoprs]-[A-Za-z0-9\-]{10,}")),
    ("a signed token", re.compile(r"\beyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.?[A-Za-z0-9_\-]*")),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
)
SECRET_KEY = re.compile(r"(^|[_\-])(api_?key|password|passwd|secret|token|credentials?)$", re.I)


def secret_kind(text: str) -> str | None:
    """Return what kind of secret stands in `text`, such as `a password in a URL`; None when there is none."""
    for pattern in (_URL_PASSWORD, _QUERY_PASSWORD):
        if any(not _is_reference(found["secret"]) for found in pattern.finditer(text)):
            return "a password in a URL"
    return next((kind for kind, pattern in _TOKENS if pattern.search(text)), None)


def redact(text: str) -> str:
    """Return `text` with every secret in it replaced by `***`; user names, hosts and paths stay readable."""
    for pattern in (_URL_PASSWORD, _QUERY_PASSWORD):
        text = pattern.sub(_hide, text)
    for _, pattern in _TOKENS:
        text = pattern.sub(HIDDEN, text)
    return text


def _hide(found: re.Match[str]) -> str:
    return found[0] if _is_reference(found["secret"]) else found["keep"] + HIDDEN


def _is_reference(text: str) -> bool:
    return bool(_ENV_REFERENCE.fullmatch(text))
