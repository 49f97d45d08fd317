-- The services have gone back to the old database: what this run brought here is not cut over any more.
DELETE FROM xtask.cutover WHERE run = :'run'
