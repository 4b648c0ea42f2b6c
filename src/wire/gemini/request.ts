/**
 * A chat completion asked in the words of Gemini's generateContent. Pure. What has no counterpart there is refused by name.
 * Source: Gemini API reference, "models.generateContent" and "GenerationConfig", read 2026-11-22.
 */
import type { ChatRequest } from '../chat.ts'
import type { Members } from '../check.ts'
import { takesBudget, toThinking, type ThinkingStyle } from './thinking.ts'
import { toTools } from './tools.ts'
import { toConversation } from './turns.ts'
import { refuseUntranslatable, unsupported } from '../untranslatable.ts'
import { GENERATE } from './unsupported.ts'

/** @throws GatewayError `unsupported_value` naming what cannot be translated */
export function toGenerate (request: ChatRequest, style: ThinkingStyle): Members {
  const asked = request as Members
  refuseUntranslatable(asked, GENERATE)
  const { system, contents } = toConversation(request.messages, !takesBudget(request.model))
  const config = present({
    temperature: asked['temperature'],
    topP: asked['top_p'],
    topK: topK(asked['top_k']),
    maxOutputTokens: asked['max_completion_tokens'] ?? asked['max_tokens'],
    candidateCount: asked['n'] === 1 ? undefined : asked['n'],
    stopSequences: stops(request.stop),
    seed: asked['seed'],
    presencePenalty: asked['presence_penalty'],
    frequencyPenalty: asked['frequency_penalty'],
    thinkingConfig: toThinking(request.reasoning_effort, style, request.model),
    ...toLogprobs(asked),
    ...toFormat(asked['response_format'] as Members | undefined)
  })
  return {
    ...system.length > 0 && { systemInstruction: { parts: system } },
    contents,
    ...toTools(asked),
    ...Object.keys(config).length > 0 && { generationConfig: config }
  }
}

function present (members: Members): Members {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined && value !== null))
}

function topK (value: unknown): unknown {
  if (value !== undefined && value !== null && !(Number.isSafeInteger(value) && (value as number) > 0)) throw unsupported('top_k', 'expected a whole number above 0.')
  return value
}

const MOST_STOPS = 5

function stops (stop: ChatRequest['stop']): readonly string[] | undefined {
  if (stop === undefined || stop === null) return undefined
  const all = typeof stop === 'string' ? [stop] : stop
  if (all.length > MOST_STOPS) throw unsupported('stop', `Gemini takes ${MOST_STOPS} at most.`)
  return all
}

function toLogprobs ({ logprobs, top_logprobs: top }: Members): Members {
  if (logprobs !== true) return {}
  return { responseLogprobs: true, ...typeof top === 'number' && top > 0 && { logprobs: top } }
}

function toFormat (format: Members | undefined): Members {
  if (format === undefined || format === null || format['type'] === 'text') return {}
  if (format['type'] === 'json_object') return { responseMimeType: 'application/json' }
  if (format['type'] !== 'json_schema') throw unsupported('response_format.type', 'Gemini takes text, json_object and json_schema.')
  const { schema } = format['json_schema'] as Members
  return { responseMimeType: 'application/json', ...schema !== undefined && { responseJsonSchema: schema } }
}
