"""The users of the broker in the words of nats-server's configuration."""

import json
from collections.abc import Sequence
from typing import Any, Final

from contracts.permissions import Permissions, fixed_users, permissions_of

_HEADER: Final = """\
# The users of the broker and what each may do, for `authorization { include "users.conf" }`.
# Generated from contracts/permissions.py by `make contracts`: edit that. docs/broker-security.md says how to use it.
#
# Each password comes from a variable of nats-server's environment. It may be a bcrypt hash (in quotes). A bare one has
# to begin with a letter and to hold letters, digits, - and _ only: nats-server reads it as it reads its own file.

"""


def user_entry(user: str, password: str, permissions: Permissions) -> dict[str, Any]:
    """Return one element of the configuration's list of users."""
    # An empty list of allowed subjects would mean "all" to some versions of the server.
    publish = {"allow": list(permissions.publish)} if permissions.publish else {"deny": [">"]}
    allowed: dict[str, Any] = {"publish": publish, "subscribe": {"allow": list(permissions.subscribe)}}
    if permissions.unheard:
        allowed["subscribe"]["deny"] = list(permissions.unheard)
    if permissions.reply_seconds is not None:
        allowed["allow_responses"] = {"max": 1, "expires": f"{permissions.reply_seconds}s"}
    return {"user": user, "password": password, "permissions": allowed}


def password_variable(user: str) -> str:
    """Return the environment variable in which nats-server looks for a user's password."""
    return f"NATS_PASSWORD_{user.upper().replace('-', '_')}"


def users_file(added: Sequence[str] = ()) -> str:
    """Return the users that every installation has, and producers and tools, with variables for their passwords."""
    entries = [_with_variable(user, permissions_of(user)) for user in (*fixed_users(), *added)]
    return _HEADER + "users: [\n" + ",\n".join(entries) + "\n]\n"


def _with_variable(user: str, permissions: Permissions) -> str:
    variable = password_variable(user)
    entry = json.dumps(user_entry(user, variable, permissions), indent=2)
    # A variable is only one where it stands without quotes.
    return entry.replace(f'"password": "{variable}"', f'"password": ${variable}')
