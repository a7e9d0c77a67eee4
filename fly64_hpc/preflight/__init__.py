"""What may stand in a study's way, found before its jobs wait in a queue: one module a subject."""
