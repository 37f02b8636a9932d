"""Which is the newest revision of a branch that has a binary: the question, and what is found.

Tested by tests/metaserver/latest/test_finding.py.
"""

from __future__ import annotations

from attrs import field, frozen

from buildtool.model.platforms import Value
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.protocol.messages import FoundArtifact


@frozen
class AskLatest:
    """A question for the newest revision of a branch that has a binary; ``branch`` "" is HEAD, the others as in Submit.

    Nothing is built because of it.
    """

    project: str = field(metadata={"most": 80})
    source: str = field(metadata={"most": 400})
    branch: str = field(metadata={"most": 400})
    compile: dict[str, Value] = field(metadata={"members": 200})
    system: dict[str, Value] = field(metadata={"members": 100})
    local: dict[str, Value] = field(metadata={"members": 100})
    native: bool = False
    sandbox: SandboxLevel = SandboxLevel.NONE


@frozen
class LatestFound:
    """An answer: the newest artifact of a branch that does, ``behind`` so many commits of its ``tip``; None for none.

    ``at`` is when its commit was made (wall time), 0 where that is not known. The branch was asked for ``age`` seconds
    ago. ``looked`` revisions were looked at; ``more`` says that the branch has older ones.
    """

    project: str = field(metadata={"most": 80, "sent": 80})
    branch: str = field(metadata={"most": 400, "sent": 400})
    tip: str = field(metadata={"most": 100, "sent": 100})
    artifact: FoundArtifact | None
    behind: int
    at: float
    age: float
    looked: int
    more: bool = False
