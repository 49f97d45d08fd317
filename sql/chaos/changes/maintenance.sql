-- What is done to a part of the subject beside the writers: a statement a line, drawn by the campaign.
-- psql: \set part subject \set index subject_id_idx
VACUUM :"part"
VACUUM (FREEZE) :"part"
VACUUM (FULL) :"part"
VACUUM (FULL, FREEZE) :"part"
CLUSTER :"part" USING :"index"
ALTER TABLE :"part" SET (fillfactor = 70)
ALTER TABLE :"part" RESET (fillfactor)
ANALYZE :"part"
REINDEX TABLE :"part"
