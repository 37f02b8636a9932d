"""How the three servers are kept running: their logs in files, as daemons with a pid file, and stopped again."""
