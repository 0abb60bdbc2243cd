"""Chat with a served model by the real OpenAI client, as a user's program would; writes one JSON document.

Run by the Python of a -ci image, in the network of the container that serves: chat.py SECONDS.
"""

import json
import sys
import urllib.request

import openai

ADDRESS = "http://127.0.0.1:8000"
MODEL = "/tmp/model"
MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]


def main() -> None:
    seconds = float(sys.argv[1])
    client = openai.OpenAI(base_url=f"{ADDRESS}/v1", api_key="none", timeout=seconds, max_retries=0)
    answers = {"models": [model.id for model in client.models.list()]}

    completion = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=16)
    answers["completion"] = {
        "content": completion.choices[0].message.content,
        "finish": completion.choices[0].finish_reason,
        "role": completion.choices[0].message.role,
        "tokens": completion.usage.completion_tokens,
        "prompt tokens": completion.usage.prompt_tokens,
    }

    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=16, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    choices = [choice for chunk in chunks for choice in chunk.choices]
    answers["streamed"] = {
        "pieces": [choice.delta.content for choice in choices if choice.delta.content],
        "finish": [choice.finish_reason for choice in choices if choice.finish_reason],
        "tokens": [chunk.usage.completion_tokens for chunk in chunks if chunk.usage],
    }

    try:
        client.chat.completions.create(model="no-such-model", messages=MESSAGES)
    except openai.APIStatusError as error:
        answers["unknown model"] = {"kind": type(error).__name__, "status": error.status_code}

    with urllib.request.urlopen(f"{ADDRESS}/health", timeout=seconds) as answer:
        answers["health"] = {"status": answer.status, "body": json.loads(answer.read())}
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
