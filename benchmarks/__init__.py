"""How fast the service is, measured from outside on a running stack."""
