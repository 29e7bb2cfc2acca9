"""The composition root of the gateway: everything is made here, and put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request
from litestar.di import Provide

from gateway.addresses import Addresses, networks
from gateway.bulk import Bulk
from gateway.certificates import Certificates
from gateway.documentation import documentation
from gateway.front import HOT, Front
from gateway.guesses import Guesses
from gateway.handlers import ROUTES, Admission
from gateway.keyring import Keyring
from gateway.metrics import Exposition, Metrics
from gateway.problems import problem
from gateway.rates import Rates
from gateway.raw import Raw, exchange_of
from gateway.readiness import ReadinessCheck
from gateway.reads import Reads
from gateway.services import Services
from gateway.settings import GatewaySettings
from gateway.tokens import Tokens
from gateway.trials import Trials


def create_app(services: Services, settings: GatewaySettings, *, fast_lane: bool = True) -> Front:
    """The gateway as an ASGI application. Its lifespan has to run: the API keys are read in it.

    Args:
        services: what it works with; the caller opens and closes them.
        settings: its bounds.
        fast_lane: whether the hot calls take the short way past Litestar. The answers are the same.
    """
    metrics = Metrics()
    rates = Rates(settings.rate_per_second, metrics.limited) if settings.rate_per_second else None
    tokens = None if settings.tokens is None else Tokens(settings.tokens, services.clock, metrics.tokens_refused)
    keyring = Keyring(services.keys, settings, services.clock, rates, tokens)
    addresses = Addresses(networks(settings.trusted_proxies))
    guesses = Guesses(services.windows, settings, metrics.limited)
    trials = Trials(guesses, addresses)
    certificates = Certificates(services, settings, keyring, trials, addresses)
    services.metrics.register(metrics)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with keyring:
            yield
            await trials.close()

    litestar = Litestar(
        ROUTES,
        guards=[Admission(keyring)],  # the application's: those of a router are copied, and the keyring with them
        dependencies={
            "certificates": _the(certificates),
            "bulk": _the(Bulk(services, settings, keyring, metrics, trials, addresses)),
            "reads": _the(Reads(services, settings)),
            "readiness": _the(ReadinessCheck(services, settings, keyring)),
            "documentation": _the(documentation()),
            "exposition": _the(Exposition(services, settings.health_seconds)),
        },
        lifespan=[lifespan],
        exception_handlers={Exception: _told},
        openapi_config=None,  # Litestar's own pages load their scripts from elsewhere
        logging_config=None,
        debug=False,
    )
    return Front(litestar, certificates, metrics, settings.requests_in_flight_max, hot=HOT if fast_lane else {})


def _the(thing: object) -> Provide:
    """Provide a thing that is there once."""
    return Provide(lambda: thing, use_cache=True, sync_to_thread=False)


def _told(request: Request[Any, Any, Any], error: Exception) -> Raw:
    return Raw(problem(exchange_of(request), error))
