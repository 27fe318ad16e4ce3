"""Messaging over NATS: connection, publishing, reliable consumption, provisioning, request and reply."""
