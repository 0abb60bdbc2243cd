"""One question to a served model, by the plain OpenAI protocol: ask.py QUESTION."""

import json
import sys
import urllib.request

ADDRESS = "http://127.0.0.1:8000/v1/chat/completions"
MODEL = "/tmp/model"
SECONDS = 30


def main() -> None:
    """Ask, and print the question, the answer and the number of tokens."""
    question = sys.argv[1]
    body = {"model": MODEL, "messages": [{"role": "user", "content": question}], "max_tokens": 16}
    request = urllib.request.Request(
        ADDRESS, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as response:
        completion = json.load(response)
    message = completion["choices"][0]["message"]
    print(f"user: {question}")
    print(f"{message['role']}: {message['content'].strip()}")
    print(f"({completion['usage']['completion_tokens']} tokens from {completion['model']})")


if __name__ == "__main__":
    main()
