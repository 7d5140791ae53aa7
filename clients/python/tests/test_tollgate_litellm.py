"""The hook alone, against a Tollgate of our own on 127.0.0.1. Run in this folder's parent: python -m unittest"""

import asyncio
import os
import threading
import time
import unittest
from types import SimpleNamespace
from typing import Any, Dict
from unittest import mock

os.environ.update({"TOLLGATE_URL": "http://127.0.0.1:9", "TOLLGATE_KEY": "tg_none", "LITELLM_LOCAL_MODEL_COST_MAP": "True"})

import httpx  # noqa: E402
import litellm  # noqa: E402
from litellm import Router  # noqa: E402
from litellm.integrations.custom_logger import CustomLogger  # noqa: E402

import tollgate_litellm as hook_module  # noqa: E402
from tollgate_litellm import Refused, TollgateHook  # noqa: E402

from .servers import FakeTollgate, allow, block  # noqa: E402

MODELS = [
    {"model_name": "smart", "litellm_params": {"model": "openai/gpt-4o", "api_key": "none"}},
    {"model_name": "smart", "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "none"}},
    {"model_name": "cheap", "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "none"}},
    {"model_name": "house", "litellm_params": {"model": "azure/ours", "api_key": "none", "api_base": "http://127.0.0.1:9"}, "model_info": {"base_model": "azure/gpt-4o"}},
]


def user(**fields: Any) -> Any:
    empty = dict.fromkeys(("team_id", "end_user_id", "user_id", "org_id", "key_alias"))
    return SimpleNamespace(**{**empty, "metadata": {}, "team_metadata": None, "api_key": "hash", **fields})


def request(**fields: Any) -> Dict[str, Any]:
    base = {"model": "smart", "messages": [{"role": "user", "content": "hello"}], "litellm_call_id": "call-1", "metadata": {"requester_metadata": {"tenant_id": "acme"}}}
    return {**base, "proxy_server_request": {"headers": {}, "arrival_time": time.monotonic()}, **fields}


class HookTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.tollgate = FakeTollgate()
        self.addCleanup(self.tollgate.close)
        patched = mock.patch.object(hook_module, "_router", lambda: ROUTER)
        patched.start()
        self.addCleanup(patched.stop)
        self.hook = TollgateHook(self.tollgate.url, "tg_key", timeout_ms=2_000)

    async def asyncTearDown(self) -> None:
        await self.hook.close()

    async def ask(self, data: Any = None, key: Any = None, call_type: str = "acompletion") -> Dict[str, Any]:
        data = request() if data is None else data
        await self.hook.async_pre_call_hook(key or user(), None, data, call_type)
        return data

    async def refused(self, data: Any = None, **options: Any) -> Refused:
        with self.assertRaises(Refused) as caught:
            await self.ask(data, **options)
        return caught.exception

    async def settled(self) -> None:
        while self.hook._late:
            await asyncio.wait(set(self.hook._late))

    @property
    def question(self) -> Dict[str, Any]:
        return self.tollgate.questions[-1]


ROUTER = Router(model_list=MODELS)


class Question(HookTest):
    def test_litellm_finds_the_hook_on_the_class_itself(self) -> None:
        self.assertIn("async_pre_call_hook", vars(TollgateHook))
        self.assertIsInstance(hook_module.proxy_handler_instance, CustomLogger)

    async def test_what_an_operator_bound_to_the_key_stands_before_headers_and_before_the_body(self) -> None:
        sent = {"spend_logs_metadata": {"tenant_id": "header", "feature": "header"}, "requester_metadata": {"tenant_id": "body", "feature": "body", "thread_id": "t"}}
        await self.ask(request(metadata=sent), user(metadata={"tenant_id": "key"}))
        self.assertEqual([self.question[name] for name in ("tenant_id", "feature", "thread_id")], ["key", "header", "t"])

    async def test_a_team_or_its_id_names_the_tenant_where_nothing_else_does(self) -> None:
        await self.ask(request(metadata={}), user(team_metadata={"tenant_id": "team-says"}, team_id="team-1"))
        self.assertEqual(self.question["tenant_id"], "team-says")
        await self.ask(request(metadata={}), user(team_id="team-1"))
        self.assertEqual(self.question["tenant_id"], "team-1")

    async def test_a_header_counts_only_when_the_proxy_reports_it_as_a_tag(self) -> None:
        data = request(metadata={}, proxy_server_request={"headers": {"x-tenant-id": "acme"}})
        await self.ask(data)
        self.assertNotIn("tenant_id", self.question)
        with mock.patch.object(litellm, "extra_spend_tag_headers", ["x-tenant-id"]):
            await self.ask(data)
        self.assertEqual(self.question["tenant_id"], "acme")

    async def test_configured_tenant_paths_replace_the_places(self) -> None:
        self.hook = TollgateHook(self.tollgate.url, "k", tenant_paths=["metadata.user_api_key_alias"])
        await self.ask(key=user(key_alias="acme-key"))
        self.assertEqual(self.question["tenant_id"], "acme-key")

    async def test_a_tenant_in_a_form_no_tenant_has_is_refused_and_never_takes_the_failure_policy(self) -> None:
        refusal = await self.refused(request(metadata={"requester_metadata": {"tenant_id": "x" * 129}}))
        self.assertEqual((refusal.status_code, refusal.detail["error"]["code"], self.tollgate.questions), (403, "tenant_unknown", []))

    async def test_other_ids_in_a_wrong_form_are_left_out_so_that_no_client_can_spoil_the_question(self) -> None:
        wrong = {"tenant_id": "acme", "feature": "a\nb", "user_id": "u" * 200, "thread_id": 7}
        await self.ask(request(metadata={"requester_metadata": wrong}, litellm_call_id="c" * 500))
        self.assertEqual({name: self.question.get(name) for name in ("feature", "user_id", "thread_id", "call_id")}, {"feature": None, "user_id": None, "thread_id": "7", "call_id": None})

    async def test_an_alias_is_asked_for_as_its_dearest_deployment(self) -> None:
        await self.ask()
        self.assertEqual([self.question[name] for name in ("provider", "model", "tags")], ["openai", "gpt-4o", {"model_group": "smart"}])
        await self.ask(request(model="house"))
        self.assertEqual([self.question[name] for name in ("provider", "model")], ["azure", "gpt-4o"])

    async def test_sizes_are_sent_and_prompts_never(self) -> None:
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 900_000}}
        await self.ask(request(messages=[{"role": "user", "content": [{"type": "text", "text": "geheim" * 100}, picture]}], max_tokens=700, n=2))
        self.assertLess(self.question["input_tokens"], 2_000)
        self.assertGreater(self.question["input_tokens"], 1_800)
        self.assertEqual(self.question["max_output_tokens"], 1_400)
        self.assertNotIn("geheim", str(self.question))

    async def test_without_a_limit_on_the_output_tollgate_estimates_it(self) -> None:
        await self.ask()
        self.assertNotIn("max_output_tokens", self.question)

    async def test_token_ids_count_one_each_and_embeddings_have_no_output(self) -> None:
        await self.ask({"model": "cheap", "input": [[1, 2, 3], [4, 5]]}, call_type="aembedding")
        self.assertEqual((self.question["input_tokens"], self.question["max_output_tokens"]), (5, 0))

    async def test_what_is_priced_by_the_piece_is_asked_for_in_dollars(self) -> None:
        with mock.patch.object(hook_module, "_list_price", lambda *_: {"output_cost_per_image": 0.04}):
            await self.ask({"model": "dall-e-3", "prompt": "a cat", "n": 3}, call_type="image_generation")
        self.assertEqual((self.question["estimated_cost_usd"], self.question["max_output_tokens"]), ("0.120000000", 0))

    async def test_calls_that_spend_nothing_now_are_not_asked_for(self) -> None:
        for call_type in ("moderation", "acreate_batch", "aretrieve_batch", "acreate_file", "call_mcp_tool", "list_mcp_tools", "aget_responses"):
            await self.ask(call_type=call_type)
        self.assertEqual((self.tollgate.questions, self.hook.stats.skipped), ([], 7))

    async def test_connections_are_kept(self) -> None:
        for _ in range(5):
            await self.ask()
        self.assertEqual((len(set(self.tollgate.connections)), set(self.tollgate.keys)), (1, {"Bearer tg_key"}))


class Answer(HookTest):
    async def test_the_hold_goes_where_it_comes_back_and_the_shared_object_stays_as_it_was(self) -> None:
        shared = {"cost_center": "42"}
        data = await self.ask(request(metadata={"spend_logs_metadata": shared}))
        self.assertEqual(data["metadata"]["spend_logs_metadata"], {"cost_center": "42", "tollgate_hold_id": "hold_1"})
        self.assertEqual(shared, {"cost_center": "42"})

    async def test_every_reason_has_its_status(self) -> None:
        expected = {
            402: ("insufficient_funds", "too_large", "budget_exhausted"),
            403: ("tenant_missing", "tenant_unknown", "tenant_suspended", "key_revoked", "model_not_allowed", "model_unpriced", "not_known_yet"),
            429: ("in_flight_exhausted", "rate_limited", "concurrency_limited"),
            503: ("store_unavailable",),
        }
        for status, codes in expected.items():
            for code in codes:
                with self.subTest(code):
                    self.tollgate.decide = lambda _, code=code: block(code)
                    refusal = await self.refused()
                    self.assertEqual((refusal.status_code, refusal.detail["error"]["code"], refusal.detail["error"]["tenant_id"]), (status, code, "acme"))
                    self.assertEqual("retry-after" in refusal.headers, status in (429, 503))

    async def test_the_wait_is_rounded_up_to_seconds(self) -> None:
        self.tollgate.decide = lambda _: block("rate_limited", 61_001)
        self.assertEqual((await self.refused()).headers["retry-after"], "62")

    async def test_a_downgrade_is_called_by_a_name_this_proxy_has(self) -> None:
        self.tollgate.decide = lambda _: allow(decision="downgrade", model="gpt-4o-mini", route={"provider": "openai", "model": "gpt-4o-mini"})
        data = await self.ask()
        # Not "smart", behind which the dearer model may answer too.
        self.assertEqual(data["model"], "cheap")
        self.assertEqual((await self.hook.async_post_call_response_headers_hook(data, user(), None))["x-tollgate-model"], "cheap")

    async def test_a_downgrade_to_a_model_this_proxy_has_not_is_a_refusal_and_its_hold_is_given_back(self) -> None:
        self.tollgate.decide = lambda _: allow("hold_x", decision="downgrade", model="elsewhere", reason={"code": "threshold_downgrade", "message": "80 %"})
        with self.assertLogs("tollgate", "ERROR"):
            self.assertEqual((await self.refused()).status_code, 402)
        await self.settled()
        self.assertEqual(self.tollgate.released, ["hold_x"])

    async def test_only_a_limit_that_was_asked_for_is_cut(self) -> None:
        self.tollgate.decide = lambda _: allow(max_output_tokens=300)
        self.assertEqual((await self.ask(request(max_completion_tokens=500, n=2)))["max_completion_tokens"], 150)
        self.assertEqual((await self.ask(request(max_tokens=100)))["max_tokens"], 100)
        self.assertNotIn("max_tokens", await self.ask())
        data = await self.ask(request(generationConfig={"maxOutputTokens": 900, "temperature": 0}), call_type="agenerate_content")
        self.assertEqual(data["generationConfig"], {"maxOutputTokens": 300, "temperature": 0})

    async def test_a_repeated_call_id_gets_a_hold_of_its_own(self) -> None:
        for first in (allow("hold_shared", replayed=True), (409, {"code": "quota.call_already_settled"})):
            self.tollgate.decide = lambda question, first=first: first if "call_id" in question else allow("hold_own")
            data = await self.ask()
            self.assertEqual(data["metadata"]["spend_logs_metadata"]["tollgate_hold_id"], "hold_own")
        self.assertEqual(self.hook.stats.call_ids_reused, 2)

    async def test_a_record_that_a_client_made_up_releases_nothing(self) -> None:
        self.tollgate.decide = lambda _: allow(None)
        forged = {"tollgate_call": {"hold_id": "hold_of_another"}}
        for call_type in ("acompletion", "moderation"):
            for place in ("metadata", "litellm_metadata"):
                data = await self.ask(request(**{place: dict(forged)}), call_type=call_type)
                await self.hook.async_post_call_failure_hook(data, litellm.BadRequestError("x", "m", "p"), user())
        await self.settled()
        self.assertEqual(self.tollgate.released, [])


class NoDecision(HookTest):
    async def test_open_lets_through_and_counts_and_says_so_once(self) -> None:
        self.tollgate.decide = lambda _: (503, {"code": "x"})
        with self.assertLogs("tollgate", "ERROR") as lines:
            for _ in range(20):
                data = await self.ask()
        self.assertEqual((len(lines.records), self.hook.stats.failed_open, self.hook.stats.errors), (1, 20, 20))
        self.assertEqual((await self.hook.async_post_call_response_headers_hook(data, user(), None))["x-tollgate-decision"], "unchecked")
        self.tollgate.decide = lambda _: allow()
        with self.assertLogs("tollgate", "WARNING"):
            await self.ask()

    async def test_closed_refuses_with_503(self) -> None:
        self.hook = TollgateHook("http://127.0.0.1:9", "k", on_failure="closed")
        with self.assertLogs("tollgate", "ERROR"):
            refusal = await self.refused()
        self.assertEqual((refusal.status_code, refusal.detail["error"]["code"], self.hook.stats.failed_closed), (503, "store_unavailable", 1))

    async def test_an_answer_that_is_none_takes_the_failure_policy(self) -> None:
        with self.assertLogs("tollgate", "ERROR"):
            for answer in ((200, {}), (200, {"decision": "maybe"}), (401, {}), (400, {}), (429, {}), (200, [])):
                self.tollgate.decide = lambda _, answer=answer: answer
                await self.ask()
        self.assertEqual(self.hook.stats.failed_open, 6)

    async def test_the_deadline_is_kept_and_a_late_hold_of_a_call_not_made_is_given_back(self) -> None:
        for on_failure, released in (("open", []), ("closed", ["hold_late"])):
            with self.subTest(on_failure):
                self.hook = TollgateHook(self.tollgate.url, "k", timeout_ms=50, on_failure=on_failure)
                answering = threading.Event()
                self.tollgate.decide = lambda _: answering.wait(5) and allow("hold_late")
                with self.assertLogs("tollgate", "ERROR"):
                    await (self.ask() if on_failure == "open" else self.refused())
                # Tollgate answers only now: nobody waited for it.
                answering.set()
                await self.settled()
                self.assertEqual((self.tollgate.released, self.hook.stats.timeouts, self.hook.stats.late_answers), (released, 1, 1))
                await self.hook.close()

    async def test_a_late_hold_without_a_call_id_is_given_back_since_no_event_could_name_it(self) -> None:
        self.hook = TollgateHook(self.tollgate.url, "k", timeout_ms=50)
        answering = threading.Event()
        self.tollgate.decide = lambda _: answering.wait(5) and allow("hold_late")
        with self.assertLogs("tollgate", "ERROR"):
            await self.ask(request(litellm_call_id=None))
        answering.set()
        await self.settled()
        self.assertEqual(self.tollgate.released, ["hold_late"])

    async def test_a_client_that_leaves_while_we_ask_leaves_no_hold(self) -> None:
        answering = threading.Event()
        self.tollgate.decide = lambda _: answering.wait(5) and allow("hold_late")
        asking = asyncio.ensure_future(self.ask())
        while not self.tollgate.questions:
            await asyncio.sleep(0)
        asking.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await asking
        answering.set()
        await self.settled()
        self.assertEqual(self.tollgate.released, ["hold_late"])

    async def test_a_kept_connection_that_breaks_is_asked_again_and_the_replay_is_ours(self) -> None:
        answers = iter([(0, {}), allow("hold_1", replayed=True)])
        self.tollgate.decide = lambda _: next(answers)
        data = await self.ask()
        self.assertEqual(data["metadata"]["spend_logs_metadata"]["tollgate_hold_id"], "hold_1")
        self.assertEqual((self.hook.stats.failed_open, self.hook.stats.call_ids_reused), (0, 0))


class Failure(HookTest):
    async def fail(self, error: BaseException, attempts: Any = (), **lifted: Any) -> Any:
        data = await self.ask()
        for attempt in attempts:
            await self.hook.async_post_call_failure_deployment_hook(data, attempt, None)
        data.update(lifted)
        await self.hook.async_post_call_failure_hook(data, error, user())
        await self.settled()
        return self.tollgate.released

    async def test_a_refusal_of_the_provider_gives_the_hold_back_once(self) -> None:
        error = litellm.RateLimitError("slow down", "openai", "gpt-4o")
        data = await self.ask()
        for _ in range(2):
            await self.hook.async_post_call_failure_hook(data, error, user())
        await self.settled()
        self.assertEqual((self.tollgate.released, self.hook.stats.released), (["hold_1"], 1))

    async def test_what_may_be_billed_is_left_to_its_event_or_its_expiry(self) -> None:
        cut = litellm.InternalServerError("Connection error.", "openai", "gpt-4o")
        cut.__cause__ = httpx.ReadError("Server disconnected")
        refusal = litellm.RateLimitError("slow down", "openai", "gpt-4o")
        late = litellm.Timeout("late", "gpt-4o", "openai")
        self.assertEqual(await self.fail(late), [])
        self.assertEqual(await self.fail(cut), [])
        self.assertEqual(await self.fail(RuntimeError("?")), [])
        self.assertEqual(await self.fail(refusal, attempts=[late, refusal]), [])
        self.assertEqual(await self.fail(refusal, response_cost=0.01), [])
        self.assertEqual(await self.fail(refusal, combined_usage_object=SimpleNamespace(completion_tokens=3)), [])
        self.assertEqual(await self.fail(refusal, standard_logging_object={"completion_tokens": 3}), [])
        self.assertEqual(self.hook.stats.left_to_expire, 7)

    async def test_a_provider_that_was_never_reached_bills_nothing(self) -> None:
        unreachable = litellm.InternalServerError("Connection error.", "openai", "gpt-4o")
        unreachable.__cause__ = httpx.ConnectError("refused")
        self.assertEqual(await self.fail(unreachable, combined_usage_object=SimpleNamespace(completion_tokens=0), response_cost=0.0), ["hold_1"])

    async def test_a_second_pass_of_the_hooks_over_one_request_gives_back_the_first_hold(self) -> None:
        arrived = {"headers": {}, "arrival_time": 1.0}
        first = await self.ask(request(proxy_server_request=dict(arrived)))
        await self.ask(request(proxy_server_request=dict(arrived), model="cheap"))
        await self.settled()
        self.assertEqual(self.tollgate.released, ["hold_1"])
        # Both refused by LiteLLM's own limits: it reports the first.
        await self.hook.async_post_call_failure_hook(first, litellm.RateLimitError("own limit", "p", "m"), user())
        await self.settled()
        self.assertEqual(self.tollgate.released, ["hold_1", "hold_2"])

    async def test_a_release_that_fails_is_counted_and_harms_nobody(self) -> None:
        data = await self.ask()
        await self.hook.close()
        self.hook._url = "http://127.0.0.1:9"
        await self.hook.async_post_call_failure_hook(data, litellm.RateLimitError("x", "p", "m"), user())
        await self.settled()
        self.assertEqual(self.hook.stats.release_failed, 1)


class Configuration(unittest.TestCase):
    def test_a_wrong_value_names_its_variable(self) -> None:
        right = {"TOLLGATE_URL": "http://t", "TOLLGATE_KEY": "k"}
        for name, value in (("TOLLGATE_URL", "t"), ("TOLLGATE_KEY", ""), ("TOLLGATE_TIMEOUT_MS", "soon"), ("TOLLGATE_TIMEOUT_MS", "0"), ("TOLLGATE_ON_FAILURE", "maybe")):
            with self.subTest(name), self.assertRaisesRegex(ValueError, name):
                TollgateHook.from_environment({**right, name: value})
        self.assertEqual(TollgateHook.from_environment(right).on_failure, "open")


if __name__ == "__main__":
    unittest.main()
