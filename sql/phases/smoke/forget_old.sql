-- The requests of one flow leave the monolith's log. Variables: request_id.
DELETE FROM system_logs WHERE request_id = :'request_id'
