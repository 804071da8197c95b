"""Requests that chat programs send between a user's questions, for a title, tags or suggestions: no model is asked.

Open WebUI sends "### Task:" with the chat between tags and wants a JSON object, and two others of its own; LibreChat
asks for a title alone. They are known by how they begin: a question may hold the same words further on.
"""

import json
import re

TITLE_CHARACTERS = 60
_TASK = re.compile(r"\s*#{1,4} *task *:", re.IGNORECASE)
_KEY = re.compile(r"\{\s*\"(title|tags|follow_ups|queries|text|prompt)\"")
_EMOJI = re.compile(r"\s*your task is to reflect the speaker's likely facial expression", re.IGNORECASE)
_TOOLS = re.compile(r"\s*available tools: .*\bchoose and return the correct tool", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(
    r"\s*(?:(?:please )?(?:provide|generate) a concise, 5-word-or-less title for the conversation"
    r"|analyze this conversation and provide:.{0,80}detected language"
    r"|please generate a concise title \(max 40 characters\) for a conversation)",
    re.IGNORECASE | re.DOTALL,
)
# Within a line: each of many empty lines would be looked through up to the last one.
_FIRST_TURN = re.compile(r"^[^\w\n]*(?:user|human)[^\w\n]*:\s*(.+)$", re.IGNORECASE | re.MULTILINE)


def chore_reply(messages: list[tuple[str, str]]) -> str | None:
    """Returns the reply to a chore of a chat program, None for a question; messages are (role, text), last one last."""
    asked = messages[-1][1] if messages else ""
    if _TASK.match(asked) and "chat_history>" in asked:
        return json.dumps(_task_reply(asked), ensure_ascii=False)
    if _EMOJI.match(asked):
        return "\U0001f642"
    # An instruction is the last message, or a system message before what it is about.
    instructions = [asked, *(text for role, text in messages if role in ("system", "developer"))]
    if any(map(_TOOLS.match, instructions)):
        return json.dumps({"tool_calls": []})
    if (instruction := next((text for text in instructions if _TITLE.match(text)), None)) is not None:
        others = (text for role, text in messages if role == "user" and text is not instruction)
        return _title(_first_turn(instruction) or next(others, ""))
    return None


def _task_reply(asked: str) -> dict[str, object]:
    found = _KEY.search(asked)
    match found[1] if found else "title":
        case "text":
            return {"text": ""}
        case "title" | "prompt" as key:
            return {key: _title(_first_turn(asked.rpartition("<chat_history>")[2]))}
        case key:
            return {key: []}


def _first_turn(text: str) -> str:
    """Returns the first question of a chat that is written into a text; "" where it has none."""
    found = _FIRST_TURN.search(text)
    return found[1] if found else ""


def _title(text: str) -> str:
    """Returns the beginning of a question."""
    words = " ".join(text.split()).strip("\"' ")
    if len(words) <= TITLE_CHARACTERS:
        return words or "Questions"
    return f"{words[:TITLE_CHARACTERS].rpartition(' ')[0] or words[:40]}…"
