"""Where the endpoints of an upstream are, when somebody else knows.

    dns.py          asks a name server, again when the TTL is over    } a task each
    kubernetes.py   lists and watches EndpointSlices                  }
      choice.py     which of the found endpoints are used             pure
      slices.py     EndpointSlices become such endpoints              pure
      stale.py      answers, and how long they hold                   pure
    watching.py     starts and ends the tasks, tells the runtime

What was found stays in force while nobody answers: for a while by DNS, for good by
the API of Kubernetes, which tells when an endpoint is gone.
"""
