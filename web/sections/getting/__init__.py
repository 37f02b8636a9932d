"""Addresses that stay: each leads to what is the newest."""
