"""Endpoints by the API of Kubernetes, without a proxy before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.discovery.slice_samples import endpoint, endpoint_slice
from tests.support.discovered import discovered
from tests.support.kube_api import KubeApi, kube_cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.support.discovered import Discovered

Cluster = tuple[KubeApi, dict[str, Any]]


@pytest.fixture
async def cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Cluster]:
    async with kube_cluster(tmp_path, monkeypatch) as found:
        yield found


def following(
    top: dict[str, Any], **kubernetes: Any
) -> AbstractAsyncContextManager[Discovered]:
    shared = top["discovery"] | {"first_answer": "20s"}
    return discovered({"kubernetes": {"service": "stock"} | kubernetes}, shared)


async def test_endpoints_of_a_service_are_followed(cluster: Cluster) -> None:
    api, top = cluster
    api.put(endpoint_slice("one", endpoint("10.0.0.1")))
    async with following(top) as found:
        assert found.names == ["10.0.0.1:8080"]
        api.put(endpoint_slice("two", endpoint("10.0.0.2")))
        await found.until_names("10.0.0.1:8080", "10.0.0.2:8080")


async def test_a_port_that_is_not_there_is_not_waited_for(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """It is an answer: somebody has to mend the settings, or the Service."""
    api, top = cluster
    api.put(endpoint_slice("one", endpoint("10.0.0.1")))
    async with following(top, port="htp") as found:
        assert found.names == []
        assert "no port htp" in found.finding.failure
    assert "no answer within" not in caplog.text


async def test_a_slice_that_cannot_be_read_does_not_end_the_watch_in_silence(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, what is known stays, and the watch begins anew."""
    api, top = cluster
    api.put(endpoint_slice("one", endpoint("10.0.0.1")))
    async with following(top) as found:
        await api.until_watched()
        api.put({**endpoint_slice("two"), "endpoints": [17]})
        await found.until(lambda: "a bug, or an answer that is none" in caplog.text)
        assert found.names == ["10.0.0.1:8080"]
