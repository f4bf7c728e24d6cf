"""The double keeps its promises: the interface, the faults, the ends of its life."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.servers.doubles import SERVE_COMMAND, RunningDouble, model_folder, running_double
from tests.support.servers.vllm.faults import Faults, fate_of

PROMPT: dict[str, Any] = {"model": "chat", "prompt": "Where is my refund?", "max_tokens": 6}
MESSAGES: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


def ask(double: RunningDouble, path: str = "/v1/completions", **body: Any) -> httpx.Response:
    return httpx.post(double.url + path, json=body, timeout=30)


def events(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def sample(double: RunningDouble, start: str) -> float:
    lines = httpx.get(double.url + "/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))


def test_answers_depend_on_the_model_and_the_prompt_alone(tmp_path: Path) -> None:
    one, other = model_folder(tmp_path, "one"), model_folder(tmp_path, "other", content="2")
    with running_double(one) as first, running_double(one) as again, running_double(other) as second:
        texts = [ask(d, **PROMPT).json()["choices"][0]["text"] for d in (first, again, second)]
        assert texts[0] == texts[1] != texts[2]
        assert ask(first, **{**PROMPT, "prompt": "another"}).json()["choices"][0]["text"] != texts[0]


def test_a_stream_has_the_same_tokens_as_a_whole_answer(tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path)) as double:
        whole = ask(double, **PROMPT).json()
        parts = events(ask(double, **PROMPT, stream=True, stream_options={"include_usage": True}))
    assert "".join(p["choices"][0]["text"] for p in parts[:-1]) == whole["choices"][0]["text"]
    assert parts[-2]["choices"][0]["finish_reason"] == "length"
    assert parts[-1]["usage"] == whole["usage"] == {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10}


def test_a_chat_stream_opens_with_the_role(tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path)) as double:
        parts = events(ask(double, "/v1/chat/completions", **MESSAGES, stream=True))
        whole = ask(double, "/v1/chat/completions", **MESSAGES).json()
    assert parts[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(p["choices"][0]["delta"]["content"] for p in parts)
    assert text == whole["choices"][0]["message"]["content"]


def test_models_names_what_it_was_told_to_serve(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    with running_double(folder, "--max-model-len", "512", "--enforce-eager", "--kv-cache-memory-bytes", "1M") as double:
        (model,) = httpx.get(double.url + "/v1/models").json()["data"]
    assert (model["id"], model["root"], model["max_model_len"]) == ("chat", str(folder), 512)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({**PROMPT, "model": "other"}, 404),
        ({"model": "chat"}, 400),
        ({**PROMPT, "max_tokens": 4096}, 400),
    ],
)
def test_refuses_what_vllm_refuses(tmp_path: Path, body: dict[str, Any], status: int) -> None:
    with running_double(model_folder(tmp_path)) as double:
        response = ask(double, **body)
        assert response.status_code == response.json()["error"]["code"] == status
        assert sample(double, "vllm:time_to_first_token_seconds_count") == 0


def test_counts_tokens_and_requests(tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path)) as double:
        for _ in range(3):
            ask(double, **PROMPT)
        assert sample(double, "vllm:time_to_first_token_seconds_count") == 3
        assert sample(double, "vllm:inter_token_latency_seconds_count") == 15
        assert sample(double, "vllm:generation_tokens_total") == 18
        assert sample(double, 'vllm:request_success_total{engine="0",finished_reason="length"') == 3
        assert sample(double, "vllm:num_requests_running") == 0


def test_errors_come_at_the_rate_that_was_set_while_it_ran(tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path, ttft_ms=0, itl_ms=0)) as double:
        assert {ask(double, **PROMPT).status_code for _ in range(5)} == {200}
        double.set(error_rate=1.0, error_status=503)
        assert {ask(double, **PROMPT).status_code for _ in range(5)} == {503}
        assert sample(double, 'http_requests_total{handler="/v1/completions",method="POST",status="5xx"') == 5


def test_an_unknown_fault_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path)) as double:
        before = double.seen()["faults"]
        with pytest.raises(httpx.HTTPStatusError):
            double.set(slow=True)
        with pytest.raises(httpx.HTTPStatusError):
            double.set(error_rate="high")
        assert double.seen()["faults"] == before


def test_not_ready_means_no_health_and_no_tokens(tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path, never_ready=True)) as double:
        assert httpx.get(double.url + "/health").status_code == 503
        assert ask(double, **PROMPT).status_code == 503
        double.set(never_ready=False)
        assert httpx.get(double.url + "/health").status_code == 200
        assert ask(double, **PROMPT).status_code == 200


def test_a_wrong_model_is_named_and_the_right_one_unknown(tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path, wrong_model="other")) as double:
        assert httpx.get(double.url + "/v1/models").json()["data"][0]["id"] == "other"
        assert ask(double, **PROMPT).status_code == 404


def test_a_broken_stream_ends_without_its_end(tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path, break_rate=1.0)) as double:
        with pytest.raises(httpx.TransportError):
            ask(double, **PROMPT, stream=True)
        assert httpx.get(double.url + "/health").status_code == 200


def test_a_hanging_request_is_given_up_when_the_client_leaves(tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path, hang_rate=1.0)) as double:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(double.url + "/v1/completions", json=PROMPT, timeout=0.2)
        double.set(hang_rate=0.0)
        assert ask(double, **PROMPT).status_code == 200
        assert double.seen()["disconnects"] == 1


def test_a_crash_in_a_stream_kills_the_process(tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path, crash_mid_stream=True)) as double:
        with pytest.raises(httpx.TransportError):
            ask(double, **PROMPT, stream=True)
        assert double.process.wait(timeout=30) == -signal.SIGKILL


def test_a_crash_on_command_and_after_some_requests(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, crash_after_requests=2)
    with running_double(folder) as double:
        assert [ask(double, **PROMPT).status_code for _ in range(2)] == [200, 200]
        with pytest.raises(httpx.TransportError):
            ask(double, **PROMPT)
        assert double.process.wait(timeout=30) == -signal.SIGKILL
    with running_double(folder) as double:
        double.crash()
        assert double.process.returncode == -signal.SIGKILL


def test_sigterm_finishes_the_stream_in_flight(tmp_path: Path) -> None:
    answers: list[httpx.Response] = []
    with running_double(model_folder(tmp_path, ttft_ms=50, itl_ms=50, jitter=0)) as double:
        client = threading.Thread(target=lambda: answers.append(ask(double, **PROMPT, stream=True)))
        client.start()
        while sample(double, "vllm:num_requests_running") == 0:
            pass
        double.process.send_signal(signal.SIGTERM)
        client.join(timeout=30)
        assert double.process.wait(timeout=30) == 0
    assert len(events(answers[0])) == PROMPT["max_tokens"]


def test_exit_on_start_leaves_a_code_and_no_port(tmp_path: Path) -> None:
    command = [*SERVE_COMMAND, str(model_folder(tmp_path, exit_on_start=True)), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "listening" not in done.stdout


def test_fates_follow_the_rates_and_can_be_repeated() -> None:
    faults = Faults(error_rate=0.1, tail_share=0.2, tail_factor=10, jitter=0, ttft_ms=5)
    fates = [fate_of(faults, n) for n in range(4000)]
    assert fates == [fate_of(faults, n) for n in range(4000)]
    assert abs(sum(f.fails for f in fates) / 4000 - 0.1) < 0.02
    assert abs(sum(f.ttft_s > 0.01 for f in fates) / 4000 - 0.2) < 0.02
