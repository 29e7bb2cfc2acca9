"""Backup, restore, verify and reconcile on a large ledger, with their times: ``make recovery``."""
