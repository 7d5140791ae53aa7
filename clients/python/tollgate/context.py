"""Whose call this is. Guarantees that the tenant cannot be forgotten unnoticed: without one a call raises wherever code is written and
tested, and in production, where refusing would hurt a customer, goes on as `unknown` with a line in the log.

    with tollgate.context.tenant("acme", feature="summarize", user_id="u_1"):
        ...                     # every call in here, in threads of asyncio.to_thread and in tasks started here, is theirs

Production is where TOLLGATE_ENV, APP_ENV, ENVIRONMENT or PYTHON_ENV, the first that is set, says `production` or `prod`.
"""

import contextlib
import contextvars
import logging
import os
import threading
import time
from typing import Any, Dict, Iterator, Mapping, Optional

from .errors import TenantError

UNKNOWN = "unknown"
ATTRIBUTION = ("user_id", "feature", "environment", "assistant_id", "thread_id", "request_id", "api_key_id", "tags")

log = logging.getLogger("tollgate")

_current: "contextvars.ContextVar[Mapping[str, Any]]" = contextvars.ContextVar("tollgate", default={})
_LOG_EVERY_SECONDS = 60.0


@contextlib.contextmanager
def tenant(tenant_id: str, **attribution: Any) -> Iterator[None]:
    """The calls inside are this tenant's. Raises TypeError for a name that is no attribution field."""
    token = enter(tenant_id, **attribution)
    try:
        yield
    finally:
        leave(token)


def enter(tenant_id: Optional[str], **attribution: Any) -> "contextvars.Token[Mapping[str, Any]]":
    """As `tenant`, for middleware that has no `with`; what it returns is for `leave`."""
    return _current.set({"tenant_id": tenant_id, **checked(attribution)})


def leave(token: "contextvars.Token[Mapping[str, Any]]") -> None:
    _current.reset(token)


def current() -> Mapping[str, Any]:
    """The fields that are set here: `tenant_id` and attribution."""
    return _current.get()


def checked(attribution: Mapping[str, Any]) -> Dict[str, Any]:
    """The fields that have a value. Raises TypeError for one that is not attribution."""
    unknown = sorted(set(attribution) - set(ATTRIBUTION))
    if unknown:
        raise TypeError(f"no attribution field: {', '.join(unknown)}; there are {', '.join(ATTRIBUTION)}")
    return {name: value for name, value in attribution.items() if value is not None}


def attributed(tenant_id: Optional[str] = None, **attribution: Any) -> Dict[str, Any]:
    """What a call says of itself: given here, else set around it. Raises TenantError without a tenant outside production.

    `tenant_id` is left out where production goes on without one: what the server makes of nothing is `unknown`, or the key's own tenant.
    """
    fields = {**current(), **checked(attribution)}
    named = tenant_id if tenant_id is not None else fields.pop("tenant_id", None)
    fields.pop("tenant_id", None)
    if isinstance(named, str) and named.strip() != "":
        return fields if named == UNKNOWN else {"tenant_id": named, **fields}
    if not in_production():
        raise TenantError("a model call names no tenant: use tollgate.context.tenant(...), its middleware, or pass tenant_id")
    _forgotten.note("%d model call(s) without a tenant, booked under \"unknown\"")
    return fields


def in_production() -> bool:
    names = ("TOLLGATE_ENV", "APP_ENV", "ENVIRONMENT", "PYTHON_ENV")
    stated = next((os.environ[name] for name in names if os.environ.get(name)), "")
    return stated.lower() in ("production", "prod")


class FailureLog:
    """Says that something keeps failing once a minute and not once a call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logged_at = float("-inf")
        self._unsaid = 0

    def note(self, message: str, *details: Any) -> None:
        """`message` has a %d for the number of failures since the last line, after the places of `details`."""
        with self._lock:
            self._unsaid += 1
            if time.monotonic() - self._logged_at < _LOG_EVERY_SECONDS:
                return
            unsaid, self._unsaid, self._logged_at = self._unsaid, 0, time.monotonic()
        log.error(message, *details, unsaid)


_forgotten = FailureLog()
