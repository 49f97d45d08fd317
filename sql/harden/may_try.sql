-- Whether this session's role may take the service's role on, to try what that may.
-- Variables: service. Any role may ask.
SELECT pg_has_role(:'service', 'MEMBER')
