import type { Answer } from '../wire/answer.ts'
import { countDeltas, usageOf, usageOfBody, withoutUsageChunk } from '../wire/observe.ts'
import type { Call } from './call.ts'
import type { Outlet } from './chat.ts'

/**
 * Sends the answer on and watches it pass: when the first content leaves, and what the call used. Bytes are the
 * backend's own; only the usage event is taken out, where the caller did not ask for one.
 */
export async function metered (answer: Answer, call: Call, options: { estimatedInput: number, usageChunk: boolean }, outlet: Outlet): Promise<void> {
  call.counted.input = options.estimatedInput
  if (answer.kind === 'body') {
    call.record.firstTokenMs = call.elapsedMs
    call.record.usage = usageOfBody(answer.bytes)
    outlet.body(answer.bytes)
    return
  }
  const { counted, record } = call
  for await (const frame of answer.frames) {
    record.firstTokenMs ??= call.elapsedMs
    counted.output += countDeltas(frame)
    record.usage = usageOf(frame) ?? record.usage
    const sent = options.usageChunk ? frame : withoutUsageChunk(frame)
    if (sent.length === 0) continue
    const slow = outlet.frame(sent)
    if (slow !== undefined) await slow
  }
}
