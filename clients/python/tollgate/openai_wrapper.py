"""`with_tollgate(openai.OpenAI(), tollgate=...)`: the official client, metered; sync and async.

It works where every method of that client ends, in its `post`, so that `create`, `parse`, `stream` and raw responses are all covered and
none of them can go around it. Calls that cost money and cannot be measured here are refused, not let through.
"""

import inspect
import re
import sys
import weakref
from functools import lru_cache
from types import new_class
from typing import Any, AsyncIterator, Callable, Iterator, Mapping, Optional, TypeVar, Union

from .client import Tollgate
from .context import checked
from .errors import UnmeteredError
from .metered_call import MeteredCall, Settings
from .sizes import Tally, is_usage_piece

Client = TypeVar("Client")

_METERED = {"/chat/completions": "chat", "/responses": "responses", "/embeddings": "embeddings"}
# What costs money and has no usage in its answer, or bills later than any hold lives.
_UNMETERED = re.compile(r"^/(completions|images|audio|videos|batches|fine_tuning|threads|realtime|evals|chatkit|responses/compact)(/|$)")
_RAW_RESPONSE = "x-stainless-raw-response"


def with_tollgate(
    client: Client,
    *,
    tollgate: Tollgate,
    tenant_id: Union[str, Callable[[], str], None] = None,
    provider: str = "openai",
    priority: Optional[str] = None,
    input_tokens: Union[int, Callable[[Mapping[str, Any]], int], None] = None,
    **attribution: Any,
) -> Client:
    """A copy of `client` (openai.OpenAI or AsyncOpenAI) whose calls are asked for, swapped to the decided model, and reported.

    The tenant is `tenant_id`, else the one of `tollgate.context`; without either a call raises TenantError outside production. A refused
    call raises BlockedError before anything is sent.
    """
    settings = Settings(tollgate, tenant_id, checked(attribution), provider, priority, input_tokens)
    return _metered(client, settings)


def _metered(client: Any, settings: Settings) -> Any:
    copy = client.copy()
    send = copy.post

    def copied(**changes: Any) -> Any:
        return _metered(client.copy(**changes), settings)

    # The resources of a client take its `post` when they are first used. Copies made of the copy stay metered.
    copy.post = _async_post(send, settings) if inspect.iscoroutinefunction(send) else _post(send, settings)
    copy.copy = copy.with_options = copied
    return copy


def _post(send: Callable[..., Any], settings: Settings) -> Callable[..., Any]:
    def post(path: str, **options: Any) -> Any:
        call = _call_for(settings, path, options)
        if call is None:
            return send(path, **options)
        body = call.opened(settings.tollgate.ask(call.question()))
        try:
            answer = send(path, **{**options, "body": body})
        except BaseException as error:
            call.fail(error)
            raise
        return _observed(call, answer, _is_raw(options))

    return post


def _async_post(send: Callable[..., Any], settings: Settings) -> Callable[..., Any]:
    async def post(path: str, **options: Any) -> Any:
        call = _call_for(settings, path, options)
        if call is None:
            return await send(path, **options)
        body = call.opened(await settings.tollgate.aask(call.question()))
        try:
            answer = await send(path, **{**options, "body": body})
        except BaseException as error:
            call.fail(error)
            raise
        return _observed(call, answer, _is_raw(options))

    return post


def _call_for(settings: Settings, path: str, options: Mapping[str, Any]) -> Optional[MeteredCall]:
    """The call to measure, or None for one that costs nothing. Raises UnmeteredError, TenantError."""
    bare = path.split("?")[0]
    if _UNMETERED.match(bare):
        raise _unmetered(bare)
    kind = _METERED.get(bare)
    if kind is None:
        return None
    body = options.get("body")
    if not isinstance(body, Mapping):
        raise _unmetered(f"{bare} with a body of bytes")
    # Runs on for minutes after an answer without figures: nobody would learn what it cost.
    if body.get("background") is True:
        raise _unmetered(f"{bare} in the background")
    if _raw_kind(options) == "stream":
        raise _unmetered(f"{bare} with_streaming_response")
    return MeteredCall(settings, kind, body)


def _unmetered(what: str) -> UnmeteredError:
    return UnmeteredError(f"POST {what} costs money and is not measured here: make it with the plain client and report it with Tollgate.events()")


def _raw_kind(options: Mapping[str, Any]) -> Optional[str]:
    headers = (options.get("options") or {}).get("headers") or {}
    return next((value for name, value in headers.items() if name.lower() == _RAW_RESPONSE), None)


def _is_raw(options: Mapping[str, Any]) -> bool:
    return _raw_kind(options) is not None


def _observed(call: MeteredCall, answer: Any, raw: bool) -> Any:
    if not raw:
        return _measured(call, answer)
    parsed = _measured(call, answer.parse())

    def parse(**options: Any) -> Any:
        return type(answer).parse(answer, **options) if options else parsed

    answer.parse = parse
    return answer


def _measured(call: MeteredCall, answer: Any) -> Any:
    if hasattr(answer, "_iterator"):
        return _measured_stream(call, answer)
    tally = Tally()
    tally.add_answer(answer)
    call.note_output()
    call.succeed(tally)
    return answer


def _measured_stream(call: MeteredCall, stream: Any) -> Any:
    """The same stream, counted as it is read. What ends it is reported: its end, a `close`, a broken connection, an early `break`."""
    tally = Tally()
    is_async = hasattr(stream, "__aiter__")
    counted = _counted_async if is_async else _counted
    stream._iterator = counted(call, stream._iterator, tally)
    stream._tollgate = (call, tally)
    stream.__class__ = _noticing_an_early_end(type(stream), is_async)
    _notice_close(call, tally, stream.response)
    # A stream that nobody even begins to read is over when nobody has it any more.
    weakref.finalize(stream, call.break_off, tally)
    return stream


@lru_cache(maxsize=None)
def _noticing_an_early_end(its_class: Any, is_async: bool) -> Any:
    """A `break` leaves this SDK's streams open, to be read on. So what was seen is reported, and is corrected if the end does come."""

    def __iter__(self: Any) -> Iterator[Any]:
        try:
            yield from _open_ended(self._iterator)
        except GeneratorExit:
            self._tollgate[0].break_off(self._tollgate[1])
            raise

    async def __aiter__(self: Any) -> AsyncIterator[Any]:
        try:
            async for piece in self._iterator:
                yield piece
        except GeneratorExit:
            self._tollgate[0].break_off(self._tollgate[1])
            raise

    overrides = {"__aiter__": __aiter__} if is_async else {"__iter__": __iter__}
    return new_class(its_class.__name__, (its_class,), {}, lambda namespace: namespace.update(overrides, __module__=its_class.__module__))


def _open_ended(pieces: Iterator[Any]) -> Iterator[Any]:
    # Not `yield from pieces`: that would close them with the loop that leaves.
    for piece in pieces:
        yield piece


def _notice_close(call: MeteredCall, tally: Tally, response: Any) -> None:
    """Every way of ending a stream of this SDK closes its response, those of its own wrappers (`.stream()`) too."""
    close, aclose = response.close, response.aclose

    def closed() -> None:
        call.break_off(tally, _failure())
        close()

    async def aclosed() -> None:
        call.break_off(tally, _failure())
        await aclose()

    response.close, response.aclose = closed, aclosed


def _failure() -> Optional[BaseException]:
    """What is going wrong while the response is closed, if something is."""
    error = sys.exc_info()[1]
    return None if isinstance(error, (GeneratorExit, StopIteration, StopAsyncIteration)) else error


def _counted(call: MeteredCall, pieces: Iterator[Any], tally: Tally) -> Iterator[Any]:
    for piece in pieces:
        tally.add_piece(piece)
        call.note_output()
        if not (call.hides_usage and is_usage_piece(piece)):
            yield piece
    call.succeed(tally)


async def _counted_async(call: MeteredCall, pieces: AsyncIterator[Any], tally: Tally) -> AsyncIterator[Any]:
    async for piece in pieces:
        tally.add_piece(piece)
        call.note_output()
        if not (call.hides_usage and is_usage_piece(piece)):
            yield piece
    call.succeed(tally)
