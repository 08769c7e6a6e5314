"""Owns the errors of the backend client: what went wrong between this process and a server.

No message of these classes holds a token or the query of an address (signed links carry
credentials there).
"""

from __future__ import annotations

from typing import Any


class ClientError(Exception):
    """Base of all errors of the backend client."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ClientConnectionError(ClientError):
    """The server could not be reached, or the connection broke.

    Attributes:
        nothing_sent: No connection was made, so the server cannot have acted.
    """

    def __init__(self, message: str, *, nothing_sent: bool = False) -> None:
        super().__init__(message)
        self.nothing_sent = nothing_sent


class ClientResponseIncompleteError(ClientConnectionError):
    """The connection ended before the whole answer had arrived."""


class ClientTimeoutError(ClientError):
    """The server did not answer in time.

    After a call that writes, whether the server acted is unknown; the client does not resend it.
    """


class HTTPError(ClientError):
    """The server answered with a status that is not a success.

    Attributes:
        status_code: The HTTP status.
        detail: What the server says, as decoded JSON, or its text.
        retry_after: Seconds to wait before the next try, where the server named them.
    """

    def __init__(
        self,
        message: str,
        status_code: int = 0,
        detail: Any = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.detail = detail
        self.retry_after = retry_after


class AuthenticationError(HTTPError):
    """401: no token, or one that the server does not know."""


class AuthorizationError(HTTPError):
    """403: the token may not do this."""


class NotFoundError(HTTPError):
    """404: there is no such thing on this server."""


class ValidationError(HTTPError):
    """400 or 422: the server refuses the values sent."""


class RateLimitError(HTTPError):
    """429: too many requests."""


class ServerError(HTTPError):
    """5xx: the server failed."""


class GpuUnavailableError(HTTPError):
    """The server has no GPU free for what was asked."""


class StreamError(ClientError):
    """A stream of logs or results broke."""


class StreamLimitExceededError(StreamError):
    """A stream gave more than its limit."""


class WebSocketError(ClientError):
    """A WebSocket connection failed."""
