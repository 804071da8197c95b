"""Requests that chat programs send between a user's questions, for a title, tags or suggestions: no model is asked.

Open WebUI sends "### Task:" with the chat between tags and wants a JSON object; LibreChat asks for a title alone.
"""

import json
import re

TITLE_CHARACTERS = 60
_TASK = re.compile(r"\s*#{1,4} *task *:", re.IGNORECASE)
_KEY = re.compile(r"\{\s*\"(title|tags|follow_ups|queries|text)\"")
_TITLE = re.compile(
    r"5-word-or-less title for the conversation|concise title in the detected language"
    r"|concise title \(max 40 characters\) for a conversation",
    re.IGNORECASE,
)
_FIRST_TURN = re.compile(r"^\W*(?:user|human)\W*:\s*(.+)$", re.IGNORECASE | re.MULTILINE)


def chore_reply(messages: list[tuple[str, str]]) -> str | None:
    """Returns the reply to a chore of a chat program, None for a question; messages are (role, text), last one last."""
    asked = messages[-1][1] if messages else ""
    if _TASK.match(asked) and "chat_history>" in asked:
        found = _KEY.search(asked)
        match found[1] if found else "title":
            case "title":
                return json.dumps({"title": _title(asked)}, ensure_ascii=False)
            case "text":
                return json.dumps({"text": ""})
            case key:
                return json.dumps({key: []})
    if any(_TITLE.search(text) for _, text in messages):
        earlier = next((text for role, text in messages if role == "user" and not _TITLE.search(text)), asked)
        return _title(earlier)
    return None


def _title(text: str) -> str:
    """Returns the beginning of the first question of a chat."""
    found = _FIRST_TURN.search(text.rpartition("<chat_history>")[2])
    words = " ".join((found[1] if found else text).split())
    if "5-word-or-less" in words or not words:
        return "Questions"
    return words if len(words) <= TITLE_CHARACTERS else f"{words[:TITLE_CHARACTERS].rpartition(' ')[0] or words[:40]}…"
