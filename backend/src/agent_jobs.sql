-- What an agent runs for others. `client_id` is the name that the asker chose for a job, so that
-- asking again finds it; `asked` is what was asked for, as JSON.
ALTER TABLE run ADD COLUMN client_id TEXT;
ALTER TABLE run ADD COLUMN agent INTEGER;
ALTER TABLE run ADD COLUMN asked TEXT;
CREATE UNIQUE INDEX run_client_id ON run (tenant, client_id);
CREATE INDEX run_agent ON run (agent, status) WHERE agent IS NOT NULL;
