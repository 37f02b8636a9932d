"""Commands as real processes: started, watched, limited, and ended with everything that they left.

Tested by tests/adapters/processes/test_runner.py and tests/adapters/processes/test_keepers.py.
"""
