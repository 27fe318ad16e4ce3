"""Keys of a platform that wants them."""

import json

from tests.platform_process import RunningPlatform, rag


def new_key(platform: RunningPlatform, *scopes: str, tenant: str = "acme") -> str:
    """Return a new key of a tenant."""
    made = rag(
        "keys", "create", "--tenant", tenant, "--scopes", ",".join(scopes), "--data", str(platform.data), "--json"
    )
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout)["key"])
