"""One session of an application with the Python client, for test/e2e/sdk-python.spec.ts. Takes {server, key, upstream, tenant, action, content}
as JSON in its argument, does it, and prints what the application saw as JSON. Ends by itself: what is under way is said before that."""

import asyncio
import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
asked = json.loads(sys.argv[1])

import openai  # noqa: E402

import tollgate  # noqa: E402

client = tollgate.Tollgate(asked["server"], asked["key"], authorize_timeout_ms=20_000, on_failure="closed")
place = {"api_key": "none", "base_url": asked["upstream"] + "/v1"}
request = {"model": "gpt-4o", "max_tokens": 400, "messages": [{"role": "user", "content": asked["content"]}]}
LAST_WORD_BEFORE_STALL = "unless"


def wrapped():
    return tollgate.with_tollgate(openai.OpenAI(**place, max_retries=0), tollgate=client, feature="summarize")


def text_of(piece):
    return piece.choices[0].delta.content or ""


def read(stream):
    """Until the word at which a stalling stream stops; a broken one ends with its error."""
    seen = ""
    try:
        for piece in stream:
            seen += text_of(piece)
            if LAST_WORD_BEFORE_STALL in seen and asked.get("leaves"):
                break
    except Exception as error:
        return {"seen": seen, "error": type(error).__name__}
    return {"seen": seen, "error": None}


def call():
    return {"output": wrapped().chat.completions.create(**request).usage.completion_tokens}


def call_async():
    async def use():
        async with openai.AsyncOpenAI(**place, max_retries=0) as plain:
            metered = tollgate.with_tollgate(plain, tollgate=client, feature="summarize")
            return {"output": (await metered.chat.completions.create(**request)).usage.completion_tokens}

    return asyncio.run(use())


def stream():
    return read(wrapped().chat.completions.create(**request, stream=True))


def library():
    from tollgate import litellm_library

    litellm_library.install(client)
    hold = client.authorize(provider="openai", model="gpt-4o", input_tokens=10, max_output_tokens=400)["hold"]["hold_id"]
    options = {**request, "model": "openai/gpt-4o", "api_key": "none", "api_base": place["base_url"]}
    with tollgate.context.tenant(asked["tenant"], feature="library"):
        answer = litellm_library.completion(**options, metadata={"hold_id": hold})
    return {"output": answer.usage.completion_tokens, "hold": hold}


try:
    with tollgate.context.tenant(asked["tenant"]):
        result = {"call": call, "call_async": call_async, "stream": stream, "library": library}[asked["action"]]()
except tollgate.BlockedError as refusal:
    result = {"status": refusal.status, "code": refusal.code}
except openai.APIStatusError as failure:
    result = {"upstream": failure.status_code}
print(json.dumps(result))
