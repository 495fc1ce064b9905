"""Errors whose message is one line for the user, and the exit codes of the commands they end."""

from __future__ import annotations


class UserError(Exception):
    """What was asked for failed."""

    exit_code = 1


class Refusal(UserError):
    """What was asked for is refused: it cannot be done, or something that is named is not there.

    A model or data that a gate refuses is `components.gate.check.GateRefused`.
    """

    exit_code = 2
