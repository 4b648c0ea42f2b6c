/** Where an address is. Pure: it believes the address and the operator's networks, and no name. */
import { BlockList, isIP } from 'node:net'
import type { Locality } from '../config/schema.ts'

/** Never a destination: this network, link-local (where clouds keep their metadata), multicast, reserved, broadcast. */
const FORBIDDEN = networks([
  '0.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '240.0.0.0/4', '::/128', 'fe80::/10', 'ff00::/8',
  // Metadata services outside of link-local: AWS over IPv6, Alibaba, Oracle, Azure.
  'fd00:ec2::/32', '100.100.100.200/32', '192.0.0.192/32', '168.63.129.16/32'
])
const LOOPBACK = networks(['127.0.0.0/8', '::1/128'])
/** RFC 1918, RFC 6598 (carrier-grade NAT, used by overlay networks), RFC 4193. */
const PRIVATE = networks(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'])

/** @throws Error for anything that is not `address/prefix` */
export function networks (cidrs: readonly string[]): BlockList {
  const list = new BlockList()
  for (const cidr of cidrs) {
    const [, address = '', prefix = ''] = /^([^/]+)\/(\d{1,3})$/.exec(cidr) ?? []
    const family = isIP(address)
    if (family === 0 || Number(prefix) > (family === 4 ? 32 : 128)) throw new Error(`Expected a network like 203.0.113.0/24, got ${JSON.stringify(cidr)}.`)
    list.addSubnet(address, Number(prefix), family === 4 ? 'ipv4' : 'ipv6')
  }
  return list
}

/**
 * @param address IPv4, IPv6, or the path of a Unix socket
 * @param domain public networks of the operator
 * @returns null for an address that is nobody's destination, whatever was declared
 */
export function localityOfAddress (address: string, domain: BlockList): Locality | null {
  if (address.startsWith('/')) return 'local'
  const plain = address.split('%', 1)[0] ?? ''
  const version = isIP(plain)
  if (version === 0) return null
  const embedded = version === 6 ? embeddedIPv4(plain) : null
  // A translator on the way decides where it ends, so it is never nearer than the cloud.
  if (embedded?.kind === 'translated') return localityOfAddress(embedded.address, domain) === null ? null : 'cloud'
  const candidate = embedded?.address ?? plain
  const family = embedded !== null || version === 4 ? 'ipv4' : 'ipv6'
  const isIn = (list: BlockList) => list.check(candidate, family)
  if (isIn(FORBIDDEN)) return null
  if (isIn(LOOPBACK)) return 'local'
  return isIn(PRIVATE) || isIn(domain) ? 'domain' : 'cloud'
}

/** Nobody's own network: also where a translator leads there. */
export function isPublic (address: string, domain: BlockList): boolean {
  const plain = address.split('%', 1)[0] ?? ''
  const embedded = isIP(plain) === 6 ? embeddedIPv4(plain) : null
  return localityOfAddress(embedded?.address ?? plain, domain) === 'cloud'
}

/** IPv4 inside IPv6: mapped (::ffff:0:0/96), compatible (::/96), NAT64 (64:ff9b::/96) and 6to4 (2002::/16). */
function embeddedIPv4 (address: string): { kind: 'same' | 'translated', address: string } | null {
  const words = wordsOf(address)
  const zeros = (count: number) => words.slice(0, count).every(word => word === 0)
  if (zeros(5) && words[5] === 0xffff) return { kind: 'same', address: dotted(words, 6) }
  if (zeros(6) && (words[6] !== 0 || (words[7] ?? 0) > 1)) return { kind: 'same', address: dotted(words, 6) }
  if (words[0] === 0x64 && words[1] === 0xff9b) return { kind: 'translated', address: dotted(words, 6) }
  if (words[0] === 0x2002) return { kind: 'translated', address: dotted(words, 1) }
  return null
}

function dotted (words: readonly number[], at: number): string {
  const high = words[at] ?? 0
  const low = words[at + 1] ?? 0
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

/** The eight 16-bit words; the URL parser brings every spelling into the same one, with IPv4 endings in hexadecimal. */
function wordsOf (address: string): number[] {
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1)
  const [head = '', tail] = canonical.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const gap = Array<string>(8 - left.length - right.length).fill('0')
  return [...left, ...gap, ...right].map(word => parseInt(word, 16))
}
