-- What a target says of the run that was brought there last, and of a cut-over, whose table may not be there.
SELECT coalesce(substring(query_to_xml('SELECT run FROM xtask.runs ORDER BY published DESC, run DESC LIMIT 1',
                                       false, true, '')::text FROM '<run>(.*)</run>'), 'no run') AS run,
       coalesce(CASE WHEN to_regclass('xtask.cutover') IS NOT NULL
                     THEN substring(query_to_xml('SELECT state FROM xtask.cutover', false, true, '')::text
                                    FROM '<state>(.*)</state>') END, 'not cut over') AS state
