import type { Migration } from './migrations.ts'

/** Times are integer milliseconds since 1970, UTC. */
export const SQLITE_MIGRATIONS: readonly Migration[] = [
  {
    id: 1,
    name: 'keys and usage',
    sql: `
CREATE TABLE keys (
  id TEXT NOT NULL PRIMARY KEY,
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  scopes TEXT NOT NULL,
  hmac TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE usage (
  call_id TEXT NOT NULL PRIMARY KEY,
  started_at INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  key_id TEXT NOT NULL,
  model TEXT NOT NULL,
  target TEXT,
  locality TEXT,
  data_class TEXT NOT NULL,
  outcome TEXT NOT NULL,
  error_code TEXT,
  attempts INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cached_input_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  estimated INTEGER NOT NULL,
  first_token_ms INTEGER,
  duration_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX usage_started_at ON usage (started_at);
`
  },
  {
    id: 2,
    name: 'usage in the order of time',
    // Call ids are random: with an index of their own every row would touch, log and write back another page.
    sql: `
CREATE TABLE usage_in_order (
  started_at INTEGER NOT NULL,
  call_id TEXT NOT NULL,
  tenant TEXT NOT NULL,
  key_id TEXT NOT NULL,
  model TEXT NOT NULL,
  target TEXT,
  locality TEXT,
  data_class TEXT NOT NULL,
  outcome TEXT NOT NULL,
  error_code TEXT,
  attempts INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cached_input_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  estimated INTEGER NOT NULL,
  first_token_ms INTEGER,
  duration_ms INTEGER NOT NULL,
  PRIMARY KEY (started_at, call_id)
) STRICT, WITHOUT ROWID;

INSERT INTO usage_in_order SELECT started_at, call_id, tenant, key_id, model, target, locality, data_class, outcome, error_code,
  attempts, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, estimated, first_token_ms, duration_ms FROM usage;
DROP TABLE usage;
ALTER TABLE usage_in_order RENAME TO usage;
`
  },
  {
    id: 3,
    name: 'kept responses',
    sql: `
CREATE TABLE responses (
  id TEXT NOT NULL PRIMARY KEY,
  tenant TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  previous_id TEXT,
  data_class TEXT NOT NULL,
  input TEXT NOT NULL,
  response TEXT NOT NULL
) STRICT;

CREATE INDEX responses_expires_at ON responses (expires_at);
CREATE INDEX responses_tenant ON responses (tenant, created_at);
`
  }
]
