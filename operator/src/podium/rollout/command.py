"""The text of a command: the annotation `podium.dev/command: "<verb> <revision> <token>"`, read and written."""

from dataclasses import dataclass

from podium.api import names

FORM = '"<verb> <revision> <token>"'


@dataclass(frozen=True)
class Command:
    """Three words. The token is any, most often a time: it makes a command another one than the last of its kind."""

    verb: str
    revision: str
    token: str

    def __str__(self) -> str:
        """As it stands in the annotation."""
        return f"{self.verb} {self.revision} {self.token}"

    @staticmethod
    def parse(text: str) -> "Command | None":
        """The inverse; None for what is no three words."""
        words = text.split()
        return Command(*words) if len(words) == 3 else None


def how_to(verb: str, revision: str, *, model: str, namespace: str) -> str:
    """The command line that gives it, the token being the time."""
    words = Command(verb, revision, "$(date +%s)")
    place = f"{model} -n {namespace}" if namespace else model
    return f'kubectl annotate mdep {place} --overwrite {names.ANNOTATION_COMMAND}="{words}"'
