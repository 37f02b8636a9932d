"""``bin/webserver``: the pages, in a process of their own."""
