"""Posts the outcome of a run or a rollback to a chat's incoming webhook (Slack, Mattermost, ...).

    hooks.refused: [python3, examples/hooks/chat.py]

CHAT_WEBHOOK holds the address of the webhook, which is a secret: keep it out of the configuration.
"""

import html
import http.client
import json
import os
import sys
import urllib.request


def message(event: str, told: dict) -> str:
    if event == "rolled_back":
        why = told["reason"] or "no reason given"
        return f"version {told['version']} restores {told['restores']}: {why}"
    name = (told["dataset"] or {}).get("name", "the data set")
    if event == "released":
        accuracy = told["metrics"]["accuracy"]
        return f"{name}: version {told['release']['version']} is served, accuracy {accuracy:.4f}"
    if event == "refused":
        failed = [check["sentence"] for check in told["gate"]["checks"] if not check["passed"]]
        return f"{name}: {'; '.join(failed)}"
    return f"{name}: {told['error']}"


def main() -> None:
    event, told = os.environ["TFX_MNIST_HOOK"], json.load(sys.stdin)
    # Names and reasons are others': unescaped, <!channel> would call everybody, and <...|...> link.
    text = html.escape(f"[{event}] {message(event, told)}", quote=False)
    body = json.dumps({"text": text}).encode()
    address, kind = os.environ.get("CHAT_WEBHOOK", ""), {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(address, body, kind)
        with urllib.request.urlopen(request, timeout=10) as answer:
            print(f"the chat answered {answer.status}")
    except OSError as error:
        sys.exit(f"the chat does not take it: {error}")
    except http.client.BadStatusLine as error:
        sys.exit(f"the chat answered {error.line.strip()!r}, expected HTTP")
    except (ValueError, http.client.InvalidURL):  # whose texts are the address
        sys.exit("CHAT_WEBHOOK is not the address of a webhook, expected https://HOST/PATH")


if __name__ == "__main__":
    main()
