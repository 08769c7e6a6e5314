"""Owns one server's HTTP conversation: addresses, tokens, retries, redirects, errors.

What may be sent again: calls that are idempotent, after 429, 5xx and broken connections; any
call when no connection was made, for then nothing was sent. A write whose answer is lost is
never resent: the server may have acted.
"""

from __future__ import annotations

import email.utils
import ipaddress
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from synapse_sdk import exceptions as errors

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

#: Seconds of a wait named by the server beyond which the error is given back instead.
LONGEST_WAIT = 60.0
#: Tries of a call that may be sent again.
TRIES = 4
#: Hosts followed in a row.
REDIRECTS = 5
#: Bytes of an error's body that are read.
ERROR_BODY = 64 * 1024

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_STATUS: dict[int, type[errors.HTTPError]] = {
    400: errors.ValidationError,
    401: errors.AuthenticationError,
    403: errors.AuthorizationError,
    404: errors.NotFoundError,
    422: errors.ValidationError,
    429: errors.RateLimitError,
}


class Secret:
    """A value that prints as stars."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "'***'"


def shown(url: str) -> str:
    """Return `url` without what may be secret: user, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))


def origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of `url`: the party that a token belongs to."""
    parts = urlsplit(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or usual


def is_loopback(host: str) -> bool:
    """Say whether `host` is this machine: no proxy is to see what is sent there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the seconds that a `Retry-After` header (seconds or a date) asks to wait."""
    value = headers.get("Retry-After")
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return max(0.0, moment.timestamp() - (time.time() if now is None else now))


class Transport:
    """Talks to one server. Safe to use from several threads and after a fork.

    Args:
        base_url: Address that paths are joined to, `http` or `https`.
        headers: Headers that prove who is asking. They go to the origin of `base_url` alone.
        timeout: Seconds: to connect, and between two reads.
        sleep: Waits; replaced by tests.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        timeout: tuple[float, float] = (10.0, 60.0),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise errors.ClientError(f"not an http(s) address: {shown(base_url)!r}")
        self.base_url = base_url.rstrip("/") + "/"
        self._secrets = {name: Secret(value) for name, value in headers.items()}
        for name, secret in self._secrets.items():
            if any(ord(letter) < 32 or ord(letter) > 126 for letter in secret.value):
                raise errors.ClientError(f"the token of {name} holds a character no header may")
        self.timeout = timeout
        self.sleep = sleep
        self._pools: dict[tuple[int, str], PoolManager] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Transport({shown(self.base_url)!r})"

    def url(self, path: str) -> str:
        """Return `path` (relative or a whole address) as a whole address."""
        return urljoin(self.base_url, path.lstrip("/") if "://" not in path else path)

    def clean(self, text: str) -> str:
        """Return `text` with every token of this transport replaced by stars."""
        for secret in self._secrets.values():
            word = secret.value.split(" ")[-1]
            if len(word) > 3:
                text = text.replace(word, "***")
        return text

    def _manager(self, url: str) -> PoolManager:
        """Return the connections of this process to the party of `url`, or to its proxy."""
        from urllib.request import getproxies, proxy_bypass

        parts = urlsplit(url)
        proxy = getproxies().get(parts.scheme, "")
        host = parts.hostname or ""
        if proxy and (is_loopback(host) or proxy_bypass(host)):
            proxy = ""
        # Sockets of a parent process are not to be shared by its forked children.
        key = (os.getpid(), proxy)
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                import urllib3

                common: dict[str, Any] = {"num_pools": 4, "maxsize": 16, "retries": False}
                if bundle := os.environ.get("REQUESTS_CA_BUNDLE"):
                    common["ca_certs"] = bundle
                if proxy:
                    login = urllib3.util.parse_url(proxy).auth
                    head = urllib3.make_headers(proxy_basic_auth=login) if login else None
                    pool = urllib3.ProxyManager(proxy, proxy_headers=head, **common)
                else:
                    pool = urllib3.PoolManager(**common)
                self._pools[key] = pool
            return pool

    def _once(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> BaseHTTPResponse:
        import urllib3
        from urllib3.exceptions import (
            ConnectTimeoutError,
            HTTPError,
            NewConnectionError,
            ProxyError,
            ReadTimeoutError,
        )

        sent = {"Accept": "application/json", "User-Agent": "synapse-sdk", **headers}
        if origin(url) == origin(self.base_url):
            sent.update({name: secret.value for name, secret in self._secrets.items()})
        where = f"{method} {shown(url)}"
        try:
            return self._manager(url).request(
                method,
                url,
                body=body,
                headers=sent,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(connect=self.timeout[0], read=self.timeout[1]),
                preload_content=False,
                decode_content=False,
                enforce_content_length=True,
            )
        except (NewConnectionError, ConnectTimeoutError, ProxyError) as error:
            reason = self.clean(str(error).rpartition(": ")[2] or type(error).__name__)
            raise errors.ClientConnectionError(
                f"cannot connect for {where}: {reason}", nothing_sent=True
            ) from None
        except ReadTimeoutError:
            raise errors.ClientTimeoutError(
                f"no answer within {self.timeout[1]:g} s: {where}"
            ) from None
        except (HTTPError, OSError) as error:
            reason = self.clean(str(error.args[0] if error.args else error))
            raise errors.ClientConnectionError(f"connection broke: {where}: {reason}") from None

    def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool | None = None,
        accept: frozenset[int] = frozenset(),
    ) -> BaseHTTPResponse:
        """Send one call and return its successful answer, not yet read.

        Args:
            method: HTTP method.
            path: Path below the base address, or a whole address.
            query: Added to the address; None values are left out.
            body: Bytes to send.
            headers: Further headers.
            idempotent: Whether the call may be sent again; by default as the method says.
            accept: Statuses beyond 2xx that are answers, not errors.

        Raises:
            ClientError: Whatever went wrong, as its subclasses say.
        """
        url = self.url(path)
        if query:
            pairs = [(key, value) for key, value in query.items() if value is not None]
            url += ("&" if "?" in url else "?") + urlencode(pairs, doseq=True)
        again = method in IDEMPOTENT if idempotent is None else idempotent
        failure: errors.ClientError
        for attempt in range(TRIES):
            wait: float | None = None
            try:
                answer = self._follow(method, url, body, headers or {})
                if 200 <= answer.status < 300 or answer.status in accept:
                    return answer
                failure = self._error(method, url, answer)
                if not again or not (answer.status == 429 or answer.status >= 500):
                    raise failure
                wait = failure.retry_after
                if wait is not None and wait > LONGEST_WAIT:
                    raise failure
            except (errors.ClientConnectionError, errors.ClientTimeoutError) as error:
                failure = error
                sent = not (isinstance(error, errors.ClientConnectionError) and error.nothing_sent)
                if not again and sent:
                    raise
            if attempt + 1 < TRIES:
                self.pause(attempt, wait)
        raise failure

    def pause(self, attempt: int, wait: float | None = None) -> None:
        """Wait before try `attempt + 1`: as the server asks, else longer each time."""
        self.sleep(wait if wait is not None else 0.25 * 2**attempt * (1 + random.random() / 4))

    def _follow(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> BaseHTTPResponse:
        for _ in range(REDIRECTS + 1):
            answer = self._once(method, url, body, headers)
            target = answer.headers.get("Location")
            if answer.status not in (301, 302, 303, 307, 308) or not target:
                return answer
            answer.drain_conn()
            answer.release_conn()
            if method not in ("GET", "HEAD"):
                raise errors.HTTPError(
                    f"{method} {shown(url)}: moved to {shown(urljoin(url, target))}; "
                    "set the host to that address",
                    answer.status,
                )
            onward = urljoin(url, target)
            if urlsplit(onward).scheme not in ("http", "https"):
                raise errors.HTTPError(f"GET {shown(url)}: moved to no http(s) address")
            url = onward
        raise errors.HTTPError(f"{method} {shown(url)}: more than {REDIRECTS} redirects")

    def _error(self, method: str, url: str, answer: BaseHTTPResponse) -> errors.HTTPError:
        try:
            text = answer.read(ERROR_BODY, decode_content=True).decode("utf-8", "replace")
        except Exception:  # a broken error body is still the error of its status
            text = ""
        finally:
            answer.close()
        text = self.clean(text)
        detail: Any = text
        try:
            detail = json.loads(text)
        except ValueError:
            if "<html" in text.lower():
                detail = text = ""
        if isinstance(detail, dict) and set(detail) == {"detail"}:
            detail = detail["detail"]
        words = detail if isinstance(detail, str) else json.dumps(detail, ensure_ascii=False)
        words = " ".join(words.split())[:2000] or (answer.reason or "no reason given")
        kind = _STATUS.get(answer.status)
        if kind is None:
            kind = errors.ServerError if answer.status >= 500 else errors.HTTPError
        message = f"{method} {shown(url)}: {answer.status} {words}"
        if answer.status == 401:
            message += " (log in with `synapse login`, or set SYNAPSE_ACCESS_TOKEN)"
        return kind(message, answer.status, detail, retry_after(answer.headers))

    @contextmanager
    def reading(self, url: str) -> Iterator[None]:
        """Turn the errors of reading an answer's body into those of the client."""
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        try:
            yield
        except ReadTimeoutError:
            raise errors.ClientTimeoutError(f"the answer stopped coming: {shown(url)}") from None
        except HTTPError:
            raise errors.ClientResponseIncompleteError(
                f"the answer ended too early: {shown(url)}"
            ) from None

    def json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        data: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool | None = None,
    ) -> Any:
        """Send one call, with `data` as its JSON body, and return its decoded answer.

        An empty answer is None. Reading that breaks off counts as a lost answer: it is asked
        for again when the call is idempotent.
        """
        head = dict(headers or {})
        if data is not None:
            from synapse_sdk.plugins.results import plain

            # Metrics come as numpy scalars, paths as paths; NaN is no JSON.
            body = json.dumps(plain(data, finite=True), ensure_ascii=False).encode()
            head["Content-Type"] = "application/json"
        again = method in IDEMPOTENT if idempotent is None else idempotent
        for attempt in range(TRIES):
            answer = self.open(
                method, path, query=query, body=body, headers=head, idempotent=idempotent
            )
            try:
                with self.reading(self.url(path)):
                    content = answer.read(decode_content=True)
                break
            except (errors.ClientConnectionError, errors.ClientTimeoutError):
                if not again or attempt + 1 == TRIES:
                    raise
                self.pause(attempt)
            finally:
                answer.release_conn()
        if not content:
            return None
        try:
            return json.loads(content)
        except ValueError:
            raise errors.ClientError(
                f"{method} {shown(self.url(path))}: the answer is not JSON; is this a Synapse host?"
            ) from None
