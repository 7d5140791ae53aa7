"""Every failure as a class of its own: a budget that says no, a Tollgate that cannot be reached, and a wrong request are three things."""

from typing import Any, List, Mapping, Optional

_MONEY = frozenset({"insufficient_funds", "too_large", "budget_exhausted", "threshold_downgrade", "budget_downgrade"})
_TRY_LATER = frozenset({"in_flight_exhausted", "rate_limited", "concurrency_limited"})
_WHO_AND_WHAT = frozenset({"tenant_missing", "tenant_unknown", "tenant_suspended", "key_revoked", "model_not_allowed", "model_unpriced"})


class TollgateError(Exception):
    """What all of these are."""


class ApiError(TollgateError):
    """Tollgate answered with a problem document (RFC 9457). `code` is stable and dotted, for instance `hold.already_ended`."""

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after_ms: Optional[int] = None) -> None:
        self.status = status
        self.code = str(problem.get("code") or f"http.{status}")
        errors = problem.get("errors")
        self.errors: List[Mapping[str, str]] = errors if isinstance(errors, list) else []
        self.request_id = problem.get("request_id")
        self.retry_after_ms = retry_after_ms
        super().__init__(f"{self.code}: {problem.get('detail') or status}")


class UnreachableError(TollgateError):
    """No answer in time, no connection, or an answer that is none."""


class TenantError(TollgateError):
    """No tenant where one is required. Raised outside production only: there the call goes on under `unknown`."""


class UnmeteredError(TollgateError):
    """A call that costs money and that the wrapper does not measure; it was not made."""


class BlockedError(TollgateError):
    """The call was refused before anything was sent to the model.

    `status` is what to answer one's own caller: 402 for money, 429 where waiting helps (`retry_after_ms`), 403 for who and what, 503
    without a decision.
    """

    def __init__(self, reason: Mapping[str, Any], tenant_id: Optional[str]) -> None:
        self.code = str(reason.get("code") or "blocked")
        self.retry_after_ms: Optional[int] = reason.get("retry_after_ms")
        self.tenant_id = tenant_id
        self.status = _status_of(self.code, self.retry_after_ms)
        super().__init__(f"{self.code}: {reason.get('message') or 'refused by its budget'}")


def _status_of(code: str, retry_after_ms: Optional[int]) -> int:
    if code == "store_unavailable":
        return 503
    if code in _MONEY:
        return 402
    if code in _TRY_LATER:
        return 429
    # A reason that is newer than this client: waiting helps where the server says how long.
    return 429 if retry_after_ms is not None and code not in _WHO_AND_WHAT else 403
