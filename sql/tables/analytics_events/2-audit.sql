-- The rule for events: every one goes that the target can hold.
SELECT id,
       CASE WHEN num_nulls(event_name, created_at) > 0 OR id IN (:undecodable_analytics_events) OR id IN (:unfit_analytics_events)
            THEN 'quarantined' ELSE 'migrated' END AS kind
FROM analytics_events
