-- The requests of one flow leave the gateway's log. Variables: request_id.
DELETE FROM api_logs WHERE request_id = :'request_id'
