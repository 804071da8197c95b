"""Makes one sentence of every error that a route may raise, of the framework's, and of defects."""

from pathlib import Path
from traceback import extract_tb

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from pgembedd.errors import PgembeddError
from pgembedd.http.errors.refusals import Refusal, own_refusal, refusal_response, route_of, speaks_openai
from pgembedd.log import get_logger
from pgembedd.settings.documentation import page

_SENTENCES_OF_PYDANTIC = {  # instead of messages about Python
    "model_attributes_type": "It has to be a JSON object",
    "model_type": "It has to be a JSON object",
    "dict_type": "It has to be a JSON object",
    "missing": "It is missing",
}

_SENTENCES = {
    404: f"There is nothing at this path; {page('reference/http.md')} lists what there is.",
    405: "This path does not take this method; the header allow says which it takes.",
    400: "The body is not valid JSON.",
}


def add_handlers(app: FastAPI) -> None:
    """Makes one sentence of everything that a route may raise."""

    @app.exception_handler(Refusal)
    @app.exception_handler(PgembeddError)
    async def refused(request: Request, error: Exception) -> Response:
        return refusal_response(request.url.path, own_refusal(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return refusal_response(request.url.path, _validation(request.url.path, error))

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        refusal = Refusal(error.status_code, _SENTENCES.get(error.status_code, f"{error.detail}."))
        response = refusal_response(request.url.path, refusal)
        response.headers.update(error.headers or {})
        if error.status_code == 405:
            response.headers["allow"] = ", ".join(sorted(_allowed_methods(request)))
        return response

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        return defect_response(request.scope, error)


def defect_response(scope: Scope, error: Exception) -> Response:
    """Logs a defect, and returns what its client is told."""
    get_logger().error("http_error", route=route_of(scope), error=type(error).__name__, where=_frames(error))
    return refusal_response(scope["path"], Refusal(500, "The service failed on this request; its log says how."))


def _frames(error: Exception) -> list[str]:
    """Returns the frames, innermost last, without the error's message, which may hold a user's text."""
    return [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)[-6:]
    ]


def _allowed_methods(request: Request) -> set[str]:
    """Returns the methods of all routes of the path: the framework names those of the first route only."""
    found: set[str] = set()
    for route in request.app.routes:
        for method in ("GET", "POST"):
            if route.matches({**request.scope, "method": method})[0] is Match.FULL:
                found.add(method)
    return found


def _validation(path: str, error: RequestValidationError) -> Refusal:
    """Returns the refusal for the first error, without the value, which may be a user's text."""
    first = error.errors()[0]
    kinds = ("function-", "list[", "tuple[")  # pydantic's names of the members of a union
    where = ".".join(str(part) for part in first["loc"][1:] if not str(part).startswith(kinds))
    param = str(first["loc"][1]) if len(first["loc"]) > 1 and isinstance(first["loc"][1], str) else None
    if first["type"] == "json_invalid":
        return Refusal(400, "The body is not valid JSON.", "invalid_json")
    message = _SENTENCES_OF_PYDANTIC.get(first["type"]) or str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    status = 400 if speaks_openai(path) else 422
    return Refusal(status, f"{where or first['loc'][0]}: {message}.", "wrong_shape", param=param)
