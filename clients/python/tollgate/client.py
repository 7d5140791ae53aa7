"""The client. Guarantees: `authorize` answers within its deadline whatever Tollgate does, by the failure policy where there is no decision;
what may be repeated without harm is repeated, nothing else; what is reported in the background is either taken or logged.

Needs httpx, which `openai` and `litellm` bring along. Safe to share between threads, tasks and forked processes. Money is text in USD.
"""

import asyncio
import json
import os
import random
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Union
from urllib.parse import quote

import httpx

from .context import FailureLog, attributed
from .errors import ApiError, TollgateError, UnreachableError

Json = Dict[str, Any]

_LATE_ANSWER_SECONDS = 10.0
_REPORT_SECONDS = 60.0
# Nobody waits for a report, and nobody else will make it: with pauses that double up to five seconds these cover its deadline.
_REPORT_RETRIES = 16
_FIRST_PAUSE_SECONDS = 0.025
_LONGEST_PAUSE_SECONDS = 5.0
_WORTH_REPEATING = frozenset({408, 429, 500, 502, 503, 504})
_ASKING_THREADS = 32
_REPORTING_THREADS = 4
_MOST_REPORTS_WAITING = 10_000


class Asked(NamedTuple):
    """A decision, and where it did not come in time, the request that may still take a hold."""

    decision: Json
    late: "Optional[Future[Json]]"


class Tollgate:
    """`key` is a service key with the scopes `authorize` and `ingest` (`read` for `balance`).

    `on_failure` says what becomes of a call without a decision: `open` lets it run, reported and booked; `closed` refuses it.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        authorize_timeout_ms: float = 250,
        timeout_ms: float = 10_000,
        on_failure: str = "open",
        max_retries: int = 2,
    ) -> None:
        if on_failure not in ("open", "closed"):
            raise ValueError("on_failure must be open or closed")
        self._url, self._key = url.rstrip("/"), key
        self._authorize_seconds, self._seconds = authorize_timeout_ms / 1000, timeout_ms / 1000
        self._on_failure, self._max_retries = on_failure, max_retries
        self._unchecked, self._untaken = FailureLog(), FailureLog()
        self._lock = threading.Lock()
        self._process: Optional[_Process] = None

    @classmethod
    def from_environment(cls) -> "Tollgate":
        """TOLLGATE_URL, TOLLGATE_KEY, TOLLGATE_TIMEOUT_MS (250) and TOLLGATE_ON_FAILURE (open | closed), as for the proxy hook."""
        return cls(
            os.environ["TOLLGATE_URL"],
            os.environ["TOLLGATE_KEY"],
            authorize_timeout_ms=float(os.environ.get("TOLLGATE_TIMEOUT_MS") or 250),
            on_failure=os.environ.get("TOLLGATE_ON_FAILURE") or "open",
        )

    # --- asking

    def authorize(self, *, tenant_id: Optional[str] = None, **question: Any) -> Json:
        """Asks before a call: `provider`, `model`, `input_tokens`, `max_output_tokens`, `call_id`, ... and attribution (else the context's).

        Repeated within its deadline only with a `call_id`, which makes a repeat harmless. `failure` in the answer is None, or why there
        was no decision. Raises ApiError for a question that is wrong in itself (400, 403, 409), TenantError without a tenant.
        """
        return self.ask(_question(tenant_id, question)).decision

    async def aauthorize(self, *, tenant_id: Optional[str] = None, **question: Any) -> Json:
        """As `authorize`, without holding up the event loop."""
        return (await self.aask(_question(tenant_id, question))).decision

    def ask(self, question: Json) -> Asked:
        """As `authorize`, of a whole body; also gives what a late answer may hold."""
        future = self._submit_question(question)
        try:
            return self._asked(question, future, lambda: future.result(self._authorize_seconds))
        except BaseException:
            self.release_late(future)
            raise

    async def aask(self, question: Json) -> Asked:
        future = self._submit_question(question)
        try:
            answer = asyncio.wrap_future(future)
            # A failure that comes after the deadline is nobody's any more.
            answer.add_done_callback(lambda done: done.cancelled() or done.exception())
            done, _ = await asyncio.wait([answer], timeout=self._authorize_seconds)
            return self._asked(question, future, lambda: future.result(None if done else 0))
        except BaseException:
            # Also where the caller was cancelled while waiting: nobody will use what is held now.
            self.release_late(future)
            raise

    def _submit_question(self, question: Json) -> "Future[Json]":
        patience = self._authorize_seconds
        retries = self._max_retries if question.get("call_id") is not None else 0
        return self._here().asking.submit(
            self._send, "POST", "/v1/authorize", question, _LATE_ANSWER_SECONDS, retries, patience, {"prefer": "return=minimal"}
        )

    def _asked(self, question: Json, future: "Future[Json]", take: Callable[[], Json]) -> Asked:
        failure: TollgateError
        try:
            decision = take()
            if decision.get("decision") in ("allow", "downgrade", "block"):
                return Asked({**decision, "failure": None}, None)
            failure = UnreachableError("an answer without a decision")
        except FutureTimeout:
            failure = UnreachableError(f"no decision within {self._authorize_seconds * 1000:g} ms")
        except UnreachableError as error:
            failure = error
        except ApiError as error:
            # A request that is wrong in itself stays the caller's error; Tollgate's trouble, or its key's, takes the failure policy.
            if error.status < 500 and error.status not in (401, 408, 429):
                raise
            failure = error
        is_open = self._on_failure == "open"
        self._unchecked.note("Tollgate gave no decision (%s): %d call(s) " + ("let through unchecked" if is_open else "refused"), failure)
        # What has not been sent yet is not sent any more.
        late = None if future.cancel() or future.done() else future
        if not is_open:
            self.release_late(late)
        return Asked(_without_decision(question, "allow" if is_open else "block", failure), late)

    # --- holds, events, balance

    def settle(self, hold_id: str, *, idempotency_key: Optional[str] = None, **figures: Any) -> Json:
        """Says what a call cost: `cost_usd`, or `usage` (and `model`, `provider`); `final=False` where more is to come."""
        # The key is what tells a repeat of one partial settle from the next one.
        headers = {"idempotency-key": idempotency_key or str(uuid.uuid4())}
        return self._post(f"/v1/holds/{quote(hold_id, safe='')}/settle", figures, headers)

    def release(self, hold_id: str) -> Json:
        """Gives a hold's money back: the call was not made, or cost nothing."""
        return self._post(f"/v1/holds/{quote(hold_id, safe='')}/release", {})

    def extend(self, hold_id: str, **change: int) -> Json:
        """More time (`ttl_ms`), more output (`output_tokens`), or both."""
        return self._post(f"/v1/holds/{quote(hold_id, safe='')}/extend", change)

    def events(self, events: Union[Mapping[str, Any], Sequence[Mapping[str, Any]]]) -> Json:
        """Reports spend: one event or at most 5,000. Answered after the commit, an outcome for each."""
        return self._post("/v1/events", events)

    def balance(self, tenant_id: str) -> Json:
        """What a tenant has, holds and owes."""
        return self._send("GET", f"/v1/tenants/{quote(tenant_id, safe='')}/balance", None, self._seconds, self._max_retries, self._seconds)

    # --- in the background

    def report(self, event: Mapping[str, Any], late: "Optional[Future[Json]]" = None) -> None:
        """Reports without making anybody wait; what is not taken is logged with its call id.

        `late` is a decision that may still take a hold for this call: the report waits for it, so that it closes that hold.
        """

        def deliver(hold_id: Optional[str]) -> None:
            body = event if hold_id is None else {**event, "hold_id": hold_id}
            self._in_background(f"the report of call {event.get('call_id') or event.get('event_id')}", lambda: self._deliver(body))

        if late is None:
            deliver(None)
        else:
            self._when_answered(late, deliver)

    def release_later(self, hold_id: str) -> None:
        """Releases without making anybody wait. What is not released expires, and its tenant's `unresolved_policy` says what that costs."""
        self._in_background("the release of a hold", lambda: self.release(hold_id))

    def release_late(self, late: "Optional[Future[Json]]") -> None:
        """Gives back what an answer holds that nobody uses any more, as soon as it comes."""

        if late is not None and not late.cancel():
            self._when_answered(late, lambda hold_id: None if hold_id is None else self.release_later(hold_id))

    def _when_answered(self, late: "Future[Json]", then: Callable[[Optional[str]], None]) -> None:
        def answered(decision: "Future[Json]") -> None:
            failed = decision.cancelled() or decision.exception() is not None
            hold = None if failed else decision.result().get("hold")
            then(hold.get("hold_id") if isinstance(hold, dict) else None)

        here = self._here()
        here.waiting.add(late)
        late.add_done_callback(answered)
        # Only after that: flush() finds what it brought about.
        late.add_done_callback(here.waiting.discard)

    def flush(self, timeout: Optional[float] = None) -> None:
        """Waits until everything said in the background has been taken or logged. The end of the interpreter waits for it too."""
        here = self._here()
        deadline = None if timeout is None else time.monotonic() + timeout
        while here.waiting and (deadline is None or time.monotonic() < deadline):
            wait(list(here.waiting), None if deadline is None else max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Says what is still to be said and closes the connections. The client can be used again afterwards: it opens new ones."""
        here = self._here()
        # First the questions: a late answer may still have a hold to give back.
        here.asking.shutdown(wait=True)
        self.flush()
        here.reporting.shutdown(wait=True)
        here.http.close()
        with self._lock:
            if self._process is here:
                self._process = None

    def _deliver(self, event: Mapping[str, Any]) -> None:
        answer = self._send("POST", "/v1/events", event, _REPORT_SECONDS, _REPORT_RETRIES, _REPORT_SECONDS)
        if answer.get("rejected") or answer.get("conflicts"):
            results: List[Json] = answer.get("results") or [{}]
            raise UnreachableError(str(results[0].get("detail") or results[0].get("outcome") or "refused"))

    def _in_background(self, what: str, work: Callable[[], Any]) -> None:
        def logged() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - nobody waits who could catch it
                self._untaken.note("Tollgate did not take %s (%s); %d failure(s) since the last such line", what, error)

        here = self._here()
        if len(here.waiting) >= _MOST_REPORTS_WAITING:
            self._untaken.note("Tollgate was not told %s (%d others wait); %d failure(s) since the last such line", what, _MOST_REPORTS_WAITING)
            return
        try:
            future = here.reporting.submit(logged)
        except RuntimeError:  # The interpreter is ending: this is the last moment to say it.
            logged()
            return
        here.waiting.add(future)
        future.add_done_callback(here.waiting.discard)

    # --- plumbing

    def _post(self, path: str, body: Any, headers: Optional[Mapping[str, str]] = None) -> Json:
        return self._send("POST", path, body, self._seconds, self._max_retries, self._seconds, headers)

    def _send(
        self, method: str, path: str, body: Any, deadline_s: float, retries: int, patience_s: float, headers: Optional[Mapping[str, str]] = None
    ) -> Json:
        begun = time.monotonic()
        content = None if body is None else json.dumps(body).encode()
        for attempt in range(retries + 1):
            left = deadline_s - (time.monotonic() - begun)
            try:
                return self._attempt(method, path, content, max(0.001, left), headers)
            except TollgateError as error:
                pause = _pause_before(error, attempt)
                if attempt == retries or pause is None or pause >= patience_s - (time.monotonic() - begun):
                    raise
                time.sleep(pause)
        raise AssertionError("unreachable")

    def _attempt(self, method: str, path: str, content: Optional[bytes], timeout: float, headers: Optional[Mapping[str, str]]) -> Json:
        sent = {"authorization": f"Bearer {self._key}", **({} if content is None else {"content-type": "application/json"}), **(headers or {})}
        try:
            response = self._here().http.request(method, self._url + path, content=content, headers=sent, timeout=timeout)
        except httpx.HTTPError as error:
            raise UnreachableError(f"{path}: {type(error).__name__} {error}") from error
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.status_code >= 400:
            seconds = response.headers.get("retry-after", "")
            raise ApiError(response.status_code, answer if isinstance(answer, dict) else {}, int(seconds) * 1000 if seconds.isdecimal() else None)
        if not isinstance(answer, dict):
            raise UnreachableError(f"{path} answered {response.status_code} without a JSON object")
        return answer

    def _here(self) -> "_Process":
        # Threads and connections do not survive a fork: a web server that forks after loading makes its own in each worker.
        process = self._process
        if process is None or process.pid != os.getpid():
            with self._lock:
                if self._process is None or self._process.pid != os.getpid():
                    self._process = _Process()
                process = self._process
        return process


class _Process:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self.http = httpx.Client(limits=httpx.Limits(max_connections=_ASKING_THREADS + _REPORTING_THREADS + 64, keepalive_expiry=30.0))
        # Threads of their own: an outage that keeps reports waiting must not keep questions waiting.
        self.asking = ThreadPoolExecutor(_ASKING_THREADS, "tollgate-ask")
        self.reporting = ThreadPoolExecutor(_REPORTING_THREADS, "tollgate-report")
        self.waiting: "Set[Future[Any]]" = set()


def _question(tenant_id: Optional[str], question: Mapping[str, Any]) -> Json:
    own = {name: question[name] for name in question if name in _CALL_FIELDS}
    attribution = {name: value for name, value in question.items() if name not in _CALL_FIELDS}
    return {**attributed(tenant_id, **attribution), **own}


_CALL_FIELDS = frozenset({"call_id", "provider", "model", "input_tokens", "max_output_tokens", "estimated_cost_usd", "priority"})


def _pause_before(error: TollgateError, attempt: int) -> Optional[float]:
    """Seconds before the next attempt, or None where a further one would end the same way."""
    if isinstance(error, ApiError) and error.status not in _WORTH_REPEATING:
        return None
    asked = (error.retry_after_ms or 0) / 1000 if isinstance(error, ApiError) else 0.0
    # Half of it by chance: clients that failed together must not come back together.
    return min(max(asked, _FIRST_PAUSE_SECONDS * 2**attempt * (0.5 + random.random() / 2)), _LONGEST_PAUSE_SECONDS)


def _without_decision(question: Json, decision: str, failure: TollgateError) -> Json:
    reason = {"code": "store_unavailable", "message": "Tollgate gave no decision", "scope": "tenant", "budget_id": None, "retry_after_ms": None}
    empty = dict.fromkeys(("route", "hold", "available_usd", "estimate", "would"))
    own = {"decision": decision, "model": question.get("model"), "max_output_tokens": question.get("max_output_tokens"), "reason": reason}
    return {**empty, **own, "shadow": False, "degraded": True, "replayed": False, "failure": failure}
