"""A caller's own key and address: it gets only the caller's data, and a worker connects to no internal address."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from typing import Any

import pytest

from llm import addresses, catalog, direct, gateway
from llm.errors import ModelAddressRefused, ModelError, ModelNotAuthorized, ModelUnavailable
from llm.types import EmbeddingRequest, Endpoint, ModelMessage, ModelRequest
from tests.llm.recorded import Recorded, ending, recorded, text

CANARY = "sk-canary-of-the-operator"


def request(endpoint: Endpoint | None, model: str = "openai/fake") -> ModelRequest:
    return ModelRequest(model=model, messages=(ModelMessage(role="user", content="Hi"),), endpoint=endpoint)


async def call(endpoint: Endpoint | None, model: str = "openai/fake") -> None:
    provider = catalog.provider_of(model)
    assert provider is not None
    async for _ in direct.stream(request(endpoint, model), provider):
        pass


VECTOR = json.dumps({"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1}}).encode()


def embedding(endpoint: Endpoint | None, model: str = "openai/fake") -> EmbeddingRequest:
    return EmbeddingRequest(model=model, inputs=("Hi",), endpoint=endpoint)


async def embed(endpoint: Endpoint | None, model: str = "openai/fake") -> None:
    provider = catalog.provider_of(model)
    assert provider is not None
    await direct.embed(embedding(endpoint, model), provider)


@pytest.fixture
def _canary(server: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's keys, in every place where a library might look for them."""
    for name in ("OPENAI_API_KEY", "OPENAI_ORGANIZATION", "ANTHROPIC_API_KEY", "GROQ_API_KEY", "HOSTED_VLLM_API_KEY"):
        monkeypatch.setenv(name, CANARY)


@pytest.mark.usefixtures("_canary")
@pytest.mark.parametrize("key", ["", "sk-alice"])
@pytest.mark.parametrize("model", ["openai/fake", "hosted_vllm/fake", "groq/fake"])
async def test_our_key_never_goes_to_a_callers_address(server: Recorded, key: str, model: str) -> None:
    async with recorded() as theirs:
        theirs.play(*text("a"), *ending())
        await call(Endpoint(api_base=theirs.url, api_key=key, allow_private=True), model)
        assert len(theirs.posts) == 1
        assert theirs.posts[0].headers.get("authorization") == (f"Bearer {key}" if key else None)
        assert CANARY not in str(theirs.posts[0])
        theirs.play(VECTOR, content_type="application/json")
        await embed(Endpoint(api_base=theirs.url, api_key=key, allow_private=True), model)
        assert theirs.posts[1].path == "/v1/embeddings"
        assert theirs.posts[1].headers.get("authorization") == (f"Bearer {key}" if key else None)
        assert CANARY not in str(theirs.posts[1])
    assert server.posts == []


@pytest.mark.usefixtures("_canary")
@pytest.mark.parametrize(
    "model", ["anthropic/claude", "openai/gpt-5-codex", "bedrock/x", "vertex_ai/gemini", "azure/x"]
)
async def test_litellm_gets_no_address_of_a_caller(model: str) -> None:
    async with recorded() as theirs:
        theirs.play(*text("a"), *ending())
        for key in ("", "sk-alice"):
            with pytest.raises(ModelAddressRefused):
                async for _ in gateway.stream(
                    request(Endpoint(api_base=theirs.url, api_key=key, allow_private=True), model)
                ):
                    pass
            with pytest.raises(ModelAddressRefused):
                await gateway.embed(embedding(Endpoint(api_base=theirs.url, api_key=key, allow_private=True), model))
        assert theirs.connections == 0


@pytest.mark.parametrize("model", ["bedrock/x", "vertex_ai/gemini"])
async def test_a_callers_key_is_not_used_where_ours_might_pay(model: str) -> None:
    with pytest.raises(ModelNotAuthorized):
        async for _ in gateway.stream(request(Endpoint(api_key="sk-alice"), model)):
            pass
    with pytest.raises(ModelNotAuthorized):
        await gateway.embed(embedding(Endpoint(api_key="sk-alice"), model))


@pytest.mark.usefixtures("_canary")
async def test_a_callers_key_is_used_instead_of_ours(server: Recorded) -> None:
    server.play(*text("a"), *ending())
    await call(Endpoint(api_key="sk-alice"))
    async for _ in gateway.stream(request(Endpoint(api_key="sk-alice"))):
        pass
    assert [post.headers["authorization"] for post in server.posts] == ["Bearer sk-alice"] * 2
    await call(None)
    assert server.posts[-1].headers["authorization"] == f"Bearer {CANARY}"


@pytest.mark.usefixtures("_canary")
async def test_a_callers_key_is_used_for_embeddings_too(server: Recorded) -> None:
    server.play(VECTOR, content_type="application/json")
    await embed(Endpoint(api_key="sk-alice"))
    await gateway.embed(embedding(Endpoint(api_key="sk-alice")))
    assert [post.headers["authorization"] for post in server.posts] == ["Bearer sk-alice"] * 2


async def test_a_local_server_of_the_operator_needs_no_key(server: Recorded) -> None:
    server.play(*text("a"), *ending())
    await call(None)
    assert "authorization" not in server.posts[0].headers


async def test_without_a_key_no_request_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    with pytest.raises(ModelNotAuthorized):
        await call(None, "groq/fake")


@pytest.mark.parametrize("key", ["sk-\r\nHost: evil", "ключ", "a\x00b"])
async def test_a_key_is_one_line_of_letters(server: Recorded, key: str) -> None:
    with pytest.raises(ModelNotAuthorized):
        await call(Endpoint(api_key=key))
    assert server.posts == []


PRIVATE = [
    "127.0.0.1", "10.0.0.1", "172.16.9.9", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
    "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b:1::1", "::127.0.0.1", "2001:db8::1",
    "2001:0:7f00:1:0:0:80ff:fffe",
]  # fmt: skip


@pytest.mark.parametrize("number", PRIVATE)
def test_what_is_not_public(number: str) -> None:
    assert not addresses.is_public(number)


@pytest.mark.parametrize(
    "number", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_what_is_public(number: str) -> None:
    assert addresses.is_public(number)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/v1",
        "https://localhost/v1",
        "https://[::1]:8000/v1",
        "https://[::ffff:127.0.0.1]/v1",
        "https://2130706433/v1",
        "https://0x7f.1/v1",
        "https://127.1/v1",
        "http://1.1.1.1/v1",
        "https://user:key@1.1.1.1/v1",
        "https://1.1.1.1/v1?x=1",
        "ftp://1.1.1.1/v1",
        "file:///etc/passwd",
        "https://",
        "https://[",
        "https://1.1.1.1:99999/v1",
        "nonsense",
    ],
)
async def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(ModelAddressRefused):
        await call(Endpoint(api_base=url, api_key="sk-alice"))


async def test_all_addresses_of_a_name_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, 1, 6, "", (number, port)) for number in ("1.1.1.1", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(ModelAddressRefused):
        await addresses.resolve("https://models.example/v1", allow_private=False)


async def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []

    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        looked_up.append(host)
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", port))]

    async with recorded() as theirs:
        theirs.play(*text("a"), *ending())
        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        base = f"http://models.example:{theirs.port}/v1"
        await call(Endpoint(api_base=base, allow_private=True))
        assert theirs.posts[0].headers["host"] == f"models.example:{theirs.port}"
    # The number itself is looked up by the event loop, but no name a second time.
    assert looked_up.count("models.example") == 1


async def test_the_certificate_is_that_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handshake asks for the name although the connection goes to an IP address. It is refused here."""
    asked: list[str | None] = []

    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", port))]

    def note(_: Any, name: str | None, __: Any) -> int:
        asked.append(name)
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = note
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        with pytest.raises(ModelUnavailable):
            await call(Endpoint(api_base=f"https://models.example:{port}/v1", api_key="x", allow_private=True))
    assert asked == ["models.example"]


async def test_a_redirect_is_not_followed(server: Recorded) -> None:
    async with recorded() as inside:
        inside.play(*text("secret"), *ending())
        server.play(status=302, location=f"{inside.url}/chat/completions")
        with pytest.raises(ModelError):
            await call(Endpoint(api_base=server.url, api_key="sk-alice", allow_private=True))
        assert inside.connections == 0


async def test_an_unknown_host_name_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(ModelUnavailable):
        await addresses.resolve("https://models.example/v1", allow_private=False)


def test_a_key_is_not_shown() -> None:
    assert "sk-alice" not in repr(request(Endpoint(api_key="sk-alice")))


async def test_a_slow_name_holds_up_no_other_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name servers of callers may take half a minute. The operator's names are looked up by other threads."""
    asked: list[str] = []
    release = threading.Event()

    def getaddrinfo(name: str, *_: object, **__: object) -> list[Any]:
        asked.append(name)
        if name.endswith(".slow.example"):
            release.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.2.3.4", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(addresses, "LOOKUP_TIMEOUT_SECONDS", 3.0)
    names = [f"https://{i % 20}.slow.example/v1" for i in range(40)]
    slow = asyncio.gather(*(addresses.resolve(name, allow_private=False) for name in names), return_exceptions=True)
    await asyncio.sleep(0)
    assert (await addresses.resolve("https://fast.example/v1", allow_private=False)).name == "fast.example"
    await asyncio.get_running_loop().getaddrinfo("operators.example", 443)
    assert not slow.done()
    assert {type(each) for each in await slow} == {ModelUnavailable}
    # One thread for each name, however many ask for it.
    assert len(asked) == 22
    release.set()
