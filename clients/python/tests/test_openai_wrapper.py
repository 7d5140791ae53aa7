"""The wrapper of the official `openai` client, sync and async, against a Tollgate and a model of our own. What the real Tollgate answers is
tested with it in test/e2e/sdk-python.spec.ts; here stand its answers that need a budget, and the model's misbehaviour."""

import asyncio
import gc
import json
import threading
import unittest
from typing import Any, Dict, List

import openai

import tollgate

from .servers import FakeProvider, FakeTollgate, allow, block

DOWNGRADED = {"decision": "downgrade", "model": "gpt-4o-mini", "route": {"provider": "openai", "model": "gpt-4o-mini"}}


def messages(**behaviour: Any) -> List[Dict[str, str]]:
    return [{"role": "user", "content": json.dumps(behaviour)}]


class WrapperTest(unittest.TestCase):
    def setUp(self) -> None:
        self.server, self.provider = FakeTollgate(), FakeProvider()
        self.tollgate = tollgate.Tollgate(self.server.url, "tg_key", authorize_timeout_ms=5_000)
        for cleanup in (self.server.close, self.provider.close, self.tollgate.close):
            self.addCleanup(cleanup)

    def plain(self, of: Any = openai.OpenAI, **options: Any) -> Any:
        client = of(api_key="none", base_url=f"{self.provider.url}/v1", **{"max_retries": 0, **options})
        if isinstance(client, openai.OpenAI):
            self.addCleanup(client.close)
        return client

    def wrapped(self, of: Any = openai.OpenAI, **settings: Any) -> Any:
        return tollgate.with_tollgate(self.plain(of), **{"tollgate": self.tollgate, "tenant_id": "acme", **settings})

    def told(self) -> List[Dict[str, Any]]:
        gc.collect()
        self.tollgate.flush()
        return self.server.events

    def create(self, client: Any = None, **request: Any) -> Any:
        return (client or self.wrapped()).chat.completions.create(**{"model": "gpt-4o", "messages": messages(), **request})


class Calls(WrapperTest):
    def test_it_asks_with_names_and_sizes_and_reports_the_usage_under_the_same_call_id(self) -> None:
        with tollgate.context.tenant("acme", feature="summarize", tags={"team": "blue"}):
            self.create(self.wrapped(tenant_id=None, user_id="u1"), messages=[{"role": "user", "content": "geheim"}], max_tokens=100)
        question = self.server.questions[0]
        asked = {"tenant_id": "acme", "feature": "summarize", "tags": {"team": "blue"}, "user_id": "u1", "provider": "openai", "model": "gpt-4o"}
        self.assertEqual(question, {**asked, "call_id": question["call_id"], "input_tokens": 7, "max_output_tokens": 100})
        (event,) = self.told()
        self.assertEqual((event["event_id"], event["call_id"], event["hold_id"]), (question["call_id"], question["call_id"], "hold_1"))
        self.assertEqual((event["tenant_id"], event["feature"], event["status"], event["usage_quality"]), ("acme", "summarize", "success", "exact"))
        self.assertEqual((event["usage"]["input_tokens"], event["usage"]["output_tokens"]), (10, 5))
        self.assertNotIn("geheim", str(self.server.questions) + str(self.server.events))

    def test_a_downgrade_swaps_the_model_and_cuts_the_limit(self) -> None:
        self.server.decide = lambda _: allow(**DOWNGRADED, max_output_tokens=60)
        self.create(max_tokens=100)
        self.assertEqual([(call["model"], call["max_tokens"]) for call in self.provider.calls], [("gpt-4o-mini", 60)])
        self.assertEqual([(event["model"], event["requested_model"]) for event in self.told()], [("gpt-4o-mini", "gpt-4o")])

    def test_a_downgrade_to_another_provider_is_refused_and_gives_its_hold_back(self) -> None:
        elsewhere = {"route": {"provider": "anthropic", "model": "claude-haiku-4-5"}, "reason": {"code": "budget_downgrade"}}
        self.server.decide = lambda _: allow("hold_x", **{**DOWNGRADED, **elsewhere})
        with self.assertRaises(tollgate.BlockedError) as caught:
            self.create()
        self.assertEqual((caught.exception.status, self.provider.calls, self.told(), self.server.released), (402, [], [], ["hold_x"]))

    def test_every_reason_has_its_status_and_nothing_is_sent(self) -> None:
        expected = {"insufficient_funds": 402, "in_flight_exhausted": 429, "tenant_suspended": 403, "store_unavailable": 503, "newer_than_this": 429}
        for code, status in expected.items():
            self.server.decide = lambda _, code=code: block(code, 250)
            with self.subTest(code), self.assertRaises(tollgate.BlockedError) as caught:
                self.create()
            refusal = caught.exception
            self.assertEqual((refusal.status, refusal.code, refusal.retry_after_ms, refusal.tenant_id), (status, code, 250, "acme"))
        self.assertEqual((self.provider.calls, self.told(), self.server.released), ([], [], []))

    def test_the_retries_of_the_sdk_are_one_call_and_an_error_gives_the_hold_back(self) -> None:
        client = tollgate.with_tollgate(self.plain(max_retries=1), tollgate=self.tollgate, tenant_id="acme")
        with self.assertRaises(openai.RateLimitError):
            self.create(client, messages=messages(**{"gpt-4o": 429}))
        self.assertEqual((len(self.provider.calls), len(self.server.questions), self.told(), self.server.released), (2, 1, [], ["hold_1"]))

    def test_a_call_that_was_given_up_is_charged_for_its_input_and_one_never_sent_is_not(self) -> None:
        with self.assertRaises(openai.APITimeoutError):
            self.create(timeout=0.05, messages=messages(**{"gpt-4o": "stall"}))
        (event,) = self.told()
        self.assertEqual((event["status"], event["usage_quality"], event["usage"]["output_tokens"], event["error"]), ("cancelled", "partial", 0, "APITimeoutError"))
        self.assertGreater(event["usage"]["input_tokens"], 0)
        gone = FakeProvider()
        gone.close()
        nowhere = tollgate.with_tollgate(openai.OpenAI(api_key="none", base_url=gone.url, max_retries=0), tollgate=self.tollgate, tenant_id="acme")
        with self.assertRaises(openai.APIConnectionError):
            self.create(nowhere)
        self.assertEqual((len(self.told()), self.server.released), (1, ["hold_2"]))

    def test_a_call_that_ran_unchecked_is_reported_with_the_hold_a_late_decision_took_for_it(self) -> None:
        answering = threading.Event()
        self.server.decide = lambda _: answering.wait(10) and allow("hold_late")
        hasty = tollgate.Tollgate(self.server.url, "tg_key", authorize_timeout_ms=30)
        self.addCleanup(hasty.close)
        with self.assertLogs("tollgate", "ERROR"):
            self.create(self.wrapped(tollgate=hasty))
        answering.set()
        hasty.flush()
        self.assertEqual(([event["hold_id"] for event in self.server.events], self.server.released), (["hold_late"], []))

    def test_without_a_tenant_a_call_raises_and_nothing_is_sent(self) -> None:
        with self.assertRaises(tollgate.TenantError):
            self.create(self.wrapped(tenant_id=None))
        self.assertEqual((self.provider.calls, self.server.questions), ([], []))


class Streams(WrapperTest):
    def test_the_usage_is_asked_for_hidden_and_reported(self) -> None:
        pieces = list(self.create(stream=True))
        self.assertEqual([len(piece.choices) for piece in pieces], [1, 1, 1, 1])
        self.assertEqual(self.provider.calls[0]["stream_options"], {"include_usage": True})
        (event,) = self.told()
        self.assertEqual((event["status"], event["usage_quality"], event["stream"]), ("success", "exact", True))
        self.assertEqual((event["usage"]["input_tokens"], event["usage"]["cache_read_tokens"], event["usage"]["output_tokens"]), (6, 4, 5))

    def test_a_caller_who_asked_for_it_sees_it(self) -> None:
        pieces = list(self.create(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(pieces[-1].usage.completion_tokens, 5)

    def test_however_a_stream_is_left_it_is_reported_as_partial(self) -> None:
        def leave_by_break(stream: Any) -> None:
            for _ in stream:
                break
            # Said at once, though the stream is still there to be read on.
            self.tollgate.flush()
            self.assertEqual(len(self.server.events), 1)

        def leave_by_with(stream: Any) -> None:
            with stream:
                next(iter(stream))

        def leave_by_close(stream: Any) -> None:
            stream.close()

        def leave_unread(stream: Any) -> None:
            stream.response.close()

        for leave in (leave_by_break, leave_by_with, leave_by_close, leave_unread):
            with self.subTest(leave.__name__):
                self.server.events.clear()
                stream = self.create(stream=True, messages=messages(**{"gpt-4o": "hang"}))
                self.assertIsInstance(stream, openai.Stream)
                leave(stream)
                stream.close()
                (event,) = self.told()
                self.assertEqual((event["status"], event["usage_quality"]), ("cancelled", "partial"))
                self.assertGreater(event["usage"]["input_tokens"], 0)
        self.assertEqual(self.server.released, [])

    def test_a_stream_that_is_read_on_after_a_break_is_corrected_by_its_end(self) -> None:
        stream = self.create(stream=True)
        next(iter(stream))
        self.assertEqual([event["usage_quality"] for event in self.told()], ["partial"])
        self.assertEqual(len(list(stream)), 3)
        self.assertEqual([event["usage_quality"] for event in self.told()], ["partial", "exact"])
        self.assertEqual(len({event["event_id"] for event in self.server.events}), 1)

    def test_a_stream_that_breaks_raises_as_it_would_without_us_and_is_partial(self) -> None:
        seen = []
        with self.assertRaises(Exception):
            for piece in self.create(stream=True, messages=messages(**{"gpt-4o": "drop"})):
                seen.append(piece.choices[0].delta.content)
        (event,) = self.told()
        self.assertEqual((event["status"], event["usage_quality"], event["usage"]["output_tokens"]), ("cancelled", "partial", -(-len("".join(seen)) // 3)))
        self.assertIn("Error", event["error"])

    def test_its_own_wrapper_of_streams_is_covered(self) -> None:
        with self.wrapped().chat.completions.stream(model="gpt-4o", messages=messages()) as stream:
            for _ in stream:
                pass
        self.assertEqual([event["usage_quality"] for event in self.told()], ["exact"])
        with self.wrapped().chat.completions.stream(model="gpt-4o", messages=messages(**{"gpt-4o": "hang"})) as stream:
            next(iter(stream))
        self.assertEqual([event["usage_quality"] for event in self.told()], ["exact", "partial"])


class NothingGoesAround(WrapperTest):
    def test_other_doors_to_the_same_calls_are_asked_for_and_reported(self) -> None:
        client = self.wrapped()
        doors = (
            lambda: client.chat.completions.parse(model="gpt-4o", messages=messages()),
            lambda: client.chat.completions.with_raw_response.create(model="gpt-4o", messages=messages()).parse(),
            lambda: list(client.chat.completions.with_raw_response.create(model="gpt-4o", messages=messages(), stream=True).parse()),
            lambda: client.with_options(timeout=9).chat.completions.create(model="gpt-4o", messages=messages()),
            lambda: client.embeddings.create(model="text-embedding-3-small", input="hello", encoding_format="float"),
        )
        for count, use in enumerate(doors, start=1):
            self.assertIsNotNone(use())
            self.assertEqual((len(self.server.questions), len(self.told())), (count, count))
        self.assertEqual({event["usage_quality"] for event in self.server.events}, {"exact"})

    def test_what_cannot_be_measured_is_refused(self) -> None:
        client = self.wrapped()
        calls = (
            lambda: client.images.generate(model="gpt-image-1", prompt="a cat"),
            lambda: client.completions.create(model="m", prompt="a cat"),
            lambda: client.responses.create(model="gpt-4o", input="x", background=True),
            lambda: client.chat.completions.with_streaming_response.create(model="gpt-4o", messages=messages()).__enter__(),
        )
        for call in calls:
            with self.assertRaises(tollgate.UnmeteredError):
                call()
        self.assertEqual((self.provider.calls, self.server.questions), ([], []))

    def test_the_plain_client_stays_plain(self) -> None:
        plain = self.plain()
        tollgate.with_tollgate(plain, tollgate=self.tollgate, tenant_id="acme")
        self.create(plain)
        self.assertEqual(self.server.questions, [])


class Asynchronous(WrapperTest):
    def run_with(self, use: Any) -> Any:
        async def inside() -> Any:
            async with self.plain(openai.AsyncOpenAI) as plain:
                return await use(tollgate.with_tollgate(plain, tollgate=self.tollgate, tenant_id="acme"))

        return asyncio.run(inside())

    def test_calls_and_streams_are_asked_for_and_reported(self) -> None:
        async def use(client: Any) -> None:
            await client.chat.completions.create(model="gpt-4o", messages=messages())
            stream = await client.chat.completions.create(model="gpt-4o", messages=messages(), stream=True)
            self.assertEqual([len(piece.choices) async for piece in stream], [1, 1, 1, 1])

        self.run_with(use)
        self.assertEqual([(event["status"], event["usage_quality"]) for event in self.told()], [("success", "exact")] * 2)

    def test_a_block_sends_nothing(self) -> None:
        self.server.decide = lambda _: block("insufficient_funds")
        with self.assertRaises(tollgate.BlockedError):
            self.run_with(lambda client: client.chat.completions.create(model="gpt-4o", messages=messages()))
        self.assertEqual(self.provider.calls, [])

    def test_however_a_stream_is_left_it_is_reported_as_partial(self) -> None:
        async def leave_by_break(stream: Any) -> None:
            async for _ in stream:
                break

        async def leave_by_close(stream: Any) -> None:
            await stream.close()

        async def leave_by_cancelling(stream: Any) -> None:
            begun = asyncio.Event()

            async def read() -> None:
                async for _ in stream:
                    begun.set()

            reading = asyncio.ensure_future(read())
            await begun.wait()
            reading.cancel()
            await asyncio.wait([reading])

        for leave in (leave_by_break, leave_by_close, leave_by_cancelling):
            with self.subTest(leave.__name__):
                self.server.events.clear()

                async def use(client: Any, leave: Any = leave) -> None:
                    stream = await client.chat.completions.create(model="gpt-4o", messages=messages(**{"gpt-4o": "hang"}), stream=True)
                    await leave(stream)
                    await stream.close()

                self.run_with(use)
                self.assertEqual([(event["status"], event["usage_quality"]) for event in self.told()], [("cancelled", "partial")])


if __name__ == "__main__":
    unittest.main()
