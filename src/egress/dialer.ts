import { lookup as resolve, type LookupAddress, type LookupOptions } from 'node:dns'
import { isIP, type BlockList } from 'node:net'
import { buildConnector, errors, Pool, type Dispatcher } from 'undici'
import { LOCALITIES, type Locality } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import { isPublic, localityOfAddress, networks } from './address.ts'
import type { Egress } from './egress.ts'

export interface Destination {
  /** `https://api.example.com` or `http://10.0.0.7:8000` */
  readonly origin: string
  /** Farthest place this destination may turn out to be, as the operator declared it. */
  readonly locality: Locality
  /** Addresses of this host and of the operator's networks are refused, too: a name may lead anywhere. */
  readonly isPublic?: boolean
  /** Open connections at most. */
  readonly connections: number
  /** Name, connection and TLS together. */
  readonly connectMs: number
}

export interface EgressConfig {
  readonly destinations: readonly Destination[]
  /** Public networks (CIDR) that belong to the operator's domain. */
  readonly domainNetworks: readonly string[]
  /** Cuts every connection when it aborts. */
  readonly signal?: AbortSignal
}

/**
 * @throws GatewayError `egress_forbidden` when a destination is an address farther than it is declared
 * @throws Error when two destinations of one origin differ in locality, or a network is none
 */
export function createEgress (config: EgressConfig): Egress {
  return new Dialer(config)
}

class Dialer implements Egress {
  readonly #routes = new Map<string, { readonly locality: Locality, readonly pool: Pool }>()
  readonly #signal: AbortSignal | undefined
  readonly #onAbort = (): void => { void this.#destroy() }

  constructor ({ destinations, domainNetworks, signal }: EgressConfig) {
    const domain = networks(domainNetworks)
    for (const destination of merged(destinations)) {
      const guard = new Guard(destination, domain)
      const fault = guard.faultOf(new URL(destination.origin).hostname.replace(/^\[|\]$/g, ''))
      if (fault !== null) throw new GatewayError('egress_forbidden', `${fault} Nothing was sent.`)
      this.#routes.set(destination.origin, { locality: destination.locality, pool: poolOf(destination, guard) })
    }
    this.#signal = signal
    if (signal?.aborted === true) this.#onAbort()
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  dial (origin: string, boundary: Locality): Dispatcher {
    const route = this.#routes.get(origin)
    if (route === undefined) throw forbidden(`${origin} is not a configured destination.`)
    if (!isWithin(boundary, route.locality)) {
      throw forbidden(`${origin} is ${route.locality}, and the call may go no farther than ${boundary}.`)
    }
    return route.pool
  }

  async close (): Promise<void> {
    await Promise.all(this.#pools.map(pool => pool.close()))
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }

  get #pools (): Pool[] { return [...this.#routes.values()].map(({ pool }) => pool) }

  async #destroy (): Promise<void> {
    await Promise.all(this.#pools.map(pool => pool.destroy()))
  }
}

/** Two backends may share an origin, with different keys; they share its connections then. */
function merged (destinations: readonly Destination[]): Destination[] {
  const byOrigin = new Map<string, Destination>()
  for (const destination of destinations) {
    const origin = new URL(destination.origin).origin
    const known = byOrigin.get(origin)
    if (known !== undefined && known.locality !== destination.locality) {
      throw new Error(`${origin} is declared ${known.locality} and ${destination.locality}: one place has one locality.`)
    }
    byOrigin.set(origin, {
      origin,
      locality: destination.locality,
      ...(destination.isPublic === true || known?.isPublic === true) && { isPublic: true },
      connections: destination.connections + (known?.connections ?? 0),
      connectMs: Math.max(destination.connectMs, known?.connectMs ?? 0)
    })
  }
  return [...byOrigin.values()]
}

function poolOf ({ origin, connections, connectMs }: Destination, guard: Guard): Pool {
  const open = buildConnector({ allowH2: false, timeout: connectMs, lookup: guard.lookup })
  const connect: buildConnector.connector = (options, callback) => {
    const fault = guard.faultOf(options.hostname)
    if (fault !== null) { callback(forbidden(fault), null); return }
    open(options, within(connectMs, options.hostname, callback))
  }
  return new Pool(origin, { connect, connections, allowH2: false, pipelining: 1 })
}

/** undici's own connect timeout is up to a second late. It stays on, to destroy the socket that nobody waits for any more. */
function within (connectMs: number, host: string, callback: buildConnector.Callback): buildConnector.Callback {
  let isOver = false
  const timer = setTimeout(() => {
    isOver = true
    callback(new errors.ConnectTimeoutError(`${host} did not connect within ${connectMs} ms`), null)
  }, connectMs)
  return (...[error, socket]: Parameters<buildConnector.Callback>) => {
    clearTimeout(timer)
    if (isOver) { socket?.destroy(); return }
    isOver = true
    if (error === null) callback(null, socket)
    else callback(error, null)
  }
}

type LookupCallback = (error: Error | null, address: string | LookupAddress[], family?: number) => void

/** Lets one destination connect only to addresses no farther than it is declared. What was checked is what is connected to. */
class Guard {
  readonly #destination: Destination
  readonly #domain: BlockList

  constructor (destination: Destination, domain: BlockList) {
    this.#destination = destination
    this.#domain = domain
  }

  /** What is wrong with a host that is an address, and one that is too far; null where nothing is. */
  faultOf (host: string): string | null {
    return isIP(host) !== 0 && !this.#permits(host) ? this.#fault([host]) : null
  }

  readonly lookup = (host: string, options: LookupOptions, callback: LookupCallback): void => {
    resolve(host, { ...options, all: true }, (error, found) => {
      if (error !== null) { callback(error, ''); return }
      const permitted = found.filter(({ address }) => this.#permits(address))
      const [first] = permitted
      if (first === undefined) callback(forbidden(this.#fault(found.map(({ address }) => address))), '')
      else if (options.all === true) callback(null, permitted)
      else callback(null, first.address, first.family)
    })
  }

  #permits (address: string): boolean {
    if (this.#destination.isPublic === true) return isPublic(address, this.#domain)
    const locality = localityOfAddress(address, this.#domain)
    return locality !== null && isWithin(this.#destination.locality, locality)
  }

  #fault (addresses: readonly string[]): string {
    const { origin, locality } = this.#destination
    const places = [...new Set(addresses.map(address => localityOfAddress(address, this.#domain) ?? 'forbidden'))].join(', ')
    return `${origin} is declared ${locality}, but its address is ${places}.`
  }
}

/** The caller learns that nothing was sent; which address was meant is the operator's to know, and stands in the cause. */
function forbidden (detail: string): GatewayError {
  return new GatewayError('egress_forbidden', 'The destination lies outside the boundary of this call; nothing was sent.', { cause: new Error(detail) })
}

function isWithin (boundary: Locality, place: Locality): boolean {
  return LOCALITIES.indexOf(place) <= LOCALITIES.indexOf(boundary)
}
