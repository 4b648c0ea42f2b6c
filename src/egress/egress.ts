import type { Dispatcher } from 'undici'
import type { Locality } from '../config/schema.ts'

/** The only way out of this host. Backends get their sockets here and nowhere else. */
export interface Egress {
  /**
   * The connection pool of a destination, after the second boundary check. The first check (policy/decide.ts) believed
   * the plan's candidate; this one believes the destination table, by origin, and, at connect, the address itself.
   * @throws GatewayError `egress_forbidden` when the origin is not a known destination or lies outside `boundary`
   */
  dial (origin: string, boundary: Locality): Dispatcher
  close (): Promise<void>
}
