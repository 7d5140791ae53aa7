"""The callback for programs that call the LiteLLM library themselves, with the real library, a Tollgate and a model of our own."""

import asyncio
import gc
import json
import os
import time
import unittest
from typing import Any, Callable, Dict, List
from unittest import mock

os.environ.update({"LITELLM_LOCAL_MODEL_COST_MAP": "True"})

import litellm  # noqa: E402

import tollgate  # noqa: E402
from tollgate import context, litellm_library  # noqa: E402

from .servers import FakeProvider, FakeTollgate  # noqa: E402

PATIENCE_SECONDS = 20


def messages(**behaviour: Any) -> List[Dict[str, str]]:
    return [{"role": "user", "content": json.dumps(behaviour)}]


class LibraryTest(unittest.TestCase):
    def setUp(self) -> None:
        self.server, self.provider = FakeTollgate(), FakeProvider()
        self.tollgate = tollgate.Tollgate(self.server.url, "tg_key")
        self.logger = litellm_library.install(self.tollgate)
        for cleanup in (self.server.close, self.provider.close, self.tollgate.close):
            self.addCleanup(cleanup)

    def ask(self, function: Callable[..., Any] = litellm_library.completion, **options: Any) -> Any:
        base = {"model": "openai/gpt-4o", "api_key": "none", "api_base": f"{self.provider.url}/v1", "messages": messages()}
        return function(**{**base, **options})

    def told(self, count: int) -> List[Dict[str, Any]]:
        """LiteLLM says it from a thread of its own, at its leisure."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.server.events) < count and time.monotonic() < deadline:
            gc.collect()
            time.sleep(0.02)
        self.assertEqual(len(self.server.events), count)
        return self.server.events

    def test_who_is_carried_and_the_usage_is_reported(self) -> None:
        own = {"hold_id": "hold_9", "trace": "kept"}
        with context.tenant("acme", feature="summarize", user_id="u1"):
            self.ask(metadata=own)
        (event,) = self.told(1)
        names = ("tenant_id", "feature", "user_id", "hold_id", "provider", "model", "status", "usage_quality")
        self.assertEqual([event[name] for name in names], ["acme", "summarize", "u1", "hold_9", "openai", "gpt-4o", "success", "exact"])
        self.assertEqual((event["usage"]["input_tokens"], event["usage"]["output_tokens"], event["event_id"]), (10, 5, event["call_id"]))
        self.assertEqual(own, {"hold_id": "hold_9", "trace": "kept"})

    def test_asynchronous_calls_and_embeddings_likewise(self) -> None:
        async def use() -> None:
            with context.tenant("acme"):
                await self.ask(litellm_library.acompletion)
                await self.ask(litellm_library.aembedding, model="openai/text-embedding-3-small", input=["hi"], messages=None)
                while len(self.server.events) < 2:
                    await asyncio.sleep(0.02)

        asyncio.run(asyncio.wait_for(use(), PATIENCE_SECONDS))
        self.assertEqual(sorted(event["model"] for event in self.told(2)), ["gpt-4o", "text-embedding-3-small"])

    def test_the_plain_functions_take_the_context_along_too(self) -> None:
        with context.tenant("acme", feature="plain"):
            self.ask(litellm.completion)
        self.assertEqual([(event["tenant_id"], event["feature"]) for event in self.told(1)], [("acme", "plain")])

    def test_two_tenants_at_once_stay_apart(self) -> None:
        async def one(name: str) -> None:
            with context.tenant(name):
                await self.ask(litellm_library.acompletion)

        async def both() -> None:
            await asyncio.gather(*(one(name) for name in ("acme", "globex") * 3))
            while len(self.server.events) < 6:
                await asyncio.sleep(0.02)

        asyncio.run(asyncio.wait_for(both(), PATIENCE_SECONDS))
        self.assertEqual(sorted(event["tenant_id"] for event in self.told(6)), ["acme"] * 3 + ["globex"] * 3)

    def test_without_a_tenant_it_raises_and_nothing_is_sent(self) -> None:
        for metadata in (None, {}, {"tenant_id": ""}):
            with self.subTest(metadata), self.assertRaises(tollgate.TenantError):
                self.ask(metadata=metadata)
        with self.assertRaises(tollgate.TenantError):
            asyncio.run(self.ask(litellm_library.acompletion))
        self.assertEqual(self.provider.calls, [])

    def test_in_production_it_goes_on_under_unknown_with_a_line_in_the_log(self) -> None:
        with mock.patch.dict(os.environ, {"TOLLGATE_ENV": "production"}), mock.patch.object(context, "_forgotten", context.FailureLog()):
            with self.assertLogs("tollgate", "ERROR"):
                self.ask()
            (event,) = self.told(1)
        self.assertNotIn("tenant_id", event)

    def test_a_refusal_of_the_provider_is_a_known_zero_and_its_text_stays_here(self) -> None:
        with context.tenant("acme"), self.assertRaises(litellm.RateLimitError):
            self.ask(messages=messages(**{"gpt-4o": 429}), num_retries=0, max_retries=0)
        (event,) = self.told(1)
        self.assertEqual((event["status"], event["error"], event["tenant_id"]), ("error", "RateLimitError", "acme"))
        self.assertEqual(event["usage"], {"input_tokens": 0, "output_tokens": 0})
        self.assertNotIn("on purpose", str(event))

    def test_what_a_failed_call_used_is_not_known_where_the_provider_may_have_worked(self) -> None:
        with context.tenant("acme"), self.assertRaises(litellm.Timeout):
            self.ask(messages=messages(**{"gpt-4o": "stall"}), timeout=0.05, max_retries=0)
        (event,) = self.told(1)
        self.assertEqual((event["status"], event.get("usage")), ("error", None))

    def test_a_stream_brings_its_usage_and_the_caller_does_not_see_the_piece(self) -> None:
        with context.tenant("acme"):
            pieces = list(self.ask(stream=True))
        (event,) = self.told(1)
        self.assertEqual((event["usage_quality"], event["usage"]["cache_read_tokens"], event["usage"]["output_tokens"]), ("exact", 4, 5))
        self.assertEqual("".join(piece.choices[0].delta.content or "" for piece in pieces), "Every single year.")
        self.assertFalse(any(getattr(piece, "usage", None) for piece in pieces))

    def test_a_stream_without_figures_is_counted_never_zero(self) -> None:
        with context.tenant("acme"):
            list(self.ask(litellm.completion, stream=True))
        (event,) = self.told(1)
        # "Every single year." has 18 bytes.
        self.assertEqual((event["usage_quality"], event["usage"]["output_tokens"]), ("partial", 6))
        self.assertGreater(event["usage"]["input_tokens"], 0)

    def test_a_stream_that_is_left_is_reported_as_partial(self) -> None:
        with context.tenant("acme"):
            place = {"api_key": "none", "api_base": f"{self.provider.url}/v1"}
            for _ in litellm_library.completion("openai/gpt-4o", messages(**{"gpt-4o": "hang"}), stream=True, **place):
                break
        (event,) = self.told(1)
        names = ("tenant_id", "provider", "model", "status", "usage_quality")
        self.assertEqual([event[name] for name in names], ["acme", "openai", "gpt-4o", "cancelled", "partial"])
        self.assertGreater(event["usage"]["input_tokens"], 0)

    def test_a_stream_that_breaks_is_a_failure_and_what_was_seen_of_it_is_partial(self) -> None:
        with context.tenant("acme"), self.assertRaises(Exception):
            list(self.ask(stream=True, messages=messages(**{"gpt-4o": "drop"})))
        events = {event["status"]: event for event in self.told(2)}
        self.assertEqual(sum(events["error"]["usage"].values()), 0)
        self.assertEqual((events["cancelled"]["usage_quality"], events["cancelled"]["usage"]["output_tokens"] > 0), ("partial", True))

    def test_an_asynchronous_stream_that_is_left_is_reported_as_partial(self) -> None:
        async def use() -> None:
            with context.tenant("acme"):
                async for _ in await self.ask(litellm_library.acompletion, stream=True, messages=messages(**{"gpt-4o": "hang"})):
                    break

        asyncio.run(use())
        self.assertEqual([(event["tenant_id"], event["usage_quality"]) for event in self.told(1)], [("acme", "partial")])


if __name__ == "__main__":
    unittest.main()
