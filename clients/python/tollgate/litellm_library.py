"""For programs that call `litellm.completion(...)` themselves, without a proxy: whose call it is travels as `metadata`, and what it cost is reported.

    from tollgate import Tollgate, context, litellm_library
    litellm_library.install(Tollgate.from_environment())
    with context.tenant("acme", feature="summarize"):
        litellm_library.completion(model="openai/gpt-4o", messages=[...])     # acompletion, embedding, responses, ... likewise

The functions here are LiteLLM's own, carried: they raise TenantError before anything is sent where no tenant is set (in production: `unknown`
and a line in the log), ask streams for their usage, and report a stream that is left half-way. A tenant, or a `hold_id` that was asked for
with Tollgate.authorize(), may also stand in `metadata`. LiteLLM's plain functions are reported too, but nothing can stop them, and LiteLLM
says nothing of a stream that is left. Written against LiteLLM 1.104.0.
"""

import functools
import inspect
import uuid
import weakref
from collections import OrderedDict
from typing import Any, AsyncIterator, Callable, Dict, Iterator, Mapping, Optional

import litellm
from litellm.integrations.custom_logger import CustomLogger

from .client import Tollgate
from .context import ATTRIBUTION, attributed, current
from .metered_call import may_have_run
from .sizes import Tally, Usage, input_tokens_of, usage_of

Json = Dict[str, Any]

_STREAMING = ("completion", "acompletion")
# Written into the metadata by us; whoever reads an event finds it by that name.
_CARRIED = "tollgate_carried"


class TollgateLogger(CustomLogger):
    """LiteLLM calls it when a call is over; it reports what was used. Never a prompt or an answer."""

    def __init__(self, tollgate: Tollgate) -> None:
        super().__init__()
        self.tollgate = tollgate

    def log_pre_api_call(self, model: str, messages: Any, kwargs: Json) -> None:
        # The last moment in the caller's own context: the end is told from a thread that has none.
        params = kwargs.setdefault("litellm_params", {})
        metadata = params.get("metadata") or {}
        if not metadata.get(_CARRIED):
            params["metadata"] = {**metadata, **_carried(metadata)}

    def log_success_event(self, kwargs: Json, response_obj: Any, start_time: Any, end_time: Any) -> None:
        # What the cache answered, no provider charges.
        if kwargs.get("cache_hit") is not True:
            self._report(kwargs, "success", response_obj, start_time, end_time)

    async def async_log_success_event(self, kwargs: Json, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.log_success_event(kwargs, response_obj, start_time, end_time)

    def log_failure_event(self, kwargs: Json, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._report(kwargs, "error", None, start_time, end_time)

    async def async_log_failure_event(self, kwargs: Json, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.log_failure_event(kwargs, response_obj, start_time, end_time)

    def _report(self, kwargs: Json, status: str, response: Any, start: Any, end: Any) -> None:
        params = kwargs.get("litellm_params") or {}
        call_id = str(kwargs.get("litellm_call_id") or params.get("litellm_call_id") or uuid.uuid4())
        failed = status == "error"
        event: Json = {
            **_who(params.get("metadata") or {}),
            # A success is told twice by some versions, and counts once; every failed attempt is one of its own.
            "event_id": f"{call_id}:{uuid.uuid4().hex}" if failed else call_id,
            "call_id": call_id,
            "provider": kwargs.get("custom_llm_provider") or params.get("custom_llm_provider"),
            "model": kwargs.get("model"),
            "status": status,
            "stream": kwargs.get("stream") is True or (kwargs.get("optional_params") or {}).get("stream") is True,
        }
        milliseconds = _milliseconds(start, end)
        if milliseconds is not None:
            event["latency_ms"] = milliseconds
        if failed:
            exception = kwargs.get("exception")
            # Its kind and never its text, which may quote the prompt.
            event["error"] = type(exception).__name__
            # A known zero, where a missing figure would ask an operator what it cost.
            if call_id in _watching or isinstance(exception, BaseException) and not may_have_run(exception):
                event["usage"] = {"input_tokens": 0, "output_tokens": 0}
        else:
            event.update(_figures(kwargs, response))
        self.tollgate.report(event)


def install(tollgate: Tollgate) -> TollgateLogger:
    """Has LiteLLM report to `tollgate`. A second installation replaces the first."""
    global _installed
    if _installed is None:
        _installed = TollgateLogger(tollgate)
    # The same one again: LiteLLM copies its callbacks into lists of its own and takes one of a kind.
    _installed.tollgate = tollgate
    if _installed not in litellm.callbacks:
        litellm.callbacks.append(_installed)
    return _installed


_installed: Optional[TollgateLogger] = None
# The newest streams that had begun: what they used is told by whoever watches them, not by the failure that ended them.
_watching: "OrderedDict[str, None]" = OrderedDict()
_MOST_WATCHED = 10_000


def carry(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of LiteLLM's that carries the tenant and its attribution as `metadata`, and refuses to be called without a tenant."""
    name = getattr(function, "__name__", "")
    places = list(inspect.signature(function).parameters)

    def carried(options: Json) -> Json:
        metadata = dict(options.get("metadata") or {})
        carried_options = {**options, "metadata": {**metadata, **_carried(metadata, strictly=True)}}
        carried_options.setdefault("litellm_call_id", str(uuid.uuid4()))
        asked = options.get("stream_options") or {}
        if name in _STREAMING and options.get("stream") is True and asked.get("include_usage") is not True:
            carried_options["stream_options"] = {**asked, "include_usage": True}
        return carried_options

    def answered(answer: Any, given: Json, sent: Json) -> Any:
        if name not in _STREAMING or given.get("stream") is not True or _installed is None:
            return answer
        hides_usage = (given.get("stream_options") or {}).get("include_usage") is not True
        return _watched(answer, _LeftStream(_installed.tollgate, sent, hides_usage))

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: Any, **options: Any) -> Any:
            given = {**dict(zip(places, args)), **options}
            sent = carried(given)
            return answered(await function(**sent), given, sent)

        return call_async

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        given = {**dict(zip(places, args)), **options}
        sent = carried(given)
        return answered(function(**sent), given, sent)

    return call


completion = carry(litellm.completion)
acompletion = carry(litellm.acompletion)
embedding = carry(litellm.embedding)
aembedding = carry(litellm.aembedding)
responses = carry(litellm.responses)
aresponses = carry(litellm.aresponses)


class _LeftStream:
    """A stream of which LiteLLM will say nothing, because its reader has left. What was seen is reported under the same id."""

    def __init__(self, tollgate: Tollgate, sent: Mapping[str, Any], hides_usage: bool) -> None:
        self.tally, self.over, self.hides_usage = Tally(), False, hides_usage
        self._tollgate, self._sent, self.call_id = tollgate, sent, sent["litellm_call_id"]
        self._input_tokens = input_tokens_of(sent)
        self.provider: Optional[str] = None
        self.model: Optional[str] = None

    def left(self) -> None:
        if self.over:
            return
        self.over = True
        usage: Usage = self.tally.usage or {"input_tokens": self._input_tokens, "output_tokens": self.tally.output_tokens}
        event = {"event_id": self.call_id, "call_id": self.call_id, "provider": self.provider, "model": self.model, "usage": usage}
        self._tollgate.report({**_who(self._sent["metadata"]), **event, "usage_quality": "partial", "status": "cancelled", "stream": True})


def _watched(stream: Any, watch: _LeftStream) -> Any:
    its_class = type(stream)
    _watching[watch.call_id] = None
    while len(_watching) > _MOST_WATCHED:
        _watching.popitem(last=False)
    watch.provider, watch.model = getattr(stream, "custom_llm_provider", None), getattr(stream, "model", None)

    def seen(piece: Any) -> bool:
        """Whether the caller sees it as well."""
        watch.tally.add_piece(piece)
        return not (watch.hides_usage and getattr(piece, "usage", None) is not None)

    def __next__(self: Any) -> Any:
        try:
            while True:
                piece = its_class.__next__(self)
                if seen(piece):
                    return piece
        except StopIteration:
            watch.over = True  # LiteLLM reports its end.
            raise
        except BaseException:
            watch.left()  # LiteLLM reports the failure, and not what was seen before it.
            raise

    async def __anext__(self: Any) -> Any:
        try:
            while True:
                piece = await its_class.__anext__(self)
                if seen(piece):
                    return piece
        except StopAsyncIteration:
            watch.over = True
            raise
        except BaseException:
            watch.left()
            raise

    # A loop that is left lets go of these; of the stream itself LiteLLM's own threads may keep hold.
    def __iter__(self: Any) -> Iterator[Any]:
        try:
            for piece in iter(lambda: next(self, None), None):
                yield piece
        except GeneratorExit:
            watch.left()
            raise

    async def __aiter__(self: Any) -> AsyncIterator[Any]:
        try:
            while True:
                try:
                    piece = await self.__anext__()
                except StopAsyncIteration:
                    return
                yield piece
        except GeneratorExit:
            watch.left()
            raise

    # The same kind of object to whoever asks for its class.
    own = {"__next__": __next__, "__anext__": __anext__, "__iter__": __iter__, "__aiter__": __aiter__, "__module__": its_class.__module__}
    stream.__class__ = type(its_class.__name__, (its_class,), own)
    weakref.finalize(stream, watch.left)
    return stream


def _carried(metadata: Mapping[str, Any], strictly: bool = False) -> Json:
    """What a call takes along; `strictly` where the caller can still be stopped."""
    own = {name: metadata[name] for name in ATTRIBUTION if metadata.get(name) is not None}
    if not strictly and not metadata.get("tenant_id") and not current().get("tenant_id"):
        return {}
    return {**attributed(metadata.get("tenant_id"), **own), _CARRIED: True}


def _who(metadata: Mapping[str, Any]) -> Json:
    """Raises TenantError outside production where nothing was carried: LiteLLM logs it, and nobody is charged for a forgotten tenant."""
    own = {name: metadata[name] for name in ATTRIBUTION if metadata.get(name) is not None}
    if metadata.get(_CARRIED) and not metadata.get("tenant_id"):
        found = own  # Production went on without one, and said so.
    else:
        found = attributed(metadata.get("tenant_id") or "", **own)
    hold_id = metadata.get("hold_id")
    return found if hold_id is None else {**found, "hold_id": hold_id}


def _figures(kwargs: Json, response: Any) -> Json:
    usage = usage_of(response.get("usage") if isinstance(response, Mapping) else getattr(response, "usage", None))
    # LiteLLM makes zeros of figures that a stream did not bring.
    if usage is not None and any(usage.values()):
        return {"usage": usage, "usage_quality": "exact"}
    tally = Tally()
    tally.add_answer({"choices": getattr(response, "choices", None), "output": getattr(response, "output", None)})
    return {"usage": {"input_tokens": input_tokens_of(kwargs), "output_tokens": tally.output_tokens}, "usage_quality": "partial"}


def _milliseconds(start: Any, end: Any) -> Optional[int]:
    try:
        return max(0, round((end - start).total_seconds() * 1000))
    except (AttributeError, TypeError):
        return None
