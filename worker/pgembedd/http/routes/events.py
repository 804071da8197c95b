"""`GET /api/v1/events`: the database's events as server-sent events."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from pgembedd.database.event_channel import EVENTS, EventFilter
from pgembedd.http.context import ServiceContext
from pgembedd.http.errors.openapi import event_stream
from pgembedd.http.errors.refusals import Refusal, responses
from pgembedd.http.paths import API
from pgembedd.http.streams.event_hub import EventHub
from pgembedd.http.streams.sse import EventStream
from pgembedd.search.fields import Name
from pgembedd.settings.limits import IN_ADDRESS, LISTED

STREAM = event_stream("Events, until the client has enough.")


def router(service: ServiceContext) -> APIRouter:
    """GET /api/v1/events."""
    routes = APIRouter(prefix=API, tags=["events"], dependencies=[service.authenticator.require("admin")])
    hub, missing = None, "This service has no database, so it knows of no events."
    if service.listener is not None and not service.listener.hears:
        missing = "LISTEN is not possible through the pooler that this service is behind: set DATABASE_LISTEN_URL."
    elif service.conninfo is not None and service.listener is not None:
        hub = EventHub(service.listener, service.conninfo, service.stopping, service.http.http_max_listeners)

    @routes.get(
        "/events", response_class=Response, responses={**STREAM, **responses(401, 403, 422, 429, 500, 501, 503)}
    )
    async def events(
        event: Annotated[
            list[Name] | None, Query(max_length=LISTED, description="Only events of this word; repeatable.")
        ] = None,
        pipeline: Annotated[
            list[Name] | None, Query(max_length=LISTED, description="Only those of this pipeline; repeatable.")
        ] = None,
        last_event_id: Annotated[
            str | None, Header(max_length=IN_ADDRESS, description="Go on after this event.")
        ] = None,
    ) -> Response:
        """Events as they happen: batches stored, attempts failed, dead letters, states of pipelines."""
        if not set(event or ()) <= set(EVENTS):
            raise Refusal(
                422, f"There is no such event; there are {', '.join(EVENTS)}.", "unknown_event", param="event"
            )
        if hub is None:
            raise Refusal(501, missing, "no_events")
        reader = hub.join(EventFilter.of(event or (), pipeline or ()), last_event_id)
        return EventStream(reader.events(), partial(hub.leave, reader), service.streams)

    return routes
