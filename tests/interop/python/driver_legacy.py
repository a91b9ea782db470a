"""Driver: clients of the Python SDK 1.x on 2025-11-25 servers, and on servers that know only 2026-07-28."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import anyio
import mcp.types as types
from mcp.shared.exceptions import McpError
from pydantic import AnyUrl

from harness import DIRECT, OVER, TMP, Scene, eventually, labels, main, scenario, together
from peer_legacy import Peer, run_client

SERVERS = [
    "everything", "everything-serialize", "everything-client", "memory", "filesystem", "legacy-ts",
    "legacy-ts-serialize", "legacy-py-serialize", "legacy-py-client", "dual-ts", "modern-ts", "modern-py",
]


async def settle(peers: list[Peer]) -> None:
    """After this, whatever the server said before has reached every peer: an answer overtakes nothing."""
    await together(*(peer.call("echo", {"text": "settle", "message": "settle"}) for peer in peers))


def bulk(size: int, seed: str) -> str:
    line = f'{seed} "quoted" \\ back\u00e9\n'
    return (line * (size // len(line) + 1))[:size]


async def refused(job: Any) -> McpError:
    try:
        await job
    except McpError as error:
        return error
    raise AssertionError("it was not refused")


@scenario("everything/tools, prompts, completion, resources")
async def _(scene: Scene) -> None:
    a = await scene.open("everything", "a")
    assert a.info.serverInfo.name == "mcp-servers/everything"
    assert any(tool.name == "get-sum" for tool in (await a.session.list_tools()).tools)
    assert await a.call("echo", {"message": 'grüße \u2028 "x"'}) == 'Echo: grüße \u2028 "x"'
    structured = await a.session.call_tool("get-structured-content", {"location": "Chicago"})
    assert isinstance(structured.structuredContent["temperature"], int | float)
    image = await a.session.call_tool("get-tiny-image", {})
    assert any(part.type == "image" for part in image.content)
    prompt = await a.session.get_prompt("args-prompt", {"city": "Oslo"})
    assert prompt.messages[0].content.text == "What's weather in Oslo?"
    done = await a.session.complete(
        types.PromptReference(type="ref/prompt", name="completable-prompt"), {"name": "name", "value": "D"}, {"department": "Sales"}
    )
    assert done.completion.values == ["David"]
    assert (await a.session.list_resources()).resources
    assert len((await a.session.list_resource_templates()).resourceTemplates) >= 2
    read = await a.session.read_resource(AnyUrl("demo://resource/dynamic/text/7"))
    assert read.contents[0].text.startswith("Resource 7:")
    await a.session.send_ping()
    await refused(a.session.get_prompt("no-such-prompt"))


@scenario("everything/subscription and log level")
async def _(scene: Scene) -> None:
    a, b = await scene.open_all("everything", ["a", "b"])
    uri = "demo://resource/dynamic/text/41"
    await b.session.set_logging_level("error")
    await a.session.set_logging_level("debug")
    await a.session.subscribe_resource(AnyUrl(uri))
    await a.call("toggle-subscriber-updates")

    def updates(peer: Peer) -> int:
        return sum(message["params"]["uri"] == uri for message in peer.wire.got("notifications/resources/updated"))

    def lines(peer: Peer) -> int:
        return sum(uri in str(message["params"]["data"]) for message in peer.wire.got("notifications/message"))

    await a.wire.until(lambda: updates(a) > 0, "resources/updated")
    await a.wire.until(lambda: lines(a) > 0, "log line")
    await settle([b])
    assert (updates(b), lines(b)) == (0, 0)
    await a.session.unsubscribe_resource(AnyUrl(uri))
    await a.call("toggle-subscriber-updates")


@scenario("everything/progress")
async def _(scene: Scene) -> None:
    peers = await scene.open_all("everything", ["a", "b"])
    jobs = (peer.call("trigger-long-running-operation", {"duration": 0.4, "steps": 3 + n}, progress=True) for n, peer in enumerate(peers))
    await together(*jobs)
    for n, peer in enumerate(peers):
        assert [(step["progress"], step["total"]) for step in peer.wire.progress] == [(i + 1, 3 + n) for i in range(3 + n)]


for policy in ("serialize", "client"):

    @scenario(f"everything/questions {policy}")
    async def _(scene: Scene, policy: str = policy) -> None:
        peers = await scene.open_all(f"everything-{policy}", labels(3), interactive=True)

        async def ask(peer: Peer) -> None:
            asked = await peer.session.call_tool("trigger-elicitation-request", {})
            assert f"- Name: {peer.label}\n" in "".join(f"{part.text}\n" for part in asked.content), asked
            sampled = await peer.call("trigger-sampling-request", {"prompt": f"of {peer.label}"})
            assert f"{peer.label} samples" in sampled and f"of {peer.label}" in sampled, sampled

        await together(*(ask(peer) for peer in peers))
        for peer in peers:
            methods = sorted(question["method"] for question in peer.wire.questions if question["method"] != "roots/list")
            assert methods == ["elicitation/create", "sampling/createMessage"], (peer.label, methods)


for server in ("legacy-py-serialize", "legacy-py-client", "legacy-ts-serialize"):

    @scenario(f"questions/{server}")
    async def _(scene: Scene, server: str = server) -> None:
        peers = await scene.open_all(server, labels(4), interactive=True)

        async def ask(peer: Peer) -> None:
            for n in range(3):
                mine = f"{peer.label}-q{n}"
                asked, sampled, rooted = await together(
                    peer.call("ask", {"question": mine}), peer.call("sample", {"prompt": mine}), peer.call("roots")
                )
                assert f"{peer.label} answers {mine}" in asked, asked
                assert f"{peer.label} samples {mine}" in sampled, sampled
                assert f"/roots/{peer.label}" in rooted, rooted

        await together(*(ask(peer) for peer in peers))
        for peer in peers:
            said = [json.dumps(question) for question in peer.wire.questions if question["method"] != "roots/list"]
            assert all(f'"{peer.label}-q' in question for question in said), f"{peer.label} was asked a stranger's question"


@scenario("cancel/only one's own")
async def _(scene: Scene) -> None:
    for server in ("legacy-ts", "legacy-py-serialize"):
        a, b = await scene.open_all(server, [f"{server}-a", f"{server}-b"])
        tag, kept = f"{server}-a-{time.monotonic_ns()}", f"{server}-b-{time.monotonic_ns()}"

        async def lose(a: Peer = a, tag: str = tag) -> None:
            try:
                await a.call("slow", {"tag": tag, "ms": 10_000, "steps": 200}, progress=True)
            except (McpError, RuntimeError):
                pass

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lose)
            await a.wire.until(lambda a=a: len(a.wire.progress) > 0, "progress")
            request_id = a.wire.sent_ids[-1]
            await a.session.send_notification(
                types.ClientNotification(types.CancelledNotification(params=types.CancelledNotificationParams(requestId=request_id, reason="enough")))
            )
            assert await b.call("slow", {"tag": kept, "ms": 500, "steps": 5}, progress=True) == f"done {kept}"

            async def noticed(b: Peer = b, a: Peer = a, tag: str = tag) -> bool:
                return tag in (await (a if DIRECT else b).json("stats"))["cancelled"]

            await eventually(noticed, "the server sees the cancel")
            tasks.cancel_scope.cancel()
        assert kept not in (await b.json("stats"))["cancelled"]


@scenario("memory and filesystem")
async def _(scene: Scene) -> None:
    a, b = await scene.open_all("memory", ["a", "b"])
    await a.call("create_entities", {"entities": [{"name": "py", "entityType": "client", "observations": ["one"]}]})
    assert any(entity["name"] == "py" for entity in (await b.json("read_graph"))["entities"])
    await b.call("delete_entities", {"entityNames": ["py"]})
    c = await scene.open("filesystem", "c")
    path = str(TMP / "files" / "py.txt")
    await c.call("write_file", {"path": path, "content": "written\n"})
    assert await c.call("read_text_file", {"path": path}) == "written\n"


# The SDK's WebSocket client takes no frame over 1 MiB.
@scenario("large/5 MB results, 4 clients", on=("stdio", "http", "sse"))
async def _(scene: Scene) -> None:
    peers = await scene.open_all("legacy-py-serialize", labels(4))

    async def fetch(peer: Peer) -> None:
        big, small = await together(peer.call("big", {"size": 5_000_000, "seed": peer.label}), peer.call("echo", {"text": peer.label}))
        assert small == peer.label
        assert hashlib.sha256(big.encode()).digest() == hashlib.sha256(bulk(5_000_000, peer.label).encode()).digest(), peer.label

    await together(*(fetch(peer) for peer in peers))


@scenario("crowd/20 clients, colliding ids and tokens")
async def _(scene: Scene) -> None:
    peers = await scene.open_all("legacy-ts", labels(20, "crowd"))

    async def one(peer: Peer, n: int) -> None:
        mine = f"{peer.label}/{n}"
        echo, slow, prompt, item = await together(
            peer.call("echo", {"text": mine}),
            peer.call("slow", {"tag": mine, "ms": 60 + 20 * n, "steps": 3}, progress=True),
            peer.session.get_prompt("greet", {"who": mine}),
            peer.session.read_resource(AnyUrl(f"test://item/{mine}")),
        )
        assert (echo, slow) == (mine, f"done {mine}")
        assert prompt.messages[0].content.text == f"Hello {mine}"
        assert item.contents[0].text == f"content of test://item/{mine}"
        assert [step["message"] for step in peer.wire.progress if step["of"]["tag"] == mine] == [mine] * 3

    await together(*(one(peer, n) for peer in peers for n in range(6)))
    for peer in peers:
        assert peer.wire.sent_ids == list(range(len(peer.wire.sent_ids))), "every client counts from 0, so ids collide"


@scenario("dual-era server serves a 2025 client")
async def _(scene: Scene) -> None:
    a = await scene.open("dual-ts", "a")
    assert a.info.serverInfo.name == "interop-modern-ts"
    assert await a.call("echo", {"text": "hi"}) == "hi"


# --- servers that refuse `initialize` --------------------------------------------

for server in ("modern-py", "modern-ts"):

    @scenario(f"old on {server}/handshake, calls, progress", mux=True)
    async def _(scene: Scene, server: str = server) -> None:
        a = await scene.open(server, "a")
        assert (a.info.serverInfo.name, a.info.protocolVersion) == (f"interop-{server}", types.LATEST_PROTOCOL_VERSION)
        assert any(tool.name == "ask_all" for tool in (await a.session.list_tools()).tools)
        assert await a.call("echo", {"text": "grüße \u2028 \u0000"}) == "grüße \u2028 \u0000"
        assert (await a.session.get_prompt("greet", {"who": "you"})).messages[0].content.text == "Hello you"
        assert (await a.session.read_resource(AnyUrl("test://item/5"))).contents[0].text == "content of test://item/5"
        await a.session.send_ping()
        await refused(a.session.get_prompt("no-such-prompt"))
        assert await a.call("slow", {"tag": "x", "ms": 60, "steps": 3}, progress=True) == "done x"
        assert [step["message"] for step in a.wire.progress] == ["x"] * 3

    @scenario(f"old on {server}/questions", mux=True)
    async def _(scene: Scene, server: str = server) -> None:
        peers = await scene.open_all(server, labels(4), interactive=True)

        async def ask(peer: Peer) -> None:
            for n in range(2):
                mine = f"{peer.label}-q{n}"
                asked, everything = await together(peer.call("ask", {"question": mine}), peer.call("ask_all", {"question": mine}))
                assert json.loads(asked)["content"] == {"answer": f"{peer.label} answers {mine}"}, asked
                assert json.loads(everything) == {
                    "answer": f"{peer.label} answers {mine}", "sample": f"{peer.label} samples {mine}", "roots": [f"file:///roots/{peer.label}"]
                }

        await together(*(ask(peer) for peer in peers))
        for peer in peers:
            said = [json.dumps(question) for question in peer.wire.questions if question["method"] != "roots/list"]
            assert len(said) == 6 and all(f'"{peer.label}-q' in question for question in said), f"{peer.label} was asked a stranger's question"

    @scenario(f"old on {server}/cancel, subscription, list_changed", mux=True)
    async def _(scene: Scene, server: str = server) -> None:
        a, b = await scene.open_all(server, ["a", "b"])
        uri, tag = f"test://item/old-{OVER}", f"{server}-{time.monotonic_ns()}"

        async def lose() -> None:
            try:
                await a.call("slow", {"tag": tag, "ms": 10_000, "steps": 200}, progress=True)
            except (McpError, RuntimeError):
                pass

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lose)
            await a.wire.until(lambda: len(a.wire.progress) > 0, "progress")
            gone = types.CancelledNotificationParams(requestId=a.wire.sent_ids[-1], reason="enough")
            await a.session.send_notification(types.ClientNotification(types.CancelledNotification(params=gone)))

            async def noticed() -> bool:
                return tag in (await b.json("stats"))["cancelled"]

            await eventually(noticed, "the server sees the cancel")
            tasks.cancel_scope.cancel()
        await a.session.subscribe_resource(AnyUrl(uri))
        await b.call("touch", {"uri": uri})
        await b.call("grow")
        await a.wire.until(lambda: len(a.wire.got("notifications/resources/updated")) == 1, "resources/updated")
        await a.wire.until(lambda: len(a.wire.got("notifications/tools/list_changed")) == 1, "tools/list_changed")
        await settle([b])
        assert b.wire.got("notifications/resources/updated") == []


main("python-legacy", SERVERS, run_client)
