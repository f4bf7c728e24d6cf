"""Ask an endpoint as one user, with the prompt that this user has been given: `prompt_client.py USER QUESTION`.

A rollout moves users to a new prompt together with the model's weight; whoever has the new one keeps it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import httpx
from openfeature import api
from openfeature.evaluation_context import EvaluationContext

from reconciler.pointers.provider import FlagFileProvider


def ask(gateway: str, endpoint: str, user: str, question: str) -> str:
    """Return the endpoint's answer; `user` decides which release's prompt is used."""
    prompt = api.get_client().get_string_value(
        f"{endpoint}.system", "You are a helpful assistant.", EvaluationContext(targeting_key=user)
    )
    messages = [{"role": "system", "content": prompt}, {"role": "user", "content": question}]
    url = f"{gateway}/{endpoint}/v1/chat/completions"
    answer = httpx.post(url, json={"model": endpoint, "messages": messages}, timeout=60).raise_for_status().json()
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
