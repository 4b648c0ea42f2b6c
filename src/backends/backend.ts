import type { Locality } from '../config/schema.ts'
import type { GatewayError } from '../errors.ts'
import type { Answer, BodyAnswer } from '../wire/answer.ts'
import type { ChatRequest } from '../wire/chat.ts'
import type { CompletionRequest } from '../wire/completions.ts'
import type { EmbeddingsRequest } from '../wire/embeddings.ts'
import type { ForwardRequest } from '../wire/forward.ts'
import type { RerankRequest } from '../wire/rerank.ts'
import type { NativeAsk } from '../wire/responses/native.ts'
import type { KeyState } from './keys.ts'
import type { DetokenizeRequest, TokenizeRequest } from '../wire/tokenize.ts'

/**
 * Anything that answers chat completions: a pool of local workers, a vLLM in the next rack, a cloud provider.
 * Adapters translate to and from the canonical format and map every failure to a GatewayError.
 */
export interface Backend {
  readonly name: string
  /** Where prompt bytes go, as the operator declared it. */
  readonly locality: Locality
  /** Its models read text alone, unless a target says otherwise. */
  readonly isBlind?: boolean
  /** Members of a chat request that it reads, where it reads no others. */
  readonly members?: ReadonlySet<string>
  /** Snapshot for routing: cheap, synchronous. `model` is the backend's own name for it. */
  availability (model: string): Availability
  /** Of its keys, where it has several, in the order of the configuration; for the status. */
  keys? (model: string): readonly KeyState[]
  /**
   * Starts one attempt. `request.model` is the backend's own model name.
   * Resolves at the first content (text, tool call, refusal, reasoning, or a finish reason), not before: until then
   * another target can still be tried and the caller never knows.
   * @throws GatewayError before the first content; after it the frames throw
   */
  chat (request: ChatRequest, options: ChatOptions): Promise<Answer>
  /** One attempt at a response, in the words of the Responses API; left out where that is not spoken. A stream passes from its first event on. */
  readonly respond?: ((request: NativeAsk, options: ChatOptions) => Promise<Answer>) | undefined
  /** One attempt at a raw prompt, as `chat`. Left out where there are none but chats. */
  complete? (request: CompletionRequest, options: ChatOptions): Promise<Answer>
  /** One attempt at vectors, as `chat`. Left out where there are none. */
  embed? (request: EmbeddingsRequest, options: ChatOptions): Promise<BodyAnswer>
  /** One attempt at a ranking, as `chat`. Left out where there is none. */
  rerank? (request: RerankRequest, options: ChatOptions): Promise<Answer>
  /** One attempt at what is passed on as it is, as `chat`. Left out where nothing is. */
  forward? (request: ForwardRequest, options: ChatOptions): Promise<Answer>
  /** A text in the model's own tokens. Left out where nobody knows them. */
  tokenize? (request: TokenizeRequest, options: ChatOptions): Promise<Answer>
  detokenize? (request: DetokenizeRequest, options: ChatOptions): Promise<Answer>
  /** Tokens of a prompt, as the model itself will read it. Left out where nobody knows. */
  count? (request: ChatRequest, options: ChatOptions): Promise<number>
  /** Refuses new calls, lets running ones finish until `signal` aborts, frees everything. */
  close (signal?: AbortSignal): Promise<void>
}

export interface ChatOptions {
  /** Aborts when the caller has left or the call's time is over; frees the slot or socket within 50 ms. */
  readonly signal: AbortSignal
  /** Farthest place this call may travel; the dialer checks it against the destination itself. */
  readonly boundary: Locality
  readonly callId: string
  /** Gateways like this one that the call came through before this one; none if left out. */
  readonly hops?: number
  /** Calls of different isolation domains (tenants) never share cached prompt state. */
  readonly isolation: string
  /** Local workers that ended while they had this call, at earlier targets: after two it is tried on no further one. */
  readonly workersLost?: number
  /** `batch`: nobody waits for the answer, so it comes after every call that somebody waits for. */
  readonly priority?: 'batch'
  /** Told of a worker that ended while it had the call, when the call goes on at another one; after the first content, too. */
  readonly lost?: (error: GatewayError) => void
}

export interface Availability {
  /** `idle`: not loaded, and loaded when a call comes, which waits for it. `weak`: fails or dawdles too often of late, or comes back from a rest. */
  readonly state: 'ready' | 'weak' | 'idle' | 'loading' | 'saturated' | 'down'
  /** Calls waiting for a place. */
  readonly queued: number
  readonly freeSlots: number
  /** Longest prompt plus answer in tokens, where known. */
  readonly contextTokens: number | null
  /** Why it is down, where more is known than that it failed. */
  readonly reason?: DownReason
  /** When a backend that is down is asked again. */
  readonly retryAfterS?: number
}

/** `key_refused`: the provider refuses the gateway's key, or asks to be paid. `rate_limited`: it said how long to wait. */
export type DownReason = 'failing' | 'rate_limited' | 'key_refused'
