"""What moves by pointer instead of by slot: prompts, as flags in flagd's format."""
