"""Telling others what came of builds: a courier a target, and the ways in which these are told."""
