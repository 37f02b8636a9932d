"""A PostgreSQL server for the tests of the stores."""

from tests.support.databases import postgresql

__all__ = ["postgresql"]
