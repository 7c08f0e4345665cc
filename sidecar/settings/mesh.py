"""Which routes of a mesh hold at one sidecar, and on which side of it.

    parent is the sidecar's own Service     inbound, whatever host is asked for
    parent is another Service               outbound, by the names of that Service

A route in the namespace of its parent is the producer's, and holds for all clients; one
in another namespace is a consumer's, and holds for the clients of its own namespace
only, instead of the producer's. What does not hold here is left out, and told.

Source:
    GEP-1294, "Namespace boundaries" and "Multiple routes for a Service".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

CLUSTER = "svc.cluster.local"


class Service(NamedTuple):
    """A Service of Kubernetes."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{self.namespace}/{self.name}"


class Attachment(NamedTuple):
    """One parentRef of one route."""

    namespace: str  # Of the route.
    parent: Service
    port: int | None

    @property
    def is_consumers(self) -> bool:
        """Tell whether the route is in another namespace than its parent."""
        return self.namespace != self.parent.namespace


class UnclearError(Exception):
    """What the documents do not say, and what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Mesh:
    """All parents of a file, seen from one sidecar.

    Args:
        own: The Service that it stands before; None: no route is of that.
        home: The namespace that it is in; None: that is not known.
        attachments: Of all routes.
    """

    def __init__(
        self, own: Service | None, home: str | None, attachments: Iterable[Attachment]
    ) -> None:
        self.own = own
        self.home = home
        self._consumed: set[Service] = set()  # There is a route of a client here.
        self._ports: dict[Service, set[int | None]] = {}
        self._namespaces: dict[str, set[str]] = {}  # By the name of a Service.
        found = tuple(attachments)
        for one in found:
            self._namespaces.setdefault(one.parent.name, set()).add(
                one.parent.namespace
            )
            if one.is_consumers and one.namespace == home:
                self._consumed.add(one.parent)
        for one in found:
            if not self.why_not(one):
                self._ports.setdefault(one.parent, set()).add(one.port)

    def why_not(self, one: Attachment) -> str:
        """Return why a route does not hold here; empty if it does."""
        if one.parent == self.own:
            if one.is_consumers:
                return f"holds where the clients are, in namespace {one.namespace}"
            return ""
        if one.is_consumers:
            if one.namespace != self.home:
                return (
                    f"holds for clients in namespace {one.namespace}, and this sidecar"
                    f" is in {self.home}"
                )
            return ""
        if one.parent in self._consumed:
            return f"gives way to the consumer's routes to {one.parent} in {self.home}"
        return ""

    def ports(self, parent: Service) -> set[int | None]:
        """Return the ports that routes which hold here name for a parent."""
        return self._ports.get(parent, set())

    def hosts(self, parent: Service) -> list[str]:
        """Return what clients here call a Service."""
        name, namespace = parent.name, parent.namespace
        qualified = f"{name}.{namespace}"
        names = [qualified, f"{qualified}.svc", f"{qualified}.{CLUSTER}"]
        return [name, *names] if self.is_short(parent) else names

    def is_short(self, parent: Service) -> bool:
        """Tell whether the name alone, without a namespace, means this Service."""
        if self.home is not None:
            return parent.namespace == self.home
        return self._namespaces.get(parent.name, set()) <= {parent.namespace}


def mesh_of(
    attachments: Iterable[Attachment], service: str | None, *, has_outbound: bool
) -> Mesh:
    """Return the mesh as one sidecar sees it.

    Args:
        attachments: Of all routes.
        service: The sidecar's own Service as the settings say it, NAME or
            NAME.NAMESPACE; None if they do not.
        has_outbound: Whether there is a listener for what the application calls.

    Raises:
        UnclearError: It is not to be told which Service is the own one.
    """
    found = tuple(attachments)
    parents = sorted({one.parent for one in found})
    own, home = _own(parents, service, has_outbound=has_outbound)
    if home is None:
        clients = {o.namespace for o in found if o.is_consumers and o.parent != own}
        if len(clients) > 1:
            message = f"there are routes of clients in {', '.join(sorted(clients))}"
            hint = "say where this sidecar is: service: NAME.NAMESPACE"
            raise UnclearError(message, hint)
        home = next(iter(clients), None)
    return Mesh(own, home, found)


def _own(
    parents: list[Service], service: str | None, *, has_outbound: bool
) -> tuple[Service | None, str | None]:
    if service is None:
        if len(parents) == 1 and not has_outbound:
            return parents[0], parents[0].namespace
        message = "does not say before which Service this sidecar stands"
        hint = "its routes are inbound, those of others outbound: write service: NAME"
        raise UnclearError(message, hint)
    name, _, namespace = service.partition(".")
    same = [
        parent
        for parent in parents
        if parent.name == name and namespace in ("", parent.namespace)
    ]
    if len(same) > 1:
        message = f"{name!r} is the name of {', '.join(map(str, same))}"
        hint = f"write service: {name}.{same[0].namespace}"
        raise UnclearError(message, hint)
    return (same[0], same[0].namespace) if same else (None, namespace or None)
