"""As much of a Weights & Biases server as its client asks for: runs, their history by line, resuming, files.

It keeps what it is told, and can be made to fail. Nothing of W&B's own server is reachable from a test.
"""

import gzip
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

KEY = "0123456789" * 4
"""A key that the client takes for one."""


@dataclass
class TrackedRun:
    """What the server knows of a run."""

    about: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By the place that the client gave each line."""
    config: str = "{}"
    summary: str = "{}"
    overwritten: int = 0
    resumed: int = 0
    files: dict[str, int] = field(default_factory=dict)
    """Size of each uploaded one."""

    def rows(self) -> list[dict[str, Any]]:
        """The history in its order, without what depends on the clock."""
        assert list(self.history) == list(range(len(self.history))), "a hole, or out of order"
        return [
            {k: v for k, v in row.items() if k not in ("_timestamp", "_runtime")}
            for row in self.history.values()
        ]


def curves(run: TrackedRun) -> dict[tuple[int, str], Any]:
    """Values by optimiser step and name; fails where steps go backwards or anything is there twice.

    Left out is what depends on the clock; of media it says only that they are there.
    """
    found: dict[tuple[int, str], Any] = {}
    before = (-1, -1)
    for row in run.rows():
        now = (row.pop("_step"), row.pop("trainer/global_step"))
        assert now[0] > before[0] and now[1] >= before[1], f"step {now} comes behind {before}"
        before = now
        for key, value in row.items():
            if key not in ("checkpoint/seconds", "epoch"):
                assert (now[1], key) not in found, f"{key} of step {now[1]} is there twice"
                found[now[1], key] = value if isinstance(value, int | float) else "media"
    return found


class TrackingServer:
    """Listens on a free port until it is closed."""

    def __init__(self, port: int = 0) -> None:
        self.runs: dict[str, TrackedRun] = {}
        self.artifacts: list[str] = []
        """Names of those that were made."""
        self.failing: int | None = None
        """The HTTP status that everything is answered with, if set; 0 is no answer at all."""
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """Variables with which the client comes here."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online"}

    def close(self) -> None:
        """Answer no more and give the port back."""
        self._server.shutdown()
        self._server.server_close()

    def connected(self, seconds: float = 60.0) -> bool:
        """Whether a run begins in time."""
        deadline = time.monotonic() + seconds
        while not self.runs and time.monotonic() < deadline:
            time.sleep(0.02)
        return bool(self.runs)


@contextmanager
def tracking_server() -> Iterator[TrackingServer]:
    """A server for a test."""
    server = TrackingServer()
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: TrackingServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        """The client may go in the middle of a request."""
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        """Nothing is asked that way that matters."""
        self._answer({})

    def do_PUT(self) -> None:
        """A file of a run."""
        data = self._body()
        if not self._failed():
            _, _, run, name = self.path.split("/", 3)
            self.owner.runs[run].files[unquote(name)] = len(data)
            self._answer({})

    def do_POST(self) -> None:
        """GraphQL, or a piece of the stream of a run; telemetry is thrown away."""
        data = self._body()
        if self._failed():
            return
        if self.path.endswith("/file_stream"):
            self._stream(self.path.split("/")[-2], json.loads(data))
        elif self.path.endswith("/graphql"):
            asked = json.loads(data)
            found = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
            known = {
                "RunResumeStatus": self._run_resume_status,
                "UpsertBucket": self._upsert_bucket,
                "CreateRunFiles": self._create_run_files,
                "ArtifactType": lambda _: {"project": {"artifact": None}},  # a table is one, too; there is none yet
                "CreateArtifact": self._create_artifact,
            }
            answer = known.get(found.group(1) if found else "", self._anything)
            self._answer({"data": answer(asked.get("variables") or {})})
        else:
            self._answer({})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            data = b"".join(parts)
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def _failed(self) -> bool:
        status = self.owner.failing
        if status is None:
            return False
        while status == 0 and self.owner.failing == 0:
            time.sleep(0.1)
        self._answer({"errors": [{"message": "made to fail"}]}, status or 503)
        return True

    def _answer(self, content: object, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, name: str, piece: dict[str, Any]) -> None:
        run = self.owner.runs[name]
        files = piece.get("files") or {}
        history = files.get("wandb-history.jsonl") or {"offset": 0, "content": []}
        for place, line in enumerate(history["content"], history["offset"]):
            run.overwritten += place in run.history
            run.history[place] = json.loads(line)
        if "wandb-summary.json" in files:
            run.summary = files["wandb-summary.json"]["content"][-1]
        self._answer({"exitcode": None, "limits": {}})

    def _anything(self, _: dict[str, Any]) -> dict[str, Any]:
        viewer = {"id": "u", "entity": "nobody", "username": "nobody", "flags": "{}", "teams": {"edges": []}}
        return {
            "viewer": viewer,
            "serverInfo": {"cliVersionInfo": {}, "latestLocalVersionInfo": None, "features": []},
        }

    def _project(self, name: str | None) -> dict[str, Any]:
        return {"id": "p", "name": name, "entity": {"id": "e", "name": "nobody"}}

    def _run_resume_status(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self.owner.runs.get(asked["name"])
        if run is None:
            return {"model": {**self._project(asked["project"]), "bucket": None}}
        run.resumed += 1
        last = [json.dumps(row) for row in list(run.history.values())[-1:]]
        bucket = {
            "id": asked["name"],
            "name": asked["name"],
            "displayName": asked["name"],
            "summaryMetrics": run.summary,
            "config": run.config,
            "historyLineCount": len(run.history),
            "historyTail": json.dumps(last),
            "eventsLineCount": 0,
            "eventsTail": "[]",
            "logLineCount": 0,
            "tags": [],
            "wandbConfig": json.dumps({"t": 1}),
        }
        return {"model": {**self._project(asked["project"]), "bucket": bucket}}

    def _upsert_bucket(self, asked: dict[str, Any]) -> dict[str, Any]:
        new = asked["name"] not in self.owner.runs
        run = self.owner.runs.setdefault(asked["name"], TrackedRun())
        run.about |= {key: value for key, value in asked.items() if value is not None}
        run.config = asked.get("config") or run.config
        bucket = {
            "id": asked["name"],
            "name": asked["name"],
            "displayName": asked.get("displayName") or asked["name"],
            "description": None,
            "config": run.config,
            "sweepName": None,
            "project": self._project(asked.get("project")),
            "historyLineCount": len(run.history),
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": new}}

    def _create_artifact(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Its content is known to the server already, so none is sent."""
        self.owner.artifacts.append(str(asked["input"]["artifactCollectionName"]))
        latest = {"id": "a", "versionIndex": 0}
        artifact = {"id": "a", "state": "COMMITTED", "artifactSequence": {"id": "s", "latestArtifact": latest}}
        return {"createArtifact": {"artifact": artifact}}

    def _create_run_files(self, asked: dict[str, Any]) -> dict[str, Any]:
        host = self.headers["Host"]
        files = [{"name": n, "uploadUrl": f"http://{host}/put/{asked['run']}/{n}"} for n in asked["files"]]
        return {"createRunFiles": {"runID": asked["run"], "uploadHeaders": [], "files": files}}
