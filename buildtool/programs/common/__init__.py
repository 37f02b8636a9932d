"""What all programs share: how they begin, print, log, listen and end."""
