"""Asks Tollgate before every call of a LiteLLM proxy: `litellm_settings.callbacks: ["tollgate_litellm.proxy_handler_instance"]`.

Guarantees: no prompt, answer or parameter leaves the proxy, only sizes and names; a call waits at most TOLLGATE_TIMEOUT_MS for its
decision; a hold is given back only where the provider cannot have billed, and is otherwise left for the spend event or for its expiry;
nothing grows with traffic. What a client can forge (ids, metadata, call ids) can neither switch the check off nor reuse a hold.

Environment: TOLLGATE_URL, TOLLGATE_KEY (scope "authorize"), TOLLGATE_TIMEOUT_MS (250), TOLLGATE_ON_FAILURE (open | closed),
TOLLGATE_TENANT_PATHS (comma-separated, as in a source's attribution). Written against LiteLLM 1.104.0.
"""

import asyncio
import contextvars
import json
import logging
import math
import os
import time
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple
from urllib.parse import quote

import httpx
import litellm
from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger

log = logging.getLogger("tollgate")

Json = Dict[str, Any]

# --- Which calls cost something --------------------------------------------------------------------------------------------------------

# LiteLLM's call types without their leading "a" or "_a". Whatever is not listed (files, lists, moderation, which is free, batches and
# fine-tuning, which are billed days later and fit no hold) passes unasked and is counted in `stats.skipped`.
_TEXT_CALLS = frozenset(
    {
        *("completion", "text_completion", "responses", "responses_websocket", "compact_responses", "anthropic_messages"),
        *("generate_content", "generate_content_stream", "realtime", "create_interaction", "send_message"),
        *("pass_through_endpoint", "llm_passthrough_route"),
    }
)
_CALLS_WITHOUT_TEXT_OUTPUT = frozenset(
    {
        *("embedding", "rerank", "image_generation", "image_edit", "transcription", "speech", "ocr", "search"),
        *("video_generation", "create_video", "video_remix", "video_edit", "video_extension", "vector_store_search"),
    }
)
# A pass-through body is the provider's own: without a model in it there is nothing to price.
_PASS_THROUGH = frozenset({"pass_through_endpoint", "llm_passthrough_route"})
_SOCKETS = frozenset({"realtime", "responses_websocket"})


def _kind_of(call_type: str) -> Optional[str]:
    """The call type without its asynchronous prefix, or None where the call is not asked for."""
    known = _TEXT_CALLS | _CALLS_WITHOUT_TEXT_OUTPUT
    name = call_type.lstrip("_")
    for candidate in (name, name[1:] if name.startswith("a") else name):
        if candidate in known:
            return candidate
    return None


# --- Sizes -----------------------------------------------------------------------------------------------------------------------------

_BYTES_PER_TOKEN = 3  # The estimate Tollgate itself uses; errs upwards for English, is about right for code and Chinese.
_BYTES_PER_IMAGE = 1_600 * _BYTES_PER_TOKEN  # The most a provider counts for one picture of ordinary size.
_MEDIA_DISCOUNT = 10  # Base64 of a PDF or a recording is some 30 bytes a token.
_INPUT_FIELDS = (
    *("messages", "system", "instructions", "input", "prompt", "contents", "systemInstruction", "system_instruction"),
    *("tools", "functions", "response_format", "query", "documents"),
)
_MAX_DEPTH = 32


def _size_of(value: Any, depth: int = 0) -> int:
    """Bytes of UTF-8 that the model will read, in units of which three make a token. Numbers are token ids: one token each."""
    if isinstance(value, str):
        if value.startswith("data:"):
            return _BYTES_PER_IMAGE if value.startswith("data:image/") else len(value) // _MEDIA_DISCOUNT
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, (int, float)):
        return _BYTES_PER_TOKEN
    if depth >= _MAX_DEPTH:
        return 0
    if isinstance(value, Mapping):
        if value.get("type") == "image":
            return _BYTES_PER_IMAGE
        media = ("data", "file_data", "b64_json")
        return sum(
            len(item) // _MEDIA_DISCOUNT if key in media and isinstance(item, str) else len(str(key)) + _size_of(item, depth + 1)
            for key, item in value.items()
        )
    if isinstance(value, (list, tuple)):
        return sum(_size_of(item, depth + 1) for item in value)
    return 0


def _input_tokens(data: Json, kind: str) -> Optional[int]:
    # Image requests get their prompt a second time, as messages.
    fields = [field for field in _INPUT_FIELDS if not (kind == "image_generation" and field == "messages")]
    size = sum(_size_of(data[field]) for field in fields if data.get(field) is not None)
    return math.ceil(size / _BYTES_PER_TOKEN) if size > 0 else None


_OUTPUT_FIELDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_OUTPUT_CONTAINERS = ("generationConfig", "generation_config", "config")
_OUTPUT_FIELDS_OF_CONTAINERS = ("maxOutputTokens", "max_output_tokens")


def _output_places(data: Json) -> Iterator[Tuple[Optional[str], str, int]]:
    """Every place that limits the output: (container or None, field, value)."""
    for field in _OUTPUT_FIELDS:
        if _is_count(data.get(field)):
            yield None, field, data[field]
    for container in _OUTPUT_CONTAINERS:
        inner = data.get(container)
        if isinstance(inner, Mapping):
            for field in _OUTPUT_FIELDS_OF_CONTAINERS:
                if _is_count(inner.get(field)):
                    yield container, field, inner[field]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53


def _answers_of(data: Json) -> int:
    """How many answers one call asks for; each may be as long as the limit."""
    return max([1, *(data[field] for field in ("n", "best_of") if _is_count(data.get(field)) and data[field] <= 1_024)])


def _max_output_tokens(data: Json, kind: str) -> Optional[int]:
    if kind in _CALLS_WITHOUT_TEXT_OUTPUT:
        return 0
    limits = [value for _, _, value in _output_places(data)]
    return max(limits) * _answers_of(data) if limits else None


def _cut_output(data: Json, allowed: int) -> None:
    each = max(1, allowed // _answers_of(data))
    for container, field, value in list(_output_places(data)):
        if value <= each:
            continue
        if container is None:
            data[field] = each
        else:
            data[container] = {**data[container], field: each}


# --- Names -----------------------------------------------------------------------------------------------------------------------------


def _id_of(value: Any) -> Optional[str]:
    """An id as Tollgate takes it: 1 to 128 bytes of printable NFC text without outer spaces. Whole numbers count as their digits."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return str(value)
    if not isinstance(value, str) or not value or len(value) > 128 or value != value.strip():
        return None
    printable = not any(unicodedata.category(character)[0] == "C" or character in "\u2028\u2029" for character in value)
    return value if printable and unicodedata.normalize("NFC", value) == value and len(value.encode("utf-8")) <= 128 else None


_CONTAINERS = ("metadata.user_api_key_auth_metadata", "metadata.spend_logs_metadata", "metadata.requester_metadata")


def _in_containers(*names: str) -> List[str]:
    return [f"{container}.{name}" for container in _CONTAINERS for name in names]


# The same places in the same order as Tollgate's LiteLLM adapter, so that a call is held for whom it will be booked.
ATTRIBUTION: Dict[str, Sequence[str]] = {
    "tenant_id": [
        *_in_containers("tenant_id", "tenant", "org_id", "organization_id", "customer_id", "account_id", "team"),
        *("tag:x-tenant-id", "metadata.user_api_key_team_id", "metadata.team_id"),
    ],
    "user_id": [
        *_in_containers("user_id", "user", "_user", "end_user"),
        *("end_user", "metadata.user_api_key_end_user_id", "metadata.user_api_key_user_id"),
    ],
    "feature": [*_in_containers("feature", "feature_name", "route", "surface", "component"), "tag:x-feature", "tag:feature"],
    "environment": [*_in_containers("environment", "env", "_environment"), "tag:x-environment", "tag:environment"],
    "assistant_id": _in_containers("assistant_id", "agent_id", "agent", "workflow_id", "workflow"),
    "thread_id": [*_in_containers("thread_id", "session_id", "conversation_id"), "session_id", "trace_id"],
    "api_key_id": ["metadata.user_api_key_hash"],
    "request_id": _in_containers("request_id", "x-request-id"),
}
# LiteLLM's name for whoever uses the master key: nobody in particular.
_NOBODY = "default_user_id"


def _metadata_name(data: Json) -> str:
    return "litellm_metadata" if "litellm_metadata" in data else "metadata"


def _as_dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _report_of(data: Json, user: Any) -> Json:
    """The part of LiteLLM's later spend report that names who pays, as far as it is known before the call."""
    metadata = _as_dict(data.get(_metadata_name(data)))
    headers = _as_dict(_as_dict(data.get("proxy_server_request")).get("headers"))
    tags = [tag for tag in metadata.get("tags") or () if isinstance(tag, str)]
    for name in getattr(litellm, "extra_spend_tag_headers", None) or ():
        if headers.get(name):
            tags.append(f"{name}: {headers[name]}")
    team = getattr(user, "team_id", None)
    end_user = getattr(user, "end_user_id", None)
    return {
        "metadata": {
            # Taken from the authenticated key, not from the request's copy of it. The team's values stand over the key's in the report.
            "user_api_key_auth_metadata": {**_as_dict(getattr(user, "metadata", None)), **_as_dict(getattr(user, "team_metadata", None))},
            "spend_logs_metadata": _as_dict(metadata.get("spend_logs_metadata")),
            "requester_metadata": _as_dict(metadata.get("requester_metadata")),
            "user_api_key_hash": metadata.get("user_api_key_hash") or getattr(user, "api_key", None),
            "user_api_key_team_id": team,
            "team_id": team,
            "user_api_key_org_id": getattr(user, "org_id", None),
            "user_api_key_end_user_id": end_user,
            "user_api_key_user_id": getattr(user, "user_id", None),
            "user_api_key_alias": getattr(user, "key_alias", None),
        },
        "request_tags": tags,
        "end_user": end_user,
        "session_id": data.get("litellm_session_id"),
        "trace_id": data.get("litellm_session_id") or data.get("litellm_trace_id"),
        "model_group": data.get("model"),
    }


def _at(report: Json, path: str) -> Any:
    if path.startswith("tag:"):
        prefix = f"{path[len('tag:'):].lower()}:"
        for tag in report["request_tags"]:
            if tag.lower().startswith(prefix) and tag[len(prefix) :].strip():
                return tag[len(prefix) :].strip()
        return None
    value: Any = report
    for segment in path.split("."):
        value = value.get(segment) if isinstance(value, dict) else None
    return value


class _UnusableTenant(Exception):
    """A tenant was named, in a form no tenant id has."""


def _attribution(report: Json, places: Mapping[str, Sequence[str]]) -> Dict[str, str]:
    found: Dict[str, str] = {}
    for field, paths in places.items():
        for path in paths:
            value = _at(report, path)
            if value is None or value == "" or value == _NOBODY:
                continue
            usable = _id_of(value)
            if usable is not None:
                found[field] = usable
            elif field == "tenant_id":
                raise _UnusableTenant
            break
    return found


# --- Models ----------------------------------------------------------------------------------------------------------------------------


def _router() -> Any:
    from litellm.proxy.proxy_server import llm_router  # Not there before the proxy has started.

    return llm_router


@lru_cache(maxsize=1_024)
def _provider_and_model(model: str, provider: Optional[str]) -> Tuple[Optional[str], str]:
    try:
        name, found, _, _ = litellm.get_llm_provider(model=model, custom_llm_provider=provider)
        return found, name
    except Exception:  # noqa: BLE001  LiteLLM raises several kinds for a model it does not know
        return provider, model


@lru_cache(maxsize=1_024)
def _list_price(model: str, provider: Optional[str]) -> Mapping[str, Any]:
    try:
        return dict(litellm.get_model_info(model=model, custom_llm_provider=provider))
    except Exception:  # noqa: BLE001  as above
        return {}


@dataclass(frozen=True)
class _Deployment:
    provider: Optional[str]
    model: str
    price: Mapping[str, Any]

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        return (self.price.get("input_cost_per_token") or 0) * input_tokens + (self.price.get("output_cost_per_token") or 0) * output_tokens


def _deployment_of(entry: Mapping[str, Any], asked: str) -> _Deployment:
    params = entry.get("litellm_params") or {}
    # Azure's deployments have names of their own; base_model says what runs behind them.
    named = (entry.get("model_info") or {}).get("base_model") or params.get("base_model") or params.get("model") or asked
    provider, model = _provider_and_model(asked if "*" in named else named, params.get("custom_llm_provider"))
    own = {key: params[key] for key in ("input_cost_per_token", "output_cost_per_token") if isinstance(params.get(key), (int, float))}
    return _Deployment(provider, model, {**_list_price(model, provider), **own})


def _resolve(router: Any, asked: str, team_id: Optional[str], input_tokens: int, output_tokens: int) -> _Deployment:
    """What the router may call for this name: the dearest of its deployments, since any of them may get the call."""
    entries = (router.get_model_list(model_name=asked, team_id=team_id) or []) if router is not None else []
    deployments = [_deployment_of(entry, asked) for entry in entries] or [_deployment_of({}, asked)]
    return max(deployments, key=lambda deployment: deployment.cost(input_tokens, output_tokens))


def _callable_name(router: Any, names: Sequence[Optional[str]], route: Tuple[Optional[str], Optional[str]], team_id: Optional[str]) -> Optional[str]:
    """The name under which this proxy can call what Tollgate answered: one of `names`, else a group with a deployment of `route`."""
    if router is None:
        return next((name for name in names if name), None)
    for name in names:
        if name and router.get_model_list(model_name=name, team_id=team_id):
            return name
    # A group counts only if every one of its deployments is the answered one: the router may take any of them.
    groups: Dict[str, bool] = {}
    for entry in router.get_model_list(team_id=team_id) or []:
        name = entry.get("model_name") or ""
        deployment = _deployment_of(entry, name)
        groups[name] = groups.get(name, True) and deployment.model == route[1] and route[0] in (None, deployment.provider)
    return next((name for name, fits in groups.items() if fits), None)


def _price_without_tokens(data: Json, kind: str, price: Mapping[str, Any]) -> Optional[str]:
    """Dollars for what is billed by the piece, which tokens cannot express; None where LiteLLM's price list has no such price."""
    if kind in ("image_generation", "image_edit"):
        unit, count = price.get("output_cost_per_image") or price.get("input_cost_per_image"), _answers_of(data)
    elif kind == "speech":
        unit, count = price.get("input_cost_per_character"), len(data.get("input") or "")
    elif kind in ("rerank", "search"):
        unit, count = price.get("input_cost_per_query"), 1
    else:
        return None
    if not isinstance(unit, (int, float)) or unit <= 0 or count <= 0:
        return None
    return format((Decimal(repr(unit)) * count).quantize(Decimal("0.000000001"), rounding="ROUND_UP"), "f")


# --- The answer ------------------------------------------------------------------------------------------------------------------------

_PAYMENT_REQUIRED = frozenset({"insufficient_funds", "too_large", "budget_exhausted", "threshold_downgrade", "budget_downgrade"})
# Waiting helps: other calls give back what they hold, or a window moves on.
_TRY_LATER = frozenset({"in_flight_exhausted", "rate_limited", "concurrency_limited"})
_ERROR_TYPES = {402: "budget_exceeded", 403: "permission_error", 429: "rate_limit_error", 503: "service_unavailable_error"}


def _status_of(code: str, retry_after_ms: Optional[int]) -> int:
    if code in _PAYMENT_REQUIRED:
        return 402
    if code == "store_unavailable":
        return 503
    # A reason this file does not know yet: a time to wait says that it is a window.
    return 429 if code in _TRY_LATER or retry_after_ms is not None and code not in _FORBIDDEN else 403


_FORBIDDEN = frozenset({"tenant_missing", "tenant_unknown", "tenant_suspended", "key_revoked", "model_not_allowed", "model_unpriced"})


class Refused(HTTPException):
    """LiteLLM takes `type` for the error's type and passes `detail` on as `provider_specific_fields`."""

    def __init__(self, code: str, message: str, tenant_id: Optional[str], retry_after_ms: Optional[int] = None) -> None:
        status = _status_of(code, retry_after_ms)
        self.type = _ERROR_TYPES[status]
        self.param = None
        self.message = message
        headers = {}
        if status in (429, 503) or retry_after_ms is not None:
            headers["retry-after"] = str(max(1, math.ceil((retry_after_ms or 1_000) / 1_000)))
        error = {"type": self.type, "code": code, "message": message, "tenant_id": tenant_id}
        super().__init__(status_code=status, detail={"error": error}, headers=headers)


class _NoDecision(Exception):
    """Tollgate did not decide: out of reach, too late, or it refused the question."""


class _CallIdUsed(Exception):
    """Another call has or had a hold under this call id."""


@dataclass
class Stats:
    """Counts since the proxy started, one set per worker process."""

    asked: int = 0
    allowed: int = 0
    downgraded: int = 0
    blocked: int = 0
    skipped: int = 0
    """Calls of a kind that is not asked for."""
    timeouts: int = 0
    errors: int = 0
    """Everything else that was no decision: no connection, a refused key, an answer that is none."""
    failed_open: int = 0
    failed_closed: int = 0
    call_ids_reused: int = 0
    released: int = 0
    release_failed: int = 0
    left_to_expire: int = 0
    """Holds of failed calls that the provider may have billed."""
    late_answers: int = 0


# --- The hook --------------------------------------------------------------------------------------------------------------------------

# Where a call's own record stays until it ends. Written by this file alone: what a client puts there is taken away first.
_RECORD = "tollgate_call"
_HOLD_ID = "tollgate_hold_id"
# Nobody saw how far the provider got. Any other status is its own refusal, which comes before any output.
_GIVEN_UP_ON = frozenset({408, 499, 502, 504})
_LATE_ANSWER_SECONDS = 5.0
_MOST_LATE_ANSWERS = 256
_LOG_EVERY_SECONDS = 60.0
# Below the 5 s after which Node closes an idle connection, so that a request does not meet a closing one.
_KEEPALIVE_SECONDS = 4.0

# The record of this request's task, for the second pass LiteLLM makes when one of its own rate limits sends it to a fallback model.
_record_of_task: "contextvars.ContextVar[Optional[Json]]" = contextvars.ContextVar("tollgate_call", default=None)


class TollgateHook(CustomLogger):
    """`on_failure` is what happens to a call that Tollgate gave no decision on.

    Open is the default: a budget check that is down must not be an outage of the product, every call is still reported and booked, so
    the loss is at most what is spent above the limit meanwhile, and tenants who may not have even that are Tollgate's `on_store_failure`,
    which holds as long as any part of Tollgate answers. Choose closed where untrusted tenants prepay.
    """

    def __init__(
        self,
        url: str,
        key: str,
        timeout_ms: int = 250,
        on_failure: str = "open",
        tenant_paths: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.stats = Stats()
        self.on_failure = on_failure
        self._url = url.rstrip("/")
        self._key = key
        self._timeout = timeout_ms / 1_000
        self._places = {**ATTRIBUTION, **({"tenant_id": list(tenant_paths)} if tenant_paths else {})}
        self._client: Optional[httpx.AsyncClient] = None
        self._client_loop: Optional[asyncio.AbstractEventLoop] = None
        self._late: Set["asyncio.Task[None]"] = set()
        self._logged_at = -math.inf
        self._failures_since_logged = 0
        self._failing = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "TollgateHook":
        """Raises ValueError naming the variable, so that the proxy does not start unguarded."""
        url = environment.get("TOLLGATE_URL", "")
        if not url.startswith(("http://", "https://")):
            raise ValueError("TOLLGATE_URL must be the address of Tollgate, such as http://127.0.0.1:8080")
        if not environment.get("TOLLGATE_KEY"):
            raise ValueError('TOLLGATE_KEY must be a service key with the scope "authorize"')
        timeout = environment.get("TOLLGATE_TIMEOUT_MS") or "250"
        if not timeout.isdecimal() or not 1 <= int(timeout) <= 60_000:
            raise ValueError("TOLLGATE_TIMEOUT_MS must be a whole number of milliseconds from 1 to 60000")
        on_failure = environment.get("TOLLGATE_ON_FAILURE") or "open"
        if on_failure not in ("open", "closed"):
            raise ValueError("TOLLGATE_ON_FAILURE must be open or closed")
        paths = [path.strip() for path in environment.get("TOLLGATE_TENANT_PATHS", "").split(",") if path.strip()]
        return cls(url, environment["TOLLGATE_KEY"], int(timeout), on_failure, paths)

    # LiteLLM looks for this method on the class itself, not on its bases.
    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: dict, call_type: str) -> Optional[dict]:
        kind = _kind_of(str(call_type))
        for name in ("metadata", "litellm_metadata"):
            if isinstance(data.get(name), dict):
                data[name].pop(_RECORD, None)
        if kind is None or (kind in _PASS_THROUGH and not isinstance(data.get("model"), str)):
            self.stats.skipped += 1
            return None
        self._release_abandoned(data)
        try:
            question, team_id = self._question(data, user_api_key_dict, kind)
        except _UnusableTenant:
            self.stats.blocked += 1
            raise Refused("tenant_unknown", "The tenant named in this request has no form a tenant id can have.", None) from None
        record: Json = {"decision": "unchecked", "reason": None, "model": None, "hold_id": None}
        self._keep(data, kind, record)
        self.stats.asked += 1
        try:
            answer = await self._decide(question)
        except _NoDecision as failure:
            return self._undecided(failure, question)
        self._recovered()
        return await self._obey(answer, question, data, kind, record, team_id)

    async def async_post_call_failure_deployment_hook(
        self, request_data: Mapping[str, Any], exception: Exception, call_type: Any, fallback_depth: Optional[int] = None
    ) -> None:
        """LiteLLM calls this for every failed attempt; the one that fails the request in the end need not be the one that cost."""
        record = _record_in(request_data)
        if record is not None and _may_have_run(exception):
            record["may_be_billed"] = True

    async def async_post_call_failure_hook(
        self, request_data: dict, original_exception: Exception, user_api_key_dict: Any, traceback_str: Optional[str] = None
    ) -> None:
        """LiteLLM calls this once, when retries and fallbacks are used up; also for a stream that broke after output was delivered."""
        # A later pass over the request that was refused before any call: LiteLLM then reports the first pass as the one that failed.
        self._release_abandoned(request_data)
        record = _record_in(request_data)
        if record is None or not record.get("hold_id") or record.get("ended"):
            return
        record["ended"] = True
        if record.get("may_be_billed") or _has_output(request_data) or _may_have_run_last(request_data, original_exception):
            self.stats.left_to_expire += 1
            return
        self._in_background(self._release(record["hold_id"]))

    async def async_post_call_response_headers_hook(
        self, data: dict, user_api_key_dict: Any, response: Any, request_headers: Optional[Dict[str, str]] = None, **_: Any
    ) -> Optional[Dict[str, str]]:
        """LiteLLM stamps the model the client asked for on the answer, so the headers are where a downgrade can be seen."""
        record = _record_in(data)
        if record is None:
            return None
        named = {"decision": record["decision"], "reason": record["reason"], "model": record["model"], "hold-id": record["hold_id"]}
        return {f"x-tollgate-{name}": value for name, value in named.items() if isinstance(value, str) and value.isascii()}

    async def close(self) -> None:
        """Waits for what is under way in the background, then closes the connections. A proxy need not call it: its process ends."""
        while self._late:
            await asyncio.gather(*self._late, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    # --- asking

    def _question(self, data: Json, user: Any, kind: str) -> Tuple[Json, Optional[str]]:
        team_id = getattr(user, "team_id", None)
        report = _report_of(data, user)
        input_tokens = _input_tokens(data, kind)
        max_output_tokens = _max_output_tokens(data, kind)
        question: Json = dict(_attribution(report, self._places))
        asked = data.get("model")
        if isinstance(asked, str) and asked:
            router = None if kind == "pass_through_endpoint" else _router()
            deployment = _resolve(router, asked, team_id, input_tokens or 1_024, 4_096 if max_output_tokens is None else max_output_tokens)
            question["model"] = _id_of(deployment.model)
            question["provider"] = _id_of(deployment.provider)
            question["estimated_cost_usd"] = _price_without_tokens(data, kind, deployment.price)
            if _id_of(asked) is not None and asked != deployment.model:
                question["tags"] = {"model_group": asked}
        question["input_tokens"] = input_tokens
        question["max_output_tokens"] = max_output_tokens
        question["call_id"] = _id_of(data.get("litellm_call_id"))
        return {name: value for name, value in question.items() if value is not None}, team_id

    async def _decide(self, question: Json) -> Json:
        """Within the deadline, or _NoDecision. An answer that comes later is not lost: its hold is released unless its call runs."""
        task = asyncio.ensure_future(self._ask(question))
        try:
            done, _ = await asyncio.wait({task}, timeout=self._timeout)
        except asyncio.CancelledError:
            # The client has gone; its call will not be made.
            self._await_late(task, runs=False)
            raise
        if not done:
            self.stats.timeouts += 1
            # A call that runs settles its hold by its call id.
            self._await_late(task, runs=self.on_failure == "open" and "call_id" in question)
            raise _NoDecision(f"no answer within {self._timeout * 1_000:.0f} ms")
        try:
            return task.result()
        except _NoDecision:
            self.stats.errors += 1
            raise

    async def _ask(self, question: Json) -> Json:
        try:
            answer, resent = await self._authorize(question)
            # A hold that this request did not ask for is another call's: LiteLLM takes call ids from its clients.
            if not answer.get("replayed") or resent:
                return answer
        except _CallIdUsed:
            pass
        self.stats.call_ids_reused += 1
        # The hold id alone links the spend event then.
        answer, _ = await self._authorize({name: value for name, value in question.items() if name != "call_id"})
        return answer

    async def _authorize(self, question: Json) -> Tuple[Json, bool]:
        content = json.dumps(question, ensure_ascii=False).encode("utf-8", "surrogatepass")
        resent = False
        while True:
            try:
                response = await self._http().post("/v1/authorize", content=content, headers={"prefer": "return=minimal"})
                break
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                # A kept connection that the other side closed. The call id makes asking again safe.
                if resent or "call_id" not in question:
                    raise _NoDecision(f"{type(error).__name__}") from error
                resent = True
            except httpx.HTTPError as error:
                raise _NoDecision(f"{type(error).__name__}") from error
        body = _json_of(response)
        if response.status_code == 409:
            raise _CallIdUsed
        if response.status_code != 200 or body.get("decision") not in ("allow", "downgrade", "block"):
            raise _NoDecision(f"HTTP {response.status_code} {str(body.get('code', ''))[:64]}")
        return body, resent

    def _undecided(self, failure: Exception, question: Json) -> None:
        self._failed(failure)
        if self.on_failure == "open":
            self.stats.failed_open += 1
            return
        self.stats.failed_closed += 1
        raise Refused("store_unavailable", "The budget of this request could not be checked.", question.get("tenant_id"), 1_000)

    # --- obeying

    async def _obey(self, answer: Json, question: Json, data: Json, kind: str, record: Json, team_id: Optional[str]) -> dict:
        reason = _as_dict(answer.get("reason"))
        hold_id = _id_of(_as_dict(answer.get("hold")).get("hold_id"))
        record.update(decision=answer["decision"], reason=_id_of(reason.get("code")))
        if answer["decision"] == "block":
            self.stats.blocked += 1
            raise self._refusal(reason, question)
        if answer["decision"] == "downgrade":
            model = self._downgraded(answer, kind, team_id)
            if model is None:
                self.stats.blocked += 1
                record["decision"] = "block"
                if hold_id is not None:
                    self._in_background(self._release(hold_id))
                log.error("Tollgate: the downgrade to %r names no model of this proxy; the call is refused", answer.get("model"))
                raise self._refusal(reason, question)
            data["model"] = record["model"] = model
            self.stats.downgraded += 1
        else:
            self.stats.allowed += 1
        asked, allowed = question.get("max_output_tokens"), answer.get("max_output_tokens")
        if _is_count(asked) and _is_count(allowed) and allowed < asked:
            _cut_output(data, allowed)
        if hold_id is not None:
            record["hold_id"] = hold_id
            metadata = data[_metadata_for(data, kind)]
            # A new object: LiteLLM puts the key's own, cached one here, and every later call of the key would carry this hold.
            metadata["spend_logs_metadata"] = {**_as_dict(metadata.get("spend_logs_metadata")), _HOLD_ID: hold_id}
        return data

    def _refusal(self, reason: Json, question: Json) -> Refused:
        retry = reason.get("retry_after_ms")
        code, message = str(reason.get("code") or "blocked"), str(reason.get("message") or "Refused by its budget.")
        return Refused(code, message, question.get("tenant_id"), retry if _is_count(retry) else None)

    def _downgraded(self, answer: Json, kind: str, team_id: Optional[str]) -> Optional[str]:
        route = _as_dict(answer.get("route"))
        model, provider = _id_of(route.get("model")), _id_of(route.get("provider"))
        if kind == "pass_through_endpoint":
            return model or _id_of(answer.get("model"))
        names = [_id_of(answer.get("model")), model, f"{provider}/{model}" if provider and model else None]
        return _callable_name(_router(), names, (provider, model), team_id)

    def _keep(self, data: Json, kind: str, record: Json) -> None:
        name = _metadata_for(data, kind)
        if not isinstance(data.get(name), dict):
            data[name] = {}
        data[name][_RECORD] = record
        # Over a socket several calls come as one request, and an earlier one of them is not abandoned.
        arrived = None if kind in _SOCKETS else _arrival_of(data)
        _record_of_task.set({"record": record, "arrived": arrived})

    # --- giving back

    def _release_abandoned(self, data: Json) -> None:
        """LiteLLM runs the hooks again, on a fresh copy of the request, when its own rate limit makes it try a fallback model."""
        latest = _record_of_task.get()
        if latest is None or latest["arrived"] is None or latest["arrived"] != _arrival_of(data):
            return
        record = latest["record"]
        if record is not _record_in(data) and record["hold_id"] and not record.get("ended"):
            record["ended"] = True
            self._in_background(self._release(record["hold_id"]))

    async def _release(self, hold_id: str) -> None:
        try:
            response = await self._http().post(f"/v1/holds/{quote(hold_id, safe='')}/release", content=b"{}")
            released = response.status_code < 300
        except httpx.HTTPError:
            released = False
        if released:
            self.stats.released += 1
        else:
            # It expires, and what that costs is the tenant's `unresolved_policy`.
            self.stats.release_failed += 1

    def _await_late(self, task: "asyncio.Task[Json]", runs: bool) -> None:
        async def settle() -> None:
            try:
                answer = await asyncio.wait_for(task, _LATE_ANSWER_SECONDS)
            except (asyncio.TimeoutError, _NoDecision):
                return
            self.stats.late_answers += 1
            hold_id = _id_of(_as_dict(answer.get("hold")).get("hold_id"))
            if hold_id is not None and not runs:
                await self._release(hold_id)

        if not self._in_background(settle()):
            task.cancel()

    def _in_background(self, work: Any) -> bool:
        """Off the request's path, at most a fixed number at once. What does not fit is left to expire."""
        if len(self._late) >= _MOST_LATE_ANSWERS:
            work.close()
            self.stats.release_failed += 1
            return False
        task = asyncio.ensure_future(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        return True

    # --- plumbing

    def _http(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._client_loop is not loop:
            self._client = httpx.AsyncClient(
                base_url=self._url,
                headers={"authorization": f"Bearer {self._key}", "content-type": "application/json", "user-agent": "tollgate-litellm/0.1.0"},
                timeout=_LATE_ANSWER_SECONDS,
                limits=httpx.Limits(max_connections=200, max_keepalive_connections=50, keepalive_expiry=_KEEPALIVE_SECONDS),
            )
            self._client_loop = loop
        return self._client

    def _failed(self, failure: Exception) -> None:
        self._failing = True
        self._failures_since_logged += 1
        now = time.monotonic()
        if now - self._logged_at < _LOG_EVERY_SECONDS:
            return
        fate = "let through unchecked" if self.on_failure == "open" else "refused"
        log.error("Tollgate gave no decision (%s): %d call(s) %s since the last such line", failure, self._failures_since_logged, fate)
        self._logged_at, self._failures_since_logged = now, 0

    def _recovered(self) -> None:
        if self._failing:
            self._failing = False
            log.warning("Tollgate decides again")


def _metadata_for(data: Json, kind: str) -> str:
    # LiteLLM takes litellm_metadata out of a pass-through body before it goes to the provider, whose own `metadata` must stay as it is.
    return "litellm_metadata" if kind in _PASS_THROUGH else _metadata_name(data)


def _arrival_of(data: Json) -> Any:
    return _as_dict(data.get("proxy_server_request")).get("arrival_time")


def _record_in(data: Mapping[str, Any]) -> Optional[Json]:
    places = (data.get("litellm_metadata"), data.get("metadata"), _as_dict(data.get("litellm_params")).get("metadata"))
    return next((place[_RECORD] for place in places if isinstance(place, dict) and isinstance(place.get(_RECORD), dict)), None)


def _json_of(response: httpx.Response) -> Json:
    try:
        return _as_dict(response.json())
    except ValueError:
        return {}


def _has_output(data: Json) -> bool:
    """Whether LiteLLM saw tokens or a cost before the request failed. The input alone it only estimates."""
    standard = _as_dict(data.get("standard_logging_object"))
    output = getattr(data.get("combined_usage_object"), "completion_tokens", None)
    figures = (data.get("response_cost"), standard.get("response_cost"), output, standard.get("completion_tokens"))
    return any(isinstance(figure, (int, float)) and figure > 0 for figure in figures)


def _may_have_run_last(data: Json, failure: BaseException) -> bool:
    # LiteLLM adds both once the call is set up; a client cannot send a datetime.
    never_sent = isinstance(data.get("start_time"), datetime) and not isinstance(data.get("first_api_call_start_time"), datetime)
    # What the proxy itself refuses (a guardrail, a limit) is raised as HTTPException or ProxyException before or instead of a call.
    return not never_sent and not isinstance(failure, HTTPException) and _may_have_run(failure)


def _may_have_run(failure: BaseException) -> bool:
    """Whether the provider may have worked, and may bill, for an attempt that failed like this."""
    if type(failure).__name__ == "MidStreamFallbackError":
        return True
    # LiteLLM makes a 500 of any connection error; what it was stands in the chain of causes.
    cause: Optional[BaseException] = failure
    for _ in range(8):
        if cause is None:
            break
        if isinstance(cause, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
            return False
        if isinstance(cause, httpx.TransportError):
            return True
        cause = cause.__cause__ or cause.__context__
    status = str(getattr(failure, "status_code", None) or getattr(failure, "code", None) or "")
    return not status.isdecimal() or int(status) in _GIVEN_UP_ON


proxy_handler_instance = TollgateHook.from_environment()
