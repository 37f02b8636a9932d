"""``bin/metaserver backup``: one backup, or the next one of a series: sealed, tried, handed on, thinned out."""
