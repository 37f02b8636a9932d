"""Mirrors of git repositories: made, kept up to date, found damaged, made anew, and handed on as bundles."""
