-- The rule for events: every one goes.
SELECT id, 'migrated' AS kind FROM analytics_events
