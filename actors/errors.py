"""Why a command got no outcome."""


class ActorError(Exception):
    """Base. ``retry_after_seconds`` tells the caller when to come back."""

    retry_after_seconds = 1

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class OverloadedError(ActorError):
    """The command was not given to the ledger: nothing happened."""


class LeavingError(OverloadedError):
    """The shard is stopping: nothing happened, and whoever takes its place will take the command."""


class PepperMissingError(OverloadedError):
    """The gateway lacks a pepper that CVCs are kept with, so this one cannot be checked: nothing happened."""


class OutcomeUnknownError(ActorError):
    """The command was given to the ledger and no answer came: retry with the same idempotency key."""
