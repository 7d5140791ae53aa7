"""Asks Tollgate before a model call and reports what it cost.

    import tollgate
    client = tollgate.with_tollgate(openai.OpenAI(), tollgate=tollgate.Tollgate.from_environment(), feature="summarize")
    with tollgate.context.tenant("acme"):
        client.chat.completions.create(...)

For calls through the LiteLLM library see `tollgate.litellm_library`; the LiteLLM proxy has a hook of its own, `tollgate_litellm`.
"""

from . import asgi, context
from .client import Tollgate
from .errors import ApiError, BlockedError, TenantError, TollgateError, UnmeteredError, UnreachableError
from .openai_wrapper import with_tollgate

__all__ = [
    *("ApiError", "BlockedError", "TenantError", "Tollgate", "TollgateError", "UnmeteredError", "UnreachableError"),
    *("asgi", "context", "with_tollgate"),
]
