"""Values and the rules about them: pure, frozen, without I/O, clock or chance. Standard library and attrs only."""
