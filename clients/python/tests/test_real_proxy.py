"""The hook in a real LiteLLM proxy that runs the configuration we ship. Not run where the LiteLLM proxy is not installed."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple
from urllib.parse import urlsplit

from .servers import FakeProvider, FakeTollgate, allow, block

ROOT = Path(__file__).resolve().parents[3]
LITELLM = Path(sys.executable).parent / "litellm"
CONFIG = ROOT / "deploy" / "litellm" / "config-authorize.yaml"
HOOK = ROOT / "clients" / "python" / "tollgate_litellm.py"
MASTER_KEY = "sk-master-of-this-test"
START_SECONDS = 90

# Keys without a database: what LiteLLM's own key table would hold.
KEYS = '''
from litellm.proxy._types import UserAPIKeyAuth

METADATA = {"tenant_id": "key-bound", "spend_logs_metadata": {"cost_center": "42"}}

async def authenticate(request, api_key):
    if api_key == "sk-bound":
        return UserAPIKeyAuth(api_key=api_key, metadata=METADATA)
    if api_key == "sk-limited":
        return UserAPIKeyAuth(api_key=api_key, metadata={"tenant_id": "limited"}, rpm_limit=1)
    return UserAPIKeyAuth(api_key=api_key)
'''


def eventually(what: str, check: Callable[[], Any], seconds: float = 10) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


@unittest.skipUnless(LITELLM.exists(), "the LiteLLM proxy is not installed beside this Python")
class RealProxy(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.tollgate, cls.provider = FakeTollgate(), FakeProvider()
        cls.folder = tempfile.mkdtemp(prefix="tollgate-litellm-")
        shutil.copy(HOOK, cls.folder)
        Path(cls.folder, "keys.py").write_text(KEYS)
        config = CONFIG.read_text().replace("general_settings:\n", "general_settings:\n  custom_auth: keys.authenticate\n")
        # A deployment that failed in one test is there in the next.
        config = config.replace("router_settings:\n", "router_settings:\n  disable_cooldowns: true\n")
        Path(cls.folder, "config.yaml").write_text(config)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        cls.address = f"http://127.0.0.1:{port}"
        cls.log = open(Path(cls.folder, "log"), "w+")
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": cls.folder,
            "TOLLGATE_URL": cls.tollgate.url,
            "TOLLGATE_KEY": "tg_test_key",
            "TOLLGATE_TIMEOUT_MS": "2000",
            "TOLLGATE_WEBHOOK_URL": f"{cls.tollgate.url}/v1/webhooks/litellm",
            "TOLLGATE_INGEST_KEY": "tg_test_ingest",
            "LITELLM_MASTER_KEY": MASTER_KEY,
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": f"{cls.provider.url}/v1",
            "ANTHROPIC_API_KEY": "none",
            "ANTHROPIC_API_BASE": cls.provider.url,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        command = [str(LITELLM), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
        cls.proxy = subprocess.Popen(command, cwd=cls.folder, env=environment, stdout=cls.log, stderr=cls.log)
        try:
            eventually("the proxy answers", cls._answers, START_SECONDS)
        except AssertionError:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.proxy.terminate()
        try:
            cls.proxy.wait(10)
        except subprocess.TimeoutExpired:
            cls.proxy.kill()
            cls.proxy.wait()
        cls.log.close()
        cls.tollgate.close()
        cls.provider.close()
        shutil.rmtree(cls.folder, ignore_errors=True)

    @classmethod
    def _answers(cls) -> bool:
        if cls.proxy.poll() is not None:
            raise RuntimeError(Path(cls.folder, "log").read_text()[-4_000:])
        try:
            return cls._call("GET", "/health/liveliness")[0] == 200
        except OSError:
            return False

    @classmethod
    def _call(cls, method: str, path: str, body: Any = None, headers: Optional[Dict[str, str]] = None) -> Tuple[int, Dict[str, str], str]:
        connection = http.client.HTTPConnection(urlsplit(cls.address).netloc, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"content-type": "application/json", **(headers or {})})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read().decode()
        finally:
            connection.close()

    def setUp(self) -> None:
        self.tollgate.questions.clear()
        self.tollgate.released.clear()
        self.tollgate.events.clear()
        self.provider.calls.clear()
        self.tollgate.decide = lambda question: allow(f"hold_{self.id().split('.')[-1]}_{len(self.tollgate.questions)}")
        self.hold = f"hold_{self.id().split('.')[-1]}_1"

    def chat(self, body: Optional[Dict[str, Any]] = None, key: str = MASTER_KEY, path: str = "/v1/chat/completions", **headers: str) -> Any:
        content = json.dumps((body or {}).pop("script", {"behave": None}))
        asked = {"model": "gpt-4o", "max_tokens": 50, "messages": [{"role": "user", "content": content}], **(body or {})}
        sent = {"authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self._call("POST", path, asked, sent)

    def event(self, status: str = "success") -> Dict[str, Any]:
        return eventually(f"a {status} event", lambda: next((event for event in self.tollgate.events if event["status"] == status), None))

    def released_until_the_next_refusal(self) -> Any:
        """What was released up to a call whose hold certainly is: how to see that a release did not come."""
        self.tollgate.decide = lambda question: allow("hold_of_a_refusal")
        self.chat({"script": {"gpt-4o": 429, "gpt-4o-mini": 429}, "num_retries": 0})
        eventually("the release of a refused call", lambda: "hold_of_a_refusal" in self.tollgate.released)
        return [hold for hold in self.tollgate.released if hold != "hold_of_a_refusal"]

    def test_the_hold_id_comes_back_in_the_spend_event_and_nothing_else_is_lost(self) -> None:
        status, headers, text = self.chat({"metadata": {"tenant_id": "acme", "feature": "chat"}}, x_litellm_spend_logs_metadata='{"mine": 1}')
        self.assertEqual(status, 200, text)
        question = self.tollgate.questions[0]
        self.assertEqual((question["tenant_id"], question["feature"]), ("acme", "chat"))
        self.assertEqual((question["provider"], question["model"], question["max_output_tokens"]), ("openai", "gpt-4o", 50))
        self.assertNotIn("behave", json.dumps(question))
        event = self.event()
        self.assertEqual(event["metadata"]["spend_logs_metadata"], {"mine": 1, "tollgate_hold_id": self.hold})
        self.assertEqual(event["litellm_call_id"], question["call_id"])
        self.assertEqual((headers["x-tollgate-decision"], headers["x-tollgate-hold-id"]), ("allow", self.hold))
        self.assertNotIn("tollgate_call", json.dumps(self.provider.calls))

    def test_a_hold_does_not_stick_to_the_key_whose_metadata_litellm_shares_between_calls(self) -> None:
        self.chat({"metadata": {"tenant_id": "forged"}}, key="sk-bound")
        first = self.event()
        self.assertEqual(self.tollgate.questions[0]["tenant_id"], "key-bound")
        self.assertEqual(first["metadata"]["spend_logs_metadata"], {"cost_center": "42", "tollgate_hold_id": self.hold})
        self.tollgate.events.clear()
        self.tollgate.decide = lambda question: allow(None)
        self.chat(key="sk-bound")
        self.assertEqual(self.event()["metadata"]["spend_logs_metadata"], {"cost_center": "42"})

    def test_a_stream_carries_its_hold_too(self) -> None:
        status, headers, text = self.chat({"stream": True})
        self.assertEqual((status, headers["x-tollgate-hold-id"]), (200, self.hold), text)
        self.assertEqual(self.event()["metadata"]["spend_logs_metadata"], {"tollgate_hold_id": self.hold})

    def test_messages_and_responses_keep_the_hold_under_litellm_metadata(self) -> None:
        for path, body in (
            ("/v1/messages", {"model": "gpt-4o", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}),
            ("/v1/responses", {"model": "gpt-4o", "max_output_tokens": 9, "input": "hi"}),
        ):
            with self.subTest(path):
                self.setUp()
                self._call("POST", path, body, {"authorization": f"Bearer {MASTER_KEY}"})
                self.assertEqual(self.tollgate.questions[0]["max_output_tokens"], 9)
                event = eventually("an event", lambda: self.tollgate.events[:1])[0]
                self.assertEqual(event["metadata"]["spend_logs_metadata"], {"tollgate_hold_id": self.hold})

    def test_an_embedding_is_asked_for_with_no_output(self) -> None:
        body = {"model": "text-embedding-3-small", "input": "hi", "metadata": {"tenant_id": "acme"}}
        status, _, text = self._call("POST", "/v1/embeddings", body, {"authorization": f"Bearer {MASTER_KEY}"})
        self.assertEqual(status, 200, text)
        self.assertEqual((self.tollgate.questions[0]["max_output_tokens"], self.tollgate.questions[0]["input_tokens"]), (0, 1))
        self.assertEqual(self.event()["metadata"]["spend_logs_metadata"], {"tollgate_hold_id": self.hold})

    def test_a_downgrade_calls_and_books_the_other_model(self) -> None:
        self.tollgate.decide = lambda question: allow(self.hold, decision="downgrade", model="gpt-4o-mini", max_output_tokens=20)
        status, headers, text = self.chat()
        self.assertEqual(status, 200, text)
        self.assertEqual((self.provider.calls[0]["model"], self.provider.calls[0]["max_tokens"]), ("gpt-4o-mini", 20))
        self.assertEqual((headers["x-tollgate-decision"], headers["x-tollgate-model"]), ("downgrade", "gpt-4o-mini"))
        self.assertEqual(self.event()["model_group"], "gpt-4o-mini")

    def test_a_block_reaches_the_client_with_its_reason_and_never_the_provider(self) -> None:
        for code, retry_after_ms, expected, kind in (
            ("insufficient_funds", None, 402, "budget_exceeded"),
            ("in_flight_exhausted", 1_500, 429, "rate_limit_error"),
            ("tenant_suspended", None, 403, "permission_error"),
            ("store_unavailable", None, 503, "service_unavailable_error"),
        ):
            with self.subTest(code):
                self.setUp()
                self.tollgate.decide = lambda question, code=code, after=retry_after_ms: block(code, after)
                status, headers, text = self.chat({"metadata": {"tenant_id": "acme"}})
                error = json.loads(text)["error"]
                detail = error["provider_specific_fields"]["error"]
                self.assertEqual((status, error["type"], error["message"]), (expected, kind, f"blocked: {code}"))
                self.assertEqual((detail["code"], detail["tenant_id"]), (code, "acme"))
                self.assertEqual(headers.get("retry-after"), {"in_flight_exhausted": "2", "store_unavailable": "1"}.get(code))
                self.assertEqual(headers["x-tollgate-decision"], "block")
                self.assertEqual((self.provider.calls, self.tollgate.released), ([], []))

    def test_a_fallback_after_failed_attempts_keeps_one_hold(self) -> None:
        status, _, text = self.chat({"script": {"gpt-4o": 429}})
        self.assertEqual(status, 200, text)
        event = self.event()
        self.assertEqual(event["metadata"]["spend_logs_metadata"]["tollgate_hold_id"], self.hold)
        self.assertEqual(event["model_group"], "gpt-4o-mini")
        self.assertGreater(len(self.provider.calls), 1)
        self.assertEqual((len(self.tollgate.questions), self.tollgate.released), (1, []))

    def test_a_request_that_finally_fails_gives_its_hold_back_once(self) -> None:
        status, _, _ = self.chat({"script": {"gpt-4o": 500, "gpt-4o-mini": 429}})
        self.assertEqual(status, 500)
        eventually("the release", lambda: self.tollgate.released)
        self.event("failure")
        self.assertEqual(self.tollgate.released, [self.hold])

    def test_a_hold_stays_when_any_attempt_timed_out_since_the_provider_may_bill_it(self) -> None:
        for script, expected in (({"gpt-4o": "stall", "gpt-4o-mini": 429}, 408), ({"gpt-4o": 429, "gpt-4o-mini": "stall"}, 429)):
            with self.subTest(script=script):
                self.setUp()
                status, _, text = self.chat({"script": script, "timeout": 0.3, "num_retries": 0})
                self.assertEqual(status, expected, text)
                self.assertEqual(self.released_until_the_next_refusal(), [])

    def test_a_stream_that_broke_after_output_keeps_its_hold(self) -> None:
        self.chat({"stream": True, "script": {"gpt-4o": "drop", "gpt-4o-mini": 429}, "num_retries": 0})
        self.assertEqual(self.released_until_the_next_refusal(), [])

    def test_a_call_id_that_a_client_repeats_does_not_share_a_hold(self) -> None:
        def decide(question: Dict[str, Any]) -> Any:
            return allow("hold_shared", replayed=True) if "call_id" in question else allow("hold_own")

        self.tollgate.decide = decide
        self.chat(x_litellm_call_id="again")
        self.assertEqual(self.event()["metadata"]["spend_logs_metadata"], {"tollgate_hold_id": "hold_own"})

    def test_a_limit_of_litellm_itself_after_our_yes_leaves_no_hold_behind(self) -> None:
        statuses = [self.chat(key="sk-limited")[0] for _ in range(3)]
        self.assertIn(429, statuses)
        eventually("a release for each hold that no call used", lambda: len(self.tollgate.released) == len(self.tollgate.questions) - statuses.count(200))

    def test_what_spends_nothing_is_not_asked_for(self) -> None:
        self._call("GET", "/v1/models", None, {"authorization": f"Bearer {MASTER_KEY}"})
        self._call("GET", "/health", None, {"authorization": f"Bearer {MASTER_KEY}"})
        self._call("POST", "/v1/moderations", {"model": "omni-moderation-latest", "input": "hi"}, {"authorization": f"Bearer {MASTER_KEY}"})
        self.assertEqual(self.tollgate.questions, [])


if __name__ == "__main__":
    unittest.main()
