"""Live streams tracked as a service: streams come and go over HTTP, tracks go out as events."""
