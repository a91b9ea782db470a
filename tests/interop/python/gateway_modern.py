"""Driver: clients of the Python SDK 2.x at 2026-07-28 on seven servers behind one endpoint."""

from __future__ import annotations

from typing import Any

from mcp import MCPError

from harness import MERGED, TMP, Scene, main, scenario, together
from peer_modern import REVISION, Peer, run_client
from seven import DEMO, EVERYTHING, FILES, MEMORY, MODERN, OPTIONS, PYTHON, SERVERS, STEERED, leave_in_a_call, of, report_progress

META = "io.modelcontextprotocol/"


async def refused(job: Any) -> int:
    try:
        await job
    except MCPError as error:
        return error.code
    raise AssertionError("it was not refused")


@scenario("discover, lists and calls")
async def _(scene: Scene) -> None:
    a = await scene.open(MERGED, "a")
    discovered = await a.client.session.send_discover(REVISION)
    assert discovered["supportedVersions"] == [REVISION], discovered
    for name in ("tools", "prompts", "resources", "completions", "logging"):
        assert name in discovered["capabilities"], discovered
    assert f"## {EVERYTHING}\n" in discovered["instructions"]
    tools = [tool.name for tool in (await a.client.list_tools()).tools]
    for server, name in zip(SERVERS, ["echo", "read_graph", "read_text_file", "sample", "add", "touch", "ask_all"], strict=True):
        assert of(server, name) in tools, (server, tools)
    assert {of(PYTHON, "greet"), of(MODERN, "greet")} <= {prompt.name for prompt in (await a.client.list_prompts()).prompts}
    resources = [str(resource.uri) for resource in (await a.client.list_resources()).resources]
    assert "test://note" in resources and f"mux+{MODERN}:test://item/1" in resources, resources
    assert await a.call(of(EVERYTHING, "echo"), {"message": 'grüße \u2028 "x"'}) == 'Echo: grüße \u2028 "x"'
    assert await a.call(of(FILES, "read_text_file"), {"path": str(TMP / "files" / "hello.txt")}) == "hello from a file\n"
    assert "entities" in await a.call(of(MEMORY, "read_graph"))
    for server in (PYTHON, STEERED, MODERN):
        assert await a.call(of(server, "echo"), {"text": server}) == server
    assert await a.call(of(DEMO, "add"), {"a": 2, "b": 3}) == "5"
    assert await refused(a.client.call_tool("echo", {"text": "x"})) == -32602


@scenario("prompts and resources")
async def _(scene: Scene) -> None:
    a = await scene.open(MERGED, "a")
    for server in (PYTHON, STEERED, MODERN):
        prompt = await a.client.get_prompt(of(server, "greet"), {"who": server})
        assert f"Hello {server}" in prompt.messages[0].content.text  # type: ignore[union-attr]
    for uri, text in [
        ("demo://resource/dynamic/text/7", "Resource 7:"),
        ("test://note", "a note"),
        (f"mux+{MODERN}:test://item/1", "content of test://item/1"),
    ]:
        content = (await a.client.read_resource(uri)).contents[0]
        assert str(content.uri) == uri and content.text.startswith(text), content  # type: ignore[union-attr]
    assert await refused(a.client.read_resource("nowhere://at/all")) == -32602


@scenario("questions of each server")
async def _(scene: Scene) -> None:
    peers = await scene.open_all(MERGED, ["ann", "ben"], interactive=True)

    async def one(peer: Peer) -> None:
        mine = f"of {peer.label}"
        sampled = await peer.call(of(EVERYTHING, "trigger-sampling-request"), {"prompt": mine, "maxTokens": 10})
        assert f"{peer.label} samples" in sampled and mine in sampled, sampled
        for server in (PYTHON, STEERED, MODERN):
            asked = await peer.call(of(server, "ask"), {"question": mine})
            assert f"{peer.label} answers [{server}] {mine}" in asked, asked
        everything = await peer.json(of(MODERN, "ask_all"), {"question": mine})
        assert everything["roots"] == [f"file:///roots/{peer.label}"], everything

    await together(*(one(peer) for peer in peers))


@scenario("progress and log lines")
async def _(scene: Scene) -> None:
    a = await scene.open(MERGED, "a")
    await report_progress(a)
    for server in (STEERED, MODERN):
        level = {f"{META}logLevel": "warning"}
        await a.call(of(server, "log"), {"level": "error", "text": f"heard {server}"}, meta=level)
        await a.call(of(server, "log"), {"level": "info", "text": "too low"}, meta=level)
        await a.call(of(server, "echo"), {"text": "settle"})
    assert [line["params"]["data"] for line in a.wire.got("notifications/message")] == [f"heard {STEERED}", f"heard {MODERN}"]


@scenario("a client that leaves takes its call with it", on=("http", "socket"))
async def _(scene: Scene) -> None:
    await leave_in_a_call(scene)


main("gateway-python2", SERVERS, run_client, gateway=OPTIONS)
