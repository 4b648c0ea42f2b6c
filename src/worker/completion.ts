/** Answers /v1/completions: a raw prompt, continued without a chat template. */
import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { GatewayError } from '../errors.ts'
import { DEFAULT_MAX_TOKENS, validateCompletion, type CompletionRequest } from '../wire/completions.ts'
import { inputsOf } from '../wire/embeddings.ts'
import { sendJson, type ChoiceOutlet } from './answer.ts'
import type { Task } from './chat.ts'
import { Choice } from './choice.ts'
import { repeat, run, tokensOf, worksOf, type Listener } from './course.ts'
import type { Model } from './load.ts'
import { TokenLog, type TokenLogprob } from './logprobs.ts'
import { Marks } from './marks.ts'
import { readSampling, readStops } from './request.ts'
import { ThoughtSplitter } from './thoughts.ts'

type Members = Record<string, unknown>

/** What a reader may leave unread before it is given up. */
const MAX_UNSENT_BYTES = 4 * 1024 * 1024
/** As many tokens as tokenizers look back. */
const TOKENS_BEFORE = 3

/**
 * One prompt after the other, the choices of each together.
 * @throws GatewayError that names the parameter at fault, before anything is sent
 */
export async function answerCompletion (model: Model, task: Task, response: ServerResponse, signal: AbortSignal): Promise<void> {
  const { wantsMarks, earlier } = task
  const request = validateCompletion({ ...task.body })
  refuseUnsupported(request)
  const prompts = promptsOf(request, model)
  // The likelihoods of what was said are not known any more; and of several prompts, the answers to some.
  const canGoOn = request.stream === true && request.logprobs === undefined && prompts.length === 1
  if (earlier !== null && (!canGoOn || earlier.choices.length !== (request.n ?? 1))) {
    throw new GatewayError('invalid_value', 'choices: this answer cannot go on from here.', { param: 'choices' })
  }
  const outlet = request.stream === true
    ? new StreamedTexts(response, request, { fingerprint: model.fingerprint, isMarked: wantsMarks && canGoOn, earlier })
    : new WholeTexts(response, request, model.fingerprint)
  const usage = { prompt: 0, completion: 0, cached: 0 }
  for (const [at, prompt] of prompts.entries()) {
    usage.prompt += prompt.tokens.length
    const { done, said } = await continued({ model, request, prompt, outlet, first: at * (request.n ?? 1) }, task, signal)
    usage.completion += done.reduce((sum, { generatedTokens }) => sum + generatedTokens, said)
    usage.cached += Math.min(prompt.tokens.length, done[0]?.cachedTokens ?? 0)
  }
  outlet.finish({
    prompt_tokens: usage.prompt,
    completion_tokens: usage.completion,
    total_tokens: usage.prompt + usage.completion,
    prompt_tokens_details: { cached_tokens: usage.cached }
  })
}

function refuseUnsupported ({ best_of: best, n = 1, echo, logprobs }: CompletionRequest): void {
  if (best !== undefined && best > n) throw unsupported('best_of', 'Local models give every answer that they make; set best_of to n or leave it out.')
  if (echo === true && logprobs !== undefined) throw unsupported('logprobs', 'Local models give no logprobs of the prompt; leave out echo or logprobs.')
}

interface RawPrompt { readonly tokens: readonly number[], /** For `echo`. */ readonly text: string }

function promptsOf ({ prompt, suffix }: CompletionRequest, model: Model): RawPrompt[] {
  const isList = Array.isArray(prompt) && typeof prompt[0] !== 'number'
  return inputsOf(prompt).map((given, index) => {
    const param = isList ? `prompt[${index}]` : 'prompt'
    const tokens = model.rawPrompt(given, { param, suffix: suffix ?? null })
    return { tokens, text: typeof given === 'string' ? given : model.textOf(given) }
  })
}

interface Continuation {
  readonly model: Model
  readonly request: CompletionRequest
  readonly prompt: RawPrompt
  readonly outlet: Texts
  /** Index of the first choice. */
  readonly first: number
}

/** @returns what was done, and tokens that were said before */
async function continued ({ model, request, prompt, outlet, first }: Continuation, { isolation, earlier }: Task, signal: AbortSignal) {
  const { logprobs, n = 1, max_tokens: maxTokens = DEFAULT_MAX_TOKENS } = request
  const spell = logprobs === undefined ? null : model.spell
  const sampling = readSampling({ ...request, logprobs: logprobs !== undefined, top_logprobs: logprobs }, model.vocabularySize)
  const outlets = Array.from({ length: n }, (_, index) => outlet.choice(first + index, request.echo === true ? prompt.text : ''))
  if (maxTokens === 0) {
    for (const one of outlets) one.finish('length')
    return { done: [], said: 0 }
  }
  const stops = readStops(request['stop'])
  const choices = outlets.map(one => new Choice({
    detokenize: model.detokenize,
    before: prompt.tokens.slice(-TOKENS_BEFORE),
    thoughts: new ThoughtSplitter(null),
    calls: null,
    isParallel: true,
    stops,
    log: spell === null ? null : new TokenLog(spell)
  }, one))
  const before = repeat(choices, earlier)
  outlet.goOn()
  const works = worksOf({ prompt: prompt.tokens, isolation, sampling, maxTokens, contextTokens: model.contextTokens, before }, choices, outlet)
  return { done: await run(model.batch, works, { isContinued: earlier !== null, signal }), said: tokensOf(before) }
}

/** Where the texts go. */
interface Texts extends Listener {
  /** @param echoed stands before the answer */
  choice (index: number, echoed: string): ChoiceOutlet
  /** What was said up to here was said before, by the stream that this one goes on with. */
  goOn (): void
  finish (usage: Members): void
}

/** One JSON body at the end. */
class WholeTexts implements Texts {
  readonly #response: ServerResponse
  readonly #head: Members
  readonly #hasLogprobs: boolean
  readonly #choices: Members[] = []

  constructor (response: ServerResponse, request: CompletionRequest, fingerprint: string) {
    this.#response = response
    this.#head = headOf(request, fingerprint)
    this.#hasLogprobs = request.logprobs !== undefined
  }

  choice (index: number, echoed: string): ChoiceOutlet {
    let said = echoed
    const log: TokenLogprob[] = []
    return new TextOutlet((text, scored, reason) => {
      said += text
      log.push(...scored)
      if (reason === null) return
      const logprobs = this.#hasLogprobs ? legacyLogprobs(log, echoed.length) : null
      this.#choices[index] = { text: said, index, logprobs, finish_reason: reason }
    })
  }

  begin (): void { /* Nothing is sent before the end. */ }
  goOn (): void { /* Nobody can go on with a body. */ }
  took (): void { /* Likewise. */ }
  over (): void { /* Likewise. */ }
  finish (usage: Members): void { sendJson(this.#response, 200, { ...this.#head, choices: this.#choices, usage }) }
}

interface StreamFacts extends Pick<Task, 'earlier'> {
  readonly fingerprint: string
  /** Says between the events which tokens they came from (marks.ts). */
  readonly isMarked: boolean
}

/** Server-sent events. */
class StreamedTexts implements Texts {
  readonly #response: ServerResponse
  readonly #head: Members
  readonly #hasLogprobs: boolean
  readonly #includeUsage: boolean
  readonly #marks: Marks | null
  /** What is said now was said before, by the stream that this one goes on with. */
  #isRepeating: boolean

  constructor (response: ServerResponse, request: CompletionRequest, { fingerprint, isMarked, earlier }: StreamFacts) {
    this.#response = response
    this.#head = { ...headOf(request, fingerprint), ...earlier !== null && { id: earlier.id, created: earlier.created } }
    this.#hasLogprobs = request.logprobs !== undefined
    this.#includeUsage = request.stream_options?.include_usage === true
    this.#marks = isMarked ? new Marks(mark => { this.#response.write(mark) }) : null
    this.#isRepeating = earlier !== null
  }

  begin (): void {
    if (this.#response.headersSent) return
    this.#response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
    this.#marks?.begin(this.#head)
  }

  goOn (): void { this.#isRepeating = false }

  took (index: number, token: number): void {
    this.#marks?.took(index, token)
    this.#marks?.settle()
  }

  over (index: number): void {
    this.#marks?.over(index)
    this.#marks?.settle()
  }

  choice (index: number, echoed: string): ChoiceOutlet {
    let pending = echoed
    let offset = 0
    return new TextOutlet((text, log, reason) => {
      const said = pending + text
      const logprobs = this.#hasLogprobs ? legacyLogprobs(log, offset + pending.length) : null
      pending = ''
      offset += said.length
      if (this.#isRepeating) return
      this.#marks?.said(index)
      this.#event({ choices: [{ text: said, index, logprobs, finish_reason: reason }], ...this.#includeUsage && { usage: null } })
    })
  }

  finish (usage: Members): void {
    if (this.#includeUsage) this.#event({ choices: [], usage })
    this.#response.end('data: [DONE]\n\n')
  }

  #event (rest: Members): void {
    this.begin()
    this.#response.write(`data: ${JSON.stringify({ ...this.#head, ...rest })}\n\n`)
    if (this.#response.writableLength > MAX_UNSENT_BYTES) throw new GatewayError('client_closed', `The reader left ${this.#response.writableLength} bytes unread.`)
  }
}

/** A choice that has nothing but text. */
class TextOutlet implements ChoiceOutlet {
  readonly #say: (text: string, logprobs: readonly TokenLogprob[], reason: string | null) => void

  constructor (say: (text: string, logprobs: readonly TokenLogprob[], reason: string | null) => void) { this.#say = say }

  content (text: string, logprobs: readonly TokenLogprob[]): void { this.#say(text, logprobs, null) }
  finish (reason: string): void { this.#say('', [], reason) }
  reasoning (): never { throw new Error('A raw prompt has no thoughts.') }
  call (): never { throw new Error('A raw prompt has no calls.') }
}

/** Four lists side by side. @param start where the text of the first token stands */
function legacyLogprobs (log: readonly TokenLogprob[], start: number): Members {
  let offset = start
  return {
    tokens: log.map(({ token }) => token),
    token_logprobs: log.map(({ logprob }) => logprob),
    top_logprobs: log.map(({ top_logprobs: top }) => Object.fromEntries(top.map(({ token, logprob }) => [token, logprob]))),
    text_offset: log.map(({ token }) => { const at = offset; offset += token.length; return at })
  }
}

function headOf ({ model }: CompletionRequest, fingerprint: string): Members {
  return { id: `cmpl-${randomBytes(12).toString('hex')}`, object: 'text_completion', created: Math.floor(Date.now() / 1000), model, system_fingerprint: fingerprint }
}

function unsupported (param: string, message: string): GatewayError {
  return new GatewayError('unsupported_value', message, { param })
}
