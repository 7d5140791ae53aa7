"""ASGI middleware (FastAPI, Starlette, Django, Litestar): sets the tenant of everything a request does.

    app.add_middleware(tollgate.asgi.TenantMiddleware, header="x-tenant-id")
    app.add_middleware(tollgate.asgi.TenantMiddleware, tenant=lambda scope: scope["session"]["tenant_id"])

A header that a browser can set is no identity: take one that your own edge sets, or a callable that knows who is logged in.
"""

from typing import Any, Awaitable, Callable, Mapping, MutableMapping, Optional, Union

from . import context

Scope = MutableMapping[str, Any]
# A tenant, or a mapping of `tenant_id` and attribution fields, or None.
Found = Union[str, Mapping[str, Any], None]


class TenantMiddleware:
    """Exactly one of `header` and `tenant` says where the tenant stands. A request without one is served; a model call in it is not."""

    def __init__(self, app: Callable[..., Awaitable[None]], *, header: Optional[str] = None, tenant: Optional[Callable[[Scope], Found]] = None) -> None:
        if (header is None) == (tenant is None):
            raise TypeError("give either header or tenant")
        self._app = app
        self._header = header.lower().encode("latin-1") if header is not None else None
        self._tenant = tenant

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        found = self._find(scope)
        fields = dict(found) if isinstance(found, Mapping) else {"tenant_id": found}
        token = context.enter(fields.pop("tenant_id", None), **fields)
        try:
            await self._app(scope, receive, send)
        finally:
            context.leave(token)

    def _find(self, scope: Scope) -> Found:
        if self._tenant is not None:
            return self._tenant(scope)
        values = [value.decode("latin-1") for name, value in scope["headers"] if name == self._header]
        # Two are a client's beside the edge's: believing either would let the client choose.
        return values[0] if len(values) == 1 else None
