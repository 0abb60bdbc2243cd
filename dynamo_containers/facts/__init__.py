"""What is written down: images.toml, pins.toml, locks, mirrors and the user's own configuration. Read only."""
