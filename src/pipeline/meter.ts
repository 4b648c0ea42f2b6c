import type { Answer, BodyAnswer, StreamAnswer } from '../wire/answer.ts'
import { UsageTap } from '../wire/media-usage.ts'
import { countDeltas, takeUsage } from '../wire/observe.ts'
import type { Call } from './call.ts'
import type { Kind, Outlet } from './serve.ts'

export interface MeterOptions {
  readonly kind: Pick<Kind<never>, 'usageOf' | 'audioSecondsOf' | 'roughOutput'>
  /** The caller asked for the event that tells the usage. */
  readonly usageChunk: boolean
}

/**
 * Sends the answer on and watches it pass: when the first content leaves, and what the call used. Bytes are the
 * backend's own; only the usage event is taken out, where the caller did not ask for one.
 */
export async function metered (answer: Answer, call: Call, options: MeterOptions, outlet: Outlet): Promise<void> {
  if (answer.kind === 'body') whole(answer, call, options.kind, outlet)
  else if (answer.type === undefined) await streamed(answer, call, options, outlet)
  else await passed(answer.frames, answer.type, call, options.kind, outlet)
}

function whole ({ bytes, value }: BodyAnswer, call: Call, kind: MeterOptions['kind'], outlet: Outlet): void {
  call.record.firstTokenMs = call.elapsedMs
  account(value, call, kind)
  if (call.record.usage === null) call.estimate(kind.roughOutput(value))
  outlet.body(bytes, value)
}

async function streamed ({ frames }: StreamAnswer, call: Call, { usageChunk }: MeterOptions, outlet: Outlet): Promise<void> {
  const { counted, record } = call
  for await (const frame of frames) {
    if (record.firstTokenMs === null) {
      // Inside the loop, so that the backend is let go even when the head cannot be written.
      record.firstTokenMs = call.elapsedMs
      outlet.begin()
    }
    const taken = takeUsage(frame)
    if (taken !== null) record.usage = taken.usage ?? record.usage
    if (record.usage === null) counted.output += countDeltas(frame)
    if (taken === null || usageChunk) await outlet.frame(frame)
    else for (const piece of taken.rest) await outlet.frame(piece)
  }
  outlet.end()
}

/** What is no chat passes as it is. Only events say what they used; where nobody does, the estimate stands. */
async function passed (frames: AsyncIterable<Buffer>, type: string, call: Call, kind: MeterOptions['kind'], outlet: Outlet): Promise<void> {
  const { record } = call
  const tap = type.startsWith('text/event-stream') ? new UsageTap() : null
  record.stream ||= tap !== null
  for await (const bytes of frames) {
    if (record.firstTokenMs === null) {
      record.firstTokenMs = call.elapsedMs
      outlet.begin(type)
    }
    tap?.push(bytes)
    if (tap !== null && tap.found !== null) account(tap.found, call, kind)
    await outlet.frame(bytes)
  }
  if (record.usage === null) call.estimate(0)
  outlet.end()
}

function account (value: unknown, { record }: Call, kind: MeterOptions['kind']): void {
  record.usage = kind.usageOf(value)
  const seconds = kind.audioSecondsOf?.(value) ?? null
  if (seconds !== null) record.audioSeconds = seconds
}

const CHARACTERS_PER_TOKEN = 4

/** The same of text completions. */
export function roughTexts (completion: unknown): number {
  const { choices } = completion as { choices: { text: string }[] }
  return Math.max(1, Math.ceil(choices.reduce((sum, { text }) => sum + text.length, 0) / CHARACTERS_PER_TOKEN))
}

/** For a backend that does not count: the length of all it says. At least one token, since it answered. */
export function roughTokens (completion: unknown): number {
  const { choices } = completion as { choices: { message: object }[] }
  const said = choices.reduce((sum, { message }) => sum + JSON.stringify(Object.values(message)).length, 0)
  return Math.max(1, Math.ceil(said / CHARACTERS_PER_TOKEN))
}
