"""What the pages and the API ask in the name of a visitor, and what is said about tokens and sessions.

The same rules as for ``messages``. The pages have no rights: the metaserver finds out who a visitor is by the secret
that they showed, and does what that one may have done. Times are wall time, in seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

import attrs
from attrs import field, frozen

from buildtool.protocol import enrolment as e
from buildtool.protocol import hello as h
from buildtool.protocol import messages as m
from buildtool.protocol import operator as o
from buildtool.protocol.pages.farm_view import AskFarm
from buildtool.protocol.pages.figures import AskFigures
from buildtool.protocol.pages.subscriptions import AskSubscription, EndSubscription
from buildtool.protocol.projects.channels import AskChannels
from buildtool.protocol.projects.latest import AskLatest
from buildtool.protocol.projects.targets import AskTargets, TryTargets
from buildtool.protocol.projects.triggers import AskTriggers, LookNow
from buildtool.protocol.projects.watches import AskWatches, EndWatch, WatchBranch

TEXT = 200
"""Most bytes of a token, or of the text of a session."""

LISTED = 200
"""Most tokens in one answer."""


# --- whoever acts, about their own tokens -> metaserver ---------------------------------------------------------


@frozen
class MakeToken:
    """An act: make a token that holds for so many seconds, limited to acts, if there are any."""

    label: str = field(metadata={"most": 200})
    lasts: float
    acts: tuple[str, ...] = field(default=(), metadata={"most": 40, "members": 60})


@frozen
class TokenMade:
    """An answer: a token, which is told this once, by what it is named, and until when it holds."""

    token: str = field(metadata={"most": TEXT, "sent": TEXT}, repr=False)
    id: str = field(metadata={"most": 64, "sent": 64})
    expires: float


@frozen
class AskTokens:
    """A question which tokens and sessions the caller has, or, from an operator, the holder of a name or address."""

    name: str = field(default="", metadata={"most": 400})


@frozen
class ListedToken:
    """A token, or the ``session`` of a browser, as its holder sees it; ``this`` is what they show now."""

    id: str = field(metadata={"most": 64, "sent": 64})
    kind: str = field(metadata={"most": 40, "sent": 40})
    label: str = field(metadata={"most": 400, "sent": 400})
    name: str = field(metadata={"most": 400, "sent": 400})
    role: str = field(metadata={"most": 40, "sent": 40})
    acts: tuple[str, ...] = field(metadata={"most": 40, "sent": 40, "members": 60})
    made: float
    expires: float
    this: bool = False


@frozen
class TokenList:
    """An answer: tokens and sessions, the oldest first; ``more`` says that there are further ones."""

    found: tuple[ListedToken, ...] = field(metadata={"members": LISTED})
    more: bool = False


@frozen
class EndToken:
    """An act: revoke a token or end a session, by its id; all of the caller's where that is empty."""

    id: str = field(default="", metadata={"most": 64})


_CALLS = (
    m.Submit, m.SubmitTogether, m.AskExplain, m.Cancel, m.AskStatus, m.AskWhy, m.AskBuild, m.AskHealth,
    AskFarm, AskFigures, h.AskProjects, h.AskRequests, h.AskRefs,
    o.AskFarmStatus, o.PauseServer, o.DrainServer, o.ResumeServer, o.ForgetServer, o.AbortBuild, o.AbortSeveral,
    o.CancelSeveral, o.RebuildBuild, o.ForgetFailure, o.PurgeArtifact, o.PurgeBuiltBy, o.Drain, o.ReportBounce,
    o.RaiseRequest, o.LowerRequest,
    e.InviteOne, e.AskIdentities, e.RevokeOne, e.RotateAuthority, e.ShowCode, MakeToken, AskTokens, EndToken,
    AskTriggers, LookNow, AskTargets, TryTargets, AskSubscription, EndSubscription,
    AskLatest, AskChannels,
    WatchBranch, AskWatches, EndWatch,
)  # fmt: skip

if TYPE_CHECKING:
    VisitorAct = attrs.AttrsInstance
else:
    VisitorAct = Union[_CALLS]  # noqa: UP007 - of many at once
"""All that a visitor can ask for: whatever people, owners and operators can, and what needs no key."""


# --- the pages -> metaserver ------------------------------------------------------------------------------------


@frozen
class _OfVisitor:
    """A visitor: the token or session that they showed, or empty, and the network that they come from.

    ``trusted`` says that they are on this machine and came through no proxy, which counts where no key is needed.
    """

    token: str = field(metadata={"most": TEXT}, repr=False)
    address: str = field(metadata={"most": 100})
    trusted: bool


@frozen
class ActFor(_OfVisitor):
    """An act of a visitor.

    ``asserted`` is the e-mail address that a proxy of the farm's said they have; it counts where the configuration of
    the metaserver says so.
    """

    act: VisitorAct
    asserted: str = field(default="", metadata={"most": 400})


@frozen
class AskVisitor(_OfVisitor):
    """A question who a visitor is."""


@frozen
class LimitLeft:
    """A limit of a caller: of ``most`` in so many seconds ``left`` is left, and all of it again in ``full`` seconds."""

    name: str = field(metadata={"most": 40, "sent": 40})
    most: float
    seconds: float
    left: int
    full: float


@frozen
class VisitorStatus:
    """An answer: who a visitor is, what they are limited to, and until when that may be believed without asking.

    ``left`` is what they have left of what may be had by time.
    """

    role: str = field(metadata={"most": 40, "sent": 40})
    name: str = field(metadata={"most": 400, "sent": 400})
    owner: str = field(metadata={"most": 400, "sent": 400})
    projects: tuple[str, ...] = field(metadata={"most": 80, "sent": 80, "members": 100})
    platforms: tuple[str, ...] = field(metadata={"most": 200, "sent": 200, "members": 100})
    acts: tuple[str, ...] = field(metadata={"most": 40, "sent": 40, "members": 60})
    expires: float
    left: tuple[LimitLeft, ...] = field(default=(), metadata={"members": 20})


@frozen
class AskSignIn(_OfVisitor):
    """A wish to sign in by a mail: a code is sent there that signs in the browser with the secret ``browser`` only."""

    email: str = field(metadata={"most": 400})
    browser: str = field(metadata={"most": 100}, repr=False)


@frozen
class SignIn(_OfVisitor):
    """An act: sign in with the token that is shown, or with a mailed ``code`` in the ``browser`` that asked for it.

    ``label`` is what the session is called in the list.
    """

    code: str = field(metadata={"most": 100}, repr=False)
    browser: str = field(metadata={"most": 100}, repr=False)
    label: str = field(metadata={"most": 200, "kept": "start"})


@frozen
class SignedIn:
    """An answer: the text of a session, told this once, who has signed in, and until when it holds."""

    session: str = field(metadata={"most": TEXT, "sent": TEXT}, repr=False)
    name: str = field(metadata={"most": 400, "sent": 400})
    role: str = field(metadata={"most": 40, "sent": 40})
    expires: float


@frozen
class SignOut(_OfVisitor):
    """An act: end the session that is shown."""


# --- what protocol 3.0 has; the last also asks for nobody in particular -----------------------------------------


@frozen
class AskBuildFor:
    """A question of the pages in the name of a visitor: how an open Build stands, as far as they may know.

    ``key`` is the one that the visitor has shown, if any. ``trusted`` says that they are on this machine, and came
    through no proxy.
    """

    build_id: int
    key: str = field(default="", metadata={"most": 64})
    address: str = field(default="", metadata={"most": 100})
    trusted: bool = False


@frozen
class AskHealthFor:
    """A question of the pages in the name of a visitor: whether the metaserver can do its work."""

    key: str = field(default="", metadata={"most": 64})
    address: str = field(default="", metadata={"most": 100})
    trusted: bool = False
