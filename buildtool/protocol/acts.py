"""Which act of the table of rights each message is.

The test is tests/metaserver/test_authorised.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from buildtool.model.access.rights import Act
from buildtool.protocol import enrolment as e
from buildtool.protocol import hello as h
from buildtool.protocol import messages as m
from buildtool.protocol import news as n
from buildtool.protocol import operator as o
from buildtool.protocol.pages import visiting as v
from buildtool.protocol.pages.farm_view import AskFarm
from buildtool.protocol.pages.figures import AskFigures
from buildtool.protocol.pages.subscriptions import AskSubscription, EndSubscription
from buildtool.protocol.projects.channels import AskChannels
from buildtool.protocol.projects.latest import AskLatest
from buildtool.protocol.projects.targets import AskTargets, TryTargets
from buildtool.protocol.projects.triggers import AskTriggers, LookNow
from buildtool.protocol.projects.watches import AskWatches, EndWatch, WatchBranch

__all__ = ["ACT_OF"]

ACT_OF: Mapping[type[attrs.AttrsInstance], Act] = {
    m.Submit: Act.SUBMIT, m.SubmitTogether: Act.SUBMIT, m.AskExplain: Act.EXPLAIN,
    m.Cancel: Act.CANCEL, o.CancelSeveral: Act.CANCEL_SEVERAL,
    m.AskStatus: Act.SEE_REQUEST, m.Follow: Act.SEE_REQUEST, m.AskWhy: Act.SEE_REQUEST,
    h.AskRequests: Act.SEE_REQUEST, h.AskRefs: Act.EXPLAIN,
    m.AskBuild: Act.SEE_BUILD, v.AskBuildFor: Act.SEE_BUILD,
    m.AskHealth: Act.PING, v.AskHealthFor: Act.PING, h.AskProjects: Act.PING,
    AskTriggers: Act.SEE_FARM, LookNow: Act.EXPLAIN,
    AskTargets: Act.SEE_FARM, TryTargets: Act.DRAIN,
    WatchBranch: Act.SUBMIT, AskWatches: Act.SEE_REQUEST, EndWatch: Act.CANCEL,
    AskSubscription: Act.CONFIRM, EndSubscription: Act.CONFIRM,
    AskLatest: Act.SEE_ARTIFACT, AskChannels: Act.SEE_ARTIFACT,
    o.AskFarmStatus: Act.SEE_FARM, AskFarm: Act.SEE_FARM, AskFigures: Act.SEE_FARM,
    n.FollowEvents: Act.SEE_FARM,
    m.Register: Act.SERVE, m.Ended: Act.SERVE, m.Done: Act.SERVE, m.RenewTickets: Act.SERVE, m.Goodbye: Act.SERVE,
    m.Heartbeat: Act.SERVE, m.Draining: Act.SERVE, m.Accepted: Act.SERVE,
    o.PauseServer: Act.PAUSE, o.DrainServer: Act.PAUSE, o.ResumeServer: Act.PAUSE,
    o.ForgetServer: Act.FORGET_SERVER,
    o.AbortBuild: Act.ABORT, o.AbortSeveral: Act.ABORT_SEVERAL,
    o.RaiseRequest: Act.RAISE, o.LowerRequest: Act.LOWER,
    o.RebuildBuild: Act.REBUILD,
    o.ForgetFailure: Act.FORGET_FAILURE,
    o.PurgeArtifact: Act.PURGE, o.PurgeBuiltBy: Act.PURGE,
    o.Drain: Act.DRAIN,
    o.ReportBounce: Act.NOTE_BOUNCES,
    e.Join: Act.JOIN, e.AskCode: Act.JOIN, e.ShowCode: Act.JOIN, e.ShowCodeFor: Act.CONFIRM,
    e.Renew: Act.RENEW, e.Leave: Act.RENEW,
    e.InviteOne: Act.INVITE, e.RevokeOne: Act.REVOKE, e.AskIdentities: Act.SEE_KEYS,
    e.RotateAuthority: Act.ROTATE,
    v.MakeToken: Act.HOLD_TOKENS, v.AskTokens: Act.HOLD_TOKENS, v.EndToken: Act.HOLD_TOKENS,
}  # fmt: skip
