"""Reading configuration from environment variables, with errors that name the variable, its value and the way out."""

from collections.abc import Mapping


class InvalidEnvironment(Exception):
    """A variable is missing or malformed; the message is for the person who wrote the pod template."""


class Environment:
    """Typed access to environment variables. An empty value counts as absent: a template filled in nothing."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str, default: str | None = None) -> str:
        """The variable's value; without a default a missing one raises InvalidEnvironment."""
        value = self._variables.get(name, "")
        if value:
            return value
        if default is None:
            raise InvalidEnvironment(f"{name} is not set: it is required")
        return default

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """A whole number between minimum and maximum, both included."""
        text = self.text(name, str(default))
        try:
            value = int(text)
        except ValueError:
            raise InvalidEnvironment(f"{name} is {text!r}: expected a whole number, such as {default}") from None
        if not minimum <= value <= maximum:
            raise InvalidEnvironment(f"{name} is {value}: expected a number from {minimum} to {maximum}")
        return value

    def seconds(self, name: str, default: float) -> float:
        """A duration in seconds, fractions allowed, from 0 to a day."""
        text = self.text(name, str(default))
        try:
            value = float(text)
        except ValueError:
            raise InvalidEnvironment(f"{name} is {text!r}: expected a number of seconds, such as {default}") from None
        if not 0 <= value <= 86_400:
            raise InvalidEnvironment(f"{name} is {text}: expected seconds from 0 to 86400")
        return value

    def boolean(self, name: str, default: bool) -> bool:
        """`true` or `false`, in any case; 1 and 0 do as well."""
        text = self.text(name, str(default)).lower()
        if text in ("true", "1"):
            return True
        if text in ("false", "0"):
            return False
        raise InvalidEnvironment(f"{name} is {text!r}: expected true or false")

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """One of a few words, as written."""
        value = self.text(name, default)
        if value not in choices:
            raise InvalidEnvironment(f"{name} is {value!r}: expected one of {', '.join(choices)}")
        return value
