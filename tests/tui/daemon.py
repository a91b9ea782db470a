"""A daemon that is none, for tmux.sh: it speaks docs/control.md at a socket for two servers, `memory` and `web`.

Usage: daemon.py SOCKET
"""

import json
import os
import socketserver
import sys
import time

STARTED = time.monotonic()
STATES = {"memory": "ready", "web": "backoff"}


def report():
    def server(name):
        state = STATES[name]
        return {
            "name": name, "state": state, "socket": f"/run/{name}.sock", "max_active_clients": 5,
            "requests": int((time.monotonic() - STARTED) * 10), "stderr": [f"stderr of {name}"],
            "words": "restarting, attempt 3 of 5: exited with status 1" if state == "backoff" else "",
        }

    return {
        "control": 1, "version": "0.1.0", "pid": os.getpid(), "config": "/home/ana/mux.toml",
        "state": "degraded" if "backoff" in STATES.values() else "up",
        "uptime_ms": int((time.monotonic() - STARTED) * 1000), "clients": 0,
        "servers": [server(name) for name in STATES],
    }


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            request = json.loads(line)
            method, params = request["method"], request["params"]
            if method == "hello":
                result = {"control": 1, "version": "0.1.0", "pid": os.getpid(), "config": "/home/ana/mux.toml"}
            elif method == "status":
                result = report()
            else:
                state = {"start": "ready", "restart": "ready", "stop": "stopped"}[method]
                STATES[params["server"]] = state
                result = {"server": params["server"], "state": state}
            answer = {"jsonrpc": "2.0", "id": request["id"], "result": result}
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


if __name__ == "__main__":
    path = sys.argv[1]
    if os.path.exists(path):
        os.unlink(path)
    Server(path, Connection).serve_forever()
