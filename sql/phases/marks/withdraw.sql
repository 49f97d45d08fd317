-- The cut-over of this run, as far as it is in these states, is none any more. psql: \set states {cutting-over}
DELETE FROM xtask.cutover WHERE run = :'run' AND state = ANY (:'states'::text[])
