"""A proxy of the API server with faults on demand: refused requests, cut or refused watches."""

import asyncio
import json
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp import web
from kubernetes import client, config

_DROPPED = {"transfer-encoding", "content-length", "content-encoding", "connection", "host"}


@dataclass
class Fault:
    """The answer to the next ``times`` requests of those methods."""

    methods: Sequence[str]
    status: int
    times: int
    retry_after: int | None = None

    def answer(self) -> web.Response:
        self.times -= 1
        status = HTTPStatus(self.status)
        failure = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": self.status}
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        body = json.dumps({**failure, "message": f"made up: {status.phrase}"})
        return web.Response(
            status=self.status, text=body, content_type="application/json", headers=headers
        )


class FaultyProxy:
    """A proxy with plain HTTP towards the operator and the cluster's TLS towards the API server.

    Use it as a context manager; ``kubeconfig`` is a file that leads through the proxy.
    """

    def __init__(self, kubeconfig: str, directory: Path) -> None:
        own = client.Configuration()
        config.load_kube_config(kubeconfig, client_configuration=own)
        self._server = own.host
        self._tls = ssl.create_default_context(cafile=own.ssl_ca_cert)
        assert own.cert_file is not None
        self._tls.load_cert_chain(own.cert_file, own.key_file)
        self._directory = directory
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._watches: set[web.StreamResponse] = set()
        self._fault: Fault | None = None
        self.deaf = False
        """Whether watches are refused."""
        self._remembered: set[str] | None = None
        self.lost = 0
        """The number of watches that were cut."""
        self.refused = 0
        """The number of requests that a fault answered."""

    @property
    def kubeconfig(self) -> str:
        return str(self._directory / "faulty.kubeconfig")

    def __enter__(self) -> Self:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(30)
        named = {"name": "faulty"}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "faulty",
            "clusters": [{**named, "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "contexts": [{**named, "context": {"cluster": "faulty", "user": "faulty"}}],
            "users": [{**named, "user": {}}],
        }
        Path(self.kubeconfig).write_text(json.dumps(document))
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def fail(self, fault: Fault) -> None:
        """Answers the next requests with the fault; the API server never receives them."""
        self._fault = fault

    def heal(self) -> None:
        """Removes all faults, and resets the counts."""
        self._fault, self._remembered, self.deaf = None, None, False
        self.lost = self.refused = 0

    def cut_watches(self) -> None:
        """Ends every watch in the middle of its stream."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(30)

    def forget_history(self) -> None:
        """Answers the next watch of each kind with 410 Gone, as a restarted API server does."""
        self._remembered = set()

    async def _cut(self) -> None:
        for watch in list(self._watches):
            transport = watch._req.transport if watch._req else None
            if transport is not None:
                transport.abort()
                self.lost += 1

    async def _serve(self) -> int:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _end(self) -> None:
        await self._cut()
        await self._session.close()
        await self._runner.cleanup()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        fault = self._fault
        if fault is not None and fault.times > 0 and request.method in fault.methods:
            self.refused += 1
            return fault.answer()
        watching = request.query.get("watch") in {"true", "1"}
        if watching and self.deaf:
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        if watching and self._remembered is not None and request.path not in self._remembered:
            self._remembered.add(request.path)
            gone = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410}
            return web.json_response({"type": "ERROR", "object": {**gone, "reason": "Expired"}})
        try:
            return await self._forward(request, watching=watching)
        except aiohttp.ClientError:
            return web.Response(status=HTTPStatus.BAD_GATEWAY)

    async def _forward(self, request: web.Request, *, watching: bool) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _DROPPED}
        async with self._session.request(
            request.method,
            f"{self._server}{request.rel_url}",
            data=await request.read() or None,
            headers=headers,
        ) as theirs:
            kept = {k: v for k, v in theirs.headers.items() if k.lower() not in _DROPPED}
            if encoding := theirs.headers.get("Content-Encoding"):
                kept["Content-Encoding"] = encoding
            ours = web.StreamResponse(status=theirs.status, headers=kept)
            await ours.prepare(request)
            if watching:
                self._watches.add(ours)
            try:
                async for chunk in theirs.content.iter_any():
                    await ours.write(chunk)
            except aiohttp.ClientError:
                # The answer has begun: only the end of its connection tells the operator.
                if request.transport is not None:
                    request.transport.abort()
                return ours
            finally:
                self._watches.discard(ours)
            await ours.write_eof()
            return ours
