"""What the double says: words that depend on the model folder's content and the prompt alone, in vLLM's JSON. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WORD_LIST = "river stone paper light early order refund parcel ready reply track letter price today north signal"


class BadRequest(Exception):
    """A request that vLLM would answer with a 4xx; `status`, `kind` and `param` as in its JSON."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "BadRequestError", param: str | None = None):
        super().__init__(message)
        self.status, self.kind, self.param = status, kind, param


@dataclass(frozen=True)
class Ask:
    """One request for tokens. `usage` asks for a last chunk with the usage."""

    chat: bool
    prompt: str
    max_tokens: int
    stream: bool
    usage: bool

    @property
    def prompt_tokens(self) -> int:
        """Return how many tokens the double takes the prompt for: its words, at least one."""
        return max(1, len(self.prompt.split()))


def folder_digest(model: Path) -> str:
    """Return a digest over names and content of all files in a model folder."""
    state = hashlib.sha256()
    for path in sorted(p for p in model.rglob("*") if p.is_file()):
        state.update(str(path.relative_to(model)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def parse_ask(body: bytes, *, chat: bool, served: str, max_model_len: int) -> Ask:
    """Read a request body.

    Raises:
        BadRequest: what vLLM answers with a 4xx.
    """
    try:
        data = json.loads(body)
    except ValueError as error:
        raise BadRequest(f"JSON decode error: {error}", kind="Bad Request", param="body.0") from error
    if not isinstance(data, dict):
        raise BadRequest("Input should be a valid dictionary", kind="Bad Request", param="body")
    if data.get("model", served) != served:
        message = f"The model `{data['model']}` does not exist. Valid aliases: {served}."
        raise BadRequest(message, status=404, kind="NotFoundError", param="model")
    prompt = _chat_prompt(data) if chat else _plain_prompt(data)
    limit = data.get("max_completion_tokens") or data.get("max_tokens") or (max_model_len // 2 if chat else 16)
    options = data.get("stream_options") or {}
    ask = Ask(chat, prompt, int(limit), bool(data.get("stream")), bool(options.get("include_usage")))
    if ask.prompt_tokens + ask.max_tokens > max_model_len:
        raise BadRequest(f"This model's maximum context length is {max_model_len} tokens.", param="input_tokens")
    return ask


def token(digest: str, prompt: str, index: int) -> str:
    """Return token `index` of the answer, with the space before it."""
    word = hashlib.sha256(f"{digest}:{index}:{prompt}".encode()).digest()[0]
    words = _WORD_LIST.split()
    return " " + words[word % len(words)]


def answer(ask: Ask, *, identity: str, served: str, created: int, text: str, tokens: int) -> dict[str, Any]:
    """Return the JSON of an answer that is not streamed."""
    choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": "length", "stop_reason": None}
    choice |= {"message": {"role": "assistant", "content": text}} if ask.chat else {"text": text}
    head = _head(ask, identity, served, created, "chat.completion" if ask.chat else "text_completion")
    return {**head, "choices": [choice], "usage": _usage(ask, tokens)}


def chunk(ask: Ask, *, identity: str, served: str, created: int, text: str | None, last: bool) -> dict[str, Any]:
    """Return one streamed chunk; `text=None` is a chat's opening chunk, which names the role and has no token."""
    choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": "length" if last else None}
    if not ask.chat:
        choice["text"] = text
    else:
        choice["delta"] = {"role": "assistant", "content": ""} if text is None else {"content": text}
    head = _head(ask, identity, served, created, "chat.completion.chunk" if ask.chat else "text_completion")
    return {**head, "choices": [choice]}


def usage_chunk(ask: Ask, *, identity: str, served: str, created: int, tokens: int) -> dict[str, Any]:
    """Return the chunk without choices that ends a stream whose client asked for the usage."""
    head = _head(ask, identity, served, created, "chat.completion.chunk" if ask.chat else "text_completion")
    return {**head, "choices": [], "usage": _usage(ask, tokens)}


def models(*, served: str, root: str, created: int, max_model_len: int) -> dict[str, Any]:
    """Return the JSON of `/v1/models`."""
    entry = {"id": served, "object": "model", "created": created, "owned_by": "vllm", "root": root}
    return {"object": "list", "data": [{**entry, "parent": None, "max_model_len": max_model_len}]}


def error(message: str, *, status: int, kind: str, param: str | None = None) -> dict[str, Any]:
    """Return the JSON of an error as vLLM writes it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


def _head(ask: Ask, identity: str, served: str, created: int, kind: str) -> dict[str, Any]:
    prefix = "chatcmpl" if ask.chat else "cmpl"
    return {"id": f"{prefix}-{identity}", "object": kind, "created": created, "model": served}


def _usage(ask: Ask, tokens: int) -> dict[str, int]:
    total = ask.prompt_tokens + tokens
    return {"prompt_tokens": ask.prompt_tokens, "total_tokens": total, "completion_tokens": tokens}


def _plain_prompt(data: Mapping[str, Any]) -> str:
    prompt = data.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise BadRequest("Either prompt or prompt_embeds must be provided and non-empty.", param="prompt")
    return prompt


def _chat_prompt(data: Mapping[str, Any]) -> str:
    messages = data.get("messages")
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise BadRequest("Field required: messages", kind="Bad Request", param="body.messages")
    return "".join(f"<|{m.get('role')}|> {m.get('content')} " for m in messages) + "<|assistant|>"
