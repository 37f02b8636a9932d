"""Alembic's environment: how databases of older versions are led to ``adapters/schema.py``."""
