"""The client and the context alone, against a Tollgate of our own on 127.0.0.1. Run in this folder's parent: python -m unittest"""

import asyncio
import os
import threading
import unittest
from typing import Any, Dict
from unittest import mock

import tollgate
from tollgate import asgi, context
from tollgate.sizes import input_tokens_of, usage_of

from .servers import FakeTollgate, allow, block

QUESTION = {"tenant_id": "acme", "call_id": "call-1", "provider": "openai", "model": "gpt-4o"}
PRODUCTION = {"TOLLGATE_ENV": "production"}


class ClientTest(unittest.TestCase):
    def setUp(self) -> None:
        self.server = FakeTollgate()
        self.addCleanup(self.server.close)

    def client(self, **options: Any) -> tollgate.Tollgate:
        client = tollgate.Tollgate(self.server.url, "tg_key", **{"authorize_timeout_ms": 5_000, **options})
        self.addCleanup(client.close)
        return client


class Asking(ClientTest):
    def test_it_asks_with_the_key_and_hands_the_decision_on(self) -> None:
        decision = self.client().authorize(**QUESTION, feature="summarize")
        self.assertEqual(decision, {**allow("hold_1"), "failure": None})
        self.assertEqual((self.server.questions, self.server.keys), ([{**QUESTION, "feature": "summarize"}], ["Bearer tg_key"]))

    def test_the_event_loop_gets_the_same_answer(self) -> None:
        self.assertEqual(asyncio.run(self.client().aauthorize(**QUESTION))["decision"], "allow")

    def test_a_question_with_a_call_id_is_repeated_and_no_other(self) -> None:
        self.server.decide = lambda _: (503, {"code": "quota.store_unavailable"}) if len(self.server.questions) == 1 else allow()
        self.assertEqual(self.client().authorize(**QUESTION)["failure"], None)
        self.server.questions.clear()
        with self.assertLogs("tollgate", "ERROR"):
            self.assertEqual(self.client().authorize(tenant_id="acme", model="gpt-4o")["failure"].status, 503)
        self.assertEqual(len(self.server.questions), 1)

    def test_without_a_decision_in_time_the_policy_answers_and_a_refused_calls_hold_is_given_back(self) -> None:
        for policy, decision, released in (("open", "allow", []), ("closed", "block", ["hold_late"])):
            for ask in (lambda client: client.authorize(**QUESTION), lambda client: asyncio.run(client.aauthorize(**QUESTION))):
                with self.subTest(policy):
                    self.server.released.clear()
                    answering = threading.Event()
                    self.server.decide = lambda _, answering=answering: answering.wait(10) and allow("hold_late")
                    client = self.client(authorize_timeout_ms=30, on_failure=policy)
                    with self.assertLogs("tollgate", "ERROR"):
                        answer = ask(client)
                    answering.set()
                    client.close()
                    self.assertEqual((answer["decision"], answer["reason"]["code"], answer["hold"]), (decision, "store_unavailable", None))
                    self.assertIsInstance(answer["failure"], tollgate.UnreachableError)
                    self.assertEqual(self.server.released, released)

    def test_a_caller_that_is_cancelled_while_it_waits_gives_its_hold_back(self) -> None:
        answering = threading.Event()
        self.server.decide = lambda _: answering.wait(10) and allow("hold_late")
        client = self.client()

        async def leave() -> None:
            asking = asyncio.ensure_future(client.aauthorize(**QUESTION))
            while not self.server.questions:
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])

        asyncio.run(leave())
        answering.set()
        client.close()
        self.assertEqual(self.server.released, ["hold_late"])

    def test_trouble_takes_the_failure_policy_and_a_wrong_question_is_an_error(self) -> None:
        for answer in ((0, {}), (500, {}), (401, {}), (429, {}), (200, {"decision": "maybe"}), (200, [])):
            with self.subTest(answer), self.assertLogs("tollgate", "ERROR"):
                self.server.decide = lambda _, answer=answer: answer
                self.assertEqual(self.client().authorize(**QUESTION)["reason"]["code"], "store_unavailable")
        for status in (400, 403, 409):
            self.server.decide = lambda _, status=status: (status, {"code": "request.invalid", "errors": [{"path": "model", "message": "no"}]})
            with self.subTest(status), self.assertRaises(tollgate.ApiError) as caught:
                self.client().authorize(**QUESTION)
            self.assertEqual((caught.exception.status, caught.exception.code, caught.exception.errors[0]["path"]), (status, "request.invalid", "model"))

    def test_a_block_is_an_answer(self) -> None:
        self.server.decide = lambda _: block("rate_limited", 61_001)
        self.assertEqual(self.client().authorize(**QUESTION)["reason"]["retry_after_ms"], 61_001)


class Telling(ClientTest):
    def test_repeats_of_one_settle_carry_one_key_and_two_settles_carry_two(self) -> None:
        self.server.fail_settle = 1
        for _ in range(2):
            self.client().settle("hold_1", cost_usd="0.01", final=False)
        keys = [settled["idempotency_key"] for settled in self.server.settled]
        self.assertEqual((len(keys), keys[0] == keys[1], keys[1] == keys[2]), (3, True, False))

    def test_a_report_that_is_not_taken_is_logged_with_its_call(self) -> None:
        self.server.take = lambda _: (202, {"rejected": 1, "results": [{"outcome": "rejected", "detail": "usage: must be positive"}]})
        client = self.client()
        with self.assertLogs("tollgate", "ERROR") as lines:
            client.report({"event_id": "e", "call_id": "call-7"})
            client.flush()
        self.assertRegex(lines.output[0], "call-7.*usage: must be positive")

    def test_a_report_survives_a_longer_outage_than_a_question_would(self) -> None:
        tries = iter(range(6))
        self.server.take = lambda _: (503, {}) if next(tries) < 5 else (202, {})
        client = self.client()
        client.report({"event_id": "e"})
        client.flush()
        self.assertEqual(self.server.events, [{"event_id": "e"}])

    def test_a_forked_worker_has_connections_and_threads_of_its_own(self) -> None:
        client = self.client()
        client.authorize(**QUESTION)
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            os._exit(0 if client.authorize(**QUESTION)["failure"] is None else 1)
        self.assertEqual((os.waitpid(child, 0)[1], len(self.server.questions)), (0, 2))


class Tenants(ClientTest):
    def test_the_context_names_the_tenant_in_threads_and_tasks_and_only_inside(self) -> None:
        async def asked() -> Dict[str, Any]:
            return await asyncio.create_task(asyncio.to_thread(context.attributed))

        with context.tenant("acme", feature="summarize"):
            self.assertEqual(asyncio.run(asked()), {"tenant_id": "acme", "feature": "summarize"})
            self.assertEqual(context.attributed("other", user_id="u")["tenant_id"], "other")
            with context.tenant("inner"):
                self.assertEqual(context.attributed(), {"tenant_id": "inner"})
        self.assertEqual(context.current(), {})

    def test_without_one_a_call_raises_and_asks_nothing(self) -> None:
        for named in (None, "", "  "):
            with self.subTest(named), self.assertRaises(tollgate.TenantError):
                self.client().authorize(**{**QUESTION, "tenant_id": named})
        with context.tenant(""), self.assertRaises(tollgate.TenantError):
            self.client().authorize(model="gpt-4o")
        self.assertEqual(self.server.questions, [])

    def test_in_production_it_goes_on_under_unknown_with_one_line_in_the_log(self) -> None:
        with mock.patch.dict(os.environ, PRODUCTION), mock.patch.object(context, "_forgotten", context.FailureLog()):
            with self.assertLogs("tollgate", "ERROR") as lines:
                for _ in range(3):
                    self.client().authorize(model="gpt-4o")
        self.assertEqual((self.server.questions, len(lines.output)), ([{"model": "gpt-4o"}] * 3, 1))
        self.assertIn("unknown", lines.output[0])

    def test_a_misspelt_attribution_is_refused(self) -> None:
        with self.assertRaisesRegex(TypeError, "fature"):
            self.client().authorize(**QUESTION, fature="summarize")


class Middleware(unittest.TestCase):
    def run_request(self, headers: Any, **options: Any) -> Dict[str, Any]:
        seen: Dict[str, Any] = {}

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.update(context.current())

        asyncio.run(asgi.TenantMiddleware(app, **options)({"type": "http", "headers": headers, "user": "u1"}, None, None))
        self.assertEqual(context.current(), {})
        return seen

    def test_it_sets_what_the_header_or_the_callable_says(self) -> None:
        self.assertEqual(self.run_request([(b"x-tenant-id", b"acme")], header="X-Tenant-Id"), {"tenant_id": "acme"})
        named = self.run_request([], tenant=lambda scope: {"tenant_id": "acme", "user_id": scope["user"]})
        self.assertEqual(named, {"tenant_id": "acme", "user_id": "u1"})

    def test_no_header_or_two_are_no_tenant(self) -> None:
        for headers in ([], [(b"x-tenant-id", b"acme"), (b"x-tenant-id", b"evil")]):
            self.assertEqual(self.run_request(headers, header="x-tenant-id"), {"tenant_id": None})


class Sizes(unittest.TestCase):
    def test_pools_are_exclusive(self) -> None:
        usage = {"prompt_tokens": 1_200, "completion_tokens": 400, "prompt_tokens_details": {"cached_tokens": 1_000, "audio_tokens": 20}}
        usage["completion_tokens_details"] = {"reasoning_tokens": 300, "audio_tokens": 50}
        found = usage_of(usage) or {}
        names = ("input_tokens", "cache_read_tokens", "audio_input_tokens", "output_tokens", "reasoning_tokens", "audio_output_tokens")
        self.assertEqual([found[name] for name in names], [180, 1_000, 20, 350, 300, 50])
        self.assertIsNone(usage_of({}))

    def test_both_clients_estimate_the_same_request_alike(self) -> None:
        # The figures of clients/typescript/test/estimates.spec.ts.
        self.assertEqual(input_tokens_of({"messages": [{"role": "user", "content": "x" * 3_000}], "temperature": 1}), 1_005)
        self.assertEqual(input_tokens_of({"input": [[1, 2, 3], [4]]}), 4)
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 900_000}}
        self.assertLess(input_tokens_of({"messages": [{"content": [picture]}]}), 1_650)


if __name__ == "__main__":
    unittest.main()
