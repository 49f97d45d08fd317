-- The statements that give a database what was recorded of the one that was backed up, in their order: limits,
-- grants, settings, comment. To be run by its owner in one transaction.
-- psql: \set database shop_unproven \set properties '{"owner": "postgres", …}'
WITH p AS (
    SELECT * FROM jsonb_to_record(:'properties'::jsonb)
        p (owner text, connections int, template boolean, comment text, grants jsonb, settings jsonb)
), statements (step, nth, statement) AS (
    SELECT 1, 1, format('ALTER DATABASE %I WITH CONNECTION LIMIT %s', :'database', p.connections) FROM p
    UNION ALL
    SELECT 1, 2, format('ALTER DATABASE %I WITH IS_TEMPLATE true', :'database') FROM p WHERE p.template
    UNION ALL
    SELECT 2, 1, format('REVOKE ALL ON DATABASE %I FROM PUBLIC, %I', :'database', p.owner) FROM p
    UNION ALL
    -- Who has given a grant on is the one who can take it away: it is given again by the same role.
    SELECT 3, g.nth,
           CASE WHEN g.given ->> 'grantor' <> p.owner THEN format('SET LOCAL ROLE %I; ', g.given ->> 'grantor')
                ELSE '' END
           || format('GRANT %s ON DATABASE %I TO %s', g.given ->> 'privilege', :'database',
                     coalesce(quote_ident(g.given ->> 'grantee'), 'PUBLIC'))
           || CASE WHEN (g.given ->> 'grantable')::boolean THEN ' WITH GRANT OPTION' ELSE '' END
           || CASE WHEN g.given ->> 'grantor' <> p.owner THEN '; RESET ROLE' ELSE '' END
    FROM p
    CROSS JOIN jsonb_array_elements(p.grants) WITH ORDINALITY g (given, nth)
    UNION ALL
    SELECT 4, s.nth,
           format('ALTER %s SET %I TO %s',
                  CASE WHEN s.setting ->> 'role' IS NULL THEN format('DATABASE %I', :'database')
                       ELSE format('ROLE %I IN DATABASE %I', s.setting ->> 'role', :'database') END,
                  s.setting ->> 'name',
                  -- A list of names has its quotes in it: as one string it would be one name.
                  CASE WHEN lower(s.setting ->> 'name') IN ('local_preload_libraries', 'search_path',
                                                            'session_preload_libraries', 'temp_tablespaces')
                       THEN coalesce(l.list, quote_literal('')) ELSE quote_literal(s.setting ->> 'value') END)
    FROM p
    CROSS JOIN jsonb_array_elements(p.settings) WITH ORDINALITY s (setting, nth)
    CROSS JOIN LATERAL (
        SELECT string_agg(quote_literal(coalesce(replace(m.found[1], '""', '"'), m.found[2])), ', ' ORDER BY m.nth)
        FROM regexp_matches(s.setting ->> 'value', '"((?:[^"]|"")*)"|([^",[:space:]]+)', 'g')
             WITH ORDINALITY m (found, nth)
    ) l (list)
    UNION ALL
    SELECT 5, 1, format('COMMENT ON DATABASE %I IS %L', :'database', p.comment) FROM p
)
SELECT statement FROM statements ORDER BY step, nth
