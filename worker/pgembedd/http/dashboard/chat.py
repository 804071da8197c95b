"""The page's chat: a form that asks, and a page for each answer that is sent while the answer is made. No script."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response
from markupsafe import escape
from starlette.responses import StreamingResponse

from pgembedd.answers.progress import UNTAKEN_EVENT
from pgembedd.answers.questions import Question
from pgembedd.answers.watch import Viewer
from pgembedd.database.answers import AnswerEvent
from pgembedd.http.auth.authenticator import require_scope
from pgembedd.http.auth.origin import require_own_origin
from pgembedd.http.auth.search_roles import NO_ROLE
from pgembedd.http.auth.tokens import Caller
from pgembedd.http.context import ServiceContext
from pgembedd.http.dashboard.forms import form_fields
from pgembedd.http.dashboard.render import Renderer
from pgembedd.http.dashboard.sentences import Sentences, named
from pgembedd.http.errors.refusals import Refusal, own_refusal

Fields = Annotated[dict[str, str], Depends(form_fields)]
_HERE = "<!-- here -->"
_OVER = '<span class="over" hidden></span>'  # from here on the style sheet hides the button that stops it


def add_chat(routes: APIRouter, service: ServiceContext, renderer: Renderer) -> None:
    """Adds GET and POST /chat, GET /chat/{id}, and POST /chat/{id}/stop."""
    admin = service.authenticator.require("admin")

    def may_ask(caller: Caller = admin) -> Caller:
        require_scope(caller, "answers")
        return caller

    @routes.get("/chat")
    def empty_chat(caller: Caller = admin) -> Response:
        if not caller.search_url:
            return renderer.page("chat.html", {"pipelines": [], "refusal": Refusal(501, NO_ROLE)}, 501)
        return renderer.page("chat.html", {"pipelines": service.answers.of(may_ask(caller)).pipelines()})

    _add_forms(routes, service, renderer, Depends(may_ask))
    _add_answer(routes, service, renderer, Depends(may_ask))


def _add_forms(routes: APIRouter, service: ServiceContext, renderer: Renderer, allowed: Any) -> None:
    answers = service.answers

    @routes.post("/chat", dependencies=[require_own_origin()])
    def ask(fields: Fields, caller: Caller = allowed) -> Response:
        try:
            thread = UUID(fields["thread"]) if fields.get("thread") else None
        except ValueError:
            raise Refusal(400, "The form cannot be read.") from None
        asked = Question(fields.get("pipeline", ""), fields.get("question", ""), thread=thread)
        try:
            with answers.place(caller):  # else the page that it leads to would be refused
                return RedirectResponse(f"/chat/{answers.ask(caller, asked).id}", 303)
        except Exception as error:
            refusal = own_refusal(error)
            values = {"pipelines": answers.of(caller).pipelines(), "refusal": refusal}
            return renderer.page("chat.html", values, refusal.status)

    @routes.post("/chat/{answer}/stop", dependencies=[require_own_origin()])
    def stop(answer: UUID, caller: Caller = allowed) -> Response:
        answers.stop(caller, answer)
        return RedirectResponse(f"/chat/{answer}", 303)


def _add_answer(routes: APIRouter, service: ServiceContext, renderer: Renderer, allowed: Any) -> None:
    @routes.get("/chat/{answer}")
    async def watch(answer: UUID, caller: Caller = allowed) -> Response:
        questions = service.answers.of(caller)
        pipelines = await run_in_threadpool(questions.pipelines)
        turns = await run_in_threadpool(questions.earlier_turns, answer)
        viewer = await service.answers.watch(caller, answer)
        shown = {"pipelines": pipelines, "state": viewer.state, "turns": turns, "here": _HERE}
        before, _, after = bytes(renderer.page("chat.html", shown).body).partition(_HERE.encode())
        sent = _sent(viewer, before, after)
        return StreamingResponse(sent, media_type="text/html", headers={"x-accel-buffering": "no"})


async def _sent(viewer: Viewer, before: bytes, after: bytes) -> AsyncIterator[bytes]:
    """Yields the page: what stands before the answer, the answer as it comes, and the rest."""
    written = Sentences()
    try:
        yield before
        async for event in viewer.events():
            if html := _html(written, event):
                yield html.encode("utf-8", "replace")
        yield f"{written.end()}{_OVER}".encode("utf-8", "replace")
    except Exception as error:
        yield _note(own_refusal(error).sentence).encode()
    finally:
        viewer.close()
    cited = {number: source for number, source in written.sources.items() if number in written.cited}
    besides = {number: source for number, source in written.sources.items() if number not in cited}
    listed = _sources("Sources", cited) + _sources("Found, but not cited", besides)
    yield listed.encode("utf-8", "replace")
    yield after


def _html(written: Sentences, event: AnswerEvent) -> str:
    data: dict[str, Any] = event.data
    match event.name:
        case "sources":
            written.sources = {source["n"]: source for source in data["sources"]}
        case "status" if data.get("attempt", 0) > 1 and data["status"] == "generating":
            return written.end() + _remark("The answer begins again.")
        case "status" if event is UNTAKEN_EVENT:
            return _note(data["reason"])
        case "delta":
            return written.add(data["text"])
        case "status" if data["status"] == "queued" and data.get("reason"):
            return written.end() + _remark(f"An attempt failed: {data['reason']} Another one follows.")
        case "done":
            notes = ["The answer was stopped."] if data.get("status") == "stopped" else data.get("notes", [])
            return "".join([written.end(), *map(_remark, notes)])
        case "error":
            return written.end() + _note(str(data.get("message", "The answer failed.")))
    return ""


def _remark(sentence: str) -> str:
    return f'<p class="note" role="status">{escape(sentence)}</p>'


def _note(sentence: str) -> str:
    return f'<p class="note bad" role="alert">{escape(sentence)}</p>'


def _sources(heading: str, sources: dict[int, dict[str, Any]]) -> str:
    """Returns a list to which citations lead."""
    listed = []
    for number, source in sources.items():
        text = f'<p class="content">{escape(source["excerpt"] or "")}</p>'
        listed.append(
            f'<li id="source-{number}" value="{number}"><h3>[{number}] {named(number, source)}</h3>{text}</li>'
        )
    return f'<h2>{heading}</h2><ol class="hits">{"".join(listed)}</ol>' if listed else ""
