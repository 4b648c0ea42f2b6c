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
  },
  {
    id: 4,
    name: 'files and batches',
    // No two places say what is left to do: the lines of a batch are its queue, and they hold their answers until the output file does.
    sql: `
CREATE TABLE files (
  id TEXT NOT NULL PRIMARY KEY,
  tenant TEXT NOT NULL,
  purpose TEXT NOT NULL,
  filename TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  data_class TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX files_tenant ON files (tenant, created_at, id);
CREATE INDEX files_expires_at ON files (expires_at);

CREATE TABLE batches (
  id TEXT NOT NULL PRIMARY KEY,
  tenant TEXT NOT NULL,
  key_id TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  input_file_id TEXT NOT NULL,
  data_class TEXT NOT NULL,
  metadata TEXT,
  output_lasts_s INTEGER,
  status TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  in_progress_at INTEGER,
  finalizing_at INTEGER,
  cancelling_at INTEGER,
  ended_at INTEGER,
  model TEXT,
  errors TEXT,
  output_file_id TEXT,
  error_file_id TEXT,
  total INTEGER NOT NULL DEFAULT 0,
  completed INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  cached_input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  reasoning_tokens INTEGER NOT NULL DEFAULT 0,
  owner TEXT,
  lease_until INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX batches_tenant ON batches (tenant, created_at, id);
CREATE INDEX batches_open ON batches (created_at, id) WHERE ended_at IS NULL;
CREATE INDEX batches_input ON batches (input_file_id) WHERE ended_at IS NULL;

CREATE TABLE batch_lines (
  batch_id TEXT NOT NULL REFERENCES batches (id),
  line INTEGER NOT NULL,
  place INTEGER NOT NULL,
  custom_id TEXT NOT NULL,
  model TEXT NOT NULL,
  byte_offset INTEGER NOT NULL,
  byte_length INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT 'pending',
  tries INTEGER NOT NULL DEFAULT 0,
  not_before INTEGER NOT NULL DEFAULT 0,
  owner TEXT,
  lease_until INTEGER NOT NULL DEFAULT 0,
  answer TEXT,
  PRIMARY KEY (batch_id, line)
) STRICT;

CREATE INDEX batch_lines_open ON batch_lines (batch_id, state, place);
`
  },
  {
    id: 5,
    name: 'answers under idempotency keys',
    sql: `
CREATE TABLE answers (
  tenant TEXT NOT NULL,
  key_hash TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  call_id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  state TEXT NOT NULL,
  type TEXT,
  bytes BLOB
) STRICT;

CREATE UNIQUE INDEX answers_key ON answers (tenant, key_hash);
CREATE INDEX answers_expires_at ON answers (expires_at);
CREATE INDEX answers_tenant ON answers (tenant, created_at);
`
  }
]
