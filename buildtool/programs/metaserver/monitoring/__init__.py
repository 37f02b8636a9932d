"""How a farm is watched: the figures that the metaserver tells, and the files for what reads them."""
