"""The service put together: settings, the command line, the embedded stack."""
