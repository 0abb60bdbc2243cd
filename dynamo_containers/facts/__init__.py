"""Facts: images.toml, pins.toml, locks, mirrors and the configuration of the user. Read only."""
