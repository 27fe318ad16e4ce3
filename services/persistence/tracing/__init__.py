"""The span store: takes OTLP from the services, keeps a bounded number of spans, shows traces to their tenants."""
