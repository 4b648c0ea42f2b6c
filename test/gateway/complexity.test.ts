/** Simple prompts stay near, hard ones go to the strong models of others, and it can be said why. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'tap'
import { ask, pilotPool, startGateway } from './harness.ts'
import { startProvider } from './provider.ts'

const grid = (providerUrl: string, scorer: string) => `
backends:${pilotPool()}
  - { name: cloud, kind: openai, baseUrl: '${providerUrl}', locality: cloud }
models:
  - { name: auto, order: complexity, targets: [{ backend: cloud, model: big }, { backend: pool, model: pilot }] }
  - { name: trained, order: complexity, complexity: { scorer: '${scorer}', threshold: 0.5 }, targets: [{ backend: cloud, model: big }, { backend: pool, model: pilot }] }
tenants:
  - { name: open, class: public }
  - { name: closed, class: restricted }
`

const EASY = 'What is the capital of France?'
const HARD = 'Explain step by step why each of 12 trains needs 3.5 hours for 210 miles.'
const QUESTIONS = { format: 'torchgate-scorer-1', name: 'questions', intercept: 0, features: [{ name: 'question_marks', weight: 2, mean: 0, deviation: 1 }] }

interface Told { readonly order: string, readonly complexity: { score: number, threshold: number, scorer: string, parts: { feature: string, adds: number }[] } | null, readonly candidates: { target: string, reason: string }[] }

test('order: complexity', { timeout: 60_000 }, async t => {
  const cloud = await startProvider(t)
  const folder = mkdtempSync(join(tmpdir(), 'torchgate-test-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  const scorer = join(folder, 'scorer.json')
  writeFileSync(scorer, JSON.stringify(QUESTIONS))
  const running = await startGateway(t, grid(cloud.url, scorer))
  const [open, closed] = [await running.client('open'), await running.client('closed')]
  const asked = async (client: typeof open, prompt: Parameters<typeof ask>[0], model: string) => {
    const { response } = await client.chat.completions.create(ask(prompt, model)).withResponse()
    return [response.headers.get('x-torchgate-target'), response.headers.get('x-torchgate-why')]
  }

  await t.test('the heuristic sends what wants work to the cloud, and says so', async t => {
    t.same(await asked(open, EASY, 'auto'), ['pool/pilot', 'class=public;boundary=cloud;order=complexity(0.32<=1);eligible=2/2'])
    const [target, why] = await asked(open, HARD, 'auto')
    t.equal(target, 'cloud/big')
    t.match(why, /order=complexity\(\d\.\d\d>1\)/)
  })

  await t.test('what may not leave does not, however hard it is', async t => {
    const before = cloud.seen.bytes
    const [target] = await asked(closed, HARD, 'auto')
    t.equal(target, 'pool/pilot')
    t.equal(cloud.seen.bytes, before)
  })

  await t.test('a trained scorer decides by what it was taught', async t => {
    t.same((await asked(open, EASY, 'trained'))[0], 'cloud/big')
    t.same((await asked(open, HARD, 'trained'))[0], 'pool/pilot')
  })

  await t.test('the last question counts, whatever was said before', async t => {
    const { response } = await open.chat.completions.create({ ...ask(EASY, 'auto'), messages: [
      { role: 'user', content: HARD }, { role: 'assistant', content: 'Because.' }, { role: 'user', content: [{ type: 'text', text: EASY }] }
    ] }).withResponse()
    t.equal(response.headers.get('x-torchgate-target'), 'pool/pilot')
  })

  await t.test('explain shows what adds to the score, and sends nothing', async t => {
    const before = cloud.seen.bytes
    const posted = await fetch(`${running.gateway.adminUrl}/admin/v1/explain`, {
      method: 'POST',
      headers: { authorization: `Bearer ${running.adminKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ tenant: 'open', request: ask(HARD, 'auto') })
    })
    const told = await posted.json() as Told
    t.equal(told.candidates[0]!.reason, 'first by order complexity, a hard prompt')
    t.equal(told.complexity!.scorer, 'heuristic')
    t.ok(Math.abs(told.complexity!.parts.reduce((sum, { adds }) => sum + adds, 0) - told.complexity!.score) < 1e-9)
    const without = await running.admin<Told>('/admin/v1/explain?tenant=open&model=auto')
    t.equal(without.complexity, null)
    t.equal(without.candidates[0]!.target, 'pool/pilot')
    t.equal(cloud.seen.bytes, before)
  })
})
