"""No secret that stands where secrets stand gets into a message, and what is no secret stays readable."""

from __future__ import annotations

import re
import string
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from environments.errors import Problem, SluiceError
from environments.redact import HIDDEN, redact, secret_kind

PLAIN = string.ascii_letters + string.digits
TOKEN = st.text(PLAIN + "-._~+", min_size=8, max_size=60).filter(lambda t: t.strip("-._~+") == t)
PASSWORD = st.text(PLAIN + "-._~+@:!$%*()=,;/?#&[]{}|^", min_size=4, max_size=40).filter(
    lambda t: not re.match(r"\d{1,5}([/?#]|$)", t) and not t.startswith("${") and "***" not in t
)
"""All that people put between a colon and an @ but blanks and quotes; digits and a slash would be a port and a path."""
WHERE_TOKENS_STAND = (
    "https://{}@git.example.com/x.git",
    "http://{}:@git.example.com/x.git",
    "https://oauth2:{}@git.example.com/x.git",
    "https://host/path?key={}",
    "https://host/path?a=1&api_key={}&b=2",
    "https://host/path?apikey={}",
    "https://host/path?access_token={}",
    "https://host/path#access_token={}&state=1",
    "https://host/path?auth={}",
    "https://bucket.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature={}",
    "https://bucket.s3.amazonaws.com/k?X-Amz-Security-Token={}&X-Amz-Date=20260101T000000Z",
    "https://bucket.s3.amazonaws.com/k?X-Amz-Credential={}%2F20260101",
    "https://bucket.s3.amazonaws.com/k?AWSAccessKeyId={}&Expires=1",
    "https://account.blob.core.windows.net/k?sv=2024&sig={}",
    "https://storage.googleapis.com/k?X-Goog-Signature={}",
    "Authorization: Bearer {}",
    "authorization: bearer {}",
    "Authorization: Basic {}",
    "{{'authorization': 'Bearer {}', 'accept': '*/*'}}",
    '{{"Authorization": "Token {}"}}',
    "x-api-key: {}",
    '{{"password": "{}", "user": "u"}}',
    "{{'token': '{}'}}",
    "connection failed: host=db user=u password={} sslmode=require",
    "MLFLOW_TRACKING_TOKEN={} was refused",
    "PGPASSWORD={} psql",
    'secret = "{}"',
)
WHERE_PASSWORDS_STAND = ("postgresql://sluice:{}@db:5432/x", "could not connect to https://me:{}@mlflow.example.com")


@pytest.mark.parametrize("place", WHERE_TOKENS_STAND)
@given(secret=TOKEN)
def test_a_token_is_hidden_wherever_it_stands(place: str, secret: str) -> None:
    frame = place.format("")
    if secret in frame:
        return
    for text in (place.format(secret), f"before {place.format(secret)} after", f"({place.format(secret)})"):
        shown = redact(text)
        assert secret not in shown
        assert HIDDEN in shown
        assert redact(shown) == shown


@pytest.mark.parametrize("place", WHERE_PASSWORDS_STAND)
@given(secret=PASSWORD)
@example(secret="*@#0")
@example(secret="a@?b")
@example(secret="a@b#c")
def test_a_password_in_an_address_is_hidden_whatever_it_is_made_of(place: str, secret: str) -> None:
    if secret in place.format(""):
        return
    shown = redact(place.format(secret))
    assert secret not in shown
    assert redact(shown) == shown
    assert secret_kind(place.format(secret)) == "a password in a URL"


@given(secret=TOKEN.filter(lambda t: any(c in string.digits + string.ascii_uppercase for c in t)))
def test_a_bearer_token_without_its_header_is_hidden(secret: str) -> None:
    assert secret not in redact(f"sent Bearer {secret}")


PIECES = (
    "https://",
    "pg://",
    "@",
    ":",
    "/",
    "?",
    "&",
    "token=",
    "password: ",
    "'",
    '"',
    "Bearer ",
    "***",
    "aB3",
    " ",
    "=",
)


@given(st.text(max_size=300) | st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_hiding_twice_is_hiding_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg://sluice:pw@db:5432/x", "postgresql+psycopg://sluice:***@db:5432/x"),
        ("postgresql://sluice:a/b@db/x", "postgresql://sluice:***@db/x"),
        ("postgresql://u:p@ss@h/d", "postgresql://u:***@h/d"),
        (
            "postgresql://db/x?user=a&password=pw&sslmode=require",
            "postgresql://db/x?user=a&password=***&sslmode=require",
        ),
        ("https://TOKEN@h/x", "https://***@h/x"),
        ("https://u:p@h/a@b", "https://u:***@h/a@b"),
        (f"https://{'a1' * 16}:x-oauth-basic@h/x", "https://***:***@h/x"),
        ("token hf_" + "a" * 20 + " end", "token *** end"),
        (f"-----BEGIN PRIVATE KEY-----\n{'MII' * 20}\n-----END PRIVATE KEY-----\nafter", "***\nafter"),
    ],
)
def test_what_is_left_says_where_it_was(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://mlflow:5000/path@2",
        "http://[::1]:8080/a@b",
        "sqlite:///.sluice/x.db",
        "s3://bucket/key@VERSION",
        "hf:org/name@" + "a" * 40,
        "postgresql://me@db/x",
        "postgresql://${env:USER}:${env:PASSWORD}@db/x",
        "https://host/v1?max_tokens=64&page=2",
        "a bearer token goes to whatever registry.mlflow names",
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        "export MLFLOW_TRACKING_TOKEN=…",
        "the judge's key: set api_key_env",
        "keys: model, prompts",
        "weights a 90 %, b 10 %",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_no_error_ever_holds_a_secret_whoever_makes_it() -> None:
    address = "https://me:" + quote("s3cret/word") + "@host/x"
    error = SluiceError("X-001", where=address, what=f"{address} failed", why=f"{address} why", do=f"try {address}")
    problem = Problem(address, "X-001", address, address, address)
    for text in (str(error), repr(error), problem.render(), repr(problem)):
        assert "s3cret" not in text


@pytest.mark.parametrize("text", ["a" * 300_000, "a-" * 150_000, "://" * 100_000, "?" * 300_000, "token" * 60_000])
def test_long_texts_take_no_time_that_grows_with_their_square(text: str) -> None:
    """Minutes if it did; the suite's own limit ends it."""
    assert len(redact(text)) > 1000
