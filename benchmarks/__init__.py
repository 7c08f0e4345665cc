"""Side by side with nginx, HAProxy, Caddy and aiohttp: one command, one table.

`python -m benchmarks` starts an origin and every proxy that is installed, loads
them in turn, and compares what one request costs each of them. Then come the
figures that concern this proxy alone: memory under a long stream, start-up, and
what a policy decision and a route look-up cost.

In the order of a run:

    plan       what is run, for how long, on which cores
    processes  children on their core, which never outlive the run
    peers      the proxies and the origin: how each is started
    wrk        the load
    procfs     CPU time and memory of a process tree
    contest    rounds, interleaved, so that noise hits all alike
    stream, startup, policy_cost, route_cost   the other figures
    fault_storm, fault_storm_traffic           likewise
    report     rows, ratios, verdicts, table, JSON (pure)
    picture    the table, drawn
"""
