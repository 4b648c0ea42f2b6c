import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { test } from 'tap'
import { compileSchema, jsonObjectGrammar } from '../../../src/worker/grammar/compile.ts'
import { EXAMPLES } from './examples.ts'
import { isBeyondJudge, judge, parse } from './judge.ts'
import type { Matched, Task, Written } from './llama.ts'
import { Gbnf } from './match.ts'
import { seeded } from '../../seeded.ts'
import { documents } from './schemas.ts'

const LLAMA = fileURLToPath(new URL('llama.ts', import.meta.url))
const examples = EXAMPLES.map(({ schema, strict = false, allows, refuses }) => ({ ...compileSchema(schema, { strict }), schema, allows, refuses }))

function llama<T> (task: Task): T {
  const { stdout, stderr, status } = spawnSync(process.execPath, [LLAMA], { input: JSON.stringify(task), encoding: 'utf8', maxBuffer: 2 ** 26 })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as T
}

/** The text with one character changed, doubled or left out. */
function bent (text: string, draw: () => number): string {
  const points = [...text]
  const at = Math.floor(draw() * points.length)
  points.splice(at, 1, ...[[], [points[at]!, points[at]!], ['"'], ['0'], [' ']][Math.floor(draw() * 5)]!)
  return points.join('')
}

test('llama.cpp takes every grammar, and understands it as these tests do', async t => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const draw = seeded(seed)
  const grammars = [
    ...examples.map(({ grammar, allows, refuses }) => ({ grammar, texts: [...allows, ...refuses] })),
    { ...jsonObjectGrammar(), texts: ['{}', '{"a": [1]}', '[]', '{"a":1}{'] },
    ...fc.sample(documents, { numRuns: 260, seed }).map(({ schema, make }) => {
      const { grammar } = compileSchema(schema)
      const texts = [make(draw), new Gbnf(grammar).wander(draw, 60)].filter(text => text !== null)
      return { grammar, texts: [...texts, ...texts.map(text => bent(text, draw))] }
    })
  ]
  const matched = llama<Matched>({ kind: 'match', grammars: grammars.map(({ grammar, texts }) => ({ grammar, texts })) })
  t.ok(grammars.length > 300, `${grammars.length} grammars`)
  t.same(grammars.filter((_, i) => matched[i] === null), [], `seed ${seed}`)
  const differing = grammars.flatMap(({ grammar, texts }, i) => {
    const gbnf = new Gbnf(grammar)
    return texts.filter((text, at) => matched[i]![at] !== gbnf.matches(text)).map(text => ({ text, grammar }))
  })
  t.same(differing, [], `seed ${seed}`)
})

test('a hot model that is held to a schema writes what the schema allows, or is cut off', async t => {
  const held = examples.filter(({ schema }) => !isBeyondJudge(schema)).slice(0, 30)
  t.ok(held.length >= 30, `${held.length} grammars`)
  const seeds = [1, 2, 3, 4, 5]
  const written = llama<Written[]>({
    kind: 'write',
    grammars: held.map(({ grammar }) => grammar),
    seeds,
    maxTokens: 40,
    prompt: '<|im_start|>user\nAnswer in JSON.<|im_end|>\n<|im_start|>assistant\n'
  })
  t.equal(written.length, held.length * seeds.length)
  const complete = written.filter(({ isComplete }) => isComplete)
  t.ok(complete.length > written.length / 2, `${complete.length} of ${written.length} are complete`)
  for (const { grammar, text, isComplete } of written) {
    const complaint = isComplete ? judge(held[grammar]!.schema)(parse(text)) : null
    if (complaint !== null) t.fail(`${text}: ${complaint}`)
  }
})
