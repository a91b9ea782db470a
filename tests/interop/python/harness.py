"""What both Python drivers need: options, scenarios with deadlines, the muxloop under test, watched streams.

The module knows neither SDK line; `legacy.py` and `modern.py` bring a function that opens a client.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio

HERE = Path(__file__).resolve().parent
DIRECT = "--direct" in sys.argv
ONLY = next((arg.removeprefix("--only=") for arg in sys.argv if arg.startswith("--only=")), "")
OVER = next((arg.removeprefix("--over=") for arg in sys.argv if arg.startswith("--over=")), "stdio")
"""How clients reach muxloop, as in `node/harness.mjs`."""
HAS_FRONT = OVER in ("http", "sse", "ws")
MERGED = "gateway"
"""Instead of a server's name: the endpoint of all of them."""
DEADLINE = int(os.environ.get("INTEROP_DEADLINE_MS", "20000")) / 1000
"""Every wait ends after this many seconds."""
GIVE_UP = 12
"""After so many failed scenarios a driver stops: the cause is one and waiting for each deadline is long."""
TMP = Path(tempfile.mkdtemp(prefix="muxi-")).resolve()
(TMP / "files").mkdir()
CONFIG = TMP / "mux.toml"
LOG = TMP / "muxloop.log"
# What muxloop keeps of servers' lists is of this run alone.
os.environ["XDG_CACHE_HOME"] = str(TMP / "cache")
(TMP / "files" / "hello.txt").write_text("hello from a file\n")

_PLACES = {
    "muxloop": os.environ["MUXLOOP_BIN"],
    "node": shutil.which("node") or "node",
    "prefix": os.environ["INTEROP_NODE_PREFIX"],
    "modules": os.path.join(os.environ["INTEROP_NODE_PREFIX"], "node_modules"),
    "programs": str(HERE.parent),
    "python1": os.environ["INTEROP_PYTHON1"],
    "python2": os.environ["INTEROP_PYTHON2"],
    "tmp": str(TMP),
}


def _fill(value: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: _PLACES.get(found[1], found[0]), value)


SERVERS: dict[str, dict[str, Any]] = {
    name: {
        "cmd": _fill(entry["cmd"]),
        "args": [_fill(arg) for arg in entry.get("args", [])],
        "env": {key: _fill(value) for key, value in entry.get("env", {}).items()},
        "mux": entry.get("mux", {}),
    }
    for name, entry in json.loads((HERE.parent / "servers.json").read_text()).items()
}


def socket_of(name: str) -> str:
    return str(TMP / f"{name}.sock")


def mux_toml(names: list[str], gateway: str) -> str:
    """A `mux.toml` for the named servers; JSON strings, numbers and arrays of them are TOML too.

    `gateway`: what the merged endpoint is, as TOML; empty for the usual.
    """
    blocks = []
    for name in names:
        server = SERVERS[name]
        keys = {"socket": socket_of(name), "cmd": server["cmd"], "args": server["args"], "lazy_start": True}
        lines = [f"{key} = {json.dumps(value)}" for key, value in {**keys, **server["mux"]}.items()]
        env = ", ".join(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in server["env"].items())
        blocks.append("\n".join([f"[servers.{json.dumps(name)}]", *lines, f"env = {{ {env} }}", ""]))
    front = ['http = "127.0.0.1:0"', "session = { max_sessions = 200 }"] if HAS_FRONT else []
    merged = [f"gateway = {gateway}"] if gateway else []
    return "\n".join([*front, *merged, *blocks])


_FRONT: list[str] = []


def url_of(name: str, kind: str = "mcp") -> str:
    """Where a server is reached over HTTP: `mcp` on Streamable HTTP, `sse` on HTTP+SSE, `ws` on WebSocket."""
    base = _FRONT[-1].replace("http:", "ws:") if kind == "ws" else _FRONT[-1]
    if name == MERGED:
        return f"{base}/{kind}"
    return f"{base}/sse/{name}" if kind == "sse" else f"{base}/servers/{name}/{kind}"


def launch(name: str) -> dict[str, Any]:
    """How a client starts `name`: the shim to muxloop, or with `--direct` the server itself."""
    if OVER == "serve":
        args = ["serve", "--stdio", "-c", str(CONFIG), "--log", str(LOG)]
        return {"command": os.environ["MUXLOOP_BIN"], "args": args, "env": dict(os.environ)}
    if not DIRECT:
        return {"command": os.environ["MUXLOOP_BIN"], "args": ["proxy", "--socket", socket_of(name)], "env": dict(os.environ)}
    server = SERVERS[name]
    return {"command": server["cmd"], "args": server["args"], "env": {**os.environ, **server["env"]}}


class Daemon:
    """One running `muxloop -c`, or `muxloop serve`. Nothing is started where each client starts its own."""

    def __init__(self, names: list[str], gateway: str = "") -> None:
        CONFIG.write_text(mux_toml(names, gateway))
        LOG.touch()
        self.process: subprocess.Popen[bytes] | None = None
        if OVER == "serve":
            return
        args = ["serve", "--socket", socket_of(MERGED), "-c", str(CONFIG)] if OVER == "socket" else ["-c", str(CONFIG)]
        with LOG.open("a") as log:
            self.process = subprocess.Popen([os.environ["MUXLOOP_BIN"], *args], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + DEADLINE
        for name in [MERGED] if OVER == "socket" else names:
            while not self._listening(socket_of(name)):
                if self.ended() is not None:
                    raise RuntimeError(f"muxloop ended with {self.ended()}:\n{self.tail()}")
                if time.monotonic() > end:
                    raise RuntimeError(f"nobody listens on {socket_of(name)}:\n{self.tail()}")
                time.sleep(0.02)
        while HAS_FRONT and not (found := re.search(r"http: listening on (http:\S+)", LOG.read_text())):
            if time.monotonic() > end:
                raise RuntimeError(f"nobody listens for HTTP:\n{self.tail()}")
            time.sleep(0.02)
        if HAS_FRONT:
            _FRONT.append(found[1])

    def ended(self) -> int | None:
        """Its exit code, once it has one."""
        return self.process.poll() if self.process else None

    @staticmethod
    def _listening(path: str) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except OSError:
                return False
        return True

    def tail(self, lines: int = 20) -> str:
        return "\n".join(f"    | {line}" for line in LOG.read_text().splitlines()[-lines:])

    def stop(self) -> None:
        if not self.process:
            return
        self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise RuntimeError("muxloop did not end after SIGTERM") from None


class Wire:
    """What one client got, in order, and what of it was not meant for it."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.notifications: list[dict[str, Any]] = []
        self.questions: list[dict[str, Any]] = []
        self.progress: list[dict[str, Any]] = []
        """Progress that came in, `of` being the arguments of the call whose token it bears."""
        self.violations: list[str] = []
        self.sent_ids: list[Any] = []
        self._open: dict[Any, dict[str, Any]] = {}
        self._changed = anyio.Event()

    def sent(self, message: dict[str, Any]) -> None:
        if "method" in message and "id" in message:
            self.sent_ids.append(message["id"])
            self._open[message["id"]] = message.get("params") or {}

    def received(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            if self._open.pop(message.get("id"), None) is None:
                self.violations.append(f"answer to {message.get('id')!r}, which was not asked")
        elif "id" in message:
            self.questions.append(message)
        else:
            if message["method"] == "notifications/progress":
                self._progress(message["params"])
            self.notifications.append(message)
        self._changed.set()
        self._changed = anyio.Event()

    def _progress(self, params: dict[str, Any]) -> None:
        token = params["progressToken"]
        owner = next((open_ for open_ in self._open.values() if (open_.get("_meta") or {}).get("progressToken") == token), None)
        if owner is None:
            self.violations.append(f"progress of the unknown token {token!r}")
        else:
            self.progress.append({**params, "of": owner.get("arguments")})

    def got(self, method: str) -> list[dict[str, Any]]:
        return [message for message in self.notifications if message["method"] == method]

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits until `condition()` holds; looks again after every message."""
        with anyio.move_on_after(DEADLINE) as scope:
            while not condition():
                await self._changed.wait()
        if scope.cancelled_caught and not condition():
            raise TimeoutError(f"{self.label}: no {what} within {DEADLINE} s")


class _Watched:
    """A message stream of an SDK with a look at each message that passes. `message.message` is the JSON-RPC model."""

    def __init__(self, stream: Any, note: Callable[[dict[str, Any]], None]) -> None:
        self._stream = stream
        self._note = note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _look(self, item: Any) -> Any:
        if hasattr(item, "message"):
            self._note(item.message.model_dump(by_alias=True, mode="json", exclude_unset=True))
        return item

    async def send(self, item: Any) -> None:
        self._look(item)
        await self._stream.send(item)

    async def receive(self) -> Any:
        return self._look(await self._stream.receive())

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        return self._look(await self._stream.__anext__())

    async def __aenter__(self) -> Any:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        return await self._stream.__aexit__(*error)


def watch(streams: tuple[Any, Any], wire: Wire) -> tuple[Any, Any]:
    read, write = streams
    return _Watched(read, wire.received), _Watched(write, wire.sent)


Opener = Callable[..., Awaitable[Any]]


class Scene:
    """The clients of one scenario; each lives in a task of its own, as the SDKs' scopes demand."""

    def __init__(self, tasks: Any, run_client: Opener) -> None:
        self._tasks = tasks
        self._run_client = run_client
        self.peers: list[Any] = []
        self.over = False

    async def open(self, server: str, label: str = "client", **settings: Any) -> Any:
        with anyio.move_on_after(DEADLINE) as scope:
            peer = await self._tasks.start(self._one, server, label, settings)
            self.peers.append(peer)
        if scope.cancelled_caught:
            raise TimeoutError(f"{label} did not connect to {server} within {DEADLINE} s")
        return peer

    async def open_all(self, server: str, labels: list[str], **settings: Any) -> list[Any]:
        peers: dict[str, Any] = {}

        async def one(label: str) -> None:
            peers[label] = await self.open(server, label, **settings)

        async with anyio.create_task_group() as tasks:
            for label in labels:
                tasks.start_soon(one, label)
        return [peers[label] for label in labels]

    async def _one(self, server: str, label: str, settings: dict[str, Any], *, task_status: Any) -> None:
        try:
            await self._run_client(server, label, Wire(label), task_status.started, **settings)
        except* (anyio.BrokenResourceError, anyio.ClosedResourceError):
            # A question that arrives while a client leaves cannot be answered any more.
            if not self.over:
                raise


_scenarios: list[tuple[str, Callable[[Scene], Awaitable[None]]]] = []


def scenario(name: str, *, mux: bool = False, on: tuple[str, ...] = ("stdio", "http", "sse", "ws", "socket", "serve")) -> Callable[[Any], Any]:
    """Declares a scenario. `mux=True`: it only means something with one server shared by several clients.

    `on`: the ways to reach muxloop by which it runs.
    """

    def declare(run: Any) -> Any:
        if OVER in on and not (mux and DIRECT) and ONLY in name:
            _scenarios.append((name, run))
        return run

    return declare


def labels(count: int, prefix: str = "client") -> list[str]:
    return [f"{prefix}{n + 1}" for n in range(count)]


async def together(*jobs: Awaitable[Any]) -> list[Any]:
    """Runs the jobs at the same time; their results in order."""
    results: list[Any] = [None] * len(jobs)

    async def one(index: int, job: Awaitable[Any]) -> None:
        results[index] = await job

    async with anyio.create_task_group() as tasks:
        for index, job in enumerate(jobs):
            tasks.start_soon(one, index, job)
    return results


async def eventually(look: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Asks again until `look()` gives something true. For facts that only a call can show."""
    end = time.monotonic() + DEADLINE
    while not (value := await look()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {DEADLINE} s: {what}")
        await anyio.sleep(0.025)
    return value


def _cause(error: BaseException) -> BaseException:
    """The one exception of a group that says most: streams that break around a failure come after it."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    causes = [_cause(inner) for inner in error.exceptions]
    torn = (anyio.BrokenResourceError, anyio.ClosedResourceError)
    return next((cause for cause in causes if not isinstance(cause, torn)), causes[0])


async def _run_one(run: Callable[[Scene], Awaitable[None]], run_client: Opener) -> None:
    async with anyio.create_task_group() as tasks:
        scene = Scene(tasks, run_client)
        with anyio.fail_after(3 * DEADLINE):
            await run(scene)
            violations = [f"{peer.label}: {what}" for peer in scene.peers for what in peer.wire.violations]
            assert not violations, "; ".join(violations[:3])
        scene.over = True
        for peer in scene.peers:
            peer.close()


def main(title: str, names: list[str], run_client: Opener, gateway: str = "") -> None:
    """Runs all scenarios one after the other, prints one line each and ends the process.

    `gateway`: see `mux_toml`.
    """
    title = title if OVER == "stdio" else f"{title}-{OVER}"
    passed = failed = 0
    daemon = None
    try:
        daemon = None if DIRECT else Daemon(names, gateway)
        for name, run in _scenarios:
            started = time.monotonic()
            try:
                anyio.run(_run_one, run, run_client)
                passed += 1
                print(f"ok {title}/{name} ({(time.monotonic() - started) * 1000:.0f} ms)", flush=True)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                failed += 1
                cause = _cause(error)
                where = cause.__traceback__
                while where is not None and where.tb_next is not None and "site-packages" not in where.tb_next.tb_frame.f_code.co_filename:
                    where = where.tb_next
                line = f" (line {where.tb_lineno})" if where else ""
                print(f"FAIL {title}/{name} {type(cause).__name__}: {' '.join(str(cause).split())[:400]}{line}", flush=True)
                if daemon:
                    print(daemon.tail(), flush=True)
            if failed >= GIVE_UP:
                raise RuntimeError(f"{failed} scenarios failed; the rest did not run")
            if daemon and daemon.ended() is not None:
                raise RuntimeError(f"muxloop ended with {daemon.ended()}")
        if daemon:
            daemon.stop()
    except Exception as error:
        failed += 1
        print(f"FAIL {title}/run {error}", flush=True)
    finally:
        if daemon and daemon.process and daemon.ended() is None:
            daemon.process.kill()
        shutil.rmtree(TMP, ignore_errors=True)
    print(f"{title}: {passed} passed, {failed} failed", flush=True)
    sys.exit(0 if failed == 0 else 1)
