-- The statement that makes an empty database like the one that was backed up, and nothing in it. Its name is not
-- yet the one that it will have. psql: \set database shop_unproven \set properties '{"owner": "postgres", …}'
SELECT format('CREATE DATABASE %I TEMPLATE template0 OWNER %I ENCODING %L LC_COLLATE %L LC_CTYPE %L',
              :'database', p.owner, p.encoding, p."collate", p.ctype)
       || CASE WHEN v.number >= 150000 THEN format(' LOCALE_PROVIDER %I', p.provider) ELSE '' END
       || CASE WHEN p.provider = 'icu' AND p.locale IS NOT NULL THEN format(' ICU_LOCALE %L', p.locale) ELSE '' END
       || CASE WHEN p.provider = 'builtin' THEN format(' BUILTIN_LOCALE %L', p.locale) ELSE '' END
       || CASE WHEN p.icu_rules IS NOT NULL THEN format(' ICU_RULES %L', p.icu_rules) ELSE '' END
       -- To name the default one takes a right that nobody needs who does not name it.
       || CASE WHEN p.tablespace <> 'pg_default' THEN format(' TABLESPACE %I', p.tablespace) ELSE '' END AS statement
FROM jsonb_to_record(:'properties'::jsonb) p (owner text, encoding text, "collate" text, ctype text, provider text,
                                             locale text, icu_rules text, tablespace text)
CROSS JOIN (SELECT current_setting('server_version_num')::int AS number) v
