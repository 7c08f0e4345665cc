"""A collector that takes spans and logs by OTLP, over gRPC and over HTTP."""

from __future__ import annotations

import asyncio
import threading
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import grpc
from opentelemetry.proto.collector.logs.v1 import (
    logs_service_pb2,
    logs_service_pb2_grpc,
)
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2,
    trace_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOK_S = 0.02


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent; holds its answer back while `may_answer` is not set."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.spans: list[Any] = []
        self.logs: list[Any] = []
        self.resources: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def take(self, request: Any, headers: dict[str, str]) -> None:
        self.headers.append(headers)
        self.may_answer.wait()
        for resource in request.resource_spans:
            self.resources.append(values_of(resource.resource))
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def take_logs(self, request: Any) -> None:
        self.may_answer.wait()
        for resource in request.resource_logs:
            self.resources.append(values_of(resource.resource))
            for scope in resource.scope_logs:
                self.logs.extend(scope.log_records)

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - its protocol
        self.take(request, dict(context.invocation_metadata()))
        return trace_service_pb2.ExportTraceServiceResponse()

    async def until(self, count: int) -> list[Any]:
        """Wait for so many spans; the test's time bounds it."""
        while len(self.spans) < count:
            await asyncio.sleep(LOOK_S)
        return self.spans

    async def until_logs(self, count: int) -> list[Any]:
        """Wait for so many log records."""
        while len(self.logs) < count:
            await asyncio.sleep(LOOK_S)
        return self.logs


class LogTaker(logs_service_pb2_grpc.LogsServiceServicer):
    """Takes logs for a collector: the two services' calls have one name."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request: Any, _: Any) -> Any:  # noqa: N802 - its protocol
        self._collector.take_logs(request)
        return logs_service_pb2.ExportLogsServiceResponse()


def values_of(message: Any) -> dict[str, Any]:
    """Return the attributes of a span, an event or a resource as plain values."""
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value"))
        for pair in message.attributes
    }


@contextmanager
def by_grpc() -> Iterator[Collector]:
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(collector, server)  # type: ignore[no-untyped-call]  # Generated code.
    add_logs = logs_service_pb2_grpc.add_LogsServiceServicer_to_server
    add_logs(LogTaker(collector), server)  # type: ignore[no-untyped-call]  # Likewise.
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    collector.endpoint = f"http://127.0.0.1:{port}"
    try:
        yield collector
    finally:
        collector.may_answer.set()
        server.stop(None).wait()


@contextmanager
def by_http() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {key.lower(): value for key, value in self.headers.items()}
            is_right = headers["content-type"] == "application/x-protobuf"
            if is_right and self.path == "/v1/traces":
                kind = trace_service_pb2.ExportTraceServiceRequest
                collector.take(kind.FromString(body), headers)
            elif is_right and self.path == "/v1/logs":
                of_logs = logs_service_pb2.ExportLogsServiceRequest
                collector.take_logs(of_logs.FromString(body))
            else:
                is_right = False
            self.send_response(200 if is_right else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    collector.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        collector.may_answer.set()
        server.shutdown()
        thread.join()
        server.server_close()


OF_COLLECTOR = {"grpc": by_grpc, "http/protobuf": by_http}  # By protocol.
