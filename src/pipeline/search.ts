import { GatewayError } from '../errors.ts'
import type { ChatRequest } from '../wire/chat.ts'
import type { Need } from './targets.ts'

/** Whoever searches the web for a call tells the web what it asks: only a call that may go to the cloud may do that, and only there. */
export function search ({ web_search_options: asked }: ChatRequest): Need | null {
  if (asked === undefined || asked === null) return null
  return {
    isMet: ({ locality }) => locality === 'cloud',
    unmet: model => new GatewayError('unsupported_value', `Unsupported value: 'web_search_options' sends what is asked to the web, and no target of the model \`${model}\` that this call may go to is in the cloud.`, { param: 'web_search_options' })
  }
}

/** A target has to meet each; what the caller is told is of the first. */
export function both (one: Need | null, other: Need | null): Need | null {
  if (one === null || other === null) return one ?? other
  return { isMet: (backend, target) => one.isMet(backend, target) && other.isMet(backend, target), unmet: model => one.unmet(model) }
}
