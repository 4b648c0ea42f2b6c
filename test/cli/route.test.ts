import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { test } from 'tap'
import { seeded } from '../seeded.ts'
import { openFolder, run } from './command.ts'

const lines = () => {
  const random = seeded(1)
  return Array.from({ length: 300 }, (_, index) => {
    const isHard = index % 3 === 0
    return JSON.stringify({ prompt: isHard ? 'Prove that 12 + 30 = 42.' : `Hello number ${index}`, weak: isHard ? 0 : 1, strong: random() < 0.9 ? 1 : 0, domain: 'test' })
  })
}

test('route train writes a scorer, says how good it is, and route score explains with it', async t => {
  const folder = openFolder(t)
  const data = join(folder, 'outcomes.jsonl.gz')
  const scorer = join(folder, 'scorer.json')
  writeFileSync(data, gzipSync(lines().join('\n')))
  const trained = await run(t, folder, ['route', 'train', data, '--out', scorer, '--share', '0.25'])
  t.equal(trained.code, 0, trained.stderr)
  t.match(trained.stderr, /random +0\.500.*\n.*heuristic, untrained .*\n.*trained, 5 folds +0\.[6-9].*\n.*trained on 300 prompts\. Above the threshold [\d.-]+ lie 25 % of them\./)
  t.equal(JSON.parse(readFileSync(scorer, 'utf8')).name, 'trained')
  const hard = await run(t, folder, ['route', 'score', '--scorer', scorer, 'Prove that 12 + 30 = 42.'])
  const easy = await run(t, folder, ['route', 'score', '--scorer', scorer, 'Hello number 7'])
  t.ok(JSON.parse(hard.stdout).score > JSON.parse(easy.stdout).score)
  t.equal(JSON.parse(hard.stdout).parts.length, JSON.parse(readFileSync(scorer, 'utf8')).features.length)
})

test('route train names the line that is no outcome, and writes nothing', async t => {
  const folder = openFolder(t)
  const data = join(folder, 'outcomes.jsonl')
  for (const [bad, message] of [['{"prompt": 5}', 'a text as prompt'], ['{', 'a JSON object'], ['{"prompt": "x", "weak": true, "strong": 1}', 'numbers as weak and strong']] as const) {
    writeFileSync(data, [...lines().slice(0, 2), bad].join('\n'))
    const { code, stderr } = await run(t, folder, ['route', 'train', data, '--out', join(folder, 'scorer.json')])
    t.equal(code, 1)
    t.match(stderr, `${data}:3: expected ${message}`)
  }
  t.throws(() => readFileSync(join(folder, 'scorer.json')), { code: 'ENOENT' })
})
