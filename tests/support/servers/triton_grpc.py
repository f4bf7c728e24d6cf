"""Speaks gRPC to a Triton, run by the Python of `.cache/triton/venv`: its protobuf is not the one of our packages.

Called as `triton_grpc.py ADDRESS CONTROL VERB…`; a VERB is `load`, `unload`, `ready`, `state` or `infer=TEXT`. Prints a
JSON list of what each answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import Any

from environments.errors import SluiceError
from reconciler.runtimes.triton.control import ModelControl, grpc_control

MODEL = "chat"


async def answer(control: ModelControl, address: str, verb: str) -> Any:
    """Return what one verb answers; a coded error as its code and reason."""
    name, _, text = verb.partition("=")
    try:
        match name:
            case "load":
                return await control.load(MODEL)
            case "unload":
                return await control.unload(MODEL)
            case "ready":
                return await control.ready(MODEL)
            case "state":
                return asdict(await control.state(MODEL))
            case _:
                return await infer(address, text)
    except SluiceError as error:
        return [error.code, error.problem.why]


async def infer(address: str, text: str) -> str:
    """Return a model's answer to a text, or the error that the server gave."""
    import numpy as np
    from tritonclient.grpc import aio
    from tritonclient.utils import InferenceServerException

    asked = aio.InferInput("TEXT", [1, 1], "BYTES")
    asked.set_data_from_numpy(np.array([[text.encode()]], dtype=object))
    async with aio.InferenceServerClient(address) as client:
        try:
            answered = await client.infer(MODEL, [asked])
        except InferenceServerException as error:
            return f"error: {error.message()}"
    return str(answered.as_numpy("ANSWER")[0][0].decode())


async def main(address: str, word: str, *verbs: str) -> None:
    """Answer the verbs in turn."""
    control = grpc_control(address, word)
    try:
        print(json.dumps([await answer(control, address, verb) for verb in verbs]))
    finally:
        await control.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
