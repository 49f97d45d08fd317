-- What hangs on tables in public and goes with them when they are dropped, as the statements that give it to the
-- tables that have taken their place: those of schema aside. Only what is there otherwise is set. What is not among
-- these statements is found by hanging.sql. psql: \set aside xtask_staging, \set tables {orders,payments}
WITH replaced AS (
    SELECT o.oid, o.relname, n.oid AS new
    FROM pg_class o
    JOIN pg_class n ON n.relnamespace = (:'aside')::regnamespace AND n.relkind = 'r' AND n.relname = o.relname
    WHERE o.relnamespace = 'public'::regnamespace AND o.relkind IN ('r', 'p') AND o.relname = ANY (:'tables'::text[])
), relation AS (
    SELECT c.oid, c.relname, c.relkind, c.reloptions, '' AS prefix,
           CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'i' THEN 'INDEX' ELSE 'TABLE' END AS noun
    FROM pg_class c
    WHERE c.oid IN (SELECT oid FROM replaced)
       OR c.oid IN (SELECT x.indexrelid FROM pg_index x JOIN replaced r ON r.oid = x.indrelid)
       OR c.oid IN (SELECT d.objid FROM pg_depend d JOIN replaced r ON r.oid = d.refobjid
                    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                      AND d.deptype IN ('a', 'i'))
), "column" AS (
    SELECT format('ALTER TABLE public.%I ALTER COLUMN %I', r.relname, o.attname) AS alter, r.relname,
           o.attrelid, o.attname, o.attnum, o.attoptions,
           nullif(coalesce(o.attstattarget, -1), coalesce(n.attstattarget, -1)) AS statistics,
           nullif(o.attstorage, n.attstorage) AS storage, nullif(o.attcompression, n.attcompression) AS compression
    FROM replaced r
    JOIN pg_attribute o ON o.attrelid = r.oid AND o.attnum > 0 AND NOT o.attisdropped
    JOIN pg_attribute n ON n.attrelid = r.new AND n.attname = o.attname AND NOT n.attisdropped
), options AS (
    SELECT format('ALTER %s public.%I', noun, relname) AS alter, '' AS prefix, reloptions AS options
    FROM relation WHERE relkind IN ('r', 'p', 'i')
    UNION ALL
    SELECT format('ALTER TABLE public.%I', r.relname), 'toast.', x.reloptions
    FROM replaced r
    JOIN pg_class c ON c.oid = r.oid
    JOIN pg_class x ON x.oid = c.reltoastrelid
    UNION ALL
    SELECT alter, '', attoptions FROM "column"
), statistics AS (
    SELECT s.oid, s.stxowner, s.stxstattarget, format('STATISTICS %I.%I', n.nspname, s.stxname) AS noun
    FROM replaced r
    JOIN pg_statistic_ext s ON s.stxrelid = r.oid
    JOIN pg_namespace n ON n.oid = s.stxnamespace
), statements (step, statement) AS (
    SELECT 1, format('%s SET (%s)', o.alter, string_agg(format('%s%s = %L', o.prefix, split_part(e.option, '=', 1),
                                                               substr(e.option, strpos(e.option, '=') + 1)), ', '
                                                        ORDER BY e.place))
    FROM options o
    CROSS JOIN LATERAL unnest(o.options) WITH ORDINALITY e (option, place)
    GROUP BY o.alter, o.prefix
    UNION ALL
    SELECT 1, format('%s SET STATISTICS %s', alter, statistics) FROM "column" WHERE statistics IS NOT NULL
    UNION ALL
    SELECT 1, format('%s SET STORAGE %s', alter, CASE storage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL'
                                                              WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END)
    FROM "column" WHERE storage IS NOT NULL
    UNION ALL
    SELECT 1, format('%s SET COMPRESSION %s', alter, CASE compression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' ELSE 'default' END)
    FROM "column" WHERE compression IS NOT NULL
    UNION ALL
    SELECT 1, format('ALTER TABLE public.%I REPLICA IDENTITY %s', r.relname,
                     CASE o.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' WHEN 'd' THEN 'DEFAULT'
                     ELSE 'USING INDEX ' || (SELECT quote_ident(i.relname) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
                                             WHERE x.indrelid = r.oid AND x.indisreplident) END)
    FROM replaced r
    JOIN pg_class o ON o.oid = r.oid
    JOIN pg_class n ON n.oid = r.new AND n.relreplident <> o.relreplident
    UNION ALL
    SELECT 1, format('ALTER TABLE public.%I CLUSTER ON %I', r.relname, i.relname)
    FROM replaced r
    JOIN pg_index x ON x.indrelid = r.oid AND x.indisclustered
    JOIN pg_class i ON i.oid = x.indexrelid
    UNION ALL
    SELECT 1, pg_get_statisticsobjdef(oid) FROM statistics
    UNION ALL
    SELECT 2, format('ALTER %s SET STATISTICS %s', noun, stxstattarget) FROM statistics WHERE stxstattarget >= 0
    UNION ALL
    SELECT 3, format('ALTER %s OWNER TO %I', noun, pg_get_userbyid(stxowner))
    FROM statistics WHERE pg_get_userbyid(stxowner) <> current_user
    UNION ALL
    -- FOR TABLE only: those FOR ALL TABLES and IN SCHEMA hold whatever is there. Before PostgreSQL 15 there are
    -- neither columns nor filters.
    SELECT 1, format('ALTER PUBLICATION %I ADD TABLE public.%I%s%s', p.pubname, r.relname,
                     (SELECT format(' (%s)', string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum))
                      FROM jsonb_array_elements_text(nullif(to_jsonb(m) -> 'prattrs', 'null')) n (attnum)
                      JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = n.attnum::int
                      HAVING count(*) > 0),
                     (SELECT format(' WHERE (%s)', to_jsonb(v) ->> 'rowfilter') FROM pg_publication_tables v
                      WHERE v.pubname = p.pubname AND v.schemaname = 'public' AND v.tablename = r.relname
                        AND to_jsonb(v) ->> 'rowfilter' IS NOT NULL))
    FROM replaced r
    JOIN pg_publication_rel m ON m.prrelid = r.oid
    JOIN pg_publication p ON p.oid = m.prpubid
    UNION ALL
    SELECT 3, format('COMMENT ON %s IS %L', noun, obj_description(oid, 'pg_statistic_ext'))
    FROM statistics WHERE obj_description(oid, 'pg_statistic_ext') IS NOT NULL
    UNION ALL
    SELECT 3, format('COMMENT ON %s public.%I IS %L', noun, relname, obj_description(oid, 'pg_class'))
    FROM relation WHERE obj_description(oid, 'pg_class') IS NOT NULL
    UNION ALL
    SELECT 3, format('COMMENT ON COLUMN public.%I.%I IS %L', relname, attname, col_description(attrelid, attnum))
    FROM "column" WHERE col_description(attrelid, attnum) IS NOT NULL
    UNION ALL
    SELECT 3, format('COMMENT ON CONSTRAINT %I ON public.%I IS %L', k.conname, r.relname, obj_description(k.oid, 'pg_constraint'))
    FROM replaced r
    JOIN pg_constraint k ON k.conrelid = r.oid
    WHERE obj_description(k.oid, 'pg_constraint') IS NOT NULL
)
SELECT statement FROM statements ORDER BY step, statement
