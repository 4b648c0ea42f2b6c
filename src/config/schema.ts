/** Single source of truth: the TypeScript types, the validator, the JSON Schema for editors and docs/configuration.md. */
import { Type, type Static, type TSchema } from 'typebox'
import { PRESET_NAMES } from './presets.ts'

/** `patternErrorMessage` follows "expected" in our messages, and is what editors show. */
const Pattern = (pattern: string, patternErrorMessage: string, description: string) => Type.String({ pattern, patternErrorMessage, description })
const Name = (description: string) =>
  Pattern('^[a-z0-9][a-z0-9._-]{0,63}$', 'a name of at most 64 lower-case letters, digits, `.`, `_` and `-`', description)
const Milliseconds = (value: number, description: string) => Type.Integer({ minimum: 1, maximum: 86_400_000, default: value, description })
const Part = <T extends Record<string, TSchema>>(properties: T, description: string) =>
  Type.Object(properties, { additionalProperties: false, default: {}, description })

export const LOCALITIES = ['local', 'domain', 'cloud'] as const
export const Locality = Type.Enum(LOCALITIES, {
  description: 'Where prompt bytes go: `local` is this host, `domain` the operator\'s own network, `cloud` a third party.'
})
export type Locality = (typeof LOCALITIES)[number]

export const DATA_CLASSES = ['public', 'internal', 'confidential', 'restricted'] as const
export type DataClass = (typeof DATA_CLASSES)[number]

/** Secrets are named in the configuration, never written in it. A name in capitals cannot be mistaken for the key itself. */
const SecretAt = (description: string) => Type.Union([
  Type.Object({
    env: Type.String({
      pattern: '^[A-Z_][A-Z0-9_]{0,127}$',
      patternErrorMessage: 'the name of an environment variable, in capitals',
      writeOnly: true,
      description: 'Name of an environment variable.'
    })
  }, { additionalProperties: false }),
  Type.Object({ file: Type.String({ minLength: 1, description: 'Path of a file; white space at the end is dropped.' }) }, { additionalProperties: false }),
  Type.Object({
    command: Type.Array(Type.String({ writeOnly: true }), { minItems: 1, maxItems: 64, description: 'A program and its arguments, run without a shell; what it writes is the secret.' }),
    timeoutMs: Milliseconds(5_000, 'One that has not ended by then is killed.')
  }, { additionalProperties: false })
], { title: 'Secret', description })
export const Secret = SecretAt('Where a secret is found.')
export type Secret = Static<typeof Secret>

/** A `chatTemplate` that is no file. */
export const NAMED_TEMPLATE = 'chatml'

const ThoughtTokens = (description: string) => Type.Optional(Type.Integer({ minimum: 0, maximum: 1_048_576, description }))

export const LocalModelConfig = Type.Object({
  name: Name('Name of the model inside its backend.'),
  path: Type.String({ minLength: 1, description: 'GGUF file, relative to the configuration file; or `model:NAME`, a model that `torchgate models pull` has brought.' }),
  sha256: Type.Optional(Pattern('^[0-9a-f]{64}$', '64 hexadecimal digits in lower case', 'Digest that the file must have; checked at every load.')),
  load: Type.Enum(['start', 'demand'] as const, { default: 'start', description: '`start` loads the model with the gateway, `demand` when a call wants it.' }),
  keepAliveMs: Type.Integer({ minimum: 0, maximum: 604_800_000, default: 300_000, description: 'How long a model loaded on demand stays when nobody calls it; 0 unloads it at once. A call can say otherwise with `keep_alive`.' }),
  pinned: Type.Boolean({ default: false, description: 'Once loaded it stays: it is not unloaded when idle, nor for another model.' }),
  workers: Type.Integer({ minimum: 1, maximum: 64, default: 1, description: 'Processes that load this model.' }),
  slots: Type.Integer({ minimum: 1, maximum: 256, default: 4, description: 'Calls one worker answers at once. Each costs `contextTokens` of KV cache.' }),
  contextTokens: Type.Integer({ minimum: 256, maximum: 1_048_576, default: 4096, description: 'Longest prompt plus answer, in tokens. Never more than the model was trained for.' }),
  batchTokens: Type.Integer({ minimum: 32, maximum: 16_384, default: 512, description: 'Tokens computed in one step, shared by all slots.' }),
  chatTemplate: Type.Optional(Type.String({ minLength: 1, description: 'For a model that brings no chat template, or one that does not work: `chatml`, or a file of Jinja, relative to the configuration file.' })),
  thinkingTokens: Type.Optional(Type.Object({
    default: ThoughtTokens('Where a call names no effort. Left out: no limit.'),
    minimal: ThoughtTokens('1024 if left out.'),
    low: ThoughtTokens('2048 if left out.'),
    medium: ThoughtTokens('8192 if left out.'),
    high: ThoughtTokens('16384 if left out.'),
    xhigh: ThoughtTokens('32768 if left out.'),
    max: ThoughtTokens('32768 if left out.')
  }, { additionalProperties: false, description: 'Most tokens of thought by `reasoning_effort`; 0 for none. The thought is then ended, and the answer follows. A budget of the request goes before.' })),
  spill: Type.Optional(Type.Object({
    folder: Type.String({ minLength: 1, description: 'Of this model alone, relative to the configuration file; made where there is none. The files hold what was asked and answered.' }),
    bytes: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'Most bytes of all files of one worker; the one used longest ago goes first.' })
  }, { additionalProperties: false, description: 'Where workers keep what they have computed of prompts when a slot is taken, and at their end, to go on from it later. Left out: nowhere.' })),
  threads: Type.Integer({ minimum: 1, maximum: 512, default: 1, description: 'CPU threads of one worker. More than there are free cores is much slower, not faster.' }),
  gpu: Type.Union([Type.Literal('auto'), Type.Literal('cuda'), Type.Literal('vulkan'), Type.Literal('metal'), Type.Literal(false)], { default: 'auto', description: 'What computes: `auto` takes the best there is, `false` the CPU.' }),
  environment: Type.Record(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]*$' }), Type.String({ pattern: '^[^\\0]*$', patternErrorMessage: 'a text without NUL', writeOnly: true }), {
    default: {},
    patternErrorMessage: 'the name of an environment variable',
    description: 'Environment of the worker process, to choose its device: `CUDA_VISIBLE_DEVICES`, `GGML_VK_VISIBLE_DEVICES`. `{worker}` stands for the number of the worker, from 0, so that two workers take two devices.'
  })
}, { additionalProperties: false })
export type LocalModelConfig = Static<typeof LocalModelConfig>

export const PoolConfig = Type.Object({
  name: Name('Unique name, used in targets, metrics and records.'),
  kind: Type.Literal('pool', { description: 'Local worker processes on this host. Their locality is always `local`.' }),
  models: Type.Array(LocalModelConfig, { minItems: 1, maxItems: 256, description: 'Models to serve.' }),
  isolation: Type.Enum(['auto', 'required', 'off'] as const, { default: 'auto', description: 'Workers read nothing but their program and their model, start no processes, and have no network. `auto` says at the start where the system cannot keep all their code from the network, `required` refuses to start there, `off` leaves workers as free as the gateway.' }),
  memoryBytes: Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'What the loaded models may take together. A model that does not fit beside the others waits until idle ones are unloaded for it. Left out: 80 % of the memory of the host when a model is loaded on demand, else no limit.' })),
  swap: Part({
    afterCalls: Type.Integer({ minimum: 1, maximum: 100_000, default: 32, description: 'Calls that a loaded model may still begin while another waits for its memory; all that waited for it before the other came, if these are more.' }),
    afterMs: Milliseconds(15_000, 'How long it may still begin calls. The calls it has begun are always finished.')
  }, 'When models that do not fit beside each other take turns.'),
  queue: Part({
    length: Type.Integer({ minimum: 0, maximum: 100_000, default: 256, description: 'Calls that may wait for a slot, per model. One more is refused, or goes to the next target.' }),
    timeoutMs: Milliseconds(60_000, 'Longest wait for a slot, the load of a model included. A call that would wait longer by what was measured of late is refused at once.')
  }, 'What happens when every slot is taken.'),
  timeouts: Part({
    loadMs: Milliseconds(120_000, 'Start and load of a worker.'),
    firstTokenMs: Milliseconds(120_000, 'From the slot to the first content of a stream.'),
    answerMs: Milliseconds(600_000, 'Longest wait for an answer that is not streamed; nothing is heard of it before it is complete.'),
    idleMs: Milliseconds(30_000, 'Longest silence inside a stream.'),
    totalMs: Milliseconds(600_000, 'Whole attempt.')
  }, 'Waiting for workers.'),
  restart: Part({
    backoffMs: Milliseconds(200, 'Pause before the first restart; doubles with each crash, with jitter.'),
    maxBackoffMs: Milliseconds(30_000, 'Longest pause.'),
    quarantineAfter: Type.Integer({ minimum: 1, maximum: 100, default: 5, description: 'Crashes within `windowMs` after which a worker is given up until `quarantineMs` has passed.' }),
    windowMs: Milliseconds(60_000, 'Time in which crashes are counted.'),
    quarantineMs: Milliseconds(300_000, 'How long a quarantined worker rests.')
  }, 'What happens when a worker dies.'),
  watchdog: Part({
    silentMs: Type.Integer({ minimum: 2000, maximum: 86_400_000, default: 15_000, description: 'A loaded worker that gives no sign of life for so long is killed. Below `timeouts.idleMs`, so that its streams go on elsewhere.' }),
    stepMs: Type.Integer({ minimum: 2000, maximum: 86_400_000, default: 120_000, description: 'A worker whose model computes one step for so long is killed. A step is one token of every answer and at most `batchTokens` of a prompt.' })
  }, 'When a worker counts as hung. Loading has `timeouts.loadMs` instead.')
}, { additionalProperties: false })
export type PoolConfig = Static<typeof PoolConfig>

const BASE_URL = { pattern: '^https?://', patternErrorMessage: 'a URL that starts with http:// or https://', writeOnly: true }

/** What every backend behind a URL has. */
const UPSTREAM = {
  apiKeys: Type.Optional(Type.Array(Type.Object({
    name: Name('Unique among them; what log and status call it.'),
    key: SecretAt('As `apiKey`.'),
    weight: Type.Integer({ minimum: 0, maximum: 1000, default: 1, description: 'How often it is taken, beside the others; 0 only when no other can be.' })
  }, { additionalProperties: false }), { minItems: 1, maxItems: 64, description: 'Several keys, instead of `apiKey`, taken by turns. A throttled one (429) or a dead one (401, 402) rests alone, and the next is tried at once.' })),
  headers: Type.Record(
    Type.String({ pattern: '^[A-Za-z0-9-]+$' }),
    Type.String({ pattern: '^[\\t\\x20-\\x7e]*$', patternErrorMessage: 'printable ASCII on one line', writeOnly: true }),
    { default: {}, patternErrorMessage: 'the name of a header: letters, digits and `-`', description: 'Extra headers of every request. No secrets here.' }
  ),
  connections: Type.Integer({ minimum: 1, maximum: 10_000, default: 256, description: 'Open connections at most.' }),
  allowInsecure: Type.Boolean({ default: false, description: 'Allow `http://` to a cloud backend that is not on this host. The prompt and the key then travel in the clear.' }),
  timeouts: Part({
    connectMs: Milliseconds(2_000, 'Name, connection and TLS.'),
    firstTokenMs: Milliseconds(60_000, 'From the request to the first content of a stream.'),
    answerMs: Milliseconds(120_000, 'Longest wait for an answer that is not streamed; nothing is heard of it before it is complete.'),
    idleMs: Milliseconds(15_000, 'Longest silence inside a stream.'),
    totalMs: Milliseconds(600_000, 'Whole attempt.')
  }, 'Five separate waits.')
}

export const OpenAIBackendConfig = Type.Object({
  name: Name('Unique name, used in targets, metrics and records.'),
  kind: Type.Literal('openai', { description: 'Any server that speaks the OpenAI API.' }),
  preset: Type.Optional(Type.Enum(PRESET_NAMES, { description: 'A server by name: where it is, and what it says in other words ([below](#presets)).' })),
  baseUrl: Type.String({ ...BASE_URL, byPreset: true, description: 'URL up to and with `/v1`.' }),
  locality: Type.Enum(LOCALITIES, { byPreset: true, description: 'Where prompt bytes go: `local` is this host, `domain` the operator\'s own network, `cloud` a third party. Beside a `baseUrl` of your own, a preset says it of clouds only.' }),
  apiKey: Type.Optional(SecretAt('Sent as `Authorization: Bearer`. Leave it out for a server that asks for none.')),
  responses: Type.Optional(Type.Boolean({ description: 'The server speaks the Responses API too: calls of `/v1/responses` pass to it as they are. Left out or `false`, they are asked of it as chat completions.' })),
  ...UPSTREAM
}, { additionalProperties: false })
export type OpenAIBackendConfig = Static<typeof OpenAIBackendConfig>

export const AnthropicBackendConfig = Type.Object({
  name: Name('Unique name, used in targets, metrics and records.'),
  kind: Type.Literal('anthropic', { description: 'Anthropic, or a server that speaks its Messages API.' }),
  baseUrl: Type.String({ ...BASE_URL, default: 'https://api.anthropic.com', description: 'URL without `/v1/messages`.' }),
  locality: Locality,
  apiKey: Type.Optional(SecretAt('Sent as `x-api-key`. Leave it out for a server that asks for none.')),
  anthropicVersion: Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}$', patternErrorMessage: 'a date such as 2023-06-01', default: '2023-06-01', description: 'Version of the API, sent as `anthropic-version`.' }),
  maxTokens: Type.Integer({ minimum: 1, maximum: 1_000_000, default: 4096, description: 'Longest answer of a call that sets no `max_completion_tokens`; Anthropic demands a limit. A budget for thoughts comes on top.' }),
  promptCache: Type.Enum(['off', '5m', '1h'] as const, { default: 'off', description: 'How long Anthropic keeps tools and instructions ready for the next call. To write them into its cache costs more than to read them once.' }),
  thinking: Type.Enum(['auto', 'budget', 'adaptive'] as const, { default: 'auto', description: 'How `reasoning_effort` is said: as a budget of tokens (models up to Claude 4.5) or as an effort (later ones). `auto` tells by the name of the model.' }),
  ...UPSTREAM
}, { additionalProperties: false })
export type AnthropicBackendConfig = Static<typeof AnthropicBackendConfig>

export const AzureBackendConfig = Type.Object({
  name: Name('Unique name, used in targets, metrics and records.'),
  kind: Type.Literal('azure', { description: 'OpenAI\'s models at Azure. The `model` of a target is the name of a deployment.' }),
  baseUrl: Type.String({ ...BASE_URL, description: 'URL of the resource, such as https://NAME.openai.azure.com.' }),
  locality: Locality,
  apiKey: Type.Optional(SecretAt('Sent as `api-key`.')),
  api: Type.Enum(['v1', 'deployments'] as const, { default: 'v1', description: '`v1` asks at `/openai/v1`; `deployments` at `/openai/deployments/NAME`, as before August 2025, and needs an `apiVersion`.' }),
  apiVersion: Type.Optional(Type.String({ pattern: '^(v1|preview|\\d{4}-\\d{2}-\\d{2}(-preview)?)$', patternErrorMessage: 'a version such as 2024-10-21 or preview', description: 'Sent as `api-version`.' })),
  responses: Type.Optional(Type.Boolean({ description: 'As with `kind: openai`; at `v1` only.' })),
  ...UPSTREAM
}, { additionalProperties: false })
export type AzureBackendConfig = Static<typeof AzureBackendConfig>

export const GeminiBackendConfig = Type.Object({
  name: Name('Unique name, used in targets, metrics and records.'),
  kind: Type.Literal('gemini', { description: 'Google\'s Gemini API, in its own words (`generateContent`).' }),
  baseUrl: Type.String({ ...BASE_URL, default: 'https://generativelanguage.googleapis.com', description: 'URL without `/v1beta`.' }),
  locality: Locality,
  apiKey: Type.Optional(SecretAt('Sent as `x-goog-api-key`.')),
  thinking: Type.Enum(['auto', 'budget', 'level'] as const, { default: 'auto', description: 'How `reasoning_effort` is said: as a budget of tokens (models up to Gemini 2.5) or as a level (later ones). `auto` tells by the name of the model.' }),
  ...UPSTREAM
}, { additionalProperties: false })
export type GeminiBackendConfig = Static<typeof GeminiBackendConfig>

export const BackendConfig = Type.Union([PoolConfig, OpenAIBackendConfig, AnthropicBackendConfig, AzureBackendConfig, GeminiBackendConfig], { description: 'Told apart by `kind`.' })
export type BackendConfig = Static<typeof BackendConfig>

export const TargetConfig = Type.Object({
  backend: Type.String({ description: 'Name of a backend.' }),
  model: Pattern(
    '^[\\x21-\\x7e]{1,256}$',
    'a name of printable ASCII without spaces, at most 256 characters',
    'The backend\'s own name of the model. `*` stands for what the `*` of the public name matched.'
  ),
  weight: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000, description: 'For `order: weighted`, how often this target comes first, beside the others. 0: only when no other is left. 1 if left out.' })),
  images: Type.Optional(Type.Boolean({ description: 'Can the model see images? `false` keeps calls with images away from it. Left out: a local model cannot, any other can.' }))
}, { additionalProperties: false })
export type TargetConfig = Static<typeof TargetConfig>

export const ORDERS = ['listed', 'local_first', 'cloud_first', 'least_busy', 'weighted', 'fastest', 'complexity'] as const

export const ModelConfig = Type.Object({
  name: Pattern(
    '^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,126}\\*?$',
    'a name of letters, digits and `._:/@-`, at most 127 characters, with or without a `*` at its end',
    'Public name that callers use. May end in `*`; an exact name wins, then the longest prefix.'
  ),
  targets: Type.Array(TargetConfig, { minItems: 1, maxItems: 32, description: 'What may answer, in order.' }),
  order: Type.Enum(ORDERS, { default: 'listed', description: 'Order in which permitted targets are tried: as listed; nearest first; farthest first; most free places first; `weighted`, by lot; `fastest`, the shortest time to the first content of streams first, as measured in the last minute; or `complexity`: farthest first for a prompt that looks hard, else nearest first.' }),
  sticky: Type.Optional(Type.Enum(['call', 'key', 'user', 'conversation'] as const, { description: 'For `order: weighted`, what keeps its target as long as that is there: every call is drawn anew, or all of an API key, of a user (`safety_identifier` or `user` of the request, else the key), or of a conversation (`prompt_cache_key` or how it begins). `call` if left out.' })),
  complexity: Type.Optional(Type.Object({
    scorer: Type.Optional(Type.String({ minLength: 1, description: 'A scorer that `torchgate route train` wrote, relative to the configuration file. Left out: a heuristic, which is told by nothing but the text.' })),
    threshold: Type.Optional(Type.Number({ minimum: -100, maximum: 100, description: 'A prompt that scores higher counts as hard. 1 for the heuristic if left out; a trained scorer needs one, which `torchgate route train` names.' }))
  }, { additionalProperties: false, description: 'What counts as hard, for `order: complexity`.' }))
}, { additionalProperties: false })
export type ModelConfig = Static<typeof ModelConfig>

export const LimitsConfig = Part({
  requestsPerMinute: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000_000, description: 'Calls per minute; none if left out.' })),
  tokensPerMinute: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000_000_000, description: 'Input and output tokens per minute, reserved before and settled after each call; none if left out.' })),
  concurrency: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000, description: 'Calls at once; none if left out.' }))
}, 'Taken all or none for each call.')
export type LimitsConfig = Static<typeof LimitsConfig>

export const TenantConfig = Type.Object({
  name: Name('Unique name. Keys belong to a tenant.'),
  class: Type.Enum(DATA_CLASSES, { default: 'internal', description: 'Lowest data class of this tenant\'s calls. A caller can raise it with `x-torchgate-class`, never lower it.' }),
  boundary: Type.Enum(LOCALITIES, { default: 'cloud', description: 'Farthest place this tenant\'s prompts may go, whatever their class.' }),
  weight: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: 'Share of the local slots when several tenants wait for them; 1 if left out.' })),
  models: Type.Array(Pattern('^(?!$)[A-Za-z0-9._:/@-]{0,127}\\*?$', 'a public model name, with or without a `*` at its end', 'A name or a prefix and `*`.'), { default: ['*'], maxItems: 1000, description: 'Public model names this tenant may call; `*` at the end matches any ending.' }),
  storeResponses: Type.Optional(Type.Boolean({ description: 'Keep the responses of `/v1/responses`, with the prompts they answer, in the database of `dataDir`, so that `previous_response_id` works. Off if left out: then nothing of what is said is written there.' })),
  storeFiles: Type.Optional(Type.Boolean({ description: 'Serve `/v1/files` and `/v1/batches`: keep what is uploaded, and what batches answer, in the folder `files` of `dataDir`, and the answers of a running batch in its database. Off if left out: then nothing of it is written there.' })),
  unknownFields: Type.Optional(Type.Enum(['drop', 'refuse'] as const, { description: 'Parameters that OpenAI does not define, at backends that do not know them: `drop` leaves them out and says so in `x-torchgate-warning`, `refuse` tries the next target, or answers 400. `drop` if left out.' })),
  idempotency: Type.Optional(Type.Boolean({ description: 'Honour `Idempotency-Key`: keep the answers of calls that have one, in the database of `dataDir`, and give them again. Off if left out: then such calls are answered anew, with a warning.' })),
  limits: LimitsConfig
}, { additionalProperties: false })
export type TenantConfig = Static<typeof TenantConfig>

const boundaryOfClass = (value: Locality) => Type.Enum(LOCALITIES, { default: value, description: 'Farthest place data of this class may go.' })

export const Config = Type.Object({
  server: Part({
    host: Type.String({ minLength: 1, default: '127.0.0.1', description: 'Address of the API. Loopback unless you say otherwise. `HOST` overrides it.' }),
    port: Type.Integer({ minimum: 0, maximum: 65_535, default: 8080, description: 'Port of the API; 0 takes a free one. `PORT` and `--port` override it.' }),
    bodyLimitBytes: Type.Integer({ minimum: 1024, maximum: 1_073_741_824, default: 33_554_432, description: 'Largest request body.' }),
    requestTimeoutMs: Milliseconds(60_000, 'A request must have arrived whole by then.'),
    headersTimeoutMs: Milliseconds(15_000, 'Its headers by then.'),
    writeStallMs: Milliseconds(60_000, 'A caller that reads nothing for this long is cut off.'),
    heartbeatMs: Type.Integer({ minimum: 0, maximum: 86_400_000, default: 15_000, description: 'A stream that has said nothing for so long sends a sign of life: a comment, or `ping` on `/v1/messages`. 0 sends none.' }),
    maxConnections: Type.Integer({ minimum: 1, maximum: 1_000_000, default: 10_000, description: 'Open client connections at most.' }),
    cors: Part({
      origins: Type.Array(
        Pattern('^(\\*|https?://[a-z0-9.:\\[\\]-]+)$', 'an origin in lower case without a path, such as https://app.example.com, or `*`', 'Scheme, host and port.'),
        { default: [], maxItems: 1000, description: 'Origins whose pages may call this API from a browser, each with its key; `*` for every one.' }
      )
    }, 'Browsers. Nothing is granted unless origins are named.'),
    maxHops: Type.Integer({ minimum: 0, maximum: 16, default: 1, description: 'Gateways like this one that a call may have come through before it. One that runs in a circle is found out by it and refused.' }),
    shed: Part({
      eventLoopDelayMs: Milliseconds(1_500, 'The event loop ran this late.'),
      heapPercent: Type.Integer({ minimum: 1, maximum: 100, default: 85, description: 'This much of the JavaScript heap is taken (`--max-old-space-size`).' })
    }, 'Above either bound calls are refused before their body is read, with 503 and `Retry-After`, and `/readyz` says so. Ten looks a second.'),
    drainTimeoutMs: Milliseconds(30_000, 'How long running calls may go on after the first signal to stop.')
  }, 'The OpenAI-compatible API.'),
  admin: Part({
    host: Type.String({ minLength: 1, default: '127.0.0.1', description: 'Address of metrics, health and the admin API. Loopback unless you say otherwise. `ADMIN_HOST` overrides it.' }),
    port: Type.Integer({ minimum: 0, maximum: 65_535, default: 9464, description: 'Its port; 0 takes a free one. `ADMIN_PORT` and `--admin-port` override it.' })
  }, 'The operator\'s listener.'),
  dataDir: Type.String({ minLength: 1, default: './data', description: 'Folder of the SQLite database, the key pepper and kept files.' }),
  log: Part({
    level: Type.Enum(['debug', 'info', 'warn', 'error', 'silent'] as const, { default: 'info', description: 'One JSON line per call at `info`. Never prompt text, never keys.' })
  }, 'Logging to standard output.'),
  state: Part({
    redis: Type.Optional(Type.Object({
      url: SecretAt('`redis://` or `rediss://` URL; it may hold a password, so it is a secret.'),
      timeoutMs: Milliseconds(50, 'Longest wait for one command.')
    }, { additionalProperties: false, description: 'Keep limits in Redis or Valkey, exact across replicas. Without it they are kept in memory.' }))
  }, 'Shared counters.'),
  limits: Part({
    onStateLoss: Type.Enum(['local', 'refuse'] as const, { default: 'local', description: 'When Redis is away: `local` counts in this process until it is back, `refuse` answers 503.' }),
    assumedOutputTokens: Type.Integer({ minimum: 1, maximum: 1_000_000, default: 512, description: 'Output reserved for a call that sets no `max_completion_tokens`.' }),
    failuresPerMinute: Type.Integer({ minimum: 1, maximum: 1_000_000, default: 120, description: 'Answers 401 and 404 per client address and minute; then 429.' })
  }, 'Limits of the installation; those of a tenant stand with the tenant.'),
  responses: Part({
    retentionHours: Type.Integer({ minimum: 1, maximum: 87_600, default: 720, description: 'A kept response is deleted, and overwritten, this long after it was made.' }),
    perTenant: Type.Integer({ minimum: 1, maximum: 10_000_000, default: 10_000, description: 'Responses kept of one tenant at most; then the oldest go.' })
  }, 'How long responses are kept, for tenants with `storeResponses`.'),
  idempotency: Part({
    retentionHours: Type.Integer({ minimum: 1, maximum: 720, default: 24, description: 'A key may be used anew this long after its call was answered.' }),
    perTenant: Type.Integer({ minimum: 1, maximum: 1_000_000, default: 10_000, description: 'Keys of one tenant at most; then the oldest go.' }),
    maxBytes: Type.Integer({ minimum: 1024, maximum: 67_108_864, default: 1_048_576, description: 'Largest answer that is kept. A larger one is given once; its key is then refused.' })
  }, 'How long answers are kept for `Idempotency-Key`, of tenants with `idempotency`.'),
  files: Part({
    maxBytes: Type.Integer({ minimum: 1024, maximum: 549_755_813_888, default: 209_715_200, description: 'Largest file that can be uploaded.' }),
    perTenantBytes: Type.Integer({ minimum: 1024, maximum: Number.MAX_SAFE_INTEGER, default: 10_737_418_240, description: 'Bytes that all files of one tenant take together; then uploads and new batches are refused. What a batch has begun to answer is written all the same.' }),
    perTenant: Type.Integer({ minimum: 1, maximum: 1_000_000, default: 10_000, description: 'Files of one tenant at most; then uploads are refused.' }),
    retentionHours: Type.Integer({ minimum: 1, maximum: 87_600, default: 720, description: 'A file is deleted this long after it was made, unless it was uploaded with an earlier `expires_after`; a batch, this long after it ended.' })
  }, 'Uploaded files and the answers of batches, for tenants with `storeFiles`.'),
  batches: Part({
    parallel: Type.Integer({ minimum: 1, maximum: 1000, default: 4, description: 'Requests of batches answered at once, of all tenants together. In the queue of a local model they come after everything else.' }),
    maxLines: Type.Integer({ minimum: 1, maximum: 1_000_000, default: 50_000, description: 'Requests in one batch.' }),
    perTenant: Type.Integer({ minimum: 1, maximum: 10_000, default: 100, description: 'Batches of one tenant that have not ended; then new ones are refused.' }),
    tries: Type.Integer({ minimum: 1, maximum: 100, default: 3, description: 'How often a request is tried that a backend fails. Waiting for a limit, or for a backend that is down, is no try.' }),
    leaseMs: Type.Integer({ minimum: 500, maximum: 3_600_000, default: 30_000, description: 'When a gateway was killed, what it was at is taken up after this long.' })
  }, 'How batches run.'),
  images: Part({
    maxBytes: Type.Integer({ minimum: 1024, maximum: 1_073_741_824, default: 20_971_520, description: 'Largest image.' }),
    maxPixels: Type.Integer({ minimum: 1, maximum: 1_000_000_000, default: 50_000_000, description: 'Most pixels of an image, width times height, as its header says.' }),
    maxCount: Type.Integer({ minimum: 1, maximum: 10_000, default: 100, description: 'Most images of one call.' }),
    hosts: Type.Array(
      Pattern('^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$', 'the name of a host, such as images.example.com', 'Name of a host.'),
      { default: [], maxItems: 1000, description: 'Hosts from which the gateway fetches images that a message names by an `https://` address, for calls that may go as far as the cloud; the model gets the data. Addresses that are not public are never asked. None if left out: then such an image is refused.' }
    ),
    timeoutMs: Milliseconds(10_000, 'To fetch all images of one call.')
  }, 'Images in messages.'),
  devices: Part({
    pollMs: Milliseconds(10_000, 'How often `nvidia-smi` is asked, where there is one in PATH.'),
    timeoutMs: Milliseconds(5_000, 'One that has not answered by then is killed, and nothing is shown of the GPUs until one answers.')
  }, 'What metrics and status tell of the GPUs of this host, of a gateway with local models.'),
  policy: Part({
    boundaries: Part({
      public: boundaryOfClass('cloud'),
      internal: boundaryOfClass('cloud'),
      confidential: boundaryOfClass('domain'),
      restricted: boundaryOfClass('local')
    }, 'Boundary of each data class.')
  }, 'Where calls may go.'),
  egress: Part({
    domainNetworks: Type.Array(Type.String({ description: 'CIDR' }), { default: [], maxItems: 1000, description: 'Public address ranges that belong to the operator\'s domain. Private ranges (RFC 1918, ULA) always count as domain, loopback as local.' })
  }, 'What the dialer believes about addresses.'),
  backends: Type.Array(BackendConfig, { minItems: 1, maxItems: 256, description: 'What answers.' }),
  models: Type.Array(ModelConfig, { minItems: 1, maxItems: 10_000, description: 'Public model names and their targets.' }),
  tenants: Type.Array(TenantConfig, { minItems: 1, maxItems: 10_000, description: 'Who may call, and how far their calls may go.' })
}, { $id: 'torchgate', additionalProperties: false })
export type Config = Static<typeof Config>
