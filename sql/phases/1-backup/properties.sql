-- What belongs to a database and stands in no dump of it alone, as JSON; no row: there is no such database.
-- Asked from any database of the server. psql: \set database ecommerce_db
-- `grants`: in the order in which they were given, a grantee of NULL is PUBLIC; `role` NULL: the database's own.
SELECT jsonb_build_object(
           'owner', pg_get_userbyid(d.datdba),
           'encoding', pg_encoding_to_char(d.encoding),
           'collate', d.datcollate,
           'ctype', d.datctype,
           -- Columns that not every version of the server has.
           'provider', CASE to_jsonb(d) ->> 'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin'
                       ELSE 'libc' END,
           'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
           'icu_rules', to_jsonb(d) ->> 'daticurules',
           'tablespace', t.spcname,
           'connections', d.datconnlimit,
           'template', d.datistemplate,
           'comment', shobj_description(d.oid, 'pg_database'),
           'grants', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                                 'grantor', pg_get_userbyid(a.grantor),
                                 'grantee', CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END,
                                 'privilege', a.privilege_type,
                                 'grantable', a.is_grantable) ORDER BY a.ordinality), '[]')
                      FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) WITH ORDINALITY a),
           'settings', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                                   'role', CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole) END,
                                   'name', split_part(c.setting, '=', 1),
                                   'value', substr(c.setting, strpos(c.setting, '=') + 1))
                                   ORDER BY s.setrole, c.ordinality), '[]')
                        FROM pg_db_role_setting s
                        CROSS JOIN unnest(s.setconfig) WITH ORDINALITY c (setting)
                        WHERE s.setdatabase = d.oid)
       )::text AS properties
FROM pg_database d
JOIN pg_tablespace t ON t.oid = d.dattablespace
WHERE d.datname = :'database'
