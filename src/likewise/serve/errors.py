"""What a client is told where it cannot be served, in OpenAI's form."""

from collections.abc import Mapping
from typing import Any

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class ApiError(Exception):
    """A refusal, with its status.

    Args:
        status: of HTTP, from 400 on.
        message: what of which must be what, and what was got.
        param: the field of the body that is at fault, or None.
        code: a word for programs, or None.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """As OpenAI's clients read it.

        Example:
            >>> ApiError(404, "There is no such page.").body()["error"]["type"]
            'not_found_error'
        """
        kind = TYPES.get(self.status, "invalid_request_error")
        kind = "server_error" if self.status >= 500 else kind
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        }
