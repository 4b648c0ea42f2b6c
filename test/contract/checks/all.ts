import type { Check } from '../check.ts'
import { CHAT } from './chat.ts'
import { ERRORS } from './errors.ts'
import { MESSAGES } from './messages.ts'
import { OTHERS } from './others.ts'
import { RESPONSES } from './responses.ts'
import { STREAMS } from './streams.ts'
import { TOOLING } from './tools.ts'

/** The lines of the contract that can be seen from outside. */
export const CHECKS: readonly Check[] = [...CHAT, ...STREAMS, ...TOOLING, ...ERRORS, ...OTHERS, ...RESPONSES, ...MESSAGES]
