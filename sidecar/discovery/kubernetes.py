"""Endpoints by the API of Kubernetes: the EndpointSlices of a Service."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.discovery.choice import usable
from sidecar.discovery.slices import Part, PortError, part_of, put_together
from sidecar.kube.api import Api, ApiError, in_cluster
from sidecar.kube.reflector import Reflector

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from random import Random

    from sidecar.discovery.feed import Feed
    from sidecar.kube.api import Object
    from sidecar.settings.snapshot import KubernetesSource

ZONE: Final = "SIDECAR_ZONE"
_GATHER_S: Final = 0.05  # What changes within it is looked at together.


class SliceWatch:
    """Follows the EndpointSlices of one Service."""

    def __init__(
        self,
        source: KubernetesSource,
        feed: Feed,
        rng: Random,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._source = source
        self._feed = feed
        self._rng = rng
        self._zone = source.zone or environ.get(ZONE) or None
        self._environ = environ
        self._is_understood = True
        self._slices: Collection[Object] = ()
        self._parts: dict[tuple[str, str], Part] = {}
        self._has_changed = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled; without an API to ask, tell so, and end."""
        folder = Path(self._source.account_folder)
        try:
            access = in_cluster(self._environ, folder)
            namespace = self._source.namespace or access.namespace()
        except ApiError as error:
            self._feed.failed(str(error), is_answer=True)
            return
        reflector = Reflector(
            Api(access),
            f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
            f"kubernetes.io/service-name={self._source.service}",
            self,
            self._rng,
        )
        async with asyncio.TaskGroup() as group:  # An error in one ends both.
            group.create_task(reflector.run())
            group.create_task(self._keep_up())

    def changed(self, slices: Collection[Object]) -> None:
        """Go to the endpoints in the slices; soon, for of a rollout come many."""
        self._slices = slices
        self._has_changed.set()

    async def _keep_up(self) -> None:
        while True:
            await self._has_changed.wait()
            if self._feed.answered.is_set():
                await asyncio.sleep(_GATHER_S)
            self._has_changed.clear()
            self._go_to_slices()

    def _go_to_slices(self) -> None:
        try:
            found = put_together(self._read_parts(), self._source.port)
            self._is_understood = True
        except PortError as error:
            self._is_understood = False
            self._feed.failed(str(error), known=(), is_answer=True)
            return
        addresses = usable(found, self._zone)
        self._feed.found(addresses, len(found) - len(addresses))

    def _read_parts(self) -> Iterable[Part]:
        """Return what each slice comes to; read anew if it has changed."""
        known, self._parts = self._parts, {}
        for each in self._slices:
            metadata = each["metadata"]
            key = (str(metadata.get("name")), str(metadata["resourceVersion"]))
            self._parts[key] = known.get(key) or part_of(each, self._source.port)
        return self._parts.values()

    def heard(self) -> None:
        """Nothing has changed up to now."""
        if self._is_understood:
            self._feed.heard()

    def failed(self, detail: str) -> None:
        """What is known stays in force."""
        self._feed.failed(detail)
