"""PingAuthorize: shared secrets of the Sideband API, rotated through the Configuration API."""
