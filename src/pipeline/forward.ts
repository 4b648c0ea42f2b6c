/** Calls of audio, images and moderations, which a backend that serves them answers. */
import { GatewayError } from '../errors.ts'
import { estimateInput, MEDIA_TOKENS } from '../limits/estimate.ts'
import { FORWARDED, validateForward, type ForwardRequest, type Forwarded, type Told } from '../wire/forward.ts'
import { audioSecondsOf, usageOfMedia } from '../wire/media-usage.ts'
import type { Upload } from '../wire/upload.ts'
import type { Call } from './call.ts'
import { notServed } from './dispatch.ts'
import { serve, type Inbound, type Kind, type Outlet, type Services } from './serve.ts'
import type { Need } from './targets.ts'

type Life = (services: Services, call: Call, inbound: Inbound, outlet: Outlet) => Promise<void>
type Forwarding = Omit<Kind<ForwardRequest>, 'validate' | 'estimate'>

function forwarding (what: Forwarded): Forwarding {
  const need: Need = {
    isMet: ({ forward }) => forward !== undefined,
    unmet: model => new GatewayError('not_served', `No target of the model \`${model}\` serves POST /v1${FORWARDED[what].path}.`, { param: 'model' })
  }
  return {
    needs: () => need,
    ask: async (backend, request, options) => await (backend.forward?.(request, options) ?? notServed(backend, FORWARDED[what].path)),
    usageOf: usageOfMedia,
    audioSecondsOf,
    roughOutput: () => 0
  }
}

/** What is asked with JSON. @throws GatewayError as `serve` */
export function serveTold (what: Told, body: Record<string, unknown>): Life {
  const kind: Kind<ForwardRequest> = {
    ...forwarding(what),
    validate: () => validateForward(what, body),
    estimate: () => ({ input: estimateInput(body), output: what === 'image_generations' ? MEDIA_TOKENS * Number(body['n'] ?? 1) : 0 })
  }
  return (services, call, inbound, outlet) => serve(kind, services, call, inbound, outlet)
}

/** What is asked with a form, which may still be on its way. @throws GatewayError as `serve` */
export function serveForm (what: Forwarded, model: string, upload: Upload): Life {
  const kind: Kind<ForwardRequest> = {
    ...forwarding(what),
    validate: () => ({ what, model, upload }),
    estimate: () => ({ input: MEDIA_TOKENS + estimateInput(upload.text), output: what.startsWith('image') ? MEDIA_TOKENS : 0 }),
    canRepeat: () => !upload.isSpent
  }
  return (services, call, inbound, outlet) => serve(kind, services, call, inbound, outlet)
}
