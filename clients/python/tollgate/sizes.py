"""How much a request will be counted as input and what its answer says it used, in Tollgate's exclusive pools.

Input is estimated from bytes, three to a token, as the server does it: that errs upwards for English and is about right for code and
Chinese. OpenAI's figures include cached and audio tokens; the pools here do not.
"""

from typing import Any, Dict, Iterable, Mapping, Optional, Tuple

BYTES_PER_TOKEN = 3
_BYTES_PER_IMAGE = 1_600 * BYTES_PER_TOKEN  # The most a provider counts for one picture of ordinary size.
_MEDIA_DISCOUNT = 10  # Base64 of a PDF or a recording is some 30 bytes a token.
_MEDIA_FIELDS = frozenset({"data", "file_data", "b64_json"})
_INPUT_FIELDS = ("messages", "input", "instructions", "prompt", "tools", "functions", "response_format", "text")
_MAX_DEPTH = 32

Usage = Dict[str, int]


def input_tokens_of(body: Mapping[str, Any]) -> int:
    """Tokens of a request, rounded up. What the provider keeps for the caller (a stored prompt, a conversation) is not in them."""
    return tokens_of(sum(_size_of(body.get(field), 0) for field in _INPUT_FIELDS))


def tokens_of(size: int) -> int:
    """Tokens of that many bytes of UTF-8, rounded up."""
    return -(-size // BYTES_PER_TOKEN)


def _text_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _size_of(value: Any, depth: int) -> int:
    if isinstance(value, str):
        if value.startswith("data:"):
            return _BYTES_PER_IMAGE if value.startswith("data:image/") else -(-len(value) // _MEDIA_DISCOUNT)
        return _text_size(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return BYTES_PER_TOKEN  # Numbers are token ids.
    if depth >= _MAX_DEPTH:
        return 0
    if isinstance(value, (list, tuple)):
        return sum(_size_of(item, depth + 1) for item in value)
    size = 0
    for name, item in _fields(value):
        if name in _MEDIA_FIELDS and isinstance(item, str):
            size += -(-len(item) // _MEDIA_DISCOUNT)
        else:
            size += _text_size(name) + _size_of(item, depth + 1)
    return size


def usage_of(usage: Any) -> Optional[Usage]:
    """The pools of a `usage` object of chat completions, responses or embeddings, or None where it is none."""
    found_input = _count(_first(usage, "prompt_tokens", "input_tokens"))
    found_output = _count(_first(usage, "completion_tokens", "output_tokens"))
    if found_input is None and found_output is None:
        return None
    inputs = _first(usage, "prompt_tokens_details", "input_tokens_details")
    outputs = _first(usage, "completion_tokens_details", "output_tokens_details")
    read, audio_in, audio_out = (_count(value) or 0 for value in (_get(inputs, "cached_tokens"), _get(inputs, "audio_tokens"), _get(outputs, "audio_tokens")))
    written, written_1h = _cache_written(inputs)
    text = max(0, (found_output or 0) - audio_out)
    return {
        "input_tokens": max(0, (found_input or 0) - read - written - written_1h - audio_in),
        "cache_read_tokens": read,
        "cache_creation_tokens": written,
        "cache_creation_1h_tokens": written_1h,
        "audio_input_tokens": audio_in,
        "output_tokens": text,
        "reasoning_tokens": min(text, _count(_get(outputs, "reasoning_tokens")) or 0),
        "audio_output_tokens": audio_out,
    }


def _cache_written(inputs: Any) -> Tuple[int, int]:
    """For five minutes and for an hour; LiteLLM names them apart, others do not."""
    details = _get(inputs, "cache_creation_token_details")
    written = _count(_first(inputs, "cache_creation_tokens", "cache_write_tokens")) or 0
    hour = min(written, _count(_get(details, "ephemeral_1h_input_tokens")) or 0)
    return written - hour, hour


class Tally:
    """Usage and text of one answer or of the pieces of a stream, as far as they were seen."""

    def __init__(self) -> None:
        # The newest figures of the provider. Cumulative where every piece has some, so that they are never added up.
        self.usage: Optional[Usage] = None
        # Whether the provider said that it is over.
        self.complete = False
        self._bytes = 0

    @property
    def output_tokens(self) -> int:
        return tokens_of(self._bytes)

    def add_answer(self, answer: Any) -> None:
        self.usage = usage_of(_get(answer, "usage"))
        self.complete = _get(answer, "status") not in ("queued", "in_progress")
        if self.usage is None:
            self._bytes += _written(_get(answer, "choices")) + _written(_get(answer, "output"))

    def add_piece(self, piece: Any) -> None:
        found = usage_of(_get(piece, "usage")) or usage_of(_get(_get(piece, "response"), "usage"))
        if found is not None:
            self.usage = found
        for choice in _get(piece, "choices") or ():
            self._bytes += _written(_first(choice, "delta", "message"))
            self.complete = self.complete or _get(choice, "finish_reason") is not None
        kind, delta = _get(piece, "type"), _get(piece, "delta")
        if isinstance(kind, str):
            if kind.endswith(".delta") and isinstance(delta, str):
                self._bytes += _text_size(delta)
            self.complete = self.complete or kind in ("response.completed", "response.incomplete", "response.failed")


def is_usage_piece(piece: Any) -> bool:
    """The piece that `stream_options.include_usage` adds: figures and no choice."""
    return _get(piece, "choices") == [] and _get(piece, "usage") is not None


_NOT_WRITTEN_BY_THE_MODEL = frozenset({"id", "role", "type", "status", "finish_reason", "index", "call_id", "object"})


def _written(value: Any) -> int:
    if isinstance(value, str):
        return _text_size(value)
    if isinstance(value, (list, tuple)):
        return sum(_written(item) for item in value)
    return sum(_written(item) for name, item in _fields(value) if name not in _NOT_WRITTEN_BY_THE_MODEL)


def _fields(value: Any) -> Iterable[Tuple[str, Any]]:
    """Of a mapping, or of a model of pydantic's: the SDKs give both."""
    if isinstance(value, Mapping):
        return [(str(name), item) for name, item in value.items()]
    if hasattr(value, "model_fields_set"):
        return [*vars(value).items(), *(getattr(value, "__pydantic_extra__", None) or {}).items()]
    return []


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _first(value: Any, *names: str) -> Any:
    return next((found for found in (_get(value, name) for name in names) if found is not None), None)


def _count(value: Any) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
