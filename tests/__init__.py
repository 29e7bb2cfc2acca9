"""Tests: unit, contract, property, integration, fault and e2e; `real` holds the servers that some of them run on."""
