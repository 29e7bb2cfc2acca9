"""Litestar's routes: certificates and orders.

The POST handlers hand on to :meth:`~gateway.certificates.Certificates.post`, which takes the request from there: three of them
are usually answered before they get here (:mod:`gateway.front`).
"""

from typing import Annotated, Any, Final

from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from gateway.access import Call
from gateway.certificates import Certificates, admit
from gateway.documentation import Captured, Reservation, described
from gateway.exchange import Exchange
from gateway.faults import invalid
from gateway.keyring import Keyring
from gateway.raw import Raw
from gateway.reads import LIMIT_DEFAULT, LIMIT_MAX, Reads
