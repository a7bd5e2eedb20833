"""The calls to one OpenStack: login, retries within the pass's time, and faults by their names.

Repeats only what may be repeated: every call but a creation. Faults come from two exception trees (openstack and
keystoneauth1) and from status codes; all of them leave here as errors of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Any, cast

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from ehoslite import __version__
from ehoslite.clouds.answers import Again, body_of, retry_after
from ehoslite.clouds.console import brief
from ehoslite.errors import CloudUnreachable, Gone, Unclear
from ehoslite.settings import OpenStackCloudSettings

ATTEMPTS = 4
# A Retry-After beyond this is for the next pass to wait out, not for this one.
LONGEST_WAIT = 10.0
FIRST_WAIT = 0.25
# Near its end a pass waits no longer than it has time, but so long at least: what is done by then need not be repeated.
SHORTEST_TIMEOUT = 1.0


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
                body_of(answer, f"GET {service} {path.partition('?')[0]}")
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
                except Again as again:
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
            retry=retry_if_exception_type(Again),
            wait=self._wait,
            stop=self._stop,
            sleep=self.sleep,
            retry_error_callback=_give_up,
        )

    def _wait(self, state: RetryCallState) -> float:
        again = state.outcome.exception() if state.outcome else None
        if isinstance(again, Again) and again.after is not None:
            return again.after
        return float(FIRST_WAIT * 2 ** (state.attempt_number - 1))

    def _stop(self, state: RetryCallState) -> bool:
        """After some attempts, or when the wait would be too long, or when one more attempt might take over half of
        what is left of the pass: the other clouds and the actions need time too."""
        wait, again = self._wait(state), state.outcome.exception() if state.outcome else None
        hung = isinstance(again, Again) and again.fault.code == "timeout"
        cost = wait + (self.settings.timeout if hung else 0)
        return stop_after_attempt(ATTEMPTS)(state) or wait > LONGEST_WAIT or cost > self.remaining() / 2

    def _once(
        self, service: str, verb: str, path: str, body: Mapping[str, Any] | None, microversion: str | None
    ) -> dict[str, Any]:
        answer = self._answer(service, verb, path, body, microversion)
        return body_of(answer, f"{verb} {service} {path.partition('?')[0]}")

    def _answer(
        self, service: str, verb: str, path: str, body: Mapping[str, Any] | None, microversion: str | None
    ) -> Any:
        more: dict[str, Any] = {"headers": {"Accept": "application/json"}}
        if microversion:
            more["microversion"] = microversion
        if body is not None:
            more["json"] = body
        with _faults_by_name():
            self._check_region()
            return self._in_turn(service, verb, path, more)

    def _in_turn(self, service: str, verb: str, path: str, more: Mapping[str, Any]) -> Any:
        """Send it as soon as no more than the allowed calls are on their way. Its time is told only then: those before
        it may have taken theirs."""
        from keystoneauth1 import exceptions as keystone

        adapter = getattr(self.connection(), service)
        with self._in_flight:
            timeout = max(SHORTEST_TIMEOUT, min(self.settings.timeout, self.remaining()))
            # the SDK would repeat by itself, and without an eye on the time: connections once, Glance's 503 five times
            once = {"connect_retries": 0, "status_code_retries": 0, "raise_exc": False}
            try:
                return adapter.request(path, verb, timeout=timeout, **once, **more)
            except keystone.ConnectTimeout as error:
                raise Again(CloudUnreachable(f"no answer within {timeout:.0f} s", "timeout")) from error

    def project(self) -> str:
        """The id of the login's own project: Neutron shows an administrator everybody's. Raises as `get` does."""
        for attempt in self._retrying():
            with attempt, _faults_by_name():
                return str(self.connection().current_project_id)
        raise AssertionError("tenacity raises or returns")

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


@contextmanager
def _faults_by_name() -> Iterator[None]:
    """What a call or its login raises, as errors of ours; what may be repeated as Again."""
    from keystoneauth1 import exceptions as keystone
    from openstack import exceptions as sdk

    try:
        yield
    except keystone.ConnectTimeout as error:
        raise Again(CloudUnreachable("no answer to the login in time", "timeout")) from error
    except (keystone.Unauthorized, keystone.AuthPluginException) as error:
        raise CloudUnreachable(f"the login is refused: {brief(error)}", "unauthorized") from error
    except (keystone.ConnectFailure, keystone.UnknownConnectionError) as error:
        raise Again(CloudUnreachable(f"not reached: {brief(error)}", "unreachable")) from error
    except keystone.HttpError as error:
        raise _refused_login(error) from error
    except (keystone.InvalidResponse, keystone.DiscoveryFailure, sdk.NotSupported) as error:
        raise Again(CloudUnreachable(f"{type(error).__name__}: {brief(error)}", "server-error")) from error
    except (keystone.ClientException, sdk.SDKException, ValueError) as error:
        raise CloudUnreachable(f"{type(error).__name__}: {brief(error)}", "misconfigured") from error


def _refused_login(error: Any) -> Again:
    """What a status in the answer to a login means; a 401 never comes here."""
    text, answer = f"the login failed: {brief(error)}", getattr(error, "response", None)
    throttled = CloudUnreachable(text, "throttled")
    fault = throttled if error.http_status == 429 else CloudUnreachable(text, "server-error")
    return Again(fault, None if answer is None else retry_after(answer))


def _give_up(state: RetryCallState) -> Any:
    again = state.outcome.exception() if state.outcome else None
    raise again.fault if isinstance(again, Again) else AssertionError(again)


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
