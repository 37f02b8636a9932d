"""What is written into outboxes in the transaction of what it tells of: mails, and notices.

Tested by tests/adapters/sql/test_broker_store.py and tests/ports/test_notice_store.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, bindparam, or_, select

from buildtool.adapters.sql import rows, schema
from buildtool.adapters.sql.notices.tables import notices
from buildtool.adapters.sql.prepared import insertion
from buildtool.adapters.sql.shelf_queries import chunks
from buildtool.model.notices.notice import Notice
from buildtool.model.records import Mail

_POSTED = select(schema.outbox).where(schema.outbox.c.key.in_(bindparam("keys", expanding=True)))


def mails_to_write(mails: Sequence[Mail], connection: Connection) -> list[rows.Cells]:
    """Return the rows of mails that are new. One that is there stays as it is unless it tells of further Requests."""
    there: dict[str, tuple[int, ...]] = {}
    for chunk in chunks(mail.key for mail in mails):
        for row in connection.execute(_POSTED, {"keys": chunk}):
            there[row.key] = rows.mail_of(row).request_ids
    changed: dict[str, rows.Cells] = {}
    for mail in mails:
        told = there.get(mail.key, ())
        both = tuple(dict.fromkeys((*told, *mail.request_ids)))
        if mail.key not in there or both != told:
            there[mail.key] = both
            changed[mail.key] = rows.mail_cells(mail) | {"request_ids": rows.numbers_text(both)}
    return list(changed.values())


def post_notices(told: Sequence[Notice], connection: Connection) -> None:
    """Put notices into the outbox, each in the place of the older one of its key, which it then outnumbers.

    One about an older Request than what is there is left out, and so is one that says the same.
    """
    statement = insertion(notices, connection.dialect.name)
    new, old = statement.excluded, notices.c
    said = [name for name in _SAID if name not in ("target", "key")]
    fresh = {"serial": old.serial + 1, "tries": 0, "next_try": new.next_try, "refused_at": None, "last_error": ""}
    newer = or_(new.request_id > old.request_id, new.state != old.state, new.reason != old.reason)
    statement = statement.on_conflict_do_update(
        index_elements=["target", "key"],
        set_={**{name: new[name] for name in said}, **fresh},
        where=and_(new.request_id >= old.request_id, newer),
    )
    connection.execute(statement, [_cells(one) for one in told])


_SAID = ("target", "key", "project", "revision", "ref", "context", "request_id", "build_id", "state", "reason", "at")
_NEW = {"serial": 1, "told": 0, "told_state": "", "told_at": None, "tries": 0, "refused_at": None, "last_error": ""}


def _cells(notice: Notice) -> dict[str, object]:
    said = {name: getattr(notice, name) for name in _SAID}
    return {**said, "state": notice.state.value, "next_try": notice.at, **_NEW}
