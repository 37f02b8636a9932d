"""What a farm and its projects say of themselves."""
