"""A Tollgate and a model provider for the tests, each on a free port of 127.0.0.1."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, List, Optional, Tuple

Answer = Tuple[int, Dict[str, Any]]


def allow(hold_id: Optional[str] = "hold_1", **fields: Any) -> Dict[str, Any]:
    hold = None if hold_id is None else {"hold_id": hold_id, "amount_usd": "0.011000000", "expires_at": "2026-11-22T12:15:00Z"}
    reason = {"code": "ok", "message": "fits", "scope": "tenant", "budget_id": None, "retry_after_ms": None}
    return {"decision": "allow", "model": None, "route": None, "reason": reason, "hold": hold, "replayed": False, **fields}


def block(code: str, retry_after_ms: Optional[int] = None) -> Dict[str, Any]:
    reason = {"code": code, "message": f"blocked: {code}", "scope": "tenant", "budget_id": None, "retry_after_ms": retry_after_ms}
    return allow(None, decision="block", reason=reason)


class _Server:
    def __init__(self, answer: Callable[[BaseHTTPRequestHandler, str, bytes], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                answer(self, self.path, self.rfile.read(int(self.headers.get("content-length") or 0)))

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def send_json(handler: BaseHTTPRequestHandler, status: int, body: Any, headers: Optional[Dict[str, str]] = None) -> None:
    content = json.dumps(body).encode()
    handler.send_response(status)
    for name, value in {"content-type": "application/json", "content-length": str(len(content)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    try:
        handler.wfile.write(content)
    except BrokenPipeError:
        handler.close_connection = True  # The other side did not wait.


class FakeTollgate(_Server):
    """Answers what `decide` says; keeps the questions, the releases and the spend events LiteLLM reports."""

    def __init__(self) -> None:
        self.questions: List[Dict[str, Any]] = []
        self.released: List[str] = []
        self.events: List[Dict[str, Any]] = []
        self.settled: List[Dict[str, Any]] = []
        self.fail_settle = 0
        self.take: Callable[[Any], Answer] = lambda events: (202, {})
        self.keys: List[Optional[str]] = []
        self.connections: List[Any] = []
        self.decide: Callable[[Dict[str, Any]], Any] = lambda question: allow(f"hold_{len(self.questions)}")
        super().__init__(self._answer)

    def _answer(self, handler: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        if path == "/v1/authorize":
            question = json.loads(body)
            self.questions.append(question)
            self.keys.append(handler.headers.get("authorization"))
            self.connections.append(handler.client_address)
            answer = self.decide(question)
            status, content = answer if isinstance(answer, tuple) else (200, answer)
            if status == 0:  # The connection breaks without an answer.
                handler.close_connection = True
                handler.connection.close()
                return
            return send_json(handler, status, content)
        if path.startswith("/v1/holds/") and path.endswith("/release"):
            self.released.append(path.split("/")[3])
            return send_json(handler, 200, {})
        if path.startswith("/v1/holds/"):
            self.settled.append({**json.loads(body), "idempotency_key": handler.headers.get("idempotency-key")})
            return send_json(handler, 502 if len(self.settled) == self.fail_settle else 200, {})
        found = json.loads(body)
        status, content = self.take(found)
        if status < 300:
            self.events.extend(event for event in (found if isinstance(found, list) else [found]) if event)
        send_json(handler, status, content)


class FakeProvider(_Server):
    """OpenAI's chat completions, embeddings and responses. The last user message may say how to misbehave, as JSON {"behave": ...}."""

    def __init__(self) -> None:
        self.calls: List[Dict[str, Any]] = []
        super().__init__(self._answer)

    def _answer(self, handler: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        asked = json.loads(body)
        self.calls.append({"path": path, **asked})
        behave = _script(asked).get(asked["model"]) if "messages" in asked else None
        if isinstance(behave, int):
            return send_json(handler, behave, {"error": {"message": "on purpose", "type": "api_error", "code": str(behave)}})
        if behave == "stall":
            time.sleep(2)
        if path.endswith("/embeddings"):
            usage = {"prompt_tokens": 3, "total_tokens": 3}
            data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
            return send_json(handler, 200, {"object": "list", "model": asked["model"], "data": data, "usage": usage})
        answer = {"id": f"chatcmpl-{len(self.calls)}", "created": 1_700_000_000, "model": asked["model"]}
        if asked.get("stream"):
            figures = (asked.get("stream_options") or {}).get("include_usage") is True
            return self._stream(handler, answer, behave, figures)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Every year."}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        send_json(handler, 200, {**answer, "object": "chat.completion", "choices": [choice], "usage": usage})

    @staticmethod
    def _stream(handler: BaseHTTPRequestHandler, answer: Dict[str, Any], behave: Any, figures: bool) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()

        def piece(text: str) -> None:
            content = f"data: {text}\n\n".encode()
            try:
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
                handler.wfile.flush()
            except ConnectionError:
                handler.close_connection = True  # The reader has left.

        for word in ("Every ", "single ", "year."):
            choice = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
            piece(json.dumps({**answer, "object": "chat.completion.chunk", "choices": [choice]}))
        if behave == "drop":
            handler.close_connection = True
            handler.connection.close()
            return
        if behave == "hang":
            try:
                handler.rfile.read(1)  # Until the client goes away.
            except ConnectionError:
                handler.close_connection = True
            return
        piece(json.dumps({**answer, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        if figures:
            usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_tokens_details": {"cached_tokens": 4}}
            piece(json.dumps({**answer, "object": "chat.completion.chunk", "choices": [], "usage": usage}))
        piece("[DONE]")
        handler.wfile.write(b"0\r\n\r\n")


def _script(asked: Dict[str, Any]) -> Dict[str, Any]:
    try:
        script = json.loads(asked["messages"][-1]["content"])
        return script if isinstance(script, dict) else {}
    except (ValueError, TypeError):
        return {}
