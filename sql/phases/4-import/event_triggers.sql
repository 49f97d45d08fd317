-- Event triggers that may stand in the way of tables being made, moved and dropped, with the statement that keeps
-- each quiet. No rows = none.
SELECT evtname::text AS name, evtevent::text AS event, format('ALTER EVENT TRIGGER %I DISABLE', evtname) AS statement
FROM pg_event_trigger
WHERE evtenabled <> 'D'
ORDER BY 1
