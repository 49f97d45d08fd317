-- A service adds an event after the cut-over.
INSERT INTO analytics_events (event_name, created_at) VALUES (:'mark', now()) RETURNING id
