/** A request for a response, together with all that it refers to: earlier responses, single items, compacted conversations. */
import { GatewayError } from '../errors.ts'
import { classOf } from '../policy/classify.ts'
import { isSealed, type Seal } from '../tenants/seal.ts'
import { asMessage } from '../wire/responses/compaction.ts'
import { newId } from '../wire/responses/ids.ts'
import { identified } from '../wire/responses/listing.ts'
import { toChat, type ResponseRequest } from '../wire/responses/request.ts'
import type { Earlier, KeptResponses } from './kept.ts'

type Members = Record<string, unknown>

/** A response that is not in the store, and all it goes on from: what a connection remembers. */
export interface Remembered extends Earlier { readonly id: string }

export interface Turn {
  readonly asked: ResponseRequest
  /** Of the response to come. */
  readonly id: string
  /** The caller's own, references replaced by what they refer to, each with an id. */
  readonly items: readonly Members[]
  /** What was said before, oldest first. */
  readonly earlier: readonly Members[]
  /** What the caller claims, or the class of what it goes on from, where that is higher. */
  readonly claimedClass: string | undefined
}

export interface Reading { readonly remembered?: Remembered | null, readonly passesSealed?: boolean }

/** What has been compacted: the text and how secret it is. */
interface Compacted { readonly summary: string, readonly class: string }

export class Turns {
  readonly #kept: KeptResponses
  readonly #seal: Seal

  constructor (kept: KeptResponses, seal: Seal) {
    this.#kept = kept
    this.#seal = seal
  }

  /**
   * @param claimed `x-torchgate-class` as it came
   * @param more.remembered a response that may be gone on from though it is not kept
   * @param more.passesSealed for a backend that may read what it sealed itself
   * @throws GatewayError that names the parameter
   */
  async read (tenant: string, asked: ResponseRequest, claimed: string | undefined, more: Reading = {}): Promise<Turn> {
    const { remembered = null, passesSealed = false } = more
    const earlier = asked.previousId === null ? null : asked.previousId === remembered?.id ? remembered : await this.#kept.earlier(tenant, asked.previousId)
    const found = await this.#resolved(tenant, asked.items, [earlier, remembered].filter(each => each !== null))
    const compacted = this.#classesOf(tenant, [...earlier?.items ?? [], ...found.items], passesSealed)
    const classes = [...found.classes, ...earlier === null ? [] : [earlier.dataClass], ...compacted]
    const id = newId('resp')
    return { asked, id, items: identified(found.items, id), earlier: earlier?.items ?? [], claimedClass: classes.reduce(higher, claimed) }
  }

  /** @throws GatewayError */
  chat (tenant: string, { asked, items, earlier }: Turn): { chat: Members, warnings: readonly string[] } {
    return toChat({ ...asked, items: this.opened(tenant, items) }, this.opened(tenant, earlier))
  }

  /**
   * With what was compacted in words that any model reads.
   * @throws GatewayError for what was not compacted here for this tenant
   */
  opened (tenant: string, items: readonly Members[], { passesSealed = false }: Reading = {}): readonly Members[] {
    return items.map((item, index) => isCompaction(item, passesSealed) ? asMessage(this.#open(tenant, item, index).summary) : item)
  }

  sealed (tenant: string, summary: string, dataClass: string): string {
    return this.#seal.close(tenant, JSON.stringify({ summary, class: dataClass } satisfies Compacted))
  }

  #classesOf (tenant: string, items: readonly Members[], passesSealed: boolean): string[] {
    return items.flatMap((item, index) => isCompaction(item, passesSealed) ? [this.#open(tenant, item, index).class] : [])
  }

  #open (tenant: string, item: Members, index: number): Compacted {
    const text = this.#seal.open(tenant, item['encrypted_content'] as string)
    if (text !== null) return JSON.parse(text) as Compacted
    const param = `input[${index}].encrypted_content`
    throw new GatewayError('invalid_value', `Invalid value for '${param}': it was not compacted by this gateway for this tenant.`, { param })
  }

  /** References are looked up in what is at hand first, then among the responses that are kept. */
  async #resolved (tenant: string, items: readonly Members[], atHand: readonly Earlier[]): Promise<{ items: Members[], classes: string[] }> {
    if (!items.some(isReference)) return { items: [...items], classes: [] }
    const known = new Map(atHand.flatMap(({ items: said, dataClass }) => said.map(item => [item['id'], { item, dataClass }])))
    const classes = new Set<string>()
    const lookup = this.#kept.lookup(tenant)
    const resolved: Members[] = []
    for (const [index, item] of items.entries()) {
      const id = item['id'] as string
      const found = !isReference(item) ? { item } : known.get(id) ?? await lookup(id)
      if (found === null) throw notKept(`input[${index}].id`)
      if ('dataClass' in found) classes.add(found.dataClass)
      resolved.push(found.item)
    }
    return { items: resolved, classes: [...classes] }
  }
}

function isCompaction ({ type, encrypted_content: text }: Members, passesSealed: boolean): boolean {
  return type === 'compaction' && !(passesSealed && typeof text === 'string' && !isSealed(text))
}

function isReference ({ type }: Members): boolean { return type === 'item_reference' }

function higher (claimed: string | undefined, dataClass: string): string { return classOf(classOf('public', dataClass), claimed) }

function notKept (param: string): GatewayError {
  return new GatewayError('invalid_value', `Invalid value for '${param}': no item of this id is kept for this tenant; send the item itself. ` +
    'Clients that refer to items by themselves stop it with store: false.', { param })
}
