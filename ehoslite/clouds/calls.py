"""The calls to one OpenStack: login, retries within the pass's time, and faults by their names.

Repeats only what may be repeated: every call but a creation. Faults come from two exception trees (openstack and
keystoneauth1) and from status codes; all of them leave here as errors of ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from threading import BoundedSemaphore
from typing import Any, Never, cast

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from ehoslite import __version__
from ehoslite.clouds.console import brief
from ehoslite.errors import BadRequest, CloudFault, CloudUnreachable, Gone, NoCapacity, Unclear
from ehoslite.resources import UNLIMITED
from ehoslite.settings import OpenStackCloudSettings

ATTEMPTS = 4
# A Retry-After beyond this is for the next pass to wait out, not for this one.
LONGEST_WAIT = 10.0
FIRST_WAIT = 0.25
# Near its end a pass waits no longer than it has time, but so long at least: what is done by then need not be repeated.
SHORTEST_TIMEOUT = 1.0
REPEATABLE = {429, 500, 502, 503, 504}


class _Again(Exception):
    """May be repeated; `fault` is what to raise when it is not."""

    def __init__(self, fault: CloudFault, after: float | None = None) -> None:
        self.fault = fault
        self.after = after


class Calls:
    """One cloud's API. `remaining` tells the seconds left of the pass, `sleep` waits."""

    def __init__(
        self,
        settings: OpenStackCloudSettings,
        name: str,
        remaining: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.settings = settings
        self.name = name
        self.remaining = remaining
        self.sleep = sleep
        self._connection: Any = None
        self._region_is_clear = False
        self._in_flight = BoundedSemaphore(settings.limits.calls)

    def get(self, service: str, path: str, microversion: str | None = None) -> dict[str, Any]:
        """The body of a GET. Raises CloudUnreachable, Gone, BadRequest."""
        return self._repeated(service, "GET", path, None, microversion)

    def headers(self, service: str, path: str) -> Mapping[str, str]:
        """The headers of a GET's answer, by names in any case. Raises as `get` does."""
        for attempt in self._retrying():
            with attempt:
                answer = self._answer(service, "GET", path, None, None)
                _body(answer, f"GET {service} {path.partition('?')[0]}")
                return cast(Mapping[str, str], answer.headers)
        raise AssertionError("tenacity raises or returns")

    def delete(self, service: str, path: str) -> None:
        """A DELETE; of what is gone it succeeds. Raises CloudUnreachable, BadRequest."""
        try:
            self._repeated(service, "DELETE", path, None, None)
        except Gone:
            return

    def post(self, service: str, path: str, body: Mapping[str, Any], microversion: str | None = None) -> dict[str, Any]:
        """The body of a POST, sent once, and again only if it was throttled: then nothing was done.

        Raises NoCapacity, BadRequest, Unclear, CloudUnreachable (certainly nothing was done).
        """
        for attempt in self._retrying():
            with attempt:
                try:
                    return self._once(service, "POST", path, body, microversion)
                except _Again as again:
                    if again.fault.code == "throttled":
                        raise
                    raise Unclear(str(again.fault)) from again
        raise AssertionError("tenacity raises or returns")

    def _repeated(
        self, service: str, verb: str, path: str, body: Mapping[str, Any] | None, microversion: str | None
    ) -> dict[str, Any]:
        for attempt in self._retrying():
            with attempt:
                return self._once(service, verb, path, body, microversion)
        raise AssertionError("tenacity raises or returns")

    def _retrying(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception_type(_Again),
            wait=self._wait,
            stop=self._stop,
            sleep=self.sleep,
            retry_error_callback=_give_up,
        )

    def _wait(self, state: RetryCallState) -> float:
        again = state.outcome.exception() if state.outcome else None
        if isinstance(again, _Again) and again.after is not None:
            return again.after
        return float(FIRST_WAIT * 2 ** (state.attempt_number - 1))

    def _stop(self, state: RetryCallState) -> bool:
        """After some attempts, or when the wait would be too long, or when one more attempt might take over half of
        what is left of the pass: the other clouds and the actions need time too."""
        wait, again = self._wait(state), state.outcome.exception() if state.outcome else None
        hung = isinstance(again, _Again) and again.fault.code == "timeout"
        cost = wait + (self.settings.timeout if hung else 0)
        return stop_after_attempt(ATTEMPTS)(state) or wait > LONGEST_WAIT or cost > self.remaining() / 2

    def _once(
        self, service: str, verb: str, path: str, body: Mapping[str, Any] | None, microversion: str | None
    ) -> dict[str, Any]:
        answer = self._answer(service, verb, path, body, microversion)
        return _body(answer, f"{verb} {service} {path.partition('?')[0]}")

    def _answer(
        self, service: str, verb: str, path: str, body: Mapping[str, Any] | None, microversion: str | None
    ) -> Any:
        from keystoneauth1 import exceptions as keystone
        from openstack import exceptions as sdk

        headers = {"Accept": "application/json"}
        timeout = max(SHORTEST_TIMEOUT, min(self.settings.timeout, self.remaining()))
        # the SDK would repeat by itself, and without an eye on the time: connections once, Glance's 503 five times
        more: dict[str, Any] = {"timeout": timeout, "connect_retries": 0, "status_code_retries": 0}
        if microversion:
            more["microversion"] = microversion
        if body is not None:
            more["json"] = body
        try:
            self._check_region()
            adapter = getattr(self.connection(), service)
            with self._in_flight:
                return adapter.request(path, verb, raise_exc=False, headers=headers, **more)
        except keystone.ConnectTimeout as error:
            raise _Again(CloudUnreachable(f"no answer within {timeout:.0f} s", "timeout")) from error
        except (keystone.Unauthorized, keystone.AuthPluginException) as error:
            raise CloudUnreachable(f"the login is refused: {brief(error)}", "unauthorized") from error
        except (keystone.ConnectFailure, keystone.UnknownConnectionError) as error:
            raise _Again(CloudUnreachable(f"not reached: {brief(error)}", "unreachable")) from error
        except keystone.HttpError as error:
            raise _refused_login(error) from error
        except (keystone.InvalidResponse, keystone.DiscoveryFailure, sdk.NotSupported) as error:
            raise _Again(CloudUnreachable(f"{type(error).__name__}: {brief(error)}", "server-error")) from error
        except (keystone.ClientException, sdk.SDKException, ValueError) as error:
            raise CloudUnreachable(f"{type(error).__name__}: {brief(error)}", "misconfigured") from error

    def _check_region(self) -> None:
        """Without a region's name the SDK would take whichever endpoint the catalog has first, and our servers in the
        other regions would not be listed. Raises CloudUnreachable (misconfigured), and what a login raises."""
        if self._region_is_clear:
            return
        connection = self.connection()
        if not connection.config.get_region_name():
            catalog = connection.session.auth.get_access(connection.session).service_catalog
            found = catalog.get_endpoints_data(service_type="compute", interface="public")
            if len(regions := sorted({str(one.region_name) for some in found.values() for one in some})) > 1:
                text = f"the login knows the regions {', '.join(regions)}: name one with region_name"
                raise CloudUnreachable(text, "misconfigured")
        self._region_is_clear = True

    def connection(self) -> Any:
        """The SDK's connection; nothing is asked until the first call. Raises CloudUnreachable (misconfigured)."""
        if self._connection is None:
            self._connection = connect(self.settings, self.name)
        return self._connection


def _refused_login(error: Any) -> _Again:
    """What a status in the answer to a login means; a 401 never comes here."""
    text, answer = f"the login failed: {brief(error)}", getattr(error, "response", None)
    throttled = CloudUnreachable(text, "throttled")
    fault = throttled if error.http_status == 429 else CloudUnreachable(text, "server-error")
    return _Again(fault, None if answer is None else _retry_after(answer))


def _give_up(state: RetryCallState) -> Any:
    again = state.outcome.exception() if state.outcome else None
    raise again.fault if isinstance(again, _Again) else AssertionError(again)


def connect(settings: OpenStackCloudSettings, name: str) -> Any:
    """A connection by the inline login, or by the entry of clouds.yaml, found as all OpenStack clients find it."""
    import openstack
    from openstack.config import OpenStackConfig
    from openstack.exceptions import SDKException

    common: dict[str, Any] = {"app_name": "ehoslite", "app_version": __version__, "api_timeout": settings.timeout}
    try:
        if settings.auth_url:
            return openstack.connect(**_inline(settings), load_yaml_config=False, load_envvars=False, **common)
        files = [str(settings.clouds_yaml)] if settings.clouds_yaml else None
        found = OpenStackConfig(config_files=files) if files else OpenStackConfig()
        more: dict[str, Any] = {"region_name": settings.region_name} if settings.region_name else {}
        return openstack.connection.Connection(config=found.get_one(cloud=settings.cloud or name, **more, **common))
    except (SDKException, OSError, ValueError, TypeError) as error:
        raise CloudUnreachable(f"clouds.{name}: {brief(error)}", "misconfigured") from error
    except Exception as error:
        if type(error).__module__.startswith("keystoneauth1"):
            raise CloudUnreachable(f"clouds.{name}: {brief(error)}", "misconfigured") from error
        raise


def _inline(settings: OpenStackCloudSettings) -> dict[str, Any]:
    who = ("username", "password", "project_name", "user_domain_name", "project_domain_name")
    names = ("auth_url", "region_name", *who)
    return {name: getattr(settings, name) for name in names if getattr(settings, name)}


def _body(answer: Any, what: str) -> dict[str, Any]:
    """The reply's object, or the fault that its status names."""
    status = answer.status_code
    if status < 400:
        return _read(answer, what)
    said = _said(answer)
    if status == 404:
        raise Gone(f"{what}: {said}")
    if status in {401, 407}:
        raise CloudUnreachable(f"{what}: the token is refused: {said}", "unauthorized")
    over = r"quota" if status == 409 else r"quota|exceeded|limit"  # Neutron says 409, Nova 403, Cinder 413
    if status in {403, 409, 413} and re.search(over, said, re.IGNORECASE):
        raise NoCapacity(said, "quota")
    if status == 413:
        raise _Again(CloudUnreachable(f"{what}: throttled: {said}", "throttled"), _retry_after(answer))
    if status in REPEATABLE:
        text = f"{what}: status {status}: {said}"
        throttled = CloudUnreachable(text, "throttled")
        raise _Again(throttled if status == 429 else CloudUnreachable(text, "server-error"), _retry_after(answer))
    raise BadRequest(f"{what}: status {status}: {said}")


def _read(answer: Any, what: str) -> dict[str, Any]:
    if not answer.content:
        return {}
    try:
        body = answer.json(parse_constant=_refuse, parse_int=_read_number(int), parse_float=_read_number(float))
    except (ValueError, RecursionError) as error:  # the latter for what is nested thousands deep
        raise _Again(CloudUnreachable(f"{what}: the answer is cut off or no JSON", "server-error")) from error
    if not isinstance(body, dict):
        raise _Again(CloudUnreachable(f"{what}: the answer is no object", "server-error"))
    return body


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is no JSON")


def _read_number(kind: Callable[[str], float]) -> Callable[[str], float]:
    """Reads numbers with which one can reckon: none is larger than what stands for no limit."""
    return lambda text: max(-UNLIMITED, min(UNLIMITED, kind(text)))


def _retry_after(answer: Any) -> float | None:
    value = str(answer.headers.get("Retry-After", ""))
    return float(value) if re.fullmatch(r"\d{1,6}", value) else None


def _said(answer: Any) -> str:
    """The message in an error's body. A refused creation may quote the whole user data, token and all: long runs of
    base64 are cut out."""
    try:
        body = answer.json()
        first = next(iter(body.values())) if isinstance(body, dict) and body else body
        text = first.get("message", first) if isinstance(first, dict) else first
    except (ValueError, RecursionError):
        text = answer.text
    return brief(text) or f"status {answer.status_code}"
