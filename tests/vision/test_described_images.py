"""Images as text, through the whole proxy on real sockets: what the two models are sent, and what the client hears."""

import base64
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from ccproxy.settings.layer_names import LAYERS
from support.pdfs import make_pdf
from support.providers.scripted import Answer, Failure, Reply, ScriptedProvider, error_body
from support.serving.proxied import proxied
from support.serving.several import several
from support.streams.grammar import check_stream

RED = base64.b64encode(b"\x89PNG red").decode()
BLUE = base64.b64encode(b"\x89PNG blue").decode()
WORDS = {RED: "A red square.", BLUE: "A blue dialog: `Save?`"}
BLIND = {"vision": False}
NOTE = "[image omitted: this model can't see it, and it could not be described]"


def image(data: str, **more: Any) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}, **more}


def by_url(url: str) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "url", "url": url}}


def request(*content: Any, stream: bool = False, **more: Any) -> dict[str, Any]:
    blocks = [*content, {"type": "text", "text": "What do you see?"}]
    return {
        "model": "claude-opus-4-8",
        "max_tokens": 100,
        "stream": stream,
        "messages": [{"role": "user", "content": blocks}],
        **more,
    }


class Models:
    """A model that is blind, and ``eyes`` that knows the pictures; of each the bodies that it got."""

    def __init__(self) -> None:
        self.provider = ScriptedProvider(self._answer)
        self.answer: Answer = Reply("I see.")
        self.description: Answer | None = None
        self.blind: list[dict[str, Any]] = []
        self.eyes: list[dict[str, Any]] = []

    def _answer(self, body: dict[str, Any]) -> Answer:
        if body["model"] != "eyes":
            self.blind.append(body)
            return Failure(400, error_body("This model does not support image input")) if refuses(body) else self.answer
        self.eyes.append(body)
        url = images_in(body)[0]
        return self.description or Reply(WORDS.get(url.rpartition(",")[2], f"Seen at {url}"))

    def sent(self, turn: int = -1) -> str:
        return str(self.blind[turn].get("messages") or self.blind[turn]["input"])


def images_in(body: dict[str, Any]) -> list[str]:
    """The URLs of a request's images."""
    found = []
    for message in body.get("messages") or body["input"]:
        content = message.get("content") or message.get("output")
        for part in content if isinstance(content, list) else []:
            if part["type"] in ("image_url", "input_image"):
                url = part["image_url"]
                found.append(url if isinstance(url, str) else url["url"])
    return found


def refuses(body: dict[str, Any]) -> bool:
    return body["model"] == "learner" and bool(images_in(body))


@pytest.fixture
def models() -> Models:
    return Models()


@contextmanager
def client(models: Models, *, options: dict[str, Any] = BLIND, **settings: Any) -> Iterator[httpx.Client]:
    chosen = {"big_model": "blind", "small_model": "blind", "vision_model": "eyes", "max_retries": 0, **settings}
    with (
        proxied(models.provider, provider_options=options, **chosen) as url,
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        yield http


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize(
    "layers", [LAYERS, (*(n for n in LAYERS if n != "vision"), "vision")], ids=["outside", "inside"]
)
def test_images_stand_as_text(models: Models, stream: bool, api: str, layers: tuple[str, ...]) -> None:
    with client(models, options={**BLIND, "api": api}, ccproxy_layers=layers) as http:
        answer = http.post("/v1/messages", json=request(image(RED), image(BLUE), image(RED), stream=stream))
    assert answer.status_code == 200, answer.text
    if stream:
        check_stream(answer.content)
    assert "I see." in answer.text
    assert len(models.eyes) == 2  # equal ones once
    (body,) = models.blind
    assert not images_in(body)
    assert models.sent().index("[image 1: A red square.]") < models.sent().index("[image 2: A blue dialog: `Save?`]")
    assert "[image 3: A red square.]" in models.sent()


def test_second_turn_asks_nobody_and_says_the_same(models: Models) -> None:
    with client(models) as http:
        first = request(image(RED))
        http.post("/v1/messages", json=first)
        later = [*first["messages"], {"role": "assistant", "content": "I see."}, {"role": "user", "content": "And?"}]
        http.post("/v1/messages", json={**first, "messages": later})
    assert len(models.eyes) == 1
    assert models.blind[1]["messages"][0] == models.blind[0]["messages"][0]


def test_images_in_results_of_tools_are_described(models: Models) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"file_path": "a.png"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [image(BLUE)]}
    messages = [
        {"role": "user", "content": "Look at a.png"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    tool = {"name": "Read", "input_schema": {"type": "object", "properties": {"file_path": {"type": "string"}}}}
    with client(models) as http:
        answer = http.post("/v1/messages", json=request(messages=messages, tools=[tool]))
    assert answer.status_code == 200
    (message,) = (m for m in models.blind[0]["messages"] if m["role"] == "tool")
    assert message["content"] == "[image 1: A blue dialog: `Save?`]"


def test_url_is_passed_on_and_not_fetched(models: Models) -> None:
    with client(models) as http:
        http.post("/v1/messages", json=request(by_url("http://127.0.0.1:9/a.png")))
    assert images_in(models.eyes[0]) == ["http://127.0.0.1:9/a.png"]
    assert "[image 1: Seen at http://127.0.0.1:9/a.png]" in models.sent()


@pytest.mark.parametrize("stream", [False, True])
def test_refused_images_are_described_at_once_and_from_then_on(models: Models, stream: bool) -> None:
    with client(models, options={}, big_model="learner") as http:
        for turn in range(2):
            answer = http.post("/v1/messages", json=request(image(RED), stream=stream))
            assert answer.status_code == 200, answer.text
            assert "[image 1: A red square.]" in models.sent()
            assert len(models.blind) == turn + 2  # one was refused
        assert http.get("/test-connection").json()


def test_model_that_sees_gets_the_images(models: Models) -> None:
    with client(models, options={}) as http:
        http.post("/v1/messages", json=request(image(RED)))
    assert len(images_in(models.blind[0])) == 1
    assert not models.eyes


@pytest.mark.parametrize(
    "failure",
    [
        Failure(500, error_body("down")),
        Failure(400, error_body("This model does not support image input")),
        Reply(""),
    ],
    ids=["fails", "takes no images", "says nothing"],
)
def test_failure_leaves_a_note_and_is_tried_again(
    models: Models, failure: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    models.description = failure
    with client(models) as http:
        with caplog.at_level(logging.WARNING, "ccproxy.vision"):
            answer = http.post("/v1/messages", json=request(image(RED)))
        assert answer.status_code == 200
        assert NOTE in models.sent()
        assert "an image was not described" in caplog.text
        models.description = None
        http.post("/v1/messages", json=request(image(RED)))
    assert "[image 1: A red square.]" in models.sent()


def test_what_takes_too_long_is_left_out(models: Models) -> None:
    import threading

    from ccproxy_middleware import FormatConversionMiddleware, VisionMiddleware
    from support.serving.servers import serve

    gate = threading.Event()
    models.description = Reply("too late", gate=gate)
    with serve(models.provider, lifespan="off") as server:
        from ccproxy import Forward

        inner = FormatConversionMiddleware(Forward(f"{server.url}/v1", api_key="k"), options=BLIND)
        app = VisionMiddleware(
            inner,
            model="eyes",
            describer=FormatConversionMiddleware(Forward(f"{server.url}/v1", api_key="k")),
            options=BLIND,
            timeout=0.2,
        )
        with serve(app, lifespan="off") as proxy:
            answer = httpx.post(f"{proxy.url}/v1/messages", json=request(image(RED), model="blind"), timeout=30)
        gate.set()
    assert answer.status_code == 200
    assert NOTE in models.sent()


def test_other_upstream_may_see(models: Models) -> None:
    with (
        several(
            models.provider,
            {"sharp": models.provider},
            big_model="blind",
            small_model="blind",
            vision_model="sharp:eyes",
            provider_options=BLIND,
        ) as url,
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        assert http.post("/v1/messages", json=request(image(RED))).status_code == 200
    assert "[image 1: A red square.]" in models.sent()
    seen = [r for r in models.provider.requests if r.body and r.body["model"] == "eyes"]
    assert [r.headers["authorization"] for r in seen] == ["Bearer sharp-key"]


def test_counting_asks_nobody(models: Models) -> None:
    with client(models) as http:
        assert http.post("/v1/messages/count_tokens", json=request(image(RED))).status_code == 200
        assert not models.eyes
        http.post("/v1/messages", json=request(image(RED)))
        counted = http.post("/v1/messages/count_tokens", json=request(image(RED))).json()
        assert counted["input_tokens"] < 100
    assert len(models.eyes) == 1


@pytest.mark.parametrize(
    "content",
    [[{"type": "image"}], [{"type": "image", "source": "x"}], [image(3)], ["x"], [None]],  # type: ignore[arg-type]
    ids=["no source", "text for source", "number for data", "text for a block", "null"],
)
def test_bad_images_are_the_converters_business(models: Models, content: list[Any]) -> None:
    with client(models) as http:
        answer = http.post("/v1/messages", json=request(*content))
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert not models.eyes


def pdf(data: bytes, **more: Any) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(data).decode()}
    return {"type": "document", "source": source, **more}


def test_page_without_text_is_described_in_its_place(models: Models) -> None:
    models.description = Reply("A scanned letter.")
    document = pdf(make_pdf("First page", "", "Third page"), title="Scan")
    with client(models) as http:
        for _ in range(2):
            assert http.post("/v1/messages", json=request(document)).status_code == 200
    assert len(models.eyes) == 1
    assert images_in(models.eyes[0])[0].startswith("data:image/png;base64,iVBOR")
    assert models.blind[0]["messages"] == models.blind[1]["messages"]
    assert (
        "First page\n\n[page 2: A scanned letter.]\n\nThird page"
        in models.blind[0]["messages"][0]["content"][0]["text"]
    )
    assert 'title="Scan"' in models.sent()


@pytest.mark.parametrize("data", [make_pdf("All", "text"), b"%PDF-1.4 nonsense", b"no PDF"])
def test_pdf_with_text_or_without_sense_is_the_converters_business(models: Models, data: bytes) -> None:
    with client(models) as http:
        answer = http.post("/v1/messages", json=request(pdf(data)))
    assert answer.status_code == 200
    assert not models.eyes


def test_pdf_goes_as_it_is_to_a_provider_that_takes_pdfs(models: Models) -> None:
    with client(models, options={**BLIND, "pdf": "file"}) as http:
        assert http.post("/v1/messages", json=request(pdf(make_pdf("")))).status_code == 200
    assert not models.eyes
    assert "file_data" in models.sent()
