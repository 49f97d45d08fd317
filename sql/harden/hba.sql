-- Whom pg_hba.conf lets in without a password, from everywhere, or in clear: as look.sql. For superusers.
WITH rules AS (
    SELECT line_number, type, auth_method, array_to_string(database, ',') AS databases,
           array_to_string(user_name, ',') AS users,
           coalesce(address, 'local') || coalesce('/' || netmask, '') AS place,
           coalesce(address IN ('all', '0.0.0.0', '::') AND (address = 'all' OR netmask IN ('0.0.0.0', '::')), false) AS everywhere,
           coalesce(address ~ '^127\.' OR address IN ('::1', 'localhost', 'samehost'), type = 'local') AS loopback
    FROM pg_hba_file_rules
    WHERE error IS NULL AND auth_method <> 'reject'
), found (cis, what, todo) AS (
    SELECT '5.8', format('pg_hba.conf, line %s: %s %s %s %s: no password is asked for', line_number, type, databases, users, place),
           format('write scram-sha-256 in the place of %s, then SELECT pg_reload_conf()', auth_method)
    FROM rules WHERE auth_method = 'trust'
    UNION ALL
    SELECT '5.12', format('pg_hba.conf, line %s: %s %s %s %s: the method is %s', line_number, type, databases, users, place, auth_method),
           'write scram-sha-256 in its place, then SELECT pg_reload_conf()'
    FROM rules WHERE auth_method IN ('password', 'md5')
    UNION ALL
    SELECT '5.9', format('pg_hba.conf, line %s: %s %s %s %s: from every address', line_number, type, databases, users, place),
           'write the network of the services (or samenet) in its place, then SELECT pg_reload_conf()'
    FROM rules WHERE everywhere AND NOT loopback
    UNION ALL
    SELECT '6.8', format('pg_hba.conf, line %s: %s %s %s %s: TLS is not asked for', line_number, type, databases, users, place),
           'write hostssl in the place of host, then SELECT pg_reload_conf()'
    FROM rules WHERE type IN ('host', 'hostnossl') AND NOT loopback
)
SELECT cis, what, todo, true AS weighs FROM found ORDER BY string_to_array(cis, '.')::int[], what COLLATE "C"
