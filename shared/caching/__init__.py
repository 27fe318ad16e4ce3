"""Caching what is costly to make again: in Redis, or in memory where there is none."""
