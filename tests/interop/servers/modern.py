"""A 2026-07-28 server on the Python SDK 2.x (MCPServer), with the same tools as `modern.mjs` where both have them."""

import json
import os

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    Completion,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
)

server = MCPServer("interop-modern-py", version="1.0.0")
cancelled: list[str] = []


def elicitation(message: str) -> ElicitRequest:
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


@server.tool()
async def echo(text: str) -> str:
    return text


@server.tool()
async def big(bytes: int, seed: str) -> str:
    line = f'{seed} "quoted" \\ back\u00e9\n'
    return (line * (bytes // len(line) + 1))[:bytes]


@server.tool()
async def slow(tag: str, ms: int, steps: int, ctx: Context) -> str:
    try:
        for step in range(1, steps + 1):
            await anyio.sleep(ms / steps / 1000)
            await ctx.report_progress(step, steps, tag)
    except anyio.get_cancelled_exc_class():
        cancelled.append(tag)
        raise
    return f"done {tag}"


@server.tool()
async def log(level: str, text: str, ctx: Context) -> str:
    await ctx.log(level, text, logger_name="interop")  # type: ignore[arg-type]
    return "logged"


@server.tool()
async def ask(question: str, ctx: Context) -> str | InputRequiredResult:
    answer = (ctx.input_responses or {}).get("q")
    if answer is None:
        return InputRequiredResult(input_requests={"q": elicitation(question)}, request_state=f"state of {question}")
    return json.dumps({"action": answer.action, "content": answer.content, "state": ctx.request_state})


@server.tool()
async def ask_all(question: str, ctx: Context) -> str | InputRequiredResult:
    answers = ctx.input_responses or {}
    if not {"e", "s", "r"} <= answers.keys():
        messages = [SamplingMessage(role="user", content=TextContent(text=question))]
        return InputRequiredResult(
            input_requests={
                "e": elicitation(question),
                "s": CreateMessageRequest(params=CreateMessageRequestParams(messages=messages, max_tokens=16)),
                "r": ListRootsRequest(),
            }
        )
    return json.dumps(
        {
            "answer": answers["e"].content["answer"],
            "sample": answers["s"].content.text,
            "roots": [str(root.uri) for root in answers["r"].roots],
        }
    )


@server.tool()
async def touch(uri: str, ctx: Context) -> str:
    await ctx.notify_resource_updated(uri)
    return "touched"


@server.tool()
async def grow(ctx: Context) -> str:
    await ctx.notify_tools_changed()
    return "grown"


@server.tool()
async def stats() -> str:
    return json.dumps({"pid": os.getpid(), "cancelled": cancelled})


@server.resource("test://item/{id}")
def item(id: str) -> str:
    return f"content of test://item/{id}"


@server.prompt()
def greet(who: str) -> str:
    return f"Hello {who}"


@server.completion()
async def complete(ref, argument, context) -> Completion:
    return Completion(values=[f"{argument.value}-one", f"{argument.value}-two"])


if __name__ == "__main__":
    server.run("stdio")
