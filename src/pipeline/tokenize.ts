import { validateDetokenize, validateTokenize, type DetokenizeRequest, type TokenizeRequest } from '../wire/tokenize.ts'
import type { Call } from './call.ts'
import { notServed } from './dispatch.ts'
import { serve, type Inbound, type Kind, type Outlet, type Services } from './serve.ts'

const NOTHING = { input: 0, output: 0 }

/** No model computes anything: it counts as a request, not as tokens. */
const FREE = {
  estimate: () => NOTHING,
  usageOf: () => ({ ...NOTHING, cachedInput: 0, reasoning: 0 }),
  roughOutput: () => 0
}

const TOKENIZE: Kind<TokenizeRequest> = {
  ...FREE,
  validate: validateTokenize,
  ask: async (backend, request, options) => await (backend.tokenize?.(request, options) ?? notServed(backend, 'tokens of texts'))
}

const DETOKENIZE: Kind<DetokenizeRequest> = {
  ...FREE,
  validate: validateDetokenize,
  ask: async (backend, request, options) => await (backend.detokenize?.(request, options) ?? notServed(backend, 'texts of tokens'))
}

/** A text as the tokens of a local model. @throws GatewayError as `serve` */
export function serveTokenize (services: Services, call: Call, inbound: Inbound, outlet: Outlet): Promise<void> {
  return serve(TOKENIZE, services, call, inbound, outlet)
}

/** And back. @throws GatewayError as `serve` */
export function serveDetokenize (services: Services, call: Call, inbound: Inbound, outlet: Outlet): Promise<void> {
  return serve(DETOKENIZE, services, call, inbound, outlet)
}
