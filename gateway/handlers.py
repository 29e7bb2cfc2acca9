"""Litestar's routes: certificates and orders.

The POST handlers hand on to :meth:`~gateway.certificates.Certificates.post`, which takes the request from there: three of them
are usually answered before they get here (:mod:`gateway.front`).
"""
