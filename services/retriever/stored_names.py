"""What the store of a model's index is called."""

import hashlib
import re


def stored_name(prefix: str, fingerprint: str) -> str:
    """Return the name of a model's index: readable, and never that of another fingerprint."""
    readable = re.sub(r"[^a-z0-9]+", "-", fingerprint.lower())[:40].strip("-")
    return f"{prefix}-{readable}-{hashlib.sha256(fingerprint.encode()).hexdigest()[:8]}"
