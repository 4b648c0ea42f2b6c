import type { Counted } from '../pipeline/count.ts'

/** Says beside a count of tokens whether it is one. */
export function countedIn ({ isExact }: Counted): ['x-torchgate-count', 'exact' | 'estimate'] {
  return ['x-torchgate-count', isExact ? 'exact' : 'estimate']
}
