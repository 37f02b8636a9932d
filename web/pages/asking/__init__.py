"""What asks for builds, and which there are: the form, what would come of it, the equal command line, the matrix.

Pure, from what was read to what templates take.
"""
