"""Answers that a language model finds with tools."""
