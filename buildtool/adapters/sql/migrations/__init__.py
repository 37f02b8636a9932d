"""Migrations: each leads the tables of the version before to those of the next."""
