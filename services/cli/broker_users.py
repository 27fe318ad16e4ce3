"""Users of the local broker for producers of one tenant and for tools: made and revoked while it runs."""

import asyncio
import json
import signal
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts.broker_users import user_entry, users_file
from contracts.permissions import inbox_prefix, permissions_of, producer_user, tool_user
from services.cli.broker_access import close
from services.cli.broker_config import PID_FILE
from services.cli.data_folder import DataFolder, write_private
from services.cli.errors import CommandError, UsageProblem
from services.cli.settings import load
from services.cli.terminal import print_json, show
from shared.errors import Misconfigured
from shared.messaging.broker_login import tls_context
from shared.settings import PlatformSettings

RELOAD_SECONDS: Final = 10.0
TRY_AGAIN_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class BrokerUser:
    """A user and how to connect as it; `url` None = the broker has never run in this data folder."""

    name: str
    password: str
    url: str | None


def user_named(producer: str | None, tool: str | None) -> str:
    """Return the user of a producer or of a tool; UsageProblem when the name can't be one, or when both are given."""
    if (producer is None) == (tool is None):
        raise UsageProblem("name one user at a time: either --producer TENANT or --tool NAME")
    try:
        return producer_user(producer) if producer is not None else tool_user(tool or "")
    except ValueError as error:
        raise UsageProblem(str(error)) from None


def print_users_file(producers: list[str], tools: list[str]) -> int:
    """Print the users of a broker that is not started by `rag up`, with variables for their passwords."""
    added = [*(user_named(tenant, None) for tenant in producers), *(user_named(None, name) for name in tools)]
    print(users_file(added), end="")
    return 0


def add_user(data_dir: Path | None, user: str, *, as_json: bool) -> int:
    """Make a user of the local broker, or find it again, and print how to connect; returns the exit code."""
    data = _folder(data_dir)
    password = data.password(user)
    found = BrokerUser(user, password, _address(data))
    if _change_users(data, [user_entry(user, password, permissions_of(user))], without=user):
        asyncio.run(_until_let_in(found))
    _print_user(found, as_json=as_json)
    return 0


def revoke_user(data_dir: Path | None, user: str, *, as_json: bool) -> int:
    """Take a user away from the local broker, which ends its connections; returns the exit code."""
    data = _folder(data_dir)
    if not data.password_file(user).exists():
        raise CommandError(f"the data folder {data.root} has no user {user}; name another folder with --data")
    data.password_file(user).unlink()
    _change_users(data, [], without=user)
    if as_json:
        print_json({"user": user, "revoked": True})
    else:
        show(f"{user} is revoked")
    return 0


def _folder(data_dir: Path | None) -> DataFolder:
    data = DataFolder((data_dir or load(PlatformSettings).data_dir).absolute())
    if not data.secrets.is_dir():
        raise CommandError(f"{data.root} is not the data folder of a platform; run `rag up` once, or use --data")
    return data


def _change_users(data: DataFolder, entries: list[dict[str, Any]], *, without: str) -> bool:
    """Change the configuration and have a running broker read it; tell whether one runs."""
    if not data.broker_config.exists():
        return False
    config = json.loads(data.broker_config.read_text(encoding="utf-8"))
    kept = [entry for entry in config["authorization"]["users"] if entry["user"] != without]
    config["authorization"]["users"] = [*kept, *entries]
    write_private(data.broker_config, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    broker = _running_broker(data)
    if broker is None:
        return False
    broker.send_signal(signal.SIGHUP)
    return True


def _running_broker(data: DataFolder) -> psutil.Process | None:
    """Return the broker's process; a number that another process has got meanwhile is not taken for it."""
    with suppress(OSError, ValueError, psutil.Error):
        process = psutil.Process(int((data.broker / PID_FILE).read_text(encoding="utf-8")))
        if str(data.broker_config) in process.cmdline():
            return process
    return None


def _address(data: DataFolder) -> str | None:
    if not data.broker_config.exists():
        return None
    config = json.loads(data.broker_config.read_text(encoding="utf-8"))
    return f"{'tls' if 'tls' in config else 'nats'}://{config['listen']}"


async def _until_let_in(user: BrokerUser) -> None:
    """Return once the broker knows the user; CommandError when that takes too long."""
    assert user.url is not None, "there is a configuration, and it says where"
    try:
        tls = tls_context(load(PlatformSettings), user.url) if user.url.startswith("tls:") else None
        async with asyncio.timeout(RELOAD_SECONDS):
            while True:
                if await _is_let_in(user, tls):
                    return
                # Nobody tells when the broker has read its configuration.
                await asyncio.sleep(TRY_AGAIN_SECONDS)
    except Misconfigured as error:
        raise CommandError(error.message) from None
    except TimeoutError:
        raise CommandError(f"the broker at {user.url} does not let {user.name} in; look at its log") from None


async def _is_let_in(user: BrokerUser, tls: ssl.SSLContext | None) -> bool:
    async def ignore(_error: Exception) -> None:
        return None

    client = Client()
    try:
        await client.connect(
            user.url or "",
            user=user.name,
            password=user.password,
            tls=tls,
            tls_handshake_first=tls is not None,
            allow_reconnect=False,
            error_cb=ignore,
        )
    except (NatsError, OSError):
        return False
    finally:
        await close(client)
    return True


def _print_user(user: BrokerUser, *, as_json: bool) -> None:
    permissions = permissions_of(user.name)
    fields = {
        "user": user.name,
        "password": user.password,
        "nats_url": user.url,
        "inbox_prefix": inbox_prefix(user.name),
        "publish": list(permissions.publish),
        "subscribe": list(permissions.subscribe),
    }
    if as_json:
        print_json(fields)
        return
    for name, value in fields.items():
        text = " ".join(value) if isinstance(value, list) else value
        show(f"{name:<13}{text or '-'}", soft_wrap=True)
