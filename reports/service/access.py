"""Who may do what, and how often: the first thing that every route asks."""

from dataclasses import dataclass

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from .database import reading
from .limits import Rate
from .problems import Problem
from .state import Service
from .tokens import Holder, Scope, TokenError, holder

TOKEN = {  # as the description has it
    "type": "http",
    "scheme": "bearer",
    "description": "Made with `tritonmoe token add`. Needed to change anything, and to read what is private.",
}
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="tritonmoe"'}


@dataclass(frozen=True)
class May:
    """A dependency: lets through who holds a token of this scope, and anybody who reads what is public."""

    scope: Scope

    async def __call__(self, request: Request) -> Holder | None:
        service: Service = request.app.state.service
        settings = service.settings
        if self.scope is Scope.READ:
            kind, rate = "read", Rate(settings.read_rate, settings.read_burst)
        else:
            kind, rate = "write", Rate(settings.write_rate, settings.write_burst)
        # The address comes first: it also bounds how many tokens anybody can try.
        self._within(service, f"{kind} address {request.client.host if request.client else ''}", rate)
        given = request.headers.get("authorization")
        if given is None:
            if self.scope is Scope.READ and settings.read_access == "public":
                return None
            raise self._refusal(service, "this needs a token: send Authorization: Bearer tmoe_…")
        kind_of_token, _, token = given.partition(" ")
        if kind_of_token.lower() != "bearer":
            raise self._refusal(service, "the Authorization header is not of the form: Bearer tmoe_…")
        try:
            who = await run_in_threadpool(_holder, service, token)
        except TokenError as error:
            raise self._refusal(service, str(error)) from None
        request.scope["state"]["token_id"] = who.id
        self._within(service, f"{kind} token {who.id}", rate)
        if not who.scope.covers(self.scope):
            service.metrics.refused.labels("scope").inc()
            raise Problem(
                403, f"this needs a token with scope {self.scope.value}; this one has {who.scope.value}"
            )
        return who

    def _within(self, service: Service, who: str, rate: Rate) -> None:
        seconds = service.limiter.wait(who, rate)
        if seconds:
            service.metrics.refused.labels("rate").inc()
            raise Problem(
                429, f"too many requests; come back after {seconds} s", {"Retry-After": str(seconds)}
            )

    def _refusal(self, service: Service, detail: str) -> Problem:
        service.metrics.refused.labels("token").inc()
        return Problem(401, detail, _CHALLENGE)


def _holder(service: Service, token: str) -> Holder:
    with reading(service.engine) as connection:
        return holder(connection, token, service.archive.clock())
