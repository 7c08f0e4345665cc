"""A service-mesh sidecar proxy that names every failure.

A request passes these stages, and each folder is one of them:

- `accept`: a listener takes the connection, reads a head, writes the response;
- `wire`: bytes become values, strictly, and back;
- `route`: the table finds the route whose conditions hold;
- `policy`: deadline, retry, budget, breaker and caps decide what may be done;
- `upstream`: an endpoint is picked, a connection granted, an attempt made;
- `faults`: what went wrong gets its 316 code and its words;
- `record`: one `Outcome` a request feeds metrics, traces, log and fault feed.

`exchange.py` tells this story for one request from top to bottom, `attempt.py`
that of one try. Beside them, a file a question: `admission.py` (is it taken on),
`checkout.py` (where does a connection come from), `forwarding.py` (what is sent
upstream), `max_forwards.py` (how many hops are left), `standing.py` (which endpoint
may be asked), `retrying.py` (once more?),
`answering.py` (what does the client get if it fails), `tunnelling.py` (and after
a 101), `leaving.py` (what is given back at the end), `telling.py` (what is told of
it all), `time_limits.py` (what may take how long), `rendezvous.py` (who wakes whom).
`destinations.py`
keeps what there is for each place that intercepted connections were meant for.
`app.py` builds everything from the settings, and `drain.py` lets it end. `discovery/`
finds endpoints that are not written down, `health/` asks the application how it is,
`observe/` writes alert rules and dashboards.
`kube/` puts it into pods, and asks the API of Kubernetes.

Imports go one way: cli, app, accept, exchange, then route, policy, attempt,
faults and record; attempt imports policy, upstream and wire. The folders wire,
route, policy and faults touch no event loop, clock, log or socket.
"""

__version__ = "0.1.0"
