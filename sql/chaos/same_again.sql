-- Every row of public written again as it is, the keys of jsonb the other way round: nothing has changed, and
-- nothing may be found. As superuser, in a session without triggers.
DO $$
DECLARE
    c record;
BEGIN
    FOR c IN SELECT a.attrelid::regclass AS tab, a.attname, a.atttypid = 'jsonb'::regtype AS is_json
             FROM pg_attribute a JOIN pg_class t ON t.oid = a.attrelid
             WHERE t.relnamespace = 'public'::regnamespace AND t.relkind = 'r'
               AND (a.atttypid = 'jsonb'::regtype OR a.attname = 'created_at') AND NOT a.attisdropped
    LOOP
        IF c.is_json THEN
            EXECUTE format('UPDATE %s t SET %I = (SELECT json_object_agg(key, value ORDER BY key DESC)
                            FROM jsonb_each(t.%2$I))::jsonb
                            WHERE jsonb_typeof(%2$I) = ''object'' AND %2$I <> ''{}''', c.tab, c.attname);
        ELSE
            EXECUTE format('UPDATE %s SET %I = %2$I', c.tab, c.attname);
        END IF;
    END LOOP;
END
$$
