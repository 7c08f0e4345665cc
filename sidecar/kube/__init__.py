"""The sidecar in a pod: injection, from files and by a mutating admission webhook.

`injection.py` is the core, pure: a pod template in, a pod template out, and back.
`sidecar inject` (`documents.py`, `workloads.py`) and `sidecar webhook`
(`admission.py`, `webhook.py`) are two ways to call it; `sidecar certify`
(`certifying.py`, `self_signed.py`, `account.py`) keeps the webhook's certificate fresh.
`rules.py` and `netfilter.py` lead a pod's connections through the sidecar:
`sidecar iptables`.
"""
