"""What a request can fail of, as the protocol names it."""

MESSAGE_MAX = 2000


class Fault(Exception):
    """A failure that is told to holdfast: a code of the protocol and a sentence for people."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code

    def answer(self, number):
        """The answer to request `number`."""
        text = str(self)
        if len(text) > MESSAGE_MAX:
            text = text[: MESSAGE_MAX - 3] + "..."
        return {"re": number, "ok": False, "code": self.code, "message": text}
