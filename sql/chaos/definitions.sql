-- Every way in which the campaign of corruptions changes what a table of public is, one row each: kind,
-- table, part, further parts that it changes ("table part", a line each), the statements that do it and
-- those that undo it. As superuser.
WITH t AS (
    SELECT c.oid, c.relname::text AS name, format('ALTER TABLE public.%I', c.relname) AS alter
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
), columns AS (
    SELECT t.name AS tab, t.alter, a.attname::text AS name, a.attnotnull, a.attnum, t.oid,
           format_type(a.atttypid, a.atttypmod) AS type,
           format('%s ALTER COLUMN %I', t.alter, a.attname) AS alter_column,
           pg_get_expr(d.adbin, d.adrelid) AS dflt,
           EXISTS (SELECT FROM pg_index x WHERE x.indrelid = t.oid AND a.attnum = ANY (x.indkey)) AS indexed
    FROM t
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
), keys AS (
    SELECT k.oid, k.contype, k.conname::text AS name, t.name AS tab, k.confrelid, k.conrelid, k.conindid,
           pg_get_constraintdef(k.oid) AS definition,
           format('%s DROP CONSTRAINT %I', t.alter, k.conname) AS dropped,
           format('%s ADD CONSTRAINT %I ', t.alter, k.conname) AS added
    FROM t
    JOIN pg_constraint k ON k.conrelid = t.oid
), indexes AS (
    SELECT i.relname::text AS name, t.name AS tab, pg_get_indexdef(i.oid) AS definition,
           format('DROP INDEX public.%I', i.relname) AS dropped,
           format('UPDATE pg_index SET indisvalid = %%s WHERE indexrelid = %L::regclass',
                  format('public.%I', i.relname)) AS valid
    FROM t
    JOIN pg_index x ON x.indrelid = t.oid
    JOIN pg_class i ON i.oid = x.indexrelid
    WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid)
), sequences AS (
    SELECT t.name AS tab, format('ALTER SEQUENCE %s', s.name) AS alter_sequence,
           q.seqmax, (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = t.oid) AS owner
    FROM t
    CROSS JOIN LATERAL (SELECT pg_get_serial_sequence('public.' || quote_ident(t.name), 'id') AS name) s
    JOIN pg_sequence q ON q.seqrelid = s.name::regclass
), types AS (
    SELECT c.*, CASE WHEN type LIKE 'character varying(%' THEN 'text'
                     WHEN type = 'integer' THEN 'bigint'
                     WHEN type LIKE 'numeric%' THEN 'numeric'
                     WHEN type = 'text' THEN 'varchar'
                     WHEN type = 'timestamp with time zone' THEN 'timestamptz(6)'
                     WHEN type = 'jsonb' AND NOT indexed THEN 'json'
                     WHEN type = 'text[]' THEN 'varchar[]'
                     WHEN type IN ('boolean', 'inet') THEN 'text' END AS other,
           CASE WHEN type LIKE 'character varying(%'
                THEN format('varchar(%s)', substring(type FROM '\d+')::int + 1)
                WHEN type LIKE 'numeric(%' THEN replace(type, '(', '(1') END AS wider
    FROM columns c
)
SELECT 'type: another one that holds as much' AS kind, tab AS "table", name AS part, '' AS also,
       format('%s TYPE %s', alter_column, other) AS damage,
       format('%s TYPE %s USING %I::%s', alter_column, type, name, type) AS undo
FROM types WHERE other IS NOT NULL
UNION ALL
SELECT 'type: wider', tab, name, '', format('%s TYPE %s', alter_column, wider),
       format('%s TYPE %s', alter_column, type)
FROM types WHERE wider IS NOT NULL
UNION ALL
SELECT 'collation: another', tab, name, '', format('%s TYPE %s COLLATE "C"', alter_column, type),
       format('%s TYPE %s COLLATE "default"', alter_column, type)
FROM columns WHERE type ~ '^(character|text)'
UNION ALL
SELECT 'NOT NULL: dropped', tab, name, '', alter_column || ' DROP NOT NULL', alter_column || ' SET NOT NULL'
FROM columns WHERE attnotnull AND name <> 'id'
UNION ALL
SELECT 'default: dropped', tab, name, '', alter_column || ' DROP DEFAULT', format('%s SET DEFAULT %s', alter_column, dflt)
FROM columns WHERE dflt IS NOT NULL
UNION ALL
SELECT 'default: added', tab, name, '', alter_column || ' SET DEFAULT ''x''', alter_column || ' DROP DEFAULT'
FROM columns WHERE type ~ '^(character|text$)'
UNION ALL
SELECT 'column: added', name, 'more', '', alter || ' ADD COLUMN more text', alter || ' DROP COLUMN more'
FROM t
UNION ALL
SELECT 'constraint: dropped', tab, name, '', dropped, added || definition
FROM keys WHERE contype IN ('f', 'c')
UNION ALL
SELECT 'key: dropped', k.tab, k.name, coalesce(string_agg(f.tab || ' ' || f.name, E'\n' ORDER BY f.name), ''),
       k.dropped || ' CASCADE',
       k.added || k.definition || coalesce('; ' || string_agg(f.added || f.definition, '; '), '')
FROM keys k
LEFT JOIN keys f ON f.contype = 'f' AND f.conindid = k.conindid
WHERE k.contype = 'p'
GROUP BY k.tab, k.name, k.dropped, k.added, k.definition
UNION ALL
SELECT 'constraint: not validated', tab, name, '', dropped || '; ' || added || definition || ' NOT VALID',
       dropped || '; ' || added || definition
FROM keys WHERE contype IN ('f', 'c')
UNION ALL
SELECT 'constraint: another', tab, name, '',
       dropped || '; ' || added || CASE contype WHEN 'f' THEN replace(definition, ' ON DELETE CASCADE', '') || ' ON DELETE SET NULL'
                                                ELSE replace(definition, '>= 1', '>= 0') END,
       dropped || '; ' || added || definition
FROM keys WHERE contype IN ('f', 'c')
UNION ALL
SELECT 'constraint: deferrable', tab, name, '', replace(dropped, ' DROP ', ' ALTER ') || ' DEFERRABLE',
       replace(dropped, ' DROP ', ' ALTER ') || ' NOT DEFERRABLE'
FROM keys WHERE contype = 'f'
UNION ALL
SELECT 'constraint: added', name, 'more', '', alter || ' ADD CONSTRAINT more CHECK (id IS NOT NULL)', alter || ' DROP CONSTRAINT more'
FROM t
UNION ALL
SELECT 'index: dropped', tab, name, '', dropped, definition FROM indexes
UNION ALL
SELECT 'index: another', tab, name, '', dropped || '; ' || definition || ' WHERE id > 0', dropped || '; ' || definition FROM indexes
UNION ALL
SELECT 'index: not valid', tab, name, '', format(valid, 'false'), format(valid, 'true') FROM indexes
UNION ALL
SELECT 'index: added', name, 'more', '', format('CREATE INDEX more ON public.%I (id, created_at)', name), 'DROP INDEX public.more'
FROM t
UNION ALL
SELECT 'trigger: added', name, 'more', '',
       format('CREATE TRIGGER more BEFORE UPDATE ON public.%I FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()', name),
       format('DROP TRIGGER more ON public.%I', name)
FROM t
UNION ALL
SELECT 'rule: added', name, 'more', '', format('CREATE RULE more AS ON DELETE TO public.%I DO INSTEAD NOTHING', name),
       format('DROP RULE more ON public.%I', name)
FROM t
UNION ALL
SELECT 'policy: added', name, 'more', '', format('CREATE POLICY more ON public.%I', name),
       format('DROP POLICY more ON public.%I', name)
FROM t
UNION ALL
SELECT 'row security: enabled', name, 'enabled', '', alter || ' ENABLE ROW LEVEL SECURITY', alter || ' DISABLE ROW LEVEL SECURITY'
FROM t
UNION ALL
-- Who owns the table sees no row then.
SELECT 'row security: enabled and forced', name, 'enabled', name || ' forced',
       format('%s ENABLE ROW LEVEL SECURITY; %s FORCE ROW LEVEL SECURITY', alter, alter),
       format('%s DISABLE ROW LEVEL SECURITY; %s NO FORCE ROW LEVEL SECURITY', alter, alter)
FROM t
UNION ALL
SELECT 'row security: forced', name, 'forced', '', alter || ' FORCE ROW LEVEL SECURITY', alter || ' NO FORCE ROW LEVEL SECURITY'
FROM t
UNION ALL
-- Foreign keys are held by triggers on both of their tables. With the first one as the part.
SELECT 'foreign keys: not enforced', f.first_table, f.first_name, f.others, t.alter || ' DISABLE TRIGGER ALL', t.alter || ' ENABLE TRIGGER ALL'
FROM t
CROSS JOIN LATERAL (SELECT (array_agg(k.tab ORDER BY k.tab, k.name))[1] AS first_table,
                           (array_agg(k.name ORDER BY k.tab, k.name))[1] AS first_name,
                           array_to_string((array_agg(k.tab || ' ' || k.name ORDER BY k.tab, k.name))[2:], E'\n') AS others
                    FROM keys k WHERE k.contype = 'f' AND t.oid IN (k.conrelid, k.confrelid)) f
WHERE f.first_table IS NOT NULL
UNION ALL
-- What no crash spares. Refused where a foreign key leads to or from the table.
SELECT 'table: unlogged', name, 'unlogged', '', alter || ' SET UNLOGGED', alter || ' SET LOGGED'
FROM t WHERE NOT EXISTS (SELECT FROM keys k WHERE k.contype = 'f' AND t.oid IN (k.conrelid, k.confrelid))
UNION ALL
SELECT 'table: a child', name, 'more', '', format('CREATE TABLE public.more () INHERITS (public.%I)', name), 'DROP TABLE public.more'
FROM t
UNION ALL
SELECT 'sequence: a second one', tab, 'id (more)', '',
       format('CREATE SEQUENCE public.more; ALTER SEQUENCE public.more OWNER TO %I; ALTER SEQUENCE public.more OWNED BY public.%I.id', owner, tab),
       'DROP SEQUENCE public.more'
FROM sequences
UNION ALL
SELECT 'sequence: counts down', tab, 'id', '', alter_sequence || ' INCREMENT BY -1', alter_sequence || ' INCREMENT BY 1' FROM sequences
UNION ALL
SELECT 'sequence: begins again at its end', tab, 'id', '', alter_sequence || ' CYCLE', alter_sequence || ' NO CYCLE' FROM sequences
UNION ALL
SELECT 'sequence: ends earlier', tab, 'id', '', alter_sequence || ' MAXVALUE 1000000', format('%s MAXVALUE %s', alter_sequence, seqmax)
FROM sequences
ORDER BY kind, "table", part
