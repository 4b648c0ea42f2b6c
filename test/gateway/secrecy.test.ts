/** A whole process at its most talkative, and every byte it leaves behind: prompts, answers and keys are in none of them. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { isReady, openFolder, start, workersOf } from '../cli/command.ts'
import { ask, eventually, pilotPool } from './harness.ts'
import { startProvider } from './provider.ts'

const PROMPT = 'MARKER-7f3a prompt'
const ANSWER = 'MARKER-7f3a answer'
const PROVIDER_KEY = 'sk-MARKER-7f3a-0123456789'

const yaml = (url: string) => `
log: { level: debug }
backends:${pilotPool(1)}
  - { name: cloud, kind: openai, baseUrl: '${url}', locality: cloud, apiKey: { env: CLOUD_KEY }, timeouts: { connectMs: 500, firstTokenMs: 300, idleMs: 300 } }
models:
  - { name: pilot, targets: [{ backend: pool, model: pilot }] }
  - { name: chat, targets: [{ backend: cloud, model: big }] }
  - { name: 'any/*', targets: [{ backend: cloud, model: '*' }] }
tenants: [{ name: default }]
`

test('prompts, answers and keys are in no log, metric, record, file or foreign answer', { timeout: 60_000 }, async t => {
  const folder = openFolder(t)
  const cloud = await startProvider(t)
  writeFileSync(join(folder, 'torchgate.yaml'), yaml(cloud.url))
  const { command, url, adminUrl, key, adminKey } = await start(t, folder, ['--config', join(folder, 'torchgate.yaml')], { env: { CLOUD_KEY: PROVIDER_KEY } })
  await isReady(command)
  let calls = 0
  const post = async (model: string, more: object | string = {}, signal?: AbortSignal) => {
    calls++
    const body = typeof more === 'string' ? more : JSON.stringify({ ...ask(PROMPT, model), user: PROMPT, metadata: { note: PROMPT }, ...more })
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body, ...(signal === undefined ? {} : { signal })
    })
    return { status: response.status, text: await response.text() }
  }
  const echo = { error: { message: `You said "${PROMPT}" with ${PROVIDER_KEY}`, type: 'invalid_request_error', code: PROVIDER_KEY, param: PROMPT } }

  cloud.behave = { do: 'answer', words: [ANSWER, ' ', ANSWER] }
  t.match((await post('chat')).text, ANSWER)
  t.match((await post('chat', { stream: true })).text, ANSWER)
  const errors = [await post('chat', { temperature: 9 }), await post('chat', { messages: [{ role: PROMPT, content: PROMPT }] }), await post('chat', `{"model": ${PROMPT}`)]
  for (const status of [400, 404, 429, 500, 503]) {
    cloud.behave = { do: 'status', status, body: echo }
    errors.push(await post('chat'), await post('any/other', { stream: true }))
  }
  cloud.behave = { do: 'break', after: 2 }
  errors.push(await post('chat', { stream: true }))
  cloud.behave = { do: 'hang' }
  errors.push(await post('chat', { stream: true }))
  await t.rejects(post('any/left', { stream: true }, AbortSignal.timeout(100)))
  errors.push(await post('chat', { model: 'nothing' }))
  // Last, because the provider then rests.
  cloud.behave = { do: 'status', status: 401, body: echo }
  errors.push(await post('chat'), await post('any/other', { stream: true }))
  for (const { text } of errors) t.notMatch(text, /MARKER-7f3a/)

  t.equal((await post('pilot')).status, 200)
  const dying = post('pilot', { messages: [{ role: 'user', content: `${PROMPT} Count from 1 to 400` }], stream: true })
  await eventually(async () => (await (await fetch(`${adminUrl}/metrics`)).text()).includes('state="busy"} 1'))
  for (const pid of workersOf(folder)) process.kill(pid, 'SIGKILL')
  await dying

  const seen = async (path: string) => (await fetch(adminUrl + path, { headers: { authorization: `Bearer ${adminKey}` } })).text()
  await eventually(async () => (JSON.parse(await seen('/admin/v1/calls/recent')) as { data: unknown[] }).data.length === calls)
  const pages = await Promise.all(['/metrics', '/admin/v1/calls/recent', '/admin/v1/status', '/admin/v1/usage', '/readyz'].map(seen))
  // While the process holds its files open, and once more when it has closed them.
  const during = filesOf(folder)
  command.kill('SIGTERM')
  t.equal((await command.exit).code, 0)
  const places = { stdout: command.stdout, stderr: command.stderr, pages: pages.join(), during, after: filesOf(folder) }
  for (const [place, text] of Object.entries(places)) {
    t.ok(text.length > 100, `${place} was looked at`)
    t.notOk(text.includes('MARKER-7f3a'), place)
    // Standard error shows the first keys to the operator.
    if (place !== 'stderr') t.same([key, adminKey].filter(secret => text.includes(secret.slice(21, 53))), [], place)
  }
  const lines = command.stdout.trim().split('\n').map(line => JSON.parse(line) as Record<string, unknown>)
  t.equal(lines.filter(({ msg }) => msg === 'call').length, calls, 'every call has its line')
})

/** The text of every file but the configuration; sockets have none. */
function filesOf (folder: string): string {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).map(name => join(folder, name))
    .filter(path => statSync(path).isFile() && !path.endsWith('.yaml')).map(path => readFileSync(path, 'latin1')).join('\n')
}
