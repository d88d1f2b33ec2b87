"""The Learn tab without its page: stations that show what flows through a model, each browser's session with them, and lessons."""
