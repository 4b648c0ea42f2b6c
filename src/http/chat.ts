import { OPENAI_ERRORS } from '../listener/errors.ts'
import type { Dialect } from './dialect.ts'

/** POST /v1/chat/completions: what travels inside is what callers say, so nothing is translated. */
export const chat: Dialect = {
  path: '/v1/chat/completions',
  endpoint: 'chat_completions',
  errors: OPENAI_ERRORS,
  toChat: body => body,
  outlet: inner => inner
}
