"""Tests of when a lent machine builds."""
