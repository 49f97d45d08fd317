-- The cut-over of this run was begun here, and did not happen.
DELETE FROM xtask.cutover WHERE run = :'run' AND state = 'cutting-over'
