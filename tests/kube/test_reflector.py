"""A copy of a collection, beside an API server that does what is documented."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.kube.api import Access, Api, ApiError, in_cluster
from sidecar.kube.reflector import Reflector
from sidecar.policy.backoff import Backoff
from tests.support.kube_api import FIRST_TOKEN, KubeApi, kube_api, write_account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection
    from pathlib import Path

    from sidecar.kube.api import Object

PATH = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
SELECTOR = "kubernetes.io/service-name=stock"


def thing(name: str, value: int = 0, **more: Any) -> Object:
    return {"metadata": {"name": name}, "value": value, **more}


class Copy:
    """What a listener was told."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.changes = 0
        self.signs = 0
        self.failures: list[str] = []

    def changed(self, objects: Collection[Object]) -> None:
        self.values = {each["metadata"]["name"]: each["value"] for each in objects}
        self.changes += 1

    def heard(self) -> None:
        self.signs += 1

    def failed(self, detail: str) -> None:
        self.failures.append(detail)

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await asyncio.sleep(0.001)

    async def until_values(self, **values: int) -> None:
        await self.until(lambda: self.values == values)


@pytest.fixture
async def api() -> AsyncIterator[KubeApi]:
    async with kube_api() as found:
        yield found


@pytest.fixture
def account(tmp_path: Path) -> Path:
    folder = tmp_path / "account"
    write_account(folder)
    return folder


@asynccontextmanager
async def following(
    api: KubeApi,
    account: Path,
    *,
    is_watching: bool = True,
    backoff: Backoff = Backoff(0.005, 0.05),  # noqa: B008 - frozen
    answer_s: float = 30.0,
) -> AsyncIterator[Copy]:
    copy = Copy()
    reflector = Reflector(
        Api(Access(api.url, account), answer_s),
        PATH,
        SELECTOR,
        copy,
        Random(1),
        backoff=backoff,
    )
    task = asyncio.get_running_loop().create_task(reflector.run())
    try:
        if is_watching:
            await copy.until(lambda: bool(copy.changes))
            await api.until_watched()
        yield copy
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_lists_and_then_watches_from_there(
    api: KubeApi, account: Path
) -> None:
    api.put(thing("one", 1))
    async with following(api, account) as copy:
        assert copy.values == {"one": 1}
        api.put(thing("two", 2))
        await copy.until_values(one=1, two=2)
        api.put(thing("one", 3))
        api.delete("two")
        await copy.until_values(one=3)
    (_, listed), (_, watched) = api.asked
    assert listed == {"labelSelector": SELECTOR, "limit": "500"}
    assert watched["resourceVersion"] == "101"
    assert watched["allowWatchBookmarks"] == "true"
    assert int(watched["timeoutSeconds"]) >= 60


async def test_a_list_in_pages_is_one(api: KubeApi, account: Path) -> None:
    api.page_size = 2
    for number in range(5):
        api.put(thing(f"t{number}"))
    async with following(api, account) as copy:
        assert len(copy.values) == 5
        assert copy.changes == 1
    assert [q.get("continue") for k, q in api.asked if k == "list"] == [None, "2", "4"]


async def test_a_watch_that_ends_goes_on_where_it_was(
    api: KubeApi, account: Path
) -> None:
    async with following(api, account) as copy:
        api.put(thing("one", 1))
        await copy.until_values(one=1)
        await api.end_watches()
        api.put(thing("two", 2))
        await copy.until_values(one=1, two=2)
    assert [kind for kind, _ in api.asked].count("list") == 1
    assert api.asked[2][1]["resourceVersion"] == "101"
    assert not copy.failures


async def test_a_bookmark_moves_on_where_it_goes_on(
    api: KubeApi, account: Path
) -> None:
    async with following(api, account) as copy:
        before = copy.changes
        signs = copy.signs
        api.bookmark()
        await copy.until(lambda: copy.signs > signs)
        assert copy.changes == before
        await api.end_watches()
        await api.until_asked("watch", 2)
    assert api.asked[-1][1]["resourceVersion"] == "101"


async def test_a_connection_that_is_cut_loses_nothing(
    api: KubeApi, account: Path
) -> None:
    async with following(api, account) as copy:
        api.put(thing("one", 1))
        await copy.until_values(one=1)
        await api.cut_watches()
        api.put(thing("two", 2))
        await copy.until_values(one=1, two=2)
        assert copy.failures
    assert [kind for kind, _ in api.asked].count("list") == 1


async def test_a_version_that_is_too_old_is_listed_anew(
    api: KubeApi, account: Path
) -> None:
    async with following(api, account) as copy:
        api.put(thing("one", 1))
        await copy.until_values(one=1)
        await api.end_watches()  # While nobody watches ...
        api.put(thing("two", 2))
        api.delete("one")
        api.compact()
        await copy.until_values(two=2)
        assert not copy.failures  # It is no failure: so it is documented.
    assert [kind for kind, _ in api.asked].count("list") == 2


async def test_so_is_one_of_which_the_watch_itself_says_so(
    api: KubeApi, account: Path
) -> None:
    async with following(api, account) as copy:
        api.objects["two"] = thing("two", 2)  # Which no event told of.
        api.say("ERROR", {"kind": "Status", "code": 410, "message": "too old"})
        await copy.until_values(two=2)
        assert not copy.failures


async def test_another_error_within_the_watch_is_told(
    api: KubeApi, account: Path
) -> None:
    async with following(api, account) as copy:
        api.say("ERROR", {"kind": "Status", "code": 500, "message": "etcd is away"})
        await copy.until(lambda: bool(copy.failures))
        assert "etcd is away" in copy.failures[0]


@pytest.mark.parametrize("status", [302, 429, 500, 503])
async def test_what_is_known_stays_while_the_api_fails(
    api: KubeApi, account: Path, status: int
) -> None:
    api.put(thing("one", 1))
    async with following(api, account) as copy:
        api.refusals = [status] * 3
        await api.end_watches()
        await api.until_asked("watch", 4)
        assert copy.values == {"one": 1}
        api.put(thing("two", 2))
        await copy.until_values(one=1, two=2)
        assert f"{status} " in copy.failures[0]


async def test_it_begins_as_soon_as_the_api_answers(
    api: KubeApi, account: Path
) -> None:
    api.put(thing("one", 1))
    api.refusals = [500, 503]
    async with following(api, account) as copy:
        assert copy.values == {"one": 1}
        assert len(copy.failures) == 2


async def test_a_token_that_was_renewed_is_read_again_and_never_told(
    api: KubeApi, account: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with following(api, account) as copy:
        api.token = "second"
        await api.end_watches()
        await copy.until(lambda: bool(copy.failures))
        assert "401" in copy.failures[0]
        write_account(account, "second")
        api.put(thing("one", 1))
        await copy.until_values(one=1)
    assert FIRST_TOKEN not in caplog.text + str(copy.failures)


async def test_a_missing_permission_is_told_with_the_rule_to_add(
    api: KubeApi, account: Path
) -> None:
    api.is_refusing_watches = True
    async with following(api, account, is_watching=False) as copy:
        await copy.until(lambda: bool(copy.failures))
        assert "a Role in namespace shop" in copy.failures[0]
        assert "apiGroups: [discovery.k8s.io]" in copy.failures[0]
        assert "resources: [endpointslices]" in copy.failures[0]
        assert "verbs: [get, list, watch]" in copy.failures[0]
        await api.until_asked("watch", 4)  # It does not list again each time.
    assert [kind for kind, _ in api.asked].count("list") == 1


async def test_an_api_that_asks_to_wait_is_heeded_within_reason(
    api: KubeApi, account: Path
) -> None:
    """An hour would be a sidecar that knows nothing."""
    api.refusals = [429]
    api.retry_after = "3600"
    async with following(api, account) as copy:
        assert len(copy.failures) == 1


async def test_an_event_of_a_megabyte_is_read(api: KubeApi, account: Path) -> None:
    """A slice has up to a thousand endpoints."""
    async with following(api, account) as copy:
        api.put(thing("large", 1, filling="x" * 1_000_000))
        api.put(thing("small", 2))
        await copy.until_values(large=1, small=2)
        assert not copy.failures


async def test_what_cannot_be_read_is_listed_anew(api: KubeApi, account: Path) -> None:
    async with following(api, account, is_watching=False) as copy:
        await api.until_watched()
        api.objects["one"] = thing("one", 1)
        (watch,) = api.watches
        await watch.write(b"no JSON\n")
        await copy.until_values(one=1)
        assert "no JSON" in copy.failures[0]


async def test_an_api_that_ends_each_watch_at_once_is_not_asked_in_a_circle(
    api: KubeApi, account: Path
) -> None:
    """The wait grows, as after failures."""
    retries: list[int] = []

    class Noting(Backoff):
        def delay_s(self, retry: int, rng: Random) -> float:
            retries.append(retry)
            return super().delay_s(retry, rng)

    async with following(api, account, backoff=Noting(0.005, 0.05)):
        api._is_ending_watches = True
        api._changed.set()
        await api.until_asked("watch", 6)
        api._is_ending_watches = False
    assert retries[:5] == [1, 2, 3, 4, 5]


async def test_an_api_that_takes_requests_and_answers_none_is_left(
    api: KubeApi, account: Path
) -> None:
    """What is known stays; it is asked again."""
    api.put(thing("one", 1))
    async with following(api, account, answer_s=0.05) as copy:
        api.is_silent = True
        await api.end_watches()
        await copy.until(lambda: len(copy.failures) > 1)
        assert "does not answer in time" in copy.failures[0]
        assert copy.values == {"one": 1}
        api.is_silent = False
        api.put(thing("two", 2))
        await copy.until_values(one=1, two=2)


async def test_nobody_at_the_address_is_told_and_asked_again(account: Path) -> None:
    async with kube_api() as api:
        pass
    async with following(api, account, is_watching=False) as copy:
        await copy.until(lambda: len(copy.failures) > 2)
        assert api.url in copy.failures[0]


async def test_an_account_that_is_not_mounted_says_what_to_do(
    api: KubeApi, tmp_path: Path
) -> None:
    async with following(api, tmp_path / "nothing", is_watching=False) as copy:
        await copy.until(lambda: bool(copy.failures))
        assert "automountServiceAccountToken" in copy.failures[0]


def test_where_the_api_is_comes_from_the_environment(tmp_path: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert in_cluster(environ, tmp_path).url == "https://[fd00::1]:443"
    with pytest.raises(ApiError, match="this is no pod"):
        in_cluster({}, tmp_path)
