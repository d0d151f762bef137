"""What the gateway answers where it cannot take a request: problem details.

Each says what is wrong, where, and how to mend it.
Source: RFC 9457; CTA-5004-B for the status codes that players act on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE = "application/problem+json"

TITLES = {
    "bad-body": "The body cannot be read",
    "bad-header": "A header cannot be read",
    "bad-record": "A record is malformed",
    "no-credentials": "Credentials are missing or not known",
    "not-allowed": "The key may not do this",
    "no-such-path": "There is nothing here",
    "bad-method": "The method is not allowed here",
    "slow-body": "The body came too slowly",
    "over": "The session's token has ended",
    "too-large": "The body is too large",
    "bad-encoding": "The content encoding is not supported",
    "bad-type": "The content type is not supported",
    "too-many": "Too many records in a short time",
    "overload": "The gateway is at its limits",
    "no-log": "The usage log cannot be written now",
    "internal": "The gateway made a mistake",
}


class Problem(Exception):  # noqa: N818 - named as RFC 9457 names it
    """A request that is refused; nothing of it is in the log, unless the detail says so.

    status: the HTTP status. slug: a word of TITLES. detail: a sentence about this request.
    headers: such as Retry-After. more: further members of the answer.
    """

    def __init__(
        self,
        status: int,
        slug: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def response(self) -> Response:
        """The answer."""
        members = {
            "type": f"urn:ratecast:problem:{self.slug}",
            "title": TITLES[self.slug],
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }
        return Response(
            json.dumps(members, ensure_ascii=False).encode(),
            self.status,
            self.headers,
            MEDIA_TYPE,
        )


def retry_later(slug: str, detail: str, after_s: float, status: int = 429) -> Problem:
    """A refusal that ends by waiting. after_s: until when trying again may succeed."""
    return Problem(status, slug, detail, headers={"Retry-After": str(max(1, round(after_s + 0.5)))})


def no_credentials(detail: str, *, schemes: str = "Bearer") -> Problem:
    """Who sends this is not known. schemes: in which ways it may say so."""
    return Problem(401, "no-credentials", detail, headers={"WWW-Authenticate": schemes})
