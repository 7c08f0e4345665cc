"""What is told of a request as a whole, given what its attempts met.

An attempt's fault is not always the request's: after several attempts it is that
the tries are used up, or the budget; and that nothing was processed holds for
the whole only if it holds for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.faults.catalogue import FaultCode, ProxyFault, application_spec
from sidecar.faults.classify import classify_answer
from sidecar.model import Fault, Origin, Phase, Processed
from sidecar.policy.retry import StopReason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sidecar.model import Attempt, ResponseHead

EXHAUSTED: Final = (b"x-316-retry", b"exhausted")  # Tells upper hops not to try again.
_EXHAUSTING: Final = frozenset((StopReason.EXHAUSTED.value, StopReason.LOWER_HOP.value))

_CODES: Final = {
    StopReason.EXHAUSTED.value: FaultCode.RETRY_EXHAUSTED,
    StopReason.BUDGET.value: FaultCode.RETRY_BUDGET,
    StopReason.CIRCUIT_OPEN.value: FaultCode.RETRY_EXHAUSTED,
    StopReason.NO_ENDPOINT.value: FaultCode.RETRY_EXHAUSTED,
}


def is_exhausting(code: FaultCode) -> bool:
    """Tell whether trying again was given up, which upper hops should know."""
    return code in _CODES.values()


def is_exhausted(tries: int, reason: str) -> bool:
    """Tell whether an answer is the last of several, here or at a hop behind."""
    return reason in _EXHAUSTING and (tries > 1 or reason == StopReason.LOWER_HOP.value)


def of_all_tries(fault: ProxyFault, tries: int, reason: str) -> ProxyFault:
    """Return the fault of the whole, where that is not its last attempt's.

    Args:
        fault: Of the last attempt.
        tries: How many attempts there were.
        reason: Why there was not another one.
    """
    code = _CODES.get(reason)
    if code is None or (tries == 1 and code is FaultCode.RETRY_EXHAUSTED):
        return fault
    return ProxyFault(
        code,
        f"{tries} attempt{'s' if tries > 1 else ''}, the last: {fault}",
        phase=fault.phase,
        processed=fault.processed,
        timeout=fault.timeout,
        retry_after_s=fault.retry_after_s,
        status=fault.status,
    )


def of_fault(fault: ProxyFault, attempts: Sequence[Attempt], fault_id: str) -> Fault:
    """Return what is told of a request that ended with `fault`."""
    return Fault(
        fault.spec,
        fault_id,
        fault.spec.origin,
        fault.phase,
        _processed(fault.processed, attempts),
        fault.detail,
        fault.timeout,
        fault.retry_after_s,
        fault.stack,
    )


def of_answer(
    head: ResponseHead, tries: int, reason: str, new_fault_id: Callable[[], str]
) -> Fault | None:
    """Return the failure that an application's answer tells of, if it does.

    Args:
        head: The answer.
        tries: How many attempts there were, the one that brought it included.
        reason: Why there was not another one; empty: none was needed.
        new_fault_id: Makes an id.
    """
    spec = classify_answer(head.status, head.named.get(b"x-316-code"))
    if spec is None:
        return None
    code = _CODES.get(reason)
    if code is not None and (tries > 1 or code is FaultCode.RETRY_BUDGET):
        spec = code.spec
    return Fault(
        spec,
        new_fault_id(),
        Origin.UPSTREAM,
        Phase.BODY,
        Processed.YES,
        f"the application answered {head.status}",
    )


def has_malformed_code(head: ResponseHead) -> bool:
    """Tell whether an application named its failure in a way that names nothing."""
    code = head.named.get(b"x-316-code")
    return code is not None and application_spec(code.decode("latin-1")) is None


def _processed(last: Processed, attempts: Sequence[Attempt]) -> Processed:
    """Return what is proven for all attempts together."""
    if last is Processed.NO:
        for attempt in attempts:
            if attempt.processed is not Processed.NO:
                return attempt.processed
    return last
