"""Infrastructure that every service uses: settings, logs, telemetry, errors, health, messaging."""
