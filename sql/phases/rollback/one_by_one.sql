-- Writes rows one by one, because together they cannot be written: what the old database does not take is told row
-- by row, with the constraint that says so, and never with a value. Again and again as long as any passes: a row
-- may wait for another one. psql: \set put put_orders, \set op insert; :statement writes the row written.id.
DO $xtask$
DECLARE
    written record;
    passed  boolean;
    state   text;
    named   text;
    field   text;
BEGIN
    ALTER TABLE pg_temp.:"put" ADD COLUMN is_written boolean;
    LOOP
        passed := false;
        FOR written IN SELECT p.id FROM pg_temp.:"put" p
                       WHERE p.op = :'op' AND p.problem IS NULL AND p.is_written IS NULL ORDER BY p.id
        LOOP
            BEGIN
                :statement;
                UPDATE pg_temp.:"put" p SET is_written = true, why = NULL WHERE p.id = written.id;
                passed := true;
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, named = CONSTRAINT_NAME, field = COLUMN_NAME;
                UPDATE pg_temp.:"put" p
                SET why = concat_ws(' ', 'SQLSTATE', state, nullif(field, ''), nullif(named, ''))
                WHERE p.id = written.id;
            END;
        END LOOP;
        EXIT WHEN NOT passed;
    END LOOP;
    UPDATE pg_temp.:"put" p SET problem = 'not_taken'
    WHERE p.op = :'op' AND p.problem IS NULL AND p.is_written IS NULL;
    ALTER TABLE pg_temp.:"put" DROP COLUMN is_written;
END
$xtask$
