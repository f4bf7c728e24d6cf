"""What looks like a secret, and how it is kept out of messages. Pure; every error is redacted when it is made."""

from __future__ import annotations

import re

HIDDEN = "***"
_SCHEME = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]{0,30})://"
_REFERENCE = r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}"
_HOST = r"(?![/?#]|[^/\s'\"]*[?#][^/\s'\"]*@)"
_AUTHORITY = re.compile(rf"{_SCHEME}(?P<userinfo>[^\s'\"<>/?#]*)@")
_USER = re.compile(rf"(?P<user>{_REFERENCE}|[^:]*)(?::(?P<password>.*))?", re.DOTALL)
# A password with a slash ends no authority for us as it does for a parser; a port in its place is none. Nor does one
# with `@` and then `#` or `?`: what is hidden already goes on where no host follows it.
_SLASHED = re.compile(
    rf"(?P<keep>{_SCHEME}(?:{_REFERENCE}|[^/\s:@'\"$\[]*):)"
    rf"(?!\d{{1,5}}(?:[/?#\s'\"]|$))(?!\*\*\*@{_HOST})(?!{_REFERENCE}@)(?P<secret>[^\s'\"]+)(?=@)"
)
_TOKENS_ALONE = ("http", "https", "ws", "wss", "git+https", "git+http", "ftp", "sftp")
"""Schemes whose user name without a password is a token; a database's is a name."""
_LONG_NAME = 20
_PASSES_MAX = 5
_NAMES = r"(?:password|passwd|secret|token(?!s)|api_?key|access_?key(?:_?id)?)"
_PARAMETER = re.compile(
    rf"(?P<keep>[?&#;](?:[\w.\-]*(?:{_NAMES}|signature|credential)[\w.\-]*|key|sig|auth|code|jwt)=)"
    r"(?P<secret>[^&\s'\"#]+)",
    re.I,
)
_VALUE = re.compile(
    rf"(?P<keep>(?<![\w?&\-])[\w\-]*{_NAMES}\s*=\s*)(?P<secret>(?:\"[^\"]*\"|'[^']*'|[^\s,;&'\"()])+)", re.I
)
_QUOTED = re.compile(
    rf"(?P<keep>(?P<q>['\"])(?:[\w\-]*{_NAMES}|authorization)(?P=q)\s*:\s*(?P<v>['\"]))(?P<secret>[^'\"]+)(?=(?P=v))",
    re.I,
)
_HEADER = re.compile(
    r"(?P<keep>\b(?:(?:proxy-)?authorization|x-api-key)['\"]?\s*[:=]\s*['\"]?"
    r"(?:(?:basic|bearer|token|digest|negotiate|apikey)\s+)?)(?P<secret>[^\s'\",()]+)",
    re.I,
)
_BEARER = re.compile(r"(?P<keep>\b[Bb]earer\s+)(?=\S*[0-9A-Z])(?P<secret>[A-Za-z0-9._~+/=\-]{8,})")
_TOKENS = (
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a Hugging Face token", re.compile(r"\bhf_[A-Za-z0-9]{16,}")),
    ("an API key", re.compile(r"\bsk-[A-Za-z0-9_\-]{16,}")),
    ("a Google API key", re.compile(r"\bAIza[A-Za-z0-9_\-]{35}")),
    ("a Databricks token", re.compile(r"\bdapi[0-9a-f]{32}")),
    ("a GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_\-]{16,}")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{16,}")),
    ("a Slack token", re.compile(r"\bxox[abeoprs]-[A-Za-z0-9\-]{10,}")),
    ("a signed token", re.compile(r"\beyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.?[A-Za-z0-9_\-]*")),
    (
        "a private key",
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[A-Za-z0-9+/=\s:,\-]*?-----END [A-Z ]*PRIVATE KEY-----)?"),
    ),
)
_ACCOUNTS = (
    re.compile(r"(?P<keep>\barn:[a-z0-9-]*:[a-z0-9-]*:[a-z0-9-]*:)\d{12}(?!\d)"),
    re.compile(r"(?P<keep>)(?<!\d)\d{12}(?=\.dkr\.ecr\.)"),
    re.compile(r"(?P<keep>s3://[a-z0-9.\-]*-)\d{12}(?![a-z0-9.\-])"),
    re.compile(r"(?P<keep>\.amazonaws\.com/)\d{12}(?=/)"),
)
"""Where the number of an AWS account stands: ARNs, registries, buckets that are named after it, queues."""
SECRET_KEY = re.compile(r"(^|[_\-])(api_?key|password|passwd|secret|token|credentials?)$", re.I)


def secret_kind(text: str) -> str | None:
    """Return what kind of secret stands in `text`, such as `a password in a URL`; None when there is none."""
    if _without_url_secrets(text) != text:
        return "a password in a URL"
    return next((kind for kind, pattern in _TOKENS if pattern.search(text)), None)


def redact(text: str) -> str:
    """Return `text` with every secret in it replaced by `***`; user names, hosts and paths stay readable."""
    for _ in range(_PASSES_MAX):  # what one pass hides may uncover the beginning of something else
        before, text = text, _redacted(text)
        if text == before:
            break
    return text


def hide_accounts(text: str) -> str:
    """Return `text` without the numbers of AWS accounts: for what is shown to people outside the team."""
    for pattern in _ACCOUNTS:
        text = pattern.sub(lambda found: found["keep"] + HIDDEN, text)
    return text


def _redacted(text: str) -> str:
    text = _without_url_secrets(text)
    for pattern in (_HEADER, _BEARER, _QUOTED, _VALUE):
        text = pattern.sub(_hide, text)
    for _, token in _TOKENS:
        text = token.sub(HIDDEN, text)
    return text


def _without_url_secrets(text: str) -> str:
    text = _AUTHORITY.sub(_hide_userinfo, text)
    for pattern in (_SLASHED, _PARAMETER):
        text = pattern.sub(_hide, text)
    return text


def _hide_userinfo(found: re.Match[str]) -> str:
    """Hide the password of `user:password@`, and a user name that is a token itself."""
    parts = _USER.fullmatch(found["userinfo"])
    assert parts is not None  # it matches every text
    user, password = parts["user"], parts["password"]
    is_token = not password and found["scheme"].lower() in _TOKENS_ALONE
    if user and not _is_reference(user) and (is_token or len(user) >= _LONG_NAME):
        user = HIDDEN
    if password is not None:
        user += f":{password if not password or _is_reference(password) else HIDDEN}"
    return f"{found['scheme']}://{user}@"


def _hide(found: re.Match[str]) -> str:
    secret = found["secret"]
    if _is_reference(secret) or secret == "…":
        return found[0]
    return found["keep"] + HIDDEN


def _is_reference(text: str) -> bool:
    return bool(re.fullmatch(_REFERENCE, text))
