"""Driver: clients of the Python SDK 1.x on seven servers behind one endpoint."""

from __future__ import annotations

from typing import Any

import mcp.types as types
from mcp.shared.exceptions import McpError
from pydantic import AnyUrl

from harness import MERGED, OVER, TMP, Scene, eventually, main, scenario, together
from peer_legacy import Peer, run_client
from seven import DEMO, EVERYTHING, FILES, IS_SHARED, MEMORY, MODERN, OPTIONS, PYTHON, SERVERS, STEERED, leave_in_a_call, of, report_progress


async def refused(job: Any) -> int:
    try:
        await job
    except McpError as error:
        return error.error.code
    raise AssertionError("it was not refused")


def updates(peer: Peer, uri: str) -> int:
    return sum(1 for note in peer.wire.got("notifications/resources/updated") if note["params"]["uri"] == uri)


@scenario("lists and calls")
async def _(scene: Scene) -> None:
    a = await scene.open(MERGED, "a")
    assert a.info.serverInfo.name == "muxloop", a.info
    assert f"## {EVERYTHING}\n" in (a.info.instructions or "")
    tools = [tool.name for tool in (await a.session.list_tools()).tools]
    for server, name in zip(SERVERS, ["echo", "read_graph", "read_text_file", "sample", "add", "touch", "ask_all"], strict=True):
        assert of(server, name) in tools, (server, tools)
    assert {of(PYTHON, "greet"), of(MODERN, "greet")} <= {prompt.name for prompt in (await a.session.list_prompts()).prompts}
    resources = [str(resource.uri) for resource in (await a.session.list_resources()).resources]
    assert "test://note" in resources and f"mux+{MODERN}:test://item/1" in resources, resources
    templates = [template.uriTemplate for template in (await a.session.list_resource_templates()).resourceTemplates]
    assert "demo://resource/dynamic/text/{resourceId}" in templates, templates
    assert await a.call(of(EVERYTHING, "echo"), {"message": 'grüße \u2028 "x"'}) == 'Echo: grüße \u2028 "x"'
    structured = await a.session.call_tool(of(EVERYTHING, "get-structured-content"), {"location": "Chicago"})
    assert isinstance(structured.structuredContent["temperature"], int | float)
    assert await a.call(of(FILES, "read_text_file"), {"path": str(TMP / "files" / "hello.txt")}) == "hello from a file\n"
    assert "entities" in await a.call(of(MEMORY, "read_graph"))
    for server in (PYTHON, STEERED, MODERN):
        assert await a.call(of(server, "echo"), {"text": server}) == server
    assert await a.call(of(DEMO, "add"), {"a": 2, "b": 3}) == "5"
    assert await refused(a.session.call_tool("echo", {"text": "x"})) == -32602


@scenario("prompts, completion, resources")
async def _(scene: Scene) -> None:
    a = await scene.open(MERGED, "a")
    for server in (PYTHON, STEERED, MODERN):
        prompt = await a.session.get_prompt(of(server, "greet"), {"who": server})
        assert f"Hello {server}" in prompt.messages[0].content.text  # type: ignore[union-attr]
    ref = types.PromptReference(type="ref/prompt", name=of(EVERYTHING, "completable-prompt"))
    done = await a.session.complete(ref, {"name": "name", "value": "D"}, {"department": "Sales"})
    assert done.completion.values == ["David"]
    template = types.ResourceTemplateReference(type="ref/resource", uri="demo://resource/dynamic/text/{resourceId}")
    assert (await a.session.complete(template, {"name": "resourceId", "value": "12"})).completion.values == ["12"]
    for uri, text in [
        ("demo://resource/dynamic/text/7", "Resource 7:"),
        ("test://note", "a note"),
        ("test://item/1", "content of test://item/1"),
        (f"mux+{MODERN}:test://item/1", "content of test://item/1"),
    ]:
        content = (await a.session.read_resource(AnyUrl(uri))).contents[0]
        assert str(content.uri) == uri and content.text.startswith(text), content  # type: ignore[union-attr]
    assert await refused(a.session.read_resource(AnyUrl("nowhere://at/all"))) in (-32602, -32002)


@scenario("subscriptions, log level, list_changed")
async def _(scene: Scene) -> None:
    a, b = await scene.open_all(MERGED, ["a", "b"])
    actor = b if IS_SHARED else a
    uri = f"test://item/py-{OVER}"
    await a.session.subscribe_resource(AnyUrl(uri))
    await actor.call(of(STEERED, "touch"), {"uri": uri})
    await a.wire.until(lambda: updates(a, uri) == 1, "resources/updated")
    assert b is a or not b.wire.got("notifications/resources/updated")
    await a.session.unsubscribe_resource(AnyUrl(uri))
    await a.session.set_logging_level("warning")
    await a.call(of(STEERED, "log"), {"level": "info", "text": "too low"})
    await a.call(of(STEERED, "log"), {"level": "error", "text": "heard"})
    await a.wire.until(lambda: bool(a.wire.got("notifications/message")), "a log line")
    assert [line["params"]["data"] for line in a.wire.got("notifications/message")] == ["heard"]
    for server in (STEERED, MODERN):
        await a.session.list_tools()
        told = len(a.wire.got("notifications/tools/list_changed"))
        grown = of(server, await actor.call(of(server, "grow")))
        await a.wire.until(lambda told=told: len(a.wire.got("notifications/tools/list_changed")) > told, "tools/list_changed")

        async def is_listed(grown: str = grown) -> bool:
            return grown in [tool.name for tool in (await a.session.list_tools()).tools]

        await eventually(is_listed, "the new tool")


@scenario("questions of each server")
async def _(scene: Scene) -> None:
    peers = await scene.open_all(MERGED, ["ann", "ben"], interactive=True)

    async def one(peer: Peer) -> None:
        mine = f"of {peer.label}"
        sampled = await peer.call(of(EVERYTHING, "trigger-sampling-request"), {"prompt": mine, "maxTokens": 10})
        assert f"{peer.label} samples" in sampled and mine in sampled, sampled
        elicited = await peer.session.call_tool(of(EVERYTHING, "trigger-elicitation-request"), {})
        assert peer.label in str(elicited.content), elicited
        for server in (PYTHON, STEERED, MODERN):
            asked = await peer.call(of(server, "ask"), {"question": mine})
            assert f"{peer.label} answers [{server}] {mine}" in asked, asked
        for server in (PYTHON, STEERED):
            assert f"{peer.label} samples {mine}" in await peer.call(of(server, "sample"), {"prompt": mine})
            assert f"/roots/{peer.label}" in await peer.call(of(server, "roots"))

    await together(*(one(peer) for peer in peers))


@scenario("progress")
async def _(scene: Scene) -> None:
    a = await scene.open(MERGED, "a")
    await report_progress(a)


@scenario("a client that leaves takes its call with it", on=("http", "sse", "ws"))
async def _(scene: Scene) -> None:
    await leave_in_a_call(scene)


main("gateway-python1", SERVERS, run_client, gateway=OPTIONS)
