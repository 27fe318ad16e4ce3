"""Messages, subjects and topology: everything two services must agree on, and no behaviour."""
