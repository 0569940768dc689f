"""Errors as the server answers them (reference 0.1): a status, a prefix and a text."""


class ApiError(Exception):
    """One failed request: `status` is the HTTP status, `message` the whole text of the answer."""

    def __init__(self, status, message, retry_after=None, at_end=False):
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.at_end = at_end  # Whether the answer names the end of the body as its place.

    def to_wire(self):
        """The form in which one node tells another about it."""
        wire = {"status": self.status, "message": self.message}
        return wire | {"retry_after": self.retry_after, "at_end": self.at_end}

    @staticmethod
    def from_wire(wire):
        """The error of another node, with the wrapping that gRPC adds on the real server.

        Transcript 2 (query after a mismatched restore) and transcript 3 (delete under a rate limit)
        show the wrapped texts.
        """
        status, message = wire["status"], wire["message"]
        if message.startswith(_AS_THEY_ARE):
            return ApiError(status, message, wire.get("retry_after"), wire.get("at_end", False))
        if status == 400:
            text = f"code: 'Client specified an invalid argument', message: \"{message}\""
            return ApiError(400, f"Wrong input: InvalidArgument: {text}")
        if status == 429:
            text = f"code: 'Some resource has been exhausted', message: \"{message}\""
            return ApiError(429, f"Rate limiting exceeded: {text}", wire.get("retry_after"))
        if status == 404 and message.startswith("Not found: No point"):
            text = f"code: 'Some requested entity was not found', message: \"{message}\""
            return ApiError(404, f"Not found: {text} not found")
        return ApiError(status, message, wire.get("retry_after"))


# Wrapped already, or about the body, which the contacted node of a real server reads itself.
_AS_THEY_ARE = (
    "Wrong input: InvalidArgument: code:",
    "Rate limiting exceeded: code:",
    "Not found: code:",
    "Format error in JSON body",
)


class PeerUnavailable(Exception):
    """A peer did not answer: refused, reset or too slow.  `uri` is its address between peers."""

    def __init__(self, uri, reason):
        super().__init__(f"{uri}: {reason}")
        self.uri = uri
        self.reason = reason

    def as_service_error(self):
        """The text a client sees when a read or a write needed that peer (transcript 5)."""
        return service_error(
            "Tonic status error: code: 'The service is currently unavailable', "
            f'message: "Failed to connect to {self.uri}, error: transport error"'
        )


def bad_input(text):
    return ApiError(400, f"Wrong input: {text}")


def bad_request(text):
    return ApiError(400, f"Bad request: {text}")


def bad_json(text, at_end=True):
    """A body that cannot be decoded; most texts name the end of the body as the place (run)."""
    return ApiError(400, f"Format error in JSON body: {text}", at_end=at_end)


def bad_query(text):
    """A query string that cannot be decoded (run)."""
    return ApiError(400, f"Deserialize error in query parameters: {text}")


def bad_path(text):
    """A path that cannot be decoded (run)."""
    return ApiError(400, f"Deserialize error in path parameters: {text}")


def invalid(text):
    """A value refused by a validator: 422 (reference 0.1)."""
    return ApiError(422, f"Validation error in {text}")


def not_found(text):
    return ApiError(404, f"Not found: {text}")


def no_collection(name):
    return not_found(f"Collection `{name}` doesn't exist!")


def already_exists(text):
    return ApiError(409, f"Wrong input: {text}")


def forbidden(text):
    return ApiError(403, f"Forbidden: {text}")


def rate_limited(text, retry_after=None):
    return ApiError(429, f"Rate limiting exceeded: {text}", retry_after)


def service_error(text):
    return ApiError(500, f"Service internal error: {text}")


def unavailable(text):
    return ApiError(503, f"Shard temporarily unavailable: {text}")
