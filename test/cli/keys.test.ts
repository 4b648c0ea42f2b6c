/** Keys made and ended on the command line, while a gateway runs on the same folder. */
import { join } from 'node:path'
import { test } from 'tap'
import { eventually } from '../gateway/harness.ts'
import { openFolder, run, start } from './command.ts'

const limits = { timeout: 60_000 }

test('a created key works at once, a revoked one is refused within 5 s', limits, async t => {
  const folder = openFolder(t)
  const data = ['--data-dir', join(folder, 'data')]
  const { command, url, adminUrl, key: first } = await start(t, folder)
  const statusOf = async (key: string, path = `${url}/v1/models`) => (await fetch(path, { headers: { authorization: `Bearer ${key}` } })).status

  const made = await run(t, folder, ['keys', 'create', '--name', 'laptop of Ada', '--expires', '2099-12-31', ...data])
  t.match(made, { code: 0, stdout: /^tg_live_\S{52}\n$/, stderr: /^Key \S{12} of tenant default, in \S+torchgate\.db\. It is shown only now\.\n$/ }, 'the key alone can be piped')
  const key = made.stdout.trim()
  t.equal(await statusOf(key), 200)
  t.equal(await statusOf(key, `${adminUrl}/admin/v1/status`), 403, 'not for the admin API')

  const admin = await run(t, folder, ['keys', 'create', '--admin', ...data])
  t.equal(await statusOf(admin.stdout.trim(), `${adminUrl}/admin/v1/status`), 200)
  t.equal(await statusOf(admin.stdout.trim()), 403, 'nor the other way round')

  const id = /^Key (\S+)/.exec(made.stderr)![1]!
  const listed = await run(t, folder, ['keys', 'list', ...data])
  t.match(listed, { code: 0, stderr: '', stdout: `${id}  default  inference  until 2099-12-31T23:59:59.999Z  laptop of Ada\n` })
  const rows = JSON.parse((await run(t, folder, ['keys', 'list', '--json', ...data])).stdout) as { id: string }[]
  t.equal(rows.length, 4)
  t.match(rows.find(row => row.id === id), { tenant: 'default', scopes: ['inference'], name: 'laptop of Ada', revokedAt: null })
  for (const secret of [first, key]) t.notMatch(listed.stdout + JSON.stringify(rows), secret.slice(-36))
  t.notMatch(JSON.stringify(rows), 'hmac')

  t.match(await run(t, folder, ['keys', 'revoke', id, ...data]), { code: 0, stdout: '', stderr: `Key ${id} is revoked.\n` })
  const revokedMs = performance.now()
  t.ok(await eventually(async () => await statusOf(key) === 401, 6_000))
  t.comment(`refused ${Math.round(performance.now() - revokedMs)} ms after it was revoked`)
  t.equal(await statusOf(first), 200, 'the others go on')
  t.match(await run(t, folder, ['keys', 'revoke', first, ...data]), { code: 0, stderr: /^Key \S{12} is revoked\.\n$/ }, 'one that leaked, as it is at hand')
  t.match((await run(t, folder, ['keys', 'list', ...data])).stdout, new RegExp(`${id}  default  inference  revoked 20`))
  command.kill('SIGTERM')
  t.same(await command.exit, { code: 0, signal: null })
})

test('a key made before the first start is the first one', limits, async t => {
  const folder = openFolder(t)
  const { stdout } = await run(t, folder, ['keys', 'create', '--data-dir', join(folder, 'data')])
  const { command, url } = await start(t, folder)
  t.notMatch(command.stderr, /First start|tg_live/)
  t.equal((await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${stdout.trim()}` } })).status, 200)
})

test('what cannot be done with keys is said in one line, with exit code 1', limits, async t => {
  const folder = openFolder(t)
  const data = ['--data-dir', join(folder, 'data')]
  const made = await run(t, folder, ['keys', 'create', ...data])
  const refusals: [string[], RegExp][] = [
    [['list', '--data-dir', join(folder, 'dat')], /^torchgate: There is no database \S+dat\/torchgate\.db\. Name its folder with --data-dir or --config\.$/],
    [['create', '--tenant', 'nobody', ...data], /^torchgate: No tenant "nobody" is configured; there are default\.$/],
    [['create', '--expires', 'soon', ...data], /^torchgate: --expires soon: expected a date like 2027-12-31\.$/],
    [['create', '--expires', '2020-01-01', ...data], /^torchgate: A key expires in the future\.$/],
    [['revoke', 'aaaaaaaaaaaa', ...data], /^torchgate: No key has this id\. torchgate keys list shows them\.$/],
    [['revoke', made.stdout.trim().replace('_', '-'), ...data], /^torchgate: No key has this id/],
    [['create', '--tennant', 'x'], /^error: unknown option '--tennant'\n\(Did you mean --tenant\?\)/],
    [['make'], /^error: unknown command 'make'/]
  ]
  for (const [args, expected] of refusals) {
    const { code, stdout, stderr } = await run(t, folder, ['keys', ...args])
    t.equal(code, 1, args.join(' '))
    t.match(stderr.trimEnd(), expected)
    t.notMatch(stderr, made.stdout.trim().slice(-20), 'no key is repeated')
    t.equal(stdout, '')
  }
})
