"""One logical call of a model: asked for once, ended once.

Guarantees: nothing is sent upstream before an allow; whatever the end is (an answer, half a stream, an abort, a failure), it is reported or
its hold is given back, one of them; the retries of the SDK below share its call id. A stream that was left and is read on after all says
so by a second, exact report under the same id: Tollgate books the better one in place of the first.
"""

import threading
import time
import uuid
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Union

from .client import Asked, Tollgate
from .context import attributed
from .errors import BlockedError
from .sizes import Tally, input_tokens_of

Json = Dict[str, Any]

_OUTPUT_LIMITS = {"chat": ("max_completion_tokens", "max_tokens"), "responses": ("max_output_tokens",), "embeddings": ()}
# Statuses of a wait that was given up: the provider may have worked, and may bill.
_GIVEN_UP_ON = frozenset({408, 499, 502, 504})
_NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})


class Settings(NamedTuple):
    tollgate: Tollgate
    tenant_id: Union[str, Callable[[], str], None]
    attribution: Mapping[str, Any]
    provider: str
    priority: Optional[str]
    input_tokens: Union[int, Callable[[Mapping[str, Any]], int], None]


class MeteredCall:
    def __init__(self, settings: Settings, kind: str, body: Mapping[str, Any]) -> None:
        self.call_id = str(uuid.uuid4())
        # The piece with the figures was added by us: the caller does not see it.
        self.hides_usage = False
        self._settings, self._kind, self._body = settings, kind, body
        self._asked: Optional[Asked] = None
        self._sent: Json = {}
        self._input_tokens = 0
        self._lock = threading.Lock()
        # What was said of its end: nothing, "released", or the quality of what was reported.
        self._said: Optional[str] = None
        self._begun = time.monotonic()
        self._first_output: Optional[float] = None
        # Taken now: the end may come in a thread that has no context of its own, or never had the caller's.
        named = settings.tenant_id() if callable(settings.tenant_id) else settings.tenant_id
        self._who = attributed(named, **settings.attribution)

    def question(self) -> Json:
        settings, body = self._settings, self._body
        given = settings.input_tokens(body) if callable(settings.input_tokens) else settings.input_tokens
        self._input_tokens = input_tokens_of(body) if given is None else given
        question = {
            **self._who,
            "call_id": self.call_id,
            "provider": settings.provider,
            "model": body.get("model"),
            "input_tokens": self._input_tokens,
            "max_output_tokens": self._output_limit(),
        }
        return question if settings.priority is None else {**question, "priority": settings.priority}

    def opened(self, asked: Asked) -> Json:
        """The body to send. Raises BlockedError: nothing may be sent then."""
        decision = asked.decision
        route = decision.get("route") or {}
        downgraded = decision["decision"] == "downgrade"
        elsewhere = downgraded and route.get("provider") not in (None, self._settings.provider)
        if decision["decision"] == "block" or elsewhere:
            # A ladder that leads to another provider is nothing this client can follow: refused, not ignored.
            hold_id = _hold_in(decision)
            if hold_id is not None:
                self._settings.tollgate.release_later(hold_id)
            raise BlockedError(decision.get("reason") or {}, self._who.get("tenant_id"))
        sent = dict(self._body)
        if downgraded:
            sent["model"] = route.get("model") or decision.get("model") or sent.get("model")
        self._cut_output(sent, decision.get("max_output_tokens"))
        self._ask_for_usage(sent)
        self._asked, self._sent = asked, sent
        return sent

    def note_output(self) -> None:
        if self._first_output is None:
            self._first_output = time.monotonic()

    def succeed(self, tally: Tally) -> None:
        """The answer is whole, or the provider's stream came to an end, which is its own only if it said so."""
        self._end(tally, "success" if tally.usage is not None or tally.complete else "cancelled", None)

    def break_off(self, tally: Tally, error: Optional[BaseException] = None) -> None:
        """The caller left, or the stream broke: what was seen is what can be said. Figures that had come already are better than a count."""
        self._end(tally, "success" if tally.usage is not None and tally.complete else "cancelled", error)

    def fail(self, error: BaseException) -> None:
        """There was no answer. The hold is given back where the provider cannot have worked; otherwise the input is what it may bill."""
        if may_have_run(error):
            self._end(Tally(), "cancelled", error)
        elif self._asked is not None and self._say("released"):
            hold_id = _hold_in(self._asked.decision)
            if hold_id is not None:
                self._settings.tollgate.release_later(hold_id)
            else:
                self._settings.tollgate.release_late(self._asked.late)

    def _end(self, tally: Tally, status: str, error: Optional[BaseException]) -> None:
        asked = self._asked
        quality = "exact" if status == "success" and tally.usage is not None else "partial"
        if asked is None or not self._say(quality):
            return
        hold_id = _hold_in(asked.decision)
        event: Json = {
            **self._who,
            "event_id": self.call_id,
            "call_id": self.call_id,
            **({} if hold_id is None else {"hold_id": hold_id}),
            "provider": self._settings.provider,
            "model": self._sent.get("model"),
            "requested_model": self._body.get("model"),
            "usage": tally.usage or {"input_tokens": self._input_tokens, "output_tokens": tally.output_tokens},
            "usage_quality": quality,
            "latency_ms": round((time.monotonic() - self._begun) * 1000),
            "stream": self._sent.get("stream") is True,
            "status": status,
        }
        if self._first_output is not None:
            event["ttft_ms"] = round((self._first_output - self._begun) * 1000)
        if error is not None:
            # Its kind and never its text, which may quote the prompt.
            event["error"] = type(error).__name__
        self._settings.tollgate.report(event, asked.late)

    def _say(self, what: str) -> bool:
        with self._lock:
            if self._said is not None and (self._said, what) != ("partial", "exact"):
                return False
            self._said = what
        return True

    def _choices(self) -> int:
        n = self._body.get("n")
        return n if isinstance(n, int) and n > 1 else 1

    def _output_limit(self) -> Optional[int]:
        if self._kind == "embeddings":
            return 0
        limits = [self._body[name] for name in _OUTPUT_LIMITS[self._kind] if isinstance(self._body.get(name), int)]
        return max(limits) * self._choices() if limits else None

    def _cut_output(self, sent: Json, allowed: Any) -> None:
        """A call that set no limit keeps none."""
        if not isinstance(allowed, int):
            return
        each = max(1, allowed // self._choices())
        for name in _OUTPUT_LIMITS[self._kind]:
            if isinstance(sent.get(name), int) and sent[name] > each:
                sent[name] = each

    def _ask_for_usage(self, sent: Json) -> None:
        """A stream of chat completions says what it cost only when asked."""
        asked = sent.get("stream_options") or {}
        if self._kind == "chat" and sent.get("stream") is True and asked.get("include_usage") is not True:
            sent["stream_options"] = {**asked, "include_usage": True}
            self.hides_usage = True


def may_have_run(error: BaseException) -> bool:
    """Whether the provider may have worked, and may bill, for a call that failed like this."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status in _GIVEN_UP_ON
    cause: Optional[BaseException] = error
    for _ in range(8):
        if cause is None:
            break
        if type(cause).__name__ in _NEVER_SENT:
            return False
        cause = cause.__cause__ or cause.__context__
    return True


def _hold_in(decision: Mapping[str, Any]) -> Optional[str]:
    hold = decision.get("hold")
    return hold.get("hold_id") if isinstance(hold, Mapping) else None
