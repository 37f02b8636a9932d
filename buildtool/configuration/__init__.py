"""Reading ``config.py`` into frozen settings, with one located line for whatever is wrong in it.

Tested by tests/configuration/test_settings.py and, for a reload, tests/programs/metaserver/test_reload.py.
"""
