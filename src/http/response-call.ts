/** One call for a response: what is asked of whom, and in whose words the answer comes back. */
import { toGatewayError, type GatewayError } from '../errors.ts'
import type { Call } from '../pipeline/call.ts'
import { serveChat, type Services } from '../pipeline/chat.ts'
import { examineItems } from '../pipeline/images.ts'
import { serveNative } from '../pipeline/responses.ts'
import type { Principal } from '../tenants/tenants.ts'
import { ResponseAnswer } from '../wire/responses/answer.ts'
import { blamed } from '../wire/responses/blame.ts'
import { replayed } from '../wire/responses/native.ts'
import { readNative, readRequest, type ResponseRequest } from '../wire/responses/request.ts'
import { validateChat } from '../wire/validate.ts'
import { TranslatingOutlet, type AnswerSink, type CallerOutlet } from './dialect.ts'
import { isStored } from './kept.ts'
import { NativeOutlet } from './native.ts'
import type { Remembered, Turn, Turns } from './turns.ts'

type Members = Record<string, unknown>

export interface ResponseCall {
  readonly turn: Turn
  readonly stored: boolean
  readonly warnings: readonly string[]
  readonly life: typeof serveChat
  /** For `life`; of no meaning where the call may be answered natively. */
  readonly chat: Members
  /** @param onEnd told of the response when it has come to its end; also of one that is not stored */
  outlet (inner: AnswerSink, call: Call, onEnd: (response: Members) => void): CallerOutlet
}

export interface Asker {
  readonly principal: Principal
  /** `x-torchgate-class` as it came. */
  readonly claimed: string | undefined
  readonly remembered?: Remembered | null
  /** The caller may go on from the response though it is not stored. */
  readonly isRemembering?: boolean
}

/** @throws GatewayError that names the parameter */
export async function readCall ({ services, turns }: { services: Services, turns: Turns }, body: Members, asker: Asker): Promise<ResponseCall> {
  const { principal: { tenant }, claimed, remembered = null, isRemembering = false } = asker
  const mayBeNative = speaksResponses(services, body['model'])
  const { asked, fault } = mayBeNative ? read(body) : { asked: readRequest(body), fault: null }
  const stored = isStored(asked, tenant)
  const turn = await turns.read(tenant.name, asked, claimed, { remembered, passesSealed: mayBeNative })
  const warnings = [...asked.warnings]
  const translated = (inner: AnswerSink, onEnd: (response: Members) => void) =>
    new TranslatingOutlet(inner, new ResponseAnswer({ id: turn.id, request: asked, stored, onEnd }))
  if (!mayBeNative) {
    const { chat, warnings: more } = turns.chat(tenant.name, turn)
    warnings.push(...more)
    return { turn, stored, warnings, life: inWordsOf(asked, chat, serveChat), chat, outlet: (inner, _call, onEnd) => translated(inner, onEnd) }
  }

  const said = fault === null ? attempt(() => turns.chat(tenant.name, turn)) : { value: null, fault }
  const chat = said.value === null ? said : attempt(() => validateChat(said.value.chat))
  if (chat.value === null) examineItems(turn, services.images)
  const ofChat = [...warnings, ...said.value?.warnings ?? []]
  let answersNatively = false
  const life = inWordsOf(asked, chat.value ?? {}, serveNative({
    model: asked.model,
    stream: asked.stream,
    native: nativeBody(turns, tenant.name, turn, stored),
    chat: chat.value,
    fault: chat.fault,
    onAttempt (isNow, left) {
      answersNatively = isNow
      warnings.splice(0, Infinity, ...isNow ? left : ofChat)
    }
  }))
  // Where nothing of it is the gateway's own, not a byte of the answer is changed.
  const isOwn = stored || isRemembering || asked.previousId !== null
  const rewrite = isOwn ? (response: Members): Members => ({ ...response, id: turn.id, store: stored, previous_response_id: asked.previousId }) : null
  return {
    turn,
    stored,
    warnings,
    life,
    chat: { stream: asked.stream },
    outlet: (inner, call, onEnd) => new EitherOutlet(() => answersNatively, new NativeOutlet(inner, { call, rewrite, onEnd }), () => translated(inner, onEnd))
  }
}

/** What is wrong with an image is told of the input, not of the chat that it became. */
function inWordsOf ({ items }: ResponseRequest, chat: object, life: typeof serveChat): typeof serveChat {
  return (...call) => life(...call).catch((error: unknown) => { throw blamed(error, chat as Members, items) })
}

/** Whether a target of the model speaks the dialect itself. */
function speaksResponses ({ routes, backends }: Services, model: unknown): boolean {
  const route = typeof model === 'string' ? routes.find(model) : null
  return route !== null && route.targets.some(({ backend }) => backends.get(backend)?.respond !== undefined)
}

/** What only a backend that speaks the dialect can do is a fault for all others. */
function read (body: Members): { asked: ResponseRequest, fault: GatewayError | null } {
  const native = readNative(body)
  const asked = attempt(() => readRequest(body))
  return asked.value === null ? { asked: native, fault: asked.fault } : { asked: asked.value, fault: null }
}

type Attempted<T> = { readonly value: T, readonly fault: null } | { readonly value: null, readonly fault: GatewayError }

function attempt<T> (work: () => T): Attempted<T> {
  try {
    return { value: work(), fault: null }
  } catch (thrown) {
    const fault = toGatewayError(thrown)
    if (fault.code === 'internal_error') throw fault
    return { value: null, fault }
  }
}

/** State is the gateway's: the backend keeps nothing, and is told all that the response goes on from. */
function nativeBody (turns: Turns, tenant: string, { asked, items, earlier }: Turn, stored: boolean): Members {
  const { previous_response_id: _, store: __, input, include, ...body } = asked.body
  const refers = earlier.length > 0 || asked.items.some(({ type }) => type === 'item_reference' || type === 'compaction')
  const all = refers ? replayed(turns.opened(tenant, [...earlier, ...items], { passesSealed: true })) : input
  // Thoughts come sealed, or could not be given back.
  const included = stored ? [...new Set([...(include ?? []) as string[], 'reasoning.encrypted_content'])] : include
  return { ...body, input: all, ...included !== undefined && { include: included }, store: false }
}

/** Which it is stands fixed when the answer begins. */
class EitherOutlet implements CallerOutlet {
  readonly #isNative: () => boolean
  readonly #native: NativeOutlet
  readonly #makeTranslated: () => CallerOutlet
  #translated: CallerOutlet | null = null

  constructor (isNative: () => boolean, native: NativeOutlet, makeTranslated: () => CallerOutlet) {
    this.#isNative = isNative
    this.#native = native
    this.#makeTranslated = makeTranslated
  }

  get #outlet (): CallerOutlet { return this.#isNative() ? this.#native : this.#translated ??= this.#makeTranslated() }

  body (bytes: Buffer, value: unknown): void { this.#outlet.body(bytes, value) }
  begin (type?: string): void { this.#outlet.begin(type) }
  frame (bytes: Buffer): Promise<void> | undefined { return this.#outlet.frame(bytes) }
  beat (): void { this.#outlet.beat() }
  end (): void { this.#outlet.end() }
  fail (error: GatewayError): void { this.#outlet.fail(error) }
}
