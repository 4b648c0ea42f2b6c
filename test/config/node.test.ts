import { check, integer, oneof, property, string, type Arbitrary } from 'fast-check'
import { test } from 'tap'
import { Value } from 'typebox/value'
import { fits, type Node } from '../../src/config/node.ts'
import { Config } from '../../src/config/schema.ts'

const ANYTHING: Arbitrary<unknown> = oneof(integer(), string(), string({ unit: 'binary' }))

/** Every node without members, by its path. */
function leavesOf (node: Node, path: string): [string, Node][] {
  const below = [
    ...Object.entries(node.properties ?? {}).map(([name, member]) => [`${path}.${name}`, member] as const),
    ...Object.values(node.patternProperties ?? {}).map(member => [`${path}.*`, member] as const),
    ...(node.items === undefined ? [] : [[`${path}[]`, node.items] as const]),
    ...(node.anyOf ?? []).filter(branch => branch.properties !== undefined).map((branch, at) => [`${path}|${at}`, branch] as const)
  ]
  return below.length === 0 && node.type !== 'object' ? [[path, node]] : below.flatMap(([name, member]) => leavesOf(member, name))
}

test('a value fits a leaf of the schema exactly when TypeBox says so', async t => {
  const leaves = leavesOf(Config as unknown as Node, 'config')
  t.ok(leaves.length > 50, `${leaves.length} leaves`)
  for (const [path, leaf] of leaves) {
    const { minimum = 0, maximum = 0, maxLength = 1 } = leaf
    const near = [minimum - 1, minimum, maximum, maximum + 1, minimum + 0.5, NaN, Infinity]
    const texts = ['', 'a', '-', 'A_1', 'pool', 'openai', 'local', 'auto', 'A'.repeat(maxLength), '\u{1f600}'.repeat(maxLength), 'a'.repeat(maxLength + 1), 'https://a.example/v1', '\0', 'a\nb', '9'.repeat(64)]
    const literals = [...leaf.enum ?? [], ...(leaf.anyOf ?? []).map(branch => branch.const), leaf.const]
    const values: unknown[] = [...near, ...texts, ...literals, true, false, null, undefined, {}, []]
    const same = (value: unknown) => fits(leaf, value) === Value.Check(leaf, value)
    const differing = check(property(ANYTHING, same), { numRuns: 100, examples: values.map(value => [value]), endOnFailure: true })
    if (differing.failed) t.fail(`${path}: TypeBox says otherwise of ${JSON.stringify(differing.counterexample)}`)
  }
})
