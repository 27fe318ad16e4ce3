"""What an OpenAI-compatible endpoint says of a failure, without the key that it was given."""

import openai

from shared.secrets import HIDDEN


def without_key(error: openai.APIStatusError) -> str:
    """Return the endpoint's words; one that repeats the key of the request does not get it into ours."""
    key = error.request.headers.get("authorization", "").removeprefix("Bearer ")
    return error.message.replace(key, HIDDEN) if key else error.message
