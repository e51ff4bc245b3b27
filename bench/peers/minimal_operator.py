"""A minimal operator: the same four writes for each service, and nothing else.

The program observes no other objects, repairs nothing, retries nothing and stores nothing. Its
figures are therefore the API server's and the controllers' own time: the floor on this machine.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

import aiohttp
from kubernetes.aio import client, config

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.deployment import deployment
from diffusion_operator.diffusionservice.specs.service import service
from diffusion_operator.kube.service_account import service_account
from diffusion_operator.settings import read_settings

Object = dict[str, Any]

SERVICES = "/apis/diffusion.dev/v1alpha1/namespaces/default/diffusionservices"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
CORE = "/api/v1/namespaces/default"
STARTED = "the minimal operator has started"


class Api:
    """A client of the API server that only sends requests."""

    def __init__(self, configuration: client.Configuration) -> None:
        self._host = configuration.host
        tls = client.ApiClient(configuration).rest_client.ssl_context
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls))

    async def write(self, method: str, path: str, body: Object, kind: str = "json") -> None:
        headers = {"Content-Type": f"application/{kind}"}
        async with self._session.request(
            method, f"{self._host}{path}", data=json.dumps(body), headers=headers
        ) as answer:
            await answer.read()
            answer.raise_for_status()

    async def added_or_changed(self, path: str) -> AsyncIterator[Object]:
        url = f"{self._host}{path}?watch=1"
        async with self._session.get(url, read_bufsize=2**21, timeout=None) as lines:
            async for line in lines.content:
                event = json.loads(line)
                if event["type"] != "DELETED":
                    yield event["object"]


async def run() -> None:
    configuration = client.Configuration()
    await config.load_kube_config(client_configuration=configuration)
    api, settings = Api(configuration), read_settings()
    services: dict[str, Object] = {}
    with_status: set[str] = set()

    async def create_children(owner: Object) -> None:
        spec = DiffusionServiceSpec.model_validate(owner["spec"])
        await asyncio.gather(
            api.write("POST", DEPLOYMENTS, deployment(owner, spec, settings)),
            api.write("POST", f"{CORE}/serviceaccounts", service_account(owner, _name(owner))),
            api.write("POST", f"{CORE}/services", service(owner, spec)),
        )

    async def write_status(deployment: Object) -> None:
        owner = services[_name(deployment)]
        status = {
            "observedGeneration": owner["metadata"]["generation"],
            "replicas": deployment["status"]["replicas"],
        }
        path = f"{SERVICES}/{_name(owner)}/status"
        await api.write("PATCH", path, {"status": status}, "merge-patch+json")

    def is_new(owner: Mapping[str, Any]) -> bool:
        return services.setdefault(_name(owner), dict(owner)) == owner

    def lacks_status(deployment: Mapping[str, Any]) -> bool:
        name = _name(deployment)
        is_due = name in services and name not in with_status
        ready = is_due and deployment["status"].get("replicas")
        with_status.update({name} if ready else ())
        return bool(ready)

    print(STARTED, flush=True)
    await asyncio.gather(
        _each(api.added_or_changed(SERVICES), is_new, create_children),
        _each(api.added_or_changed(DEPLOYMENTS), lacks_status, write_status),
    )


async def _each(
    objects: AsyncIterator[Object],
    selects: Callable[[Object], bool],
    work: Callable[[Object], Coroutine[Any, Any, None]],
) -> None:
    async with asyncio.TaskGroup() as tasks:
        async for obj in objects:
            if selects(obj):
                tasks.create_task(work(obj))


def _name(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"]["name"])


if __name__ == "__main__":
    asyncio.run(run())
