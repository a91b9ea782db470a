"""Driver: clients of the Python SDK 2.x, pinned to 2026-07-28, on servers of both SDKs and of both eras; and in `auto` mode on an old server."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import anyio
import mcp_types as types
from mcp import MCPError

from harness import DIRECT, OVER, Scene, eventually, labels, main, scenario, together
from peer_modern import REVISION, Peer, run_client

META = "io.modelcontextprotocol/"
SERVERS = ["modern-ts", "modern-py", "dual-ts", "everything", "everything-serialize", "legacy-ts", "legacy-ts-serialize", "legacy-py-serialize"]


async def settle(peers: list[Peer]) -> None:
    """After this, whatever the server said before has reached every peer: an answer overtakes nothing."""
    await together(*(peer.call("echo", {"text": "settle"}) for peer in peers))


def bulk(size: int, seed: str) -> str:
    line = f'{seed} "quoted" \\ back\u00e9\n'
    return (line * (size // len(line) + 1))[:size]


for server in ("modern-ts", "modern-py", "dual-ts"):

    @scenario(f"{server}/discover, lists, calls")
    async def _(scene: Scene, server: str = server) -> None:
        a = await scene.open(server, "a")
        discovered = await a.client.session.send_discover(REVISION)
        assert discovered["supportedVersions"] == [REVISION], discovered
        assert discovered["capabilities"]["tools"] and discovered["capabilities"]["prompts"], discovered
        assert any(tool.name == "ask_all" for tool in (await a.client.list_tools()).tools)
        assert any(prompt.name == "greet" for prompt in (await a.client.list_prompts()).prompts)
        assert (await a.client.list_resource_templates()).resource_templates[0].uri_template == "test://item/{id}"
        assert await a.call("echo", {"text": "grüße \u2028 \u0000"}) == "grüße \u2028 \u0000"
        assert (await a.client.get_prompt("greet", {"who": "you"})).messages[0].content.text == "Hello you"
        done = await a.client.complete(types.PromptReference(name="greet"), {"name": "who", "value": "z"})
        assert done.completion.values == ["z-one", "z-two"]
        assert (await a.client.read_resource("test://item/5")).contents[0].text == "content of test://item/5"
        try:
            await a.client.get_prompt("no-such-prompt")
        except MCPError as error:
            assert error.error.code < 0
        else:
            raise AssertionError("an unknown prompt was served")

    @scenario(f"{server}/progress and cancel")
    async def _(scene: Scene, server: str = server) -> None:
        a, b = await scene.open_all(server, ["a", "b"])
        tag, kept = f"py-a-{time.monotonic_ns()}", f"py-b-{time.monotonic_ns()}"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(a.call, "slow", {"tag": tag, "ms": 10_000, "steps": 200}, True)
            await a.wire.until(lambda: any(step["of"]["tag"] == tag for step in a.wire.progress), "progress")
            tasks.cancel_scope.cancel()
        assert await b.call("slow", {"tag": kept, "ms": 300, "steps": 3}, progress=True) == f"done {kept}"
        assert [step["message"] for step in b.wire.progress] == [kept] * 3

        async def noticed() -> bool:
            return tag in (await a.json("stats"))["cancelled"]

        await eventually(noticed, "the server sees the cancel")
        assert kept not in (await b.json("stats"))["cancelled"]

    @scenario(f"{server}/input_required")
    async def _(scene: Scene, server: str = server) -> None:
        peers = await scene.open_all(server, labels(3), interactive=True)

        async def ask(peer: Peer) -> None:
            for n in range(2):
                mine = f"{peer.label}-q{n}"
                asked, everything = await together(peer.json("ask", {"question": mine}), peer.json("ask_all", {"question": f"{mine}-all"}))
                assert asked == {"action": "accept", "content": {"answer": f"{peer.label} answers {mine}"}, "state": f"state of {mine}"}
                assert everything == {
                    "answer": f"{peer.label} answers {mine}-all",
                    "sample": f"{peer.label} samples {mine}-all",
                    "roots": [f"file:///roots/{peer.label}"],
                }

        await together(*(ask(peer) for peer in peers))
        for peer in peers:
            assert all(question.startswith(f"{peer.label}-q") for question in peer.asked), peer.asked
            assert peer.wire.questions == [], "no request of a server in this revision"

    @scenario(f"{server}/listen")
    async def _(scene: Scene, server: str = server) -> None:
        a, b = await scene.open_all(server, ["a", "b"])
        one, two = "test://item/py-one", "test://item/py-two"

        def streams(peer: Peer, uri: str) -> list[Any]:
            found = peer.wire.got("notifications/resources/updated")
            return [message["params"]["_meta"][f"{META}subscriptionId"] for message in found if message["params"]["uri"] == uri]

        async with a.client.listen(resource_subscriptions=[one], tools_list_changed=True) as mine:
            assert list(mine.honored.resource_subscriptions or []) == [one]
            async with b.client.listen(resource_subscriptions=[two]):
                for uri in (one, two):
                    for peer in [a, b] if DIRECT else [a]:
                        await peer.call("touch", {"uri": uri})
                await a.wire.until(lambda: len(streams(a, one)) == 1, "update of one")
                await b.wire.until(lambda: len(streams(b, two)) == 1, "update of two")
                await a.call("grow")
                await a.wire.until(lambda: len(a.wire.got("notifications/tools/list_changed")) == 1, "tools/list_changed")
                await settle([a, b])
                assert (streams(a, two), streams(b, one), b.wire.got("notifications/tools/list_changed")) == ([], [], [])
                assert streams(a, one) == [mine.subscription_id]
        await settle([a, b])
        await a.call("touch", {"uri": one})
        await settle([a, b])
        assert len(streams(a, one)) == 1, "the subscription had ended"

    @scenario(f"{server}/5 MB results", on=("stdio", "http") if server == "modern-ts" else ("stdio",))
    async def _(scene: Scene, server: str = server) -> None:
        peers = await scene.open_all(server, labels(2))

        async def fetch(peer: Peer) -> None:
            big = await peer.call("big", {"bytes": 5_000_000, "seed": peer.label})
            assert hashlib.sha256(big.encode()).digest() == hashlib.sha256(bulk(5_000_000, peer.label).encode()).digest(), peer.label

        await together(*(fetch(peer) for peer in peers))


@scenario("modern-ts/log lines only where asked for")
async def _(scene: Scene) -> None:
    a, b = await scene.open_all("modern-ts", ["a", "b"])
    assert await a.call("log", {"level": "warning", "text": "heard"}, meta={f"{META}logLevel": "info"}) == "asked for info"
    assert await b.call("log", {"level": "emergency", "text": "not asked"}) == "asked for none"
    await settle([a, b])
    heard = [[message["params"]["data"] for message in peer.wire.got("notifications/message")] for peer in (a, b)]
    assert heard == [["heard"], []], heard


@scenario("modern-py/20 clients, colliding ids and tokens")
async def _(scene: Scene) -> None:
    peers = await scene.open_all("modern-py", labels(20, "crowd"), interactive=True)

    async def one(peer: Peer, n: int) -> None:
        mine = f"{peer.label}/{n}"
        echo, slow, asked = await together(
            peer.call("echo", {"text": mine}),
            peer.call("slow", {"tag": mine, "ms": 60 + 20 * n, "steps": 3}, progress=True),
            peer.json("ask", {"question": mine}),
        )
        assert (echo, slow) == (mine, f"done {mine}")
        assert asked == {"action": "accept", "content": {"answer": f"{peer.label} answers {mine}"}, "state": f"state of {mine}"}
        assert [step["message"] for step in peer.wire.progress if step["of"]["tag"] == mine] == [mine] * 3

    await together(*(one(peer, n) for peer in peers for n in range(4)))
    for peer in peers:
        assert all(question.startswith(f"{peer.label}/") for question in peer.asked), peer.label
    assert all(peer.wire.sent_ids[0] == peers[0].wire.sent_ids[0] for peer in peers), "the clients use the same ids"


@scenario("modern-ts/one child", mux=True)
async def _(scene: Scene) -> None:
    peers = await scene.open_all("modern-ts", labels(4))
    assert len({stats["pid"] for stats in await together(*(peer.json("stats") for peer in peers))}) == 1


@scenario("modern-ts/a client that tries both revisions gets the new one")
async def _(scene: Scene) -> None:
    a = await scene.open("modern-ts", "a", mode="auto")
    assert (a.client.protocol_version, a.client.server_info.name) == (REVISION, "interop-modern-ts")
    assert await a.call("echo", {"text": "hi"}) == "hi"


@scenario("everything/a client that tries both revisions gets the new one of muxloop")
async def _(scene: Scene) -> None:
    a = await scene.open("everything", "a", mode="auto")
    assert a.client.server_info and a.client.server_info.name == "mcp-servers/everything"
    assert (a.client.protocol_version == REVISION) != DIRECT, a.client.protocol_version
    assert await a.call("echo", {"message": "hi"}) == "Echo: hi"


@scenario("everything/a client of the old revision")
async def _(scene: Scene) -> None:
    a = await scene.open("everything", "a", mode="legacy")
    assert await a.call("echo", {"message": "hi"}) == "Echo: hi"


# --- servers that know nothing but `initialize` ---------------------------------

for server in ("legacy-py-serialize", "legacy-ts-serialize"):

    @scenario(f"new on {server}/discover, calls, progress and cancel", mux=True)
    async def _(scene: Scene, server: str = server) -> None:
        a, b = await scene.open_all(server, ["a", "b"])
        discovered = await a.client.session.send_discover(REVISION)
        assert (discovered["supportedVersions"], discovered["resultType"]) == ([REVISION], "complete"), discovered
        assert discovered["_meta"][f"{META}serverInfo"]["name"] == server.replace("-serialize", "").replace("legacy", "interop-legacy")
        assert any(tool.name == "sample" for tool in (await a.client.list_tools()).tools)
        assert await a.call("echo", {"text": "grüße \u2028 \u0000"}) == "grüße \u2028 \u0000"
        assert (await a.client.get_prompt("greet", {"who": "you"})).messages[0].content.text == "Hello you"
        uri = "test://note" if "py" in server else "test://item/5"
        assert (await a.client.read_resource(uri)).contents[0].text in ("a note", f"content of {uri}")
        lost, kept = f"py-a-{time.monotonic_ns()}", f"py-b-{time.monotonic_ns()}"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(a.call, "slow", {"tag": lost, "ms": 10_000, "steps": 200}, True)
            await a.wire.until(lambda: any(step["of"]["tag"] == lost for step in a.wire.progress), "progress")
            tasks.cancel_scope.cancel()
        assert await b.call("slow", {"tag": kept, "ms": 300, "steps": 3}, progress=True) == f"done {kept}"
        assert [step["message"] for step in b.wire.progress] == [kept] * 3

        async def noticed() -> bool:
            return lost in (await a.json("stats"))["cancelled"]

        await eventually(noticed, "the server sees the cancel")

    @scenario(f"new on {server}/questions", mux=True)
    async def _(scene: Scene, server: str = server) -> None:
        peers = await scene.open_all(server, labels(4), interactive=True)

        async def ask(peer: Peer) -> None:
            for n in range(2):
                mine = f"{peer.label}-q{n}"
                asked, sampled, rooted = await together(
                    peer.call("ask", {"question": mine}), peer.call("sample", {"prompt": mine}), peer.call("roots")
                )
                assert f"{peer.label} answers {mine}" in asked, asked
                assert f"{peer.label} samples {mine}" in sampled, sampled
                assert f"/roots/{peer.label}" in rooted, rooted

        await together(*(ask(peer) for peer in peers))
        for peer in peers:
            assert len(peer.asked) == 4 and all(question.startswith(f"{peer.label}-q") for question in peer.asked), peer.asked
            assert peer.wire.questions == [], "no request of a server in this revision"


@scenario("new on everything-serialize/questions", mux=True)
async def _(scene: Scene) -> None:
    peers = await scene.open_all("everything-serialize", labels(3), interactive=True)

    async def ask(peer: Peer) -> None:
        asked = await peer.client.call_tool("trigger-elicitation-request", {})
        assert f"- Name: {peer.label}\n" in "".join(f"{part.text}\n" for part in asked.content), asked
        sampled = await peer.call("trigger-sampling-request", {"prompt": f"of {peer.label}"})
        assert f"{peer.label} samples" in sampled and f"of {peer.label}" in sampled, sampled

    await together(*(ask(peer) for peer in peers))
    assert [len(peer.asked) for peer in peers] == [2, 2, 2]


@scenario("new on legacy-ts/listen and log lines", mux=True)
async def _(scene: Scene) -> None:
    a, b = await scene.open_all("legacy-ts", ["a", "b"])
    uri = f"test://item/py-{OVER}"

    def updates(peer: Peer) -> list[Any]:
        return [message["params"]["_meta"][f"{META}subscriptionId"] for message in peer.wire.got("notifications/resources/updated")]

    async with a.client.listen(resource_subscriptions=[uri], tools_list_changed=True) as mine:
        assert list(mine.honored.resource_subscriptions or []) == [uri]
        assert await b.call("touch", {"uri": uri}) == "updated"
        await b.call("grow")
        await a.wire.until(lambda: updates(a) == [mine.subscription_id], "resources/updated")
        await a.wire.until(lambda: len(a.wire.got("notifications/tools/list_changed")) == 1, "tools/list_changed")
    await a.call("log", {"level": "warning", "text": "heard"}, meta={f"{META}logLevel": "info"})
    await b.call("log", {"level": "emergency", "text": "not asked"})
    await settle([a, b])
    heard = [[message["params"]["data"] for message in peer.wire.got("notifications/message")] for peer in (a, b)]
    assert heard == [["heard"], []], heard
    assert (updates(b), b.wire.got("notifications/tools/list_changed")) == ([], [])


main("python-modern", SERVERS, run_client)
