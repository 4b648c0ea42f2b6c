/**
 * What is passed on as it is, but for the name of the model: moderations, audio and images.
 * Sources: OpenAI API reference, "Moderations", "Audio", "Images"; `openai` package, resources; read 2026-11-22.
 */
import { all, boolean, decimal, integer, invalidValue, isObject, line, list, oneOf, shape, stringOr, text, toError, variant, within } from './check.ts'
import type { Check, Fault, Members } from './check.ts'
import { imageUrl } from './conversation.ts'
import { OPERATORS_OWN } from './parameters.ts'
import { schemaOf } from './schema.ts'
import type { Upload } from './upload.ts'

interface Row {
  /** Behind `/v1`. */
  readonly path: string
  /** For messages: what the answer is called. */
  readonly answer: string
  /** A form must have a file of this name; null where the body is JSON. */
  readonly file: string | null
  /** Is this a whole answer, where it is JSON? */
  readonly isAnswer: (value: unknown) => boolean
  /** Media types, in lower case, of answers that are none. */
  readonly media: RegExp
}

const EVENTS = /^text\/event-stream(;|$)/
const SOUND = /^(audio\/[a-z0-9.+-]+|application\/octet-stream|text\/event-stream)(\s*;|$)/
const TRANSCRIPT = /^(text\/(plain|vtt|srt|event-stream)|application\/(x-)?subrip)(\s*;|$)/
const NOTHING = /^(?!)/

const isTranscript = (value: unknown) => isObject(value) && typeof value['text'] === 'string'
const isImages = (value: unknown) => isObject(value) && Array.isArray(value['data'])

export const FORWARDED = {
  moderations: { path: '/moderations', answer: 'moderation', file: null, isAnswer: value => isObject(value) && Array.isArray(value['results']), media: NOTHING },
  speech: { path: '/audio/speech', answer: 'sound', file: null, isAnswer: () => false, media: SOUND },
  transcriptions: { path: '/audio/transcriptions', answer: 'transcript', file: 'file', isAnswer: isTranscript, media: TRANSCRIPT },
  translations: { path: '/audio/translations', answer: 'transcript', file: 'file', isAnswer: isTranscript, media: TRANSCRIPT },
  image_generations: { path: '/images/generations', answer: 'list of images', file: null, isAnswer: isImages, media: EVENTS },
  image_edits: { path: '/images/edits', answer: 'list of images', file: 'image', isAnswer: isImages, media: EVENTS },
  image_variations: { path: '/images/variations', answer: 'list of images', file: 'image', isAnswer: isImages, media: EVENTS }
} as const satisfies Record<string, Row>

export type Forwarded = keyof typeof FORWARDED

/** One of the two is there: members of JSON, or a form. */
export interface ForwardRequest {
  readonly what: Forwarded
  readonly model: string
  readonly stream?: boolean
  readonly body?: Members
  readonly upload?: Upload
}

const anyText = text({ least: 1 })
const model = line({ least: 1, most: 256 })

/** Whoever is told of an address fetches it. Prompts may speak of addresses, so only what has no name here is looked at. */
const ADDRESS = /^\s*([a-z][a-z0-9+.-]*:)?\/\//i
const fetched = (): Fault => invalidValue('send the content itself; the gateway does not let a backend fetch addresses.')

const unfetched: Check = value => {
  if (typeof value === 'string') return ADDRESS.test(value) ? fetched() : null
  if (!Array.isArray(value) && !isObject(value)) return null
  for (const [name, inner] of Object.entries(value)) {
    const fault = unfetched(inner)
    if (fault !== null) return within(Array.isArray(value) ? Number(name) : name, fault)
  }
  return null
}

/** `unfetched` of every member that is not described. */
function described (members: Record<string, Check>, ...required: string[]): Check {
  const known = shape({ ...members, ...OPERATORS_OWN }, ...required)
  return all(known, value => {
    for (const [name, member] of Object.entries(value as Members)) {
      const fault = Object.hasOwn(members, name) ? null : unfetched(member)
      if (fault !== null) return within(name, fault)
    }
    return null
  })
}

const user = line({ most: 512 })
const moderated = variant('type', { text: shape({ text: anyText }, 'text'), image_url: shape({ image_url: shape({ url: imageUrl }, 'url') }, 'image_url') })
const moderatedList: Check = value => {
  const isTexts = Array.isArray(value) && typeof value[0] === 'string'
  return list(isTexts ? text() : moderated, { of: isTexts ? 'strings' : 'objects', most: 2048 })(value)
}

const REQUESTS = {
  moderations: described({ model, input: stringOr(moderatedList, 'strings or objects') }, 'model', 'input'),
  speech: described({
    model,
    input: anyText,
    instructions: text(),
    response_format: line({ least: 1, most: 64 }),
    speed: decimal(0.25, 4),
    stream_format: oneOf('sse', 'audio')
  }, 'model', 'input'),
  image_generations: described({
    model,
    prompt: anyText,
    negative_prompt: text(),
    n: integer(1, 10),
    partial_images: integer(0, 3),
    response_format: oneOf('url', 'b64_json'),
    size: line({ least: 1, most: 64 }),
    stream: boolean,
    user
  }, 'model', 'prompt')
} as const

/** What is asked with JSON. */
export type Told = keyof typeof REQUESTS
export const forwardSchema = (what: Told) => schemaOf(REQUESTS[what])!

/** OpenAI's own default: its clients leave the model out. */
const DEFAULT_MODERATION = 'omni-moderation-latest'

/** @throws GatewayError that names the parameter at fault */
export function validateForward (what: Told, body: Members): ForwardRequest {
  if (what === 'moderations') body['model'] ??= DEFAULT_MODERATION
  const fault = REQUESTS[what](body)
  if (fault !== null) throw toError(fault)
  return { what, model: body['model'] as string, stream: body['stream'] === true || body['stream_format'] === 'sse', body }
}

/** Fields of forms in which somebody says something. */
const SAID = new Set(['prompt', 'language', 'instructions', 'negative_prompt', 'user'])

/** A field of a form. @throws GatewayError that names it */
export function validateField (name: string, value: string): void {
  const plain = name.replace(/\[.*$/s, '')
  const own = Object.hasOwn(OPERATORS_OWN, plain) ? OPERATORS_OWN[plain]!(value) : null
  const fault = own ?? (name === 'model' ? model(value) : SAID.has(name) ? null : unfetched(value))
  if (fault !== null) throw toError(within(name, fault))
}
