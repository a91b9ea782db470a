"""A 2025-11-25 server on the Python SDK 1.x (FastMCP): progress, 5 MB answers and the three questions.

A question carries the caller's own words, so that a client can tell a stranger's question from its own.
"""

import hashlib
import json
import os

import anyio
from mcp.server.fastmcp import Context, FastMCP
from mcp.types import SamplingMessage, TextContent
from pydantic import BaseModel

server = FastMCP("interop-legacy-py")
cancelled: list[str] = []


class Answer(BaseModel):
    answer: str


@server.tool()
async def echo(text: str) -> str:
    return text


@server.tool()
async def big(size: int, seed: str) -> str:
    line = f'{seed} "quoted" \\ back\u00e9\n'
    return (line * (size // len(line) + 1))[:size]


@server.tool()
async def digest(text: str) -> str:
    return f"{len(text)} {hashlib.sha256(text.encode()).hexdigest()}"


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
async def ask(question: str, ctx: Context) -> str:
    result = await ctx.elicit(message=question, schema=Answer)
    return json.dumps({"action": result.action, "answer": getattr(getattr(result, "data", None), "answer", None)})


@server.tool()
async def sample(prompt: str, ctx: Context) -> str:
    result = await ctx.session.create_message(
        messages=[SamplingMessage(role="user", content=TextContent(type="text", text=prompt))],
        max_tokens=16,
        related_request_id=ctx.request_id,
    )
    return result.content.text  # type: ignore[union-attr]


@server.tool()
async def roots(ctx: Context) -> str:
    result = await ctx.session.list_roots()
    return json.dumps([str(root.uri) for root in result.roots])


@server.tool()
async def stats() -> str:
    return json.dumps({"pid": os.getpid(), "cancelled": cancelled})


@server.resource("test://note")
def note() -> str:
    return "a note"


@server.prompt()
def greet(who: str) -> str:
    return f"Hello {who}"


if __name__ == "__main__":
    server.run("stdio")
