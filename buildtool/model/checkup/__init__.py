"""What a program's doctor makes of what it saw: facts in, verdicts with their mend out. Nothing is looked at here."""
