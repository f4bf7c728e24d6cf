"""Ask an endpoint as one user, with the release that this user has been given: `prompt_client.py USER QUESTION`.

One draw decides model and prompt: the flag `ENDPOINT.release` names the user's release, the prompt's flag follows it,
and the gateway does too. Whoever has a new release keeps it while its share grows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import httpx
from openfeature import api
from openfeature.evaluation_context import EvaluationContext

from reconciler.pointers.provider import FlagFileProvider


def ask(gateway: str, endpoint: str, user: str, question: str) -> str:
    """Return the endpoint's answer; `user` decides which release gives it."""
    flags = api.get_client()
    release = flags.get_string_value(f"{endpoint}.release", "", EvaluationContext(user))
    drawn = EvaluationContext(user, {"release": release})
    prompt = flags.get_string_value(f"{endpoint}.system", "You are a helpful assistant.", drawn)
    messages = [{"role": "system", "content": prompt}, {"role": "user", "content": question}]
    url, headers = f"{gateway}/{endpoint}/v1/chat/completions", {"x-sluice-release": release} if release else {}
    body = {"model": endpoint, "messages": messages}
    answer = httpx.post(url, json=body, headers=headers, timeout=60).raise_for_status().json()
    return str(answer["choices"][0]["message"]["content"])


def main() -> None:
    """Read the command line and print the answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("user")
    parser.add_argument("question")
    parser.add_argument("--flags", type=Path, required=True, help="the region's flags.json")
    parser.add_argument("--gateway", default="http://127.0.0.1:18080")
    parser.add_argument("--endpoint", default="chat")
    options = parser.parse_args()
    api.set_provider(FlagFileProvider(options.flags))
    print(ask(options.gateway, options.endpoint, options.user, options.question))


if __name__ == "__main__":
    main()
