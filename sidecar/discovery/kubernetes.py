"""Endpoints by the API of Kubernetes: the EndpointSlices of a Service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.discovery.choice import usable
from sidecar.discovery.slices import PortError, candidates
from sidecar.kube.api import Api, ApiError, in_cluster
from sidecar.kube.reflector import Reflector

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from random import Random

    from sidecar.discovery.feed import Feed
    from sidecar.kube.api import Object
    from sidecar.settings.snapshot import KubernetesSource

ZONE: Final = "SIDECAR_ZONE"


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

    async def run(self) -> None:
        """Follow until cancelled; without an API to ask, tell so, and end."""
        folder = Path(self._source.account_folder)
        try:
            access = in_cluster(self._environ, folder)
            namespace = self._source.namespace or access.namespace()
        except ApiError as error:
            self._feed.give_up(str(error))
            return
        reflector = Reflector(
            Api(access),
            f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
            f"kubernetes.io/service-name={self._source.service}",
            self,
            self._rng,
        )
        await reflector.run()

    def changed(self, slices: Collection[Object]) -> None:
        """Go to the endpoints that are in the slices now."""
        try:
            found = candidates(slices, self._source.port)
            self._is_understood = True
        except PortError as error:
            self._is_understood = False
            self._feed.failed(str(error), known=())
            return
        addresses = usable(found, self._zone)
        self._feed.found(addresses, len(found) - len(addresses))

    def heard(self) -> None:
        """Nothing has changed up to now."""
        if self._is_understood:
            self._feed.heard()

    def failed(self, detail: str) -> None:
        """What is known stays in force."""
        self._feed.failed(detail)
