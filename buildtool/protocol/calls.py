"""What each message is called as over the control port, by who may call: the same table for both ends.

The test is tests/protocol/test_transcripts.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from buildtool.protocol import enrolment as e
from buildtool.protocol import messages as m
from buildtool.protocol import news as n
from buildtool.protocol import operator as o
from buildtool.protocol.hooks.messages import DeliverHook
from buildtool.protocol.messages import NEWS, REQUESTER, Calls
from buildtool.protocol.pages import visiting as v
from buildtool.protocol.pages.subscriptions import AskSubscription, EndSubscription
from buildtool.protocol.projects.channels import AskChannels
from buildtool.protocol.projects.latest import AskLatest
from buildtool.protocol.projects.targets import AskTargets, TryTargets
from buildtool.protocol.projects.triggers import AskTriggers, LookNow
from buildtool.protocol.projects.watches import AskWatches, EndWatch, WatchBranch

__all__ = [
    "BUILD_SERVER",
    "CALLED",
    "EVENTS",
    "JOINING",
    "NEWS",
    "OPERATOR",
    "ORDERS",
    "PAGES",
    "PERSON",
    "RENEWING",
    "REQUESTER",
    "SEEKING",
    "Calls",
]

BUILD_SERVER: Calls = {
    "register": m.Register, "ended": m.Ended, "done": m.Done, "renew": m.RenewTickets, "goodbye": m.Goodbye,
    "heartbeat": m.Heartbeat, "draining": m.Draining,
}  # fmt: skip
"""What a build server may call at the metaserver."""

OPERATOR: Calls = {
    "standing": o.AskFarmStatus, "pause": o.PauseServer, "drainserver": o.DrainServer, "resume": o.ResumeServer,
    "forgetserver": o.ForgetServer, "abort": o.AbortBuild, "abortseveral": o.AbortSeveral,
    "cancel": m.Cancel, "cancelseveral": o.CancelSeveral, "rebuild": o.RebuildBuild, "forget": o.ForgetFailure,
    "purge": o.PurgeArtifact, "purgebuiltby": o.PurgeBuiltBy, "drain": o.Drain,
    "bounce": o.ReportBounce, "raise": o.RaiseRequest, "lower": o.LowerRequest,
    "invite": e.InviteOne, "identities": e.AskIdentities, "revoke": e.RevokeOne, "rotate": e.RotateAuthority,
    "token": v.MakeToken, "tokens": v.AskTokens, "endtoken": v.EndToken,
    "triggers": AskTriggers, "look": LookNow, "targets": AskTargets, "trytargets": TryTargets,
    "watch": WatchBranch, "watches": AskWatches, "endwatch": EndWatch,
    "subscription": AskSubscription, "endsubscription": EndSubscription,
}  # fmt: skip
"""What an operator may call at the metaserver, and the owner of build servers about these."""

SEEKING: Calls = {"latest": AskLatest, "channels": AskChannels}
"""What people may call at the metaserver to find what is there, besides what a requester needs to ask."""

PERSON: Calls = {**REQUESTER, **OPERATOR, **SEEKING}
"""What a person may call at the metaserver, each as far as the table of rights says."""

PAGES: Calls = {
    "actfor": v.ActFor, "visitor": v.AskVisitor, "asksignin": v.AskSignIn, "signin": v.SignIn, "signout": v.SignOut,
    "followevents": n.FollowEvents, "hook": DeliverHook,
    "buildfor": v.AskBuildFor, "healthfor": v.AskHealthFor, "showcodefor": e.ShowCodeFor,  # what 3.0 has
}  # fmt: skip
"""What the pages may call at the metaserver: in the name of their visitors, and once for all of them."""

JOINING: Calls = {"join": e.Join, "askcode": e.AskCode, "showcode": e.ShowCode}
"""What whoever has no key may call at the metaserver."""

RENEWING: Calls = {"renewkey": e.Renew, "leave": e.Leave}
"""What whoever has a key may call at the metaserver about it, also where its certificate has expired."""

ORDERS: Calls = {"build": m.Order, "abort": m.AbortOrder}
"""What the metaserver may call at a build server."""

EVENTS: Calls = {"happened": n.EventNotes}
"""What the metaserver may call at pages that follow events."""

CALLED: Mapping[type[attrs.AttrsInstance], str] = {
    message: name
    for calls in (REQUESTER, SEEKING, BUILD_SERVER, OPERATOR, PAGES, JOINING, RENEWING, ORDERS, NEWS, EVENTS)
    for name, message in calls.items()
}
"""What each message is called as."""
